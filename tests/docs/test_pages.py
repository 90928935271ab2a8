# SPDX-License-Identifier: MIT
"""The pages for administrators: what is to be typed works, links lead somewhere, log lines are real."""

import re
from pathlib import Path

import pytest

from siproxd_tw.config.directives import DIRECTIVES
from siproxd_tw.config.reader import Reading, read
from siproxd_tw.config.settings import Config

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "bench/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FOR_ADMINISTRATORS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "docs/transports.md"]
TRANSPORTS = (ROOT / "docs/transports.md").read_text(encoding="utf-8")

SNIPPETS = [
    pytest.param(text, id=f"{page.name} {number}")
    for page in PAGES
    for number, text in enumerate(
        re.findall(r"```conf\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    )
]
EXAMPLE = (ROOT / "examples/siproxd.conf").read_text(encoding="utf-8")


def snippet(*directives: str) -> Config:
    """Return what the one snippet of transports.md with just these directives means."""
    for text in re.findall(r"```conf\n(.*?)```", TRANSPORTS, re.DOTALL):
        if [line.partition("=")[0].strip() for line in text.splitlines()] == list(directives):
            return read(text, "transports.md").config
    raise LookupError(directives)


def clean(text: str) -> Reading:
    """Read a configuration that must have no problem, not even a notice."""
    reading = read(text, "page")
    assert not reading.problems, "\n".join(map(str, reading.problems))
    return reading


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("text", SNIPPETS)
def test_a_snippet_can_be_typed_as_it_is(text: str) -> None:
    """Nothing in it is unknown, wrong or without effect."""
    assert clean(text).origins


def test_the_example_is_right_also_with_what_is_commented_out() -> None:
    """A directive behind a ``#`` is one that somebody is to try."""
    clean(EXAMPLE)
    clean(re.sub(r"^#(?=[a-z_]+ *=)", "", EXAMPLE, flags=re.MULTILINE))


def test_tls_for_phones_and_browsers() -> None:
    """The snippets name the files and the port that the text speaks of."""
    phones = snippet("tls_certificate", "tls_key").transports
    assert (phones.certificate, phones.tls_port) == ("/etc/siproxd/fullchain.pem", 5061)
    assert snippet("tls_certificate", "tls_key", "wss_listen_port").transports.wss_port == 7443


def test_providers_by_tls() -> None:
    """Without a port, so that the DNS says it."""
    routing = snippet("outbound_proxy_host", "outbound_proxy_transport").routing
    assert (routing.proxy_host, routing.proxy_port, routing.proxy_transport) == (
        "sip.provider.example",
        None,
        "TLS",
    )
    domains = snippet(
        "outbound_domain_name", "outbound_domain_host", "outbound_domain_port", "outbound_domain_transport"
    ).routing
    proxy = domains.for_domain("provider.example")
    assert proxy is not None
    assert (proxy.host, proxy.port, proxy.transport) == ("sip.provider.example", None, "TLS")


@pytest.mark.parametrize("page", FOR_ADMINISTRATORS, ids=lambda page: page.name)
def test_every_directive_that_is_named_exists(page: Path) -> None:
    """In backticks, alone or with its value."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = set(re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+)+)(?: = [^`]*)?`", text))
    assert named - set(DIRECTIVES) <= {"siproxd_tw", "send_errors"}


def test_the_layout_has_every_module() -> None:
    """A new file is to be named in docs/architecture.md, one that is gone no longer."""
    layout = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("```")[1]
    for package in ("sip", "proxy", "media", "transport"):
        part = layout.partition(f"\n  {package}/")[2]
        named = set(re.findall(r"[a-z0-9]+", re.split(r"\n  [a-z]", part)[0]))
        modules = {path.stem for path in (ROOT / "siproxd_tw" / package).glob("[a-z]*.py")}
        assert modules <= named, f"{package}: {modules - named} should be in the layout"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    """In backticks, relative to the repository or to the program."""
    for path in re.findall(r"`([a-z_]+(?:/[a-z_]+)+\.py)`", page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists() or (ROOT / "siproxd_tw" / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """To files of this repository, and to headings in them."""
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_log_lines_are_those_of_the_program() -> None:
    """What stands between the values of each line is a text of the source."""
    source = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "siproxd_tw").rglob("*.py")))
    table = TRANSPORTS.partition("| in the log | means |\n|---|---|\n")[2].partition("\n\n")[0]
    values = (
        r"198\.51\.100\.7(?::5061|:5060)?|192\.168\.1\.1|(?:sip|www)\.provider\.example|/etc/siproxd/[a-z.]+"
        r"|5060|\(inside\)|Permission denied|tls_key|\b(?:TCP|UDP|TLS)(?= bound| 198)"
        r"|(?<=failed): .*$|(?<=no TLS): |(?<=did not answer); "  # these are of two texts
    )
    lines = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert len(lines) == len(table.splitlines())
    for line in lines:
        parts = [part.strip(" :;") for part in re.split(values, line)]
        assert max(map(len, parts)) > 5
        assert all(part in source for part in parts), line


def test_the_pages_say_what_is_installed_for_tls() -> None:
    """The extras have the names that pyproject.toml gives them."""
    extras = (
        (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.optional-dependencies]")[2]
    )
    for extra in re.findall(r"\.\[([a-z,]+)\]", TRANSPORTS):
        assert all(re.search(rf"^{name} = \[", extras, re.MULTILINE) for name in extra.split(","))
