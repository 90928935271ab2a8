# SPDX-License-Identifier: MIT
r"""The text of the registration file: siproxd's format, and behind it what that has no room for.

siproxd writes 512 slots, each ``****:<active>:<expires>`` and, where active, three lines: contact,
masqueraded URI, address of record. Here all of that is the same, with more slots where there are more
phones. Transport, source, Call-ID and so on, without which a phone behind a NAT or on a connection would
not be found after a restart, follow after the last slot, a line for each binding:

    ++++:<checksum of the three URIs>:<JSON object>

They are in the same file, so that they are never of another time than the slots. siproxd stops reading
after its 512 slots, and what it writes has none of these lines; then, and for a record that somebody has
edited, everything else is as after an import: unknown. Records that siproxd would stop at, because a line
is longer than its buffer, are the last ones.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from siproxd_tw.interfaces import Address, Side
from siproxd_tw.proxy.bindings import Binding, sharing
from siproxd_tw.sip.grammar import QUOTED_STRING, ParseError, is_ip_address, is_token
from siproxd_tw.sip.uri import SIPURI, parse_uri

__all__ = ["SLOTS", "dumps", "loads"]

#: Rows of siproxd's table; its reader warns about a file with fewer.
SLOTS = 512

#: Bytes of a line that siproxd's reader takes.
LINE = 127

_TRANSPORTS = frozenset({"UDP", "TCP", "TLS", "WS", "WSS"})
_is_quoted = re.compile(QUOTED_STRING).fullmatch
_compact = json.JSONEncoder(separators=(",", ":")).encode


def dumps(bindings: Iterable[Binding]) -> bytes:
    """Write `bindings`; changes nothing and waits for nobody, so that a thread may do it."""
    short: list[bytes] = []
    long: list[bytes] = []
    more: list[bytes] = []
    for binding in bindings:
        texts = (binding.contact_text, bytes(binding.masked), bytes(binding.aor))
        record = b"****:1:%d\n%b\n%b\n%b\n" % (binding.expires, *texts)
        (short if max(map(len, texts)) < LINE else long).append(record)
        more.append(b"++++:%b:%b\n" % (_checksum(texts), _compact(_facts(binding)).encode()))
    unused = [b"****:0:0\n"] * (SLOTS - len(short) - len(long))
    return b"".join([*short, *long, *unused, *more])


def _checksum(texts: Sequence[bytes]) -> bytes:
    return hashlib.blake2b(b"\n".join(texts), digest_size=6).hexdigest().encode()


def _facts(b: Binding) -> dict[str, Any]:
    """Return what the slot of a binding does not say, in the types of JSON."""
    facts: dict[str, Any] = {
        "local": b.local,
        "transport": b.transport,
        "side": b.side.value,
        "since": round(b.since, 3),
    }
    if b.source is not None:
        facts["source"] = [*b.source]
    if b.call_id:
        facts["call_id"], facts["cseq"] = b.call_id.decode("latin-1"), b.cseq
    if b.instance:
        facts["instance"], facts["reg_id"] = b.instance.decode("latin-1"), b.reg_id.decode("latin-1")
    if b.q != 1.0:
        facts["q"] = b.q
    if b.path:
        facts["path"] = [uri.decode("latin-1") for uri in b.path]
    if b.relayed:
        facts["relayed"] = True
    return facts


def loads(text: bytes) -> tuple[list[Binding], list[str]]:
    """Read a registration file, siproxd's or ours; return the bindings, the newest last, and what was wrong.

    A damaged record costs that record only, and a damaged line behind the slots what it says.
    """
    records: list[tuple[bytes, list[bytes], int]] = []
    more: dict[bytes, list[dict[str, Any]]] = {}
    problems: list[str] = []
    lines = text.split(b"\n")
    at = 0
    while at < len(lines):
        number, line = at + 1, lines[at].rstrip(b"\r")
        at += 1
        if line.startswith(b"****:1:"):
            record = [text.rstrip(b"\r") for text in lines[at : at + 3]]
            if len(record) == 3 and not any(text.startswith((b"****:", b"++++:")) for text in record):
                at += 3
                records.append((line, record, number))
                continue
            problems.append(f"line {number}: expected three URIs after an active slot")
            while at < len(lines) and not lines[at].startswith((b"****:", b"++++:")):
                at += 1
        elif line.startswith(b"++++:"):
            _guarded(problems, number, _read_more, line, more)
        elif line and not line.startswith(b"****:0:"):
            problems.append(f"line {number}: expected a slot that starts with ****:")
    bindings = [_guarded(problems, number, _binding, head, record, more) for head, record, number in records]
    found = [binding for binding in bindings if binding is not None]
    return sorted(found, key=lambda binding: binding.since), problems


def _guarded(problems: list[str], number: int, read: Callable[..., Any], *args: Any) -> Any:
    """Return what `read` makes of line `number`; what it cannot read is a problem and None."""
    try:
        return read(*args)
    except ValueError as error:
        problems.append(f"line {number}: {error}")
    return None


def _read_more(line: bytes, more: dict[bytes, list[dict[str, Any]]]) -> None:
    _, checksum, text = line.split(b":", 2) if line.count(b":") > 1 else (b"", b"", b"")
    try:
        facts = json.loads(text)
    except RecursionError:
        facts = None
    if not isinstance(facts, dict):
        raise ValueError(f"expected facts about a binding, not {text[:40]!r}")
    read = {name: _READERS[name](value) for name, value in facts.items() if name in _READERS}
    more.setdefault(checksum, []).append(read)


def _binding(head: bytes, record: list[bytes], more: dict[bytes, list[dict[str, Any]]]) -> Binding:
    seconds = head[len(b"****:1:") :].strip()
    if not seconds.isdigit() or len(seconds) > 18:
        raise ValueError(f"expected seconds since 1970, not {seconds[:40]!r}")
    contact, masked, aor = (_sip_uri(text) for text in record)
    known = more.get(_checksum((record[0], bytes(masked), bytes(aor))))
    # Who is registered with us is masked by a domain (or the one of his address of record), others by
    # our address at that time.
    facts = known.pop(0) if known else {"local": masked.host == aor.host or not masked.is_address}
    return Binding(contact, record[0], aor, masked, float(seconds), **facts)


def _sip_uri(text: bytes) -> SIPURI:
    try:
        uri = parse_uri(text)
    except ParseError as error:
        raise ValueError(f"not a SIP URI: {text[:40]!r} ({error.reason})") from error
    if not isinstance(uri, SIPURI):
        raise ValueError(f"expected a sip: URI, not {text[:40]!r}")
    return sharing(uri)


# What a line behind the slots may say. Each reader raises ValueError for what `dumps` does not write: the
# values go into header fields and to the sockets.


def _said(value: object, is_right: bool) -> Any:
    if not is_right:
        raise ValueError(f"unexpected value {str(value)[:40]!r}")
    return value


def _bool(value: object) -> bool:
    return _said(value, isinstance(value, bool)) is True


def _number(least: float, most: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(_said(value, is_number and least <= value <= most and math.isfinite(value)))  # type: ignore[operator,arg-type]

    return read


def _whole(value: object) -> int:
    return int(_said(value, type(value) is int and 0 <= value < 2**32))


def _bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"unexpected value {str(value)[:40]!r}")
    return value.encode("latin-1")


def _call_id(value: object) -> bytes:
    text = _bytes(value)
    return bytes(_said(text, not re.search(rb"[\x00-\x20\x7f]", text)))


def _instance(value: object) -> bytes:
    text = _bytes(value)
    quoted = _is_quoted(text) is not None and b"\n" not in text and b"\r" not in text
    return bytes(_said(text, quoted or is_token(text)))


def _reg_id(value: object) -> bytes:
    text = _bytes(value)
    return bytes(_said(text, not text or is_token(text)))


def _source(value: object) -> Address:
    host, port = _said(value, isinstance(value, list) and len(value) == 2)
    is_host = isinstance(host, str) and is_ip_address(host.partition("%")[0])
    return Address(_said(host, is_host), _said(port, type(port) is int and 0 <= port < 65536))


def _path(value: object) -> tuple[bytes, ...]:
    uris = [_bytes(text) for text in _said(value, isinstance(value, list))]
    for text in uris:
        _said(text, text[:1] == b"<" and text[-1:] == b">")
        _sip_uri(text[1:-1])
    return tuple(uris)


_READERS: dict[str, Callable[[object], Any]] = {
    "local": _bool,
    "transport": lambda value: _said(value, isinstance(value, str) and value in _TRANSPORTS),
    "side": lambda value: Side(value),
    "since": _number(0, 1e12),
    "source": _source,
    "call_id": _call_id,
    "cseq": _whole,
    "instance": _instance,
    "reg_id": _reg_id,
    "q": _number(0, 1),
    "path": _path,
    "relayed": _bool,
}
