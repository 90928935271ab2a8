# SPDX-License-Identifier: MIT
"""The grammar of siproxd.conf: what a line is, and what a number is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.config.grammar import Integer, Line, integer, parse
from siproxd_tw.config.problems import Problem, Report


def lines(text: bytes | str) -> list[tuple[int, str, str]]:
    """Parse what must be without problems."""
    report = Report("f")
    parsed = parse(text, report)
    assert not report.problems
    return [(line.number, line.key, line.value) for line in parsed]


def problems(text: bytes | str) -> tuple[Problem, ...]:
    """Parse what has problems and sets nothing."""
    report = Report("f")
    assert not parse(text, report)
    return report.problems


def test_a_line_is_key_and_value() -> None:
    """The line keeps its number and what it looked like."""
    report = Report("f")
    assert parse("a = b # c", report) == [Line(1, "a", "b", "a = b # c")]


@pytest.mark.parametrize(
    "text",
    [
        "k=v",
        "k = v",
        "\tk\t=\tv\t",
        "  k = v  ",
        "k = v# comment",
        "k = v\r",
        "\ufeffk = v",
        b"\xef\xbb\xbfk = v",
    ],
)
def test_blanks_tabs_comments_and_marks_around_do_not_count(text: bytes | str) -> None:
    """A tab behind the = becomes part of the value in siproxd; nobody wants that."""
    assert lines(text) == [(1, "k", "v")]


def test_the_first_equals_ends_the_key() -> None:
    """Values may have an = in them, and a key is not looked for in them."""
    assert lines("ua_string = My user agent = v5") == [(1, "ua_string", "My user agent = v5")]


def test_inner_blanks_and_quotes_belong_to_the_value() -> None:
    """There is no quoting."""
    assert lines("k = \"a  b\" 'c'") == [(1, "k", "\"a  b\" 'c'")]


def test_comments_and_empty_lines_set_nothing_and_keep_the_count() -> None:
    """The number of a line is the one that an editor shows."""
    assert lines("# k = v\n\n \t\n  # k = v\r\n####\nk = v\n\n") == [(6, "k", "v")]


def test_a_hash_cannot_be_quoted() -> None:
    """The value ends there, whatever stands around it, as in siproxd."""
    assert lines('k = "a#b"') == [(1, "k", '"a')]


def test_lf_and_crlf_may_be_mixed() -> None:
    """Files travel through editors."""
    assert lines(b"a = 1\r\nb = 2\nc = 3") == [(1, "a", "1"), (2, "b", "2"), (3, "c", "3")]


def test_other_line_separators_of_unicode_do_not_end_a_line() -> None:
    """They would make line numbers differ from those of an editor."""
    assert lines("k = a\u2028b\u0085c") == [(1, "k", "a\u2028b\u0085c")]


def test_bytes_that_are_not_utf8_survive() -> None:
    """A path in latin-1 is the path of that file."""
    (line,) = lines(b"registration_file = /var/gr\xfcn")
    assert line[2].encode("utf-8", "surrogateescape") == b"/var/gr\xfcn"


def test_a_comment_may_be_in_any_encoding_and_hold_anything() -> None:
    """Many old files have comments in latin-1."""
    assert lines(b"# f\xfcr \x00 alle\nk = v # \xff\x07") == [(2, "k", "v")]


def test_a_line_may_be_long() -> None:
    """Not cut at 1023 characters with the rest as another line, as in siproxd."""
    assert lines("k = " + "x" * 100_000) == [(1, "k", "x" * 100_000)]


def test_a_line_without_equals_names_its_first_word_only() -> None:
    """What stands behind it may be a password."""
    (problem,) = problems("\nproxy_auth_passwd\tsecret\n")
    assert str(problem) == 'f:2: no = after "proxy_auth_passwd", expected KEY = VALUE'
    assert problem.severity == "error"


def test_an_equals_in_a_comment_is_none() -> None:
    """The comment is cut first."""
    (problem,) = problems("if_inbound # = eth0")
    assert problem.text.startswith('no = after "if_inbound"')


def test_a_line_that_is_a_strange_blank_is_reported() -> None:
    """A no-break space is no blank, but it must not raise."""
    (problem,) = problems("\u00a0")
    assert problem.text.startswith('no = after "\\xa0"')


def test_a_key_is_needed() -> None:
    """A line that begins with = is an error."""
    (problem,) = problems(" = eth0")
    assert (problem.severity, problem.text) == ("error", "nothing before the =, expected KEY = VALUE")


@pytest.mark.parametrize("text", ["k =", "k=", "k = \t", "k = # v"])
def test_a_value_is_needed(text: str) -> None:
    """A warning as in siproxd; with a comment as the value it goes on with garbage."""
    (problem,) = problems(text)
    assert (problem.severity, problem.text) == ("warning", '"k" has no value: the line is ignored')


@pytest.mark.parametrize("control", ["\0", "\x1b", "\x7f", "\r"])
def test_control_characters_void_their_line_alone(control: str) -> None:
    """A NUL ends a C string; here it ends nothing and hides nothing."""
    report = Report("f")
    parsed = parse(f"a = 1\nb = 2{control}3\nc = 3\n", report)
    assert [line.key for line in parsed] == ["a", "c"]
    (problem,) = report.problems
    assert (problem.line, problem.severity) == (2, "error")
    assert f"\\x{ord(control):02x}" in problem.text


@pytest.mark.parametrize("text", ["k = v\n".encode("utf-16"), b"\xfe\xff\0k\0=\0v"])
def test_utf16_is_one_error(text: bytes) -> None:
    """An editor's other encoding gives one clear line, not one for each of the file."""
    (problem,) = problems(text)
    assert str(problem) == "f: the file is in UTF-16, expected UTF-8: save it again in that encoding"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-0", 0),
        ("8", 8),
        ("+8", 8),
        ("-1", -1),
        ("010", 8),
        ("-010", -8),
        ("0x10", 16),
        ("0XfF", 255),
        ("0x00000000", 0),
        ("00", 0),
        ("07", 7),
        ("18446744073709551616", 2**64),
        ("0" * 10_000 + "7", 7),
    ],
)
def test_numbers_are_those_of_percent_i(text: str, value: int) -> None:
    """Decimal, hexadecimal and octal, as scanf's %i reads them."""
    number = integer(text)
    assert (number.value, number.rest) == (value, "")


