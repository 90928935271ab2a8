# SPDX-License-Identifier: MIT
"""Writes the pages of this folder that come from the program's own tables.

``python docs/generate.py`` writes them. Each page is a function in `PAGES`; a test compares every
page with what its function returns.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from siproxd_tw.config.directives import ALIASES, LATER, LATER_AND_DANGEROUS, SECTIONS
from siproxd_tw.config.reader import candidates
from siproxd_tw.config.schema import Directive, Kind
from siproxd_tw.sip.transaction import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    Input,
    Machine,
    State,
)

HERE = Path(__file__).resolve().parent
CODE = HERE.parent / "siproxd_tw"
MACHINES = (INVITE_CLIENT, INVITE_SERVER, NON_INVITE_CLIENT, NON_INVITE_SERVER)

CONFIGURATION = """\
# The configuration file

<!-- Written by docs/generate.py from the directive table; edit siproxd_tw/config/*_directives.py. -->

siproxd_tw reads the configuration file of siproxd as it is. A small one that works is
[examples/siproxd.conf](../examples/siproxd.conf).

    twistd -n siproxd --config FILE            # start with it
    twistd -n siproxd --config FILE --check    # show every problem, and what is in effect

Without `--config` the first of these that exists is read:

{candidates}

## How it is written

- One `KEY = VALUE` on a line. Blanks and tabs around both do not count, upper and lower case do.
- Everything behind a `#` is a comment. No value can have a `#` in it, and quotes are ordinary characters.
- Whole numbers are decimal, hexadecimal with `0x` in front, or octal with a leading `0`: `010` is 8.
- Text behind a number, as in `300s`, is a warning, and the number counts.
- When a directive is set twice, the last one counts. One that is marked *repeated* adds a value each time.
- Networks are written `ADDRESS/LENGTH`, with commas between them: `192.168.0.0/16, 2001:db8::/32`.
  An address with host bits, `192.168.1.8/24`, means its network. Host names are not looked up here.
- The file is UTF-8; other bytes survive in paths and texts. Lines end in LF or CRLF and may have any length.

## What is said about it

Each problem is one line, `FILE:LINE: what is wrong, what is expected, did you mean`.

- An *error* is a value that does not count; what was in effect before stays.
- A *fatal* error is one in a directive that keeps somebody out, such as an access list, or in the file as a
  whole. With it the program does not start: what the value should have kept closed would be open.
- A *warning* is something that is probably not what was meant, such as an unknown key.
- A *notice* is worth knowing.

`--check` ends with status 1 when there is an error.

siproxd takes a keyword anywhere in a line, also in a value: `registration_file = /home/user/regs` is a line
about `user` there. Here a key is exactly what stands left of the first `=`.

## Directives
"""

ALIASES_TEXT = """
## Spellings of other programs

OPNsense writes some keys that siproxd never knew. They are read as what is meant, with a notice.

| key | is read as |
|---|---|
"""


def configuration() -> str:
    """Return configuration.md."""
    paths = "\n".join(f"{number}. `{path}`" for number, path in enumerate(candidates("~"), 1))
    lines = [CONFIGURATION.format(candidates=paths)]
    for section, directives in SECTIONS.items():
        lines.append(f"### {section}\n")
        for directive in directives:
            lines += _described(directive)
    aliases = "".join(f"| `{alias}` | `{name}` |\n" for alias, name in ALIASES.items())
    return "\n".join(lines).rstrip() + "\n" + ALIASES_TEXT + aliases


def _described(directive: Directive) -> Iterator[str]:
    yield f"#### `{directive.name}`\n"
    yield f"*{'; '.join(_facts(directive))}*\n"
    yield f"{directive.meaning}\n"
    if directive.name in LATER_AND_DANGEROUS:
        harm = _sentence(LATER_AND_DANGEROUS[directive.name])
        yield f"**Not there yet:** it is accepted, with a warning. {harm}\n"
    elif directive.name in LATER:
        yield "**Not there yet:** it is accepted, with a notice.\n"
    if directive.guard:
        yield "It keeps somebody out, so an error in it, also in its name, is *fatal*.\n"
    if directive.compatibility:
        yield f"Compatibility: {directive.compatibility}\n"


def _facts(directive: Directive) -> Iterator[str]:
    """Say what stands in the columns of the table."""
    match directive.kind:
        case Kind.INTEGER | Kind.PORT | Kind.DSCP:
            yield f"{directive.kind.value} from {directive.low} to {directive.high}"
        case Kind.CHOICE:
            yield directive.expected
        case _:
            yield directive.kind.value
    if directive.unit:
        yield f"unit {directive.unit}"
    if directive.repeated:
        yield "repeated"
    else:
        yield f"default {directive.default}" if directive.default else "not set by default"
    partners = [f"`{name}`" for name in directive.group if name != directive.name]
    if partners:
        yield f"goes with {' and '.join(partners)}"
    yield f"since {directive.since}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


TRANSACTIONS = """\
# The transaction machines

<!-- Written by docs/generate.py from the tables in siproxd_tw/sip/transaction.py. -->

The four machines of RFC 3261 section 17 as RFC 6026 corrects them, with timer C of section 16.8. Each line
at an arrow says what happens and, behind the slash, what is done about it. What has no arrow in a
state is ignored there.
"""

#: The letters of the RFCs: for retransmission, for giving up, and for each state that lingers.
LETTERS: dict[str, tuple[str, str, dict[State, str]]] = {
    INVITE_CLIENT.name: ("A", "B", {State.COMPLETED: "D", State.ACCEPTED: "M"}),
    INVITE_SERVER.name: ("G", "H", {State.ACCEPTED: "L", State.CONFIRMED: "I"}),
    NON_INVITE_CLIENT.name: ("E", "F", {State.COMPLETED: "K"}),
    NON_INVITE_SERVER.name: ("", "", {State.COMPLETED: "J"}),
}


def transactions() -> str:
    """Return transactions.md."""
    return TRANSACTIONS + "".join(_diagram(machine) for machine in MACHINES)


def _diagram(machine: Machine) -> str:
    labels: dict[tuple[str, str], list[str]] = {}
    for (state, happened), (following, actions) in machine.transitions.items():
        target = "[*]" if following is State.TERMINATED else following.value
        done = ", ".join(action.value for action in actions)
        label = _named(machine, state, happened) + (f" / {done}" if done else "")
        labels.setdefault((state.value, target), []).append(label)
    lines = [f"    [*] --> {machine.start.value}"]
    lines += [
        f"    {state} --> {target}: {'<br/>'.join(several)}" for (state, target), several in labels.items()
    ]
    return "\n".join(("", f"## {machine.name}", "", "```mermaid", "stateDiagram-v2", *lines, "```", ""))


def _named(machine: Machine, state: State, happened: Input) -> str:
    """Name what happens, timers by their letter."""
    again, over, linger = LETTERS[machine.name]
    letters = {Input.RETRANSMIT: again, Input.TIMEOUT: over, Input.LINGER_OVER: linger.get(state, "")}
    return f"timer {letters[happened]}" if happened in letters else happened.value


RFC_MAP = """\
# From the RFCs to the code

<!-- Written by docs/generate.py from the table in docs/rfc_map.py. -->

Each section of the RFCs that a proxy lives by, and the functions and classes that do what it says. Names are
relative to `siproxd_tw`; the source behind each of them cites the section. Where there is none, or not all of
a section is done, it says so. Introductions, terminology, IANA considerations, acknowledgements and
references are left out.
"""


def rfc_map() -> str:
    """Return rfc-map.md."""
    rfcs = runpy.run_path(str(HERE / "rfc_map.py"))["RFCS"]
    return RFC_MAP + "".join(_mapped(rfc) for rfc in rfcs)


def _mapped(rfc: Any) -> str:
    link = f"[RFC {rfc.number}](https://www.rfc-editor.org/rfc/rfc{rfc.number})"
    lines = [
        "",
        f"## RFC {rfc.number}",
        "",
        f"{link}, *{rfc.title}*{', ' + rfc.part if rfc.part else ''}.",
        "",
    ]
    lines += ["| section | | where |", "|---|---|---|"]
    for row in rfc.rows:
        where = "; ".join(filter(None, (", ".join(map(_linked, row.names)), row.note)))
        lines.append(f"| {row.section} | {row.title} | {where} |")
    return "\n".join(lines) + "\n"


def _linked(name: str) -> str:
    """Link a dotted name to the file that has it."""
    parts = name.split(".")
    paths = (Path(*parts[:length]).with_suffix(".py") for length in range(len(parts), 0, -1))
    path = next(path for path in paths if (CODE / path).is_file())
    return f"[`{name}`](../siproxd_tw/{path.as_posix()})"


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "rfc-map.md": rfc_map,
    "transactions.md": transactions,
}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
