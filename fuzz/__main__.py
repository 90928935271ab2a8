# SPDX-License-Identifier: MIT
"""Run atheris on `fuzz.sip_messages.fuzz_one`: ``python -m fuzz CORPUS [libFuzzer's options]``.

CORPUS is a folder where what has led to new code is kept; it begins with the RFCs' torture messages.
With a file in place of the folder only that is tried, such as one that has crashed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["siproxd_tw"]):
    from fuzz.sip_messages import TOKENS, fuzz_one

VECTORS = Path(__file__).resolve().parent.parent / "tests" / "vectors"


def fill(corpus: Path) -> None:
    """Make a first corpus."""
    corpus.mkdir(parents=True)
    for vector in VECTORS.rglob("*.dat"):
        (corpus / vector.name).write_bytes(vector.read_bytes())


def dictionary(corpus: Path) -> str:
    """Write the words that SIP consists of in libFuzzer's form, and return the option that names them."""
    words = corpus / "words.dict"
    lines = ['"' + "".join(f"\\x{octet:02x}" for octet in word) + '"\n' for word in TOKENS]
    words.write_text("".join(lines))
    return f"-dict={words}"


def main(arguments: list[str]) -> None:
    """Fuzz until something is found, or an option ends it."""
    corpus = Path(next((word for word in arguments[1:] if not word.startswith("-")), ".fuzz"))
    if not corpus.exists():
        fill(corpus)
    options = [dictionary(corpus)] if corpus.is_dir() else []
    atheris.Setup([*arguments, *options], fuzz_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
