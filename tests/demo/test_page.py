"""The report: whole, self-contained, escaped."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from penstock.cli.demo.page import report_page, write_report
from penstock.cli.demo.plots import check_matplotlib
from penstock.cli.demo.recording import Recording
from penstock.cli.demo.timeline import stories
from penstock.kernel.errors import ExtraMissing

from .conftest import request

_VOID = {"meta", "link", "br", "hr", "img", "input"}


class _Balance(HTMLParser):
    """Fails where a tag is not closed, and collects what was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def page(recording: Recording) -> str:
    return report_page(recording, stories(recording))


def test_it_is_one_whole_document(page: str) -> None:
    parser = _Balance()
    parser.feed(page)
    assert not parser.open
    assert parser.seen.count("svg") == 4
    assert parser.seen.count("audio") == 5
    assert "script" not in parser.seen
    assert len(parser.ids) == len(set(parser.ids))


def test_it_fetches_nothing(page: str) -> None:
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert links
    assert all(link.startswith(("data:audio/wav;base64,", "#")) for link in links)


def test_the_plots_are_sound_and_take_the_pages_colours(page: str) -> None:
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        assert ET.fromstring(svg).tag.endswith("svg")
        assert "var(--" in svg
        assert "#0102" not in svg


def test_everything_is_escaped(page: str) -> None:
    for raw in ("<you>", "<0.2 %>", "because of <", '<b>"IndexError"', "<temp>"):
        assert raw not in page
    assert "Hello &lt;you&gt; &amp; me" in page
    assert "HTTP 500: &lt;b&gt;&quot;IndexError&quot;&lt;/b&gt;" in page


def test_the_facts_are_there(page: str) -> None:
    assert "2.0.1 was rolled back; 1.6.0 was promoted" in page
    assert "evidence 212" in page
    assert "<b>0</b> requests reached 2.0.1 after a decision against it" in page
    assert page.count("<summary>") == 17


def test_a_request_that_slipped_through_is_told(recording: Recording) -> None:
    slipped = replace(recording, requests=(*recording.requests, request(8.012, "2.0.1")))
    page = report_page(slipped, stories(slipped))
    assert "<b>12 ms</b> from the decision to the last request that reached 2.0.1" in page
    assert "<b>5 ms</b> until every gateway had acknowledged (gateway-1)" in page


def test_it_is_written_where_asked(recording: Recording, tmp_path: Path) -> None:
    path = write_report(tmp_path, recording, stories(recording))
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_missing_extra_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExtraMissing) as caught:
        check_matplotlib()
    assert caught.value.remedy == "install it with: pip install 'penstock[report]'"
