# SPDX-License-Identifier: MIT
"""Problems: one printable line each, in the order of the file."""

from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.config.problems import Problem, Report, printable, quoted


def test_a_problem_reads_as_file_line_text() -> None:
    """Editors and people find the place by FILE:LINE."""
    assert str(Problem("siproxd.conf", 12, "error", "no")) == "siproxd.conf:12: no"


def test_a_problem_of_the_file_as_a_whole_has_no_line() -> None:
    """A file that cannot be opened has no line 0."""
    assert str(Problem("siproxd.conf", 0, "error", "no")) == "siproxd.conf: no"


def test_a_report_is_in_the_order_of_the_lines() -> None:
    """Checks that run at the end speak of early lines."""
    report = Report("f")
    report.error(7, "seven")
    report.notice(3, "three")
    report.warning(7, "seven again")
    assert [(p.line, p.severity, p.text) for p in report.problems] == [
        (3, "notice", "three"),
        (7, "error", "seven"),
        (7, "warning", "seven again"),
    ]


def test_what_does_not_print_is_shown_as_an_escape() -> None:
    """A stray byte is shown as that byte, a control character cannot move the cursor."""
    stray = b"\xff".decode("utf-8", "surrogateescape")
    assert printable("grün\x1b[2J" + stray + "\ud800\u200b\U000e0001") == (
        "grün\\x1b[2J\\xff\\ud800\\u200b\\U000e0001"
    )


def test_long_values_are_cut_in_quotes() -> None:
    """One line stays one line that can be read."""
    assert quoted("x" * 10_000) == '"' + "x" * 60 + '…"'
    assert quoted("eth0") == '"eth0"'


@given(st.text(alphabet=st.characters()), st.text(alphabet=st.characters()))
def test_every_problem_prints(filename: str, text: str) -> None:
    """Whatever the file is called and holds, its problems go to any UTF-8 terminal in one line."""
    line = str(Problem(filename, 1, "error", quoted(text)))
    assert line.encode("utf-8").decode("utf-8").isprintable()
