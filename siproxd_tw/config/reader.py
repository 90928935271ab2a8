# SPDX-License-Identifier: MIT
"""Reads a siproxd.conf: text in, a `Config` and the problems out.

Nothing that a file says raises, and nothing is ignored in silence. A wrong value is an error and
leaves the value as it was before, an unknown key is a warning, and what siproxd takes is taken.
A reading is always complete; whether to work with one that has errors is the caller's decision, but
one that has `Reading.fatal` ones lets somebody in whom the file keeps out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from siproxd_tw.config.checks import Found, Occurrence, check
from siproxd_tw.config.directives import ALIASES, DIRECTIVES, GUARDS, LATER, LATER_AND_DANGEROUS, suggestion
from siproxd_tw.config.effective import effective
from siproxd_tw.config.files import Look, check_files
from siproxd_tw.config.grammar import Line, parse
from siproxd_tw.config.problems import Problem, Report, Severity, printable, quoted
from siproxd_tw.config.schema import Directive
from siproxd_tw.config.settings import Config
from siproxd_tw.config.translation import config_from
from siproxd_tw.config.values import Single, Value, Values, convert, default_of

__all__ = ["Problem", "Reading", "candidates", "effective", "load", "read"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file says, and what is wrong with it."""

    filename: str
    config: Config
    problems: tuple[Problem, ...]
    """In the order of their lines."""
    origins: Mapping[str, tuple[str, ...]] = field(repr=False)
    """Where the values of each directive that the file sets stand, as FILE:LINE."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems because of which a value of the file does not count."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def fatal(self) -> tuple[Problem, ...]:
        """The errors with which nothing must start: of the file as a whole, or of what keeps somebody out."""
        return tuple(problem for problem in self.errors if not problem.line or _guarding(problem.about))

    @property
    def effective(self) -> str:
        """The effective configuration, as text in the syntax of the file."""
        return effective(self.config, self.origins)


def candidates(home: str) -> list[str]:
    """Return where a configuration file may be, best first; `home` may be empty.

    siproxd's list without the one folder that was chosen when it was built.
    """
    personal = [f"{home.rstrip('/')}/.siproxdrc"] if home else []
    folders = ["/etc", "/etc/siproxd", "/usr/etc", "/usr/local/etc"]
    return personal + [f"{folder}/siproxd.conf" for folder in folders]


def load(path: str) -> Reading:
    """Read the file at `path`; one that cannot be opened is one problem, and an empty file."""
    try:
        return read(_content(path), path, _content)
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the path
        reason = getattr(fault, "strerror", None) or str(fault)
        problem = Problem(path, 0, "error", f"the configuration file cannot be read: {reason}")
        return Reading(path, Config(), (problem,), {})


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def read(text: bytes | str, filename: str, look: Look | None = None) -> Reading:
    """Read the content of a file; its name is for the problems.

    With `look` the files that it names are looked at as well.
    """
    report = Report(filename)
    found = _collect(parse(text, report), report)
    _say_what_comes_later(found, report)
    check(found, report)
    if look is not None:
        check_files(found, look, report)
    values = Values({name: _value(directive, found.get(name, [])) for name, directive in DIRECTIVES.items()})
    return Reading(filename, config_from(values), report.problems, _origins(found, filename))


def _collect(lines: list[Line], report: Report) -> Found:
    """Convert the value of each line whose key is known."""
    found: Found = {}
    for line in lines:
        directive = DIRECTIVES.get(ALIASES.get(line.key, line.key))
        if directive is None:
            _say_unknown(line, report)
            continue
        if line.key != directive.name:
            report.notice(line.number, f"{line.key} is OPNsense's spelling, read as {directive.name}")
        value, findings = convert(directive, line.value)
        for severity, text in findings:
            report.add(line.number, severity, text, line.key)
        earlier = found.setdefault(directive.name, [])
        _say_what_repeats(directive, earlier, line.number, value, report)
        earlier.append(Occurrence(line.number, value))
    return found


def _say_unknown(line: Line, report: Report) -> None:
    close = suggestion(line.key)
    hint = f"did you mean {close}" if close else "expected a directive of siproxd.conf"
    severity: Severity = "error" if close in GUARDS else "warning"
    report.add(
        line.number, severity, f"unknown key {quoted(line.key)}, {hint}; the line is ignored", line.key
    )


def _guarding(key: str) -> bool:
    """Return whether `key` is, or was probably meant to be, a directive that keeps somebody out."""
    return (key if key in DIRECTIVES else suggestion(key)) in GUARDS


def _say_what_repeats(
    directive: Directive, earlier: list[Occurrence], line: int, value: Single | None, report: Report
) -> None:
    before = [occurrence.line for occurrence in earlier if occurrence.value is not None]
    if not directive.repeated and before and value is not None:
        report.notice(line, f"{directive.name} is set again, line {before[-1]} no longer counts")


def _say_what_comes_later(found: Found, report: Report) -> None:
    """Tell once of each directive whose feature is missing, unless it only says that it is not wanted."""
    for name in LATER & found.keys():
        default = default_of(DIRECTIVES[name])
        asking = [o.line for o in found[name] if o.value is not None and (o.value or o.value != default)]
        if not asking:
            continue
        if name in LATER_AND_DANGEROUS:
            report.warning(asking[0], f"{name} has no effect yet: {LATER_AND_DANGEROUS[name]}")
        else:
            report.notice(asking[0], f"{name} is accepted and has no effect yet: its feature comes later")


def _value(directive: Directive, occurrences: list[Occurrence]) -> Value:
    values = tuple(occurrence.value for occurrence in occurrences if occurrence.value is not None)
    if directive.repeated:
        return values
    return values[-1] if values else default_of(directive)


def _origins(found: Found, filename: str) -> dict[str, tuple[str, ...]]:
    """Return the places of the values that count."""
    return {
        name: tuple(
            f"{printable(filename)}:{occurrence.line}"
            for occurrence in (occurrences if DIRECTIVES[name].repeated else occurrences[-1:])
        )
        for name, occurrences in found.items()
        if occurrences
    }