@pytest.mark.parametrize(
    ("text", "rest"),
    [("12abc", "abc"), ("12 s", "s"), ("12.5", ".5"), ("12,", ","), ("12 0x1", "0x1")],
)
def test_what_stands_behind_a_number_is_handed_back(text: str, rest: str) -> None:
    """To siproxd 12abc is 12; who calls says so."""
    assert integer(text) == Integer(12, rest, octal=False)


@pytest.mark.parametrize(("text", "octal"), [("010", True), ("07", False), ("0", False), ("0x10", False)])
def test_a_number_that_is_not_what_it_looks_like_is_marked(text: str, octal: bool) -> None:
    """Only where a leading zero changes the number."""
    assert integer(text).octal is octal


@pytest.mark.parametrize("text", ["abc", "-", "", "x10", " 12", "٣", "--1", "yes"])
def test_no_number(text: str) -> None:
    """The text of the error completes a sentence."""
    with pytest.raises(ValueError, match=r"^is not a number$"):
        integer(text)


@pytest.mark.parametrize("text", ["08", "09", "0x", "0xg", "0778", "-09"])
def test_a_number_that_breaks_off_by_its_base_is_none(text: str) -> None:
    """Taking 08 for 0 would be C's letter against everybody's meaning."""
    with pytest.raises(ValueError, match="a leading 0 makes it octal"):
        integer(text)


@pytest.mark.parametrize("text", ["9" * 21, "9" * 10_000, "0x" + "f" * 10_000, "-" + "0" + "7" * 30])
def test_huge_numbers_are_an_error(text: str) -> None:
    """They wrap around in siproxd; Python refuses 4301 digits with words that help nobody."""
    with pytest.raises(ValueError, match=r"^is too large a number$"):
        integer(text)


@given(st.integers(-(2**40), 2**40), st.sampled_from(["%d", "%x", "%o"]))
def test_every_number_is_read_in_every_base(value: int, base: str) -> None:
    """What printf writes, the grammar reads."""
    prefix = {"%d": "", "%x": "0x", "%o": "0"}[base]
    text = ("-" if value < 0 else "") + prefix + base % abs(value)
    assert integer(text).value == value


@given(st.text())
def test_a_number_or_a_reason(text: str) -> None:
    """Nothing but ValueError with one of the known texts leaves it."""
    try:
        integer(text)
    except ValueError as fault:
        assert str(fault).startswith("is ")


@given(st.binary() | st.text(alphabet=st.characters()))
def test_any_file_is_lines_and_problems(text: bytes | str) -> None:
    """Nothing raises, keys and values are stripped, and each line is told once at most."""
    report = Report("f")
    parsed = parse(text, report)
    numbers = [line.number for line in parsed] + [problem.line for problem in report.problems]
    assert len(set(numbers)) == len(numbers)
    assert all(number >= 1 for number in numbers) or numbers == [0], "0 is the file as a whole"
    for line in parsed:
        assert line.key and line.value
        assert line.key == line.key.strip(" \t") and line.value == line.value.strip(" \t")
        assert "=" not in line.key and "#" not in line.key + line.value
