# SPDX-License-Identifier: MIT
"""What a directive is: the columns of the directive table."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

__all__ = ["NEW", "Directive", "Kind"]

#: The remark on a directive that only this program has.
NEW = "New; siproxd would report an unknown keyword and go on."


class Kind(Enum):
    """What a value must look like."""

    BOOLEAN = "0 or 1"
    INTEGER = "number"
    PORT = "port"
    DSCP = "DSCP"
    STRING = "text"
    PATH = "path"
    HOST = "host"
    SERVER = "server"
    INTERFACE = "interface"
    NETWORKS = "networks"
    CHOICE = "choice"
    PLUGIN = "plug-in"

    @property
    def numeric(self) -> bool:
        """Whether its values are whole numbers, 0 and 1 of BOOLEAN included."""
        return self in (Kind.BOOLEAN, Kind.INTEGER, Kind.PORT, Kind.DSCP)


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive of siproxd.conf."""

    name: str
    kind: Kind
    meaning: str
    """One paragraph for the administrator."""
    default: str = ""
    """As one would write it in the file; empty: not set, or no occurrence."""
    unit: str = ""
    low: int = 0
    """The lowest number that is taken."""
    high: int = 2**31 - 1
    """The highest number that is taken; siproxd keeps numbers in 32 bits."""
    reason: str = ""
    """Why other numbers are not taken, where that is not plain."""
    choices: tuple[str, ...] = ()
    """The words that a CHOICE takes, in any case."""
    synonyms: dict[str, str] = field(default_factory=dict, hash=False)
    """Other programs' spellings of values, and what they mean."""
    repeated: bool = False
    """Whether each occurrence adds a value; otherwise the last one counts."""
    group: tuple[str, ...] = ()
    """Names of the directives, itself included, whose n-th values belong together."""
    plugin: str = ""
    """The plug-in that it belongs to, without the prefix ``plugin_``."""
    compatibility: str = ""
    """Where siproxd does something else with it."""
    since: str = "0.1.0"
    """The version that knows it."""
    ignored: bool = False
    """Whether it is accepted for siproxd's sake and means nothing here."""
    secret: bool = False
    """Whether its value must never be shown."""
    guard: bool = False
    """Whether it keeps somebody out. To go on without it would let them in: an error in it is fatal."""

    @property
    def key(self) -> str:
        """Its name inside its plug-in: ``plugin_stun_port`` of plug-in stun is ``port``."""
        return self.name.removeprefix(f"plugin_{self.plugin}_") if self.plugin else self.name

    @property
    def expected(self) -> str:
        """What a value must look like, in words for an error message."""
        match self.kind:
            case Kind.BOOLEAN:
                return "0 or 1"
            case Kind.INTEGER | Kind.PORT | Kind.DSCP:
                unit = f" ({self.unit})" if self.unit else ""
                return f"a whole number from {self.low} to {self.high}{unit}"
            case Kind.HOST:
                return "a host name or an IP address"
            case Kind.SERVER:
                return "an IP address as 192.0.2.1, 192.0.2.1:PORT, 2001:db8::1 or [2001:db8::1]:PORT"
            case Kind.INTERFACE:
                return "the name of one network interface"
            case Kind.NETWORKS:
                return "networks as ADDRESS/LENGTH with commas between them"
            case Kind.CHOICE:
                return "one of " + ", ".join(self.choices)
            case Kind.PLUGIN:
                return "the name of a plug-in, such as plugin_logcall.la"
            case Kind.PATH:
                return "a path"
        return "text"
