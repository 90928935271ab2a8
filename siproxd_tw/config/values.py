# SPDX-License-Identifier: MIT
"""The value of a directive: from the text of a file, and back to one.

`convert` takes what siproxd takes and says what siproxd does not say; `text_of` writes a value
so that `convert` reads the same one. `Values` holds many, each under its directive's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple, TypeVar

from siproxd_tw.config import networks
from siproxd_tw.config.grammar import integer
from siproxd_tw.config.networks import AccessList
from siproxd_tw.config.plugin_directives import PLUGINS
from siproxd_tw.config.problems import Severity, quoted
from siproxd_tw.config.schema import Directive, Kind

__all__ = ["Finding", "Single", "Value", "Values", "convert", "default_of", "text_of"]

Single = int | str | AccessList
"""What one occurrence of a directive sets; a BOOLEAN is a bool."""
Value = Single | tuple[Single, ...]
"""What a directive sets; a repeated one has a tuple."""

T = TypeVar("T")

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
#: RFC 1123 section 2.1, with the underscore that real names have; the last label is not a number.
_HOST_NAME = re.compile(rf"(?=.{{1,254}}\Z)(?:{_LABEL}\.)*(?![0-9]+\.?\Z){_LABEL}\.?")
_SERVER = re.compile(r"(?P<host>\[[^]]+\]|[^:]+):(?P<port>[0-9]{1,5})")
_INTERFACE = re.compile(r"[^\s/,\"']+")
_YES = ("yes", "on", "true")
_NO = ("no", "off", "false")


class Finding(NamedTuple):
    """Something to say about a value."""

    severity: Severity
    text: str


def convert(directive: Directive, text: str) -> tuple[Single | None, list[Finding]]:
    """Return what `text` means as a value of `directive`, None when nothing, and what there is to say."""
    findings: list[Finding] = []
    if text in directive.synonyms:
        synonym, text = text, directive.synonyms[text]
        findings.append(Finding("notice", f"{directive.name}: {quoted(synonym)} is read as {text}"))
    try:
        return _READERS[directive.kind](directive, text, findings), findings
    except ValueError as fault:
        meant = _meant(directive, text)
        shown = "its value" if directive.secret else quoted(text)
        hint = f", did you mean {meant}" if meant else ""
        complaint = f"{directive.name}: {shown} {fault}, expected {directive.expected}{hint}"
        return None, [*findings, Finding("error", complaint)]


def default_of(directive: Directive) -> Value:
    """Return the value of `directive` when a file does not mention it."""
    if directive.repeated:
        return ()
    if not directive.default:
        return AccessList() if directive.kind is Kind.NETWORKS else ""
    value, _ = convert(directive, directive.default)
    assert value is not None, directive.name
    return value


def text_of(directive: Directive, value: Single) -> str:
    """Return the text that means `value`, empty for a value that is not set."""
    if directive.kind is Kind.PLUGIN:
        return f"plugin_{value}.la"
    return str(int(value)) if isinstance(value, int) else str(value)


def _number(directive: Directive, text: str, findings: list[Finding]) -> int:
    number = integer(text)
    if not directive.low <= number.value <= directive.high:
        raise ValueError(f"is out of range{directive.reason and f' ({directive.reason})'}")
    if number.rest:
        # siproxd takes the number and never looks further; a file that works must go on working.
        findings.append(
            Finding(
                "warning",
                f"{directive.name}: {quoted(text)} is taken as {number.value}, expected {directive.expected}",
            )
        )
    if number.octal:
        findings.append(
            Finding(
                "notice",
                f"{directive.name}: {quoted(text)} is octal by its leading 0: {number.value}",
            )
        )
    return number.value


def _boolean(directive: Directive, text: str, findings: list[Finding]) -> bool:
    if (number := _number(directive, text, findings)) not in (0, 1):
        raise ValueError("is neither")
    return bool(number)


def _string(directive: Directive, text: str, findings: list[Finding]) -> str:
    if len(text) > 1 and text[0] == text[-1] in ('"', "'"):
        findings.append(Finding("notice", f"{directive.name}: the quotes are taken as part of the value"))
    return text


def _host(directive: Directive, text: str, findings: list[Finding]) -> str:
    if _HOST_NAME.fullmatch(text):
        return text
    try:
        address = ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError("is neither") from None
    if isinstance(address, IPv6Address) and address.scope_id:
        raise ValueError("has a zone, which means nothing to anybody else")
    return str(address)


def _server(directive: Directive, text: str, findings: list[Finding]) -> str:
    """Read an address with or without a port; an IPv6 address with a port has brackets."""
    parts = _SERVER.fullmatch(text)
    host, port = (text, None) if parts is None else parts.group("host", "port")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError("is none") from None
    if isinstance(address, IPv6Address) and address.scope_id:
        raise ValueError("has a zone")
    if port is None:
        return str(address)
    if not 1 <= int(port) <= 65535:
        raise ValueError("has no port")
    return f"[{address}]:{int(port)}" if address.version == 6 else f"{address}:{int(port)}"


def _interface(directive: Directive, text: str, findings: list[Finding]) -> str:
    if not _INTERFACE.fullmatch(text):
        raise ValueError("is none")
    return text


def _networks(directive: Directive, text: str, findings: list[Finding]) -> AccessList:
    found, faults = networks.parse(text)
    findings += (Finding("error", f"{directive.name}: {fault}") for fault in faults)
    return found


def _choice(directive: Directive, text: str, findings: list[Finding]) -> str:
    for choice in directive.choices:
        if choice.lower() == text.lower():
            return choice
    raise ValueError("is none of them")


def _plugin(directive: Directive, text: str, findings: list[Finding]) -> str:
    name = text.rpartition("/")[2].removesuffix(".la").removesuffix(".so").removeprefix("plugin_")
    if not name or re.search(r"\s", name):
        raise ValueError("is none")
    if name not in PLUGINS:
        close = get_close_matches(name[:40], PLUGINS, n=1)
        hint = f", did you mean plugin_{close[0]}.la" if close else f", expected one of {', '.join(PLUGINS)}"
        findings.append(Finding("warning", f"{directive.name}: there is no plug-in {quoted(name)}{hint}"))
    return name


def _meant(directive: Directive, text: str) -> str:
    """Return what was probably meant by a `text` that is no value of `directive`."""
    if directive.kind is Kind.BOOLEAN and text.lower() in _YES + _NO:
        return str(int(text.lower() in _YES))
    if directive.kind is Kind.HOST and text.count(":") == 1:
        return quoted(text.partition(":")[0])
    if directive.kind in (Kind.HOST, Kind.INTERFACE) and text.strip("\"'") != text:
        return quoted(text.strip("\"'"))
    return ""


_READERS: dict[Kind, Callable[[Directive, str, list[Finding]], Single]] = {
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _number,
    Kind.PORT: _number,
    Kind.DSCP: _number,
    Kind.STRING: _string,
    Kind.PATH: _string,
    Kind.HOST: _host,
    Kind.SERVER: _server,
    Kind.INTERFACE: _interface,
    Kind.NETWORKS: _networks,
    Kind.CHOICE: _choice,
    Kind.PLUGIN: _plugin,
}


class Values(Mapping[str, Value]):
    """Values by name, which do not change; each method returns those of one type.

    They raise KeyError for a name that is not there, and TypeError for a value of another type:
    mistakes of the caller, who knows the directive table.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"Values({self._values!r})"

    def text(self, name: str) -> str:
        """Return a text, empty when it is not set."""
        return _as(str, self[name], name)

    def number(self, name: str) -> int:
        """Return a number in the unit of the directive."""
        return _as(int, self[name], name)

    def flag(self, name: str) -> bool:
        """Return whether a BOOLEAN is 1."""
        return _as(bool, self[name], name)

    def networks(self, name: str) -> AccessList:
        """Return an access list, false when it is not set."""
        return _as(AccessList, self[name], name)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the texts of a repeated directive, in the order of the file."""
        return tuple(_as(str, value, name) for value in _as(tuple, self[name], name))

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return the numbers of a repeated directive, in the order of the file."""
        return tuple(_as(int, value, name) for value in _as(tuple, self[name], name))


def _as(type_: type[T], value: object, name: str) -> T:
    if not isinstance(value, type_):
        raise TypeError(f"{name} is a {type(value).__name__}, not a {type_.__name__}")
    return value
