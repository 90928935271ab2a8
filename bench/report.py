# SPDX-License-Identifier: MIT
"""What the signalling benchmark found: samples, their medians and spread, tables, files."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

BEGIN = "<!-- signalling: written by make bench -->"
END = "<!-- end of signalling -->"
OURS, PEER = "siproxd_tw", "Kamailio"
FLAT = "REGISTER, µs CPU per message"
"""The cost that must not grow with the number of registrations."""
ALLOWED_GROWTH = 0.10


class Samples:
    """Values by group (a heading), measure (a line) and proxy (a column), in the order in which they came."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, dict[str, list[float]]]] = {}
        self.notes: list[str] = []

    def add(self, group: str, measure: str, proxy: str, value: float) -> None:
        """Take one value."""
        self.values.setdefault(group, {}).setdefault(measure, {}).setdefault(proxy, []).append(value)

    def median(self, group: str, measure: str, proxy: str) -> float:
        """Return the median of the values, of which there must be one."""
        return statistics.median(self.values[group][measure][proxy])

    def ratio(self, group: str, measure: str) -> float | None:
        """Return ours divided by the peer's; None where that is no number."""
        columns = self.values.get(group, {}).get(measure, {})
        if OURS not in columns or PEER not in columns or not self.median(group, measure, PEER):
            return None
        return self.median(group, measure, OURS) / self.median(group, measure, PEER)


def number(value: float) -> str:
    """Return three digits of a number, more where it is large."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _cell(values: list[float]) -> str:
    text = number(statistics.median(values))
    if len(values) == 1 or min(values) == max(values):
        return text
    return f"{text} ({number(min(values))}–{number(max(values))})"


def _group(samples: Samples, group: str) -> Iterator[str]:
    lines = samples.values[group]
    proxies = list(dict.fromkeys(proxy for columns in lines.values() for proxy in columns))
    compared = len(proxies) > 1
    yield f"### {group}"
    yield ""
    yield f"| | {' | '.join(proxies)} |" + (" ratio |" if compared else "")
    yield "|---" * (1 + len(proxies) + compared) + "|"
    for measure, columns in lines.items():
        cells = [_cell(columns[proxy]) if proxy in columns else "–" for proxy in proxies]
        ratio = samples.ratio(group, measure)
        ratios = [number(ratio) if ratio is not None else "–"] if compared else []
        yield f"| {measure} | {' | '.join(cells + ratios)} |"
    yield ""


def _sizes(samples: Samples) -> list[str]:
    return [group for group, lines in samples.values.items() if FLAT in lines]


def _growth(samples: Samples) -> Iterator[str]:
    sizes = _sizes(samples)
    if len(sizes) < 2:
        return
    yield "### Cost of a REGISTER as registrations grow"
    yield ""
    yield f"| µs CPU per message | {' | '.join(sizes)} | growth |"
    yield "|---" * (len(sizes) + 2) + "|"
    for proxy in (OURS, PEER):
        costs = [samples.median(group, FLAT, proxy) for group in sizes]
        growth = costs[-1] / costs[0] - 1
        verdict = "" if growth <= ALLOWED_GROWTH else f", more than the {ALLOWED_GROWTH:.0%} allowed"
        yield f"| {proxy} | {' | '.join(map(number, costs))} | {growth:+.1%}{verdict} |"
    yield ""


def _ratios(samples: Samples) -> Iterator[str]:
    sizes = _sizes(samples)
    yield f"### {OURS} / {PEER}"
    yield ""
    yield f"| | {' | '.join(sizes)} |"
    yield "|---" * (len(sizes) + 1) + "|"
    for measure in dict.fromkeys(measure for group in sizes for measure in samples.values[group]):
        ratios = [samples.ratio(group, measure) for group in sizes]
        cells = ["–" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        yield f"| {measure} | {' | '.join(cells)} |"
    yield ""


def tables(samples: Samples, about: Mapping[str, str]) -> str:
    """Return the whole section as Markdown."""
    lines = [f"- {name}: {value}" for name, value in about.items()] + [""]
    for group in samples.values:
        lines.extend(_group(samples, group))
    lines.extend(_growth(samples))
    lines.extend(_ratios(samples))
    if samples.notes:
        lines += ["What went wrong:", "", *(f"- {note}" for note in samples.notes), ""]
    return "\n".join(lines)


def publish(samples: Samples, about: Mapping[str, str], root: Path, into_docs: bool) -> str:
    """Write bench/out/sip.json and, if so wanted, the section of docs/benchmarks.md; return the section."""
    section = tables(samples, about)
    found = {"about": dict(about), "values": samples.values, "notes": samples.notes}
    (root / "bench" / "out" / "sip.json").write_text(json.dumps(found, indent=1, ensure_ascii=False))
    if into_docs:
        page = root / "docs" / "benchmarks.md"
        page.write_text(replaced(page.read_text(), section))
    return section


def replaced(page: str, section: str) -> str:
    """Return `page` with what is between the two marks replaced; whatever else is in it stays."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/benchmarks.md has lost its marks, {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{section}\n{END}{after}"
