"""The report in a real browser: whatever the evaluation, it asks for nothing, complains of nothing and fits the window."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from . import browser

pytest.importorskip("jinja2", reason="needs the evaluator's libraries: runs inside its image")
pytestmark = pytest.mark.skipif(browser.PROGRAM is None, reason="needs a browser: Debian's chromium-headless-shell")

WINDOWS = [(width, scheme) for width in (360, 800, 1280) for scheme in ("light", "dark")]
# What is wider than the window, but for what is made to be scrolled by itself and what is only for screen readers.
TOO_WIDE = """(() => {
  const width = document.documentElement.clientWidth
  const wide = [...document.querySelectorAll('body *')].filter(
    e => e.getBoundingClientRect().right > width + 1 && !e.closest('.scroll, .skip'))
  const page = document.documentElement.scrollWidth > width ? ['the page'] : []
  return [...page, ...wide.map(e => e.outerHTML.slice(0, 100))]
})()"""
# Text that goes out of its own cell, into the next.
CUT_OFF = """[...document.querySelectorAll('td, th, dd, p, li')].filter(
  e => e.scrollWidth > e.clientWidth + 1 && !e.closest('.scroll') && !e.querySelector('.hidden') && getComputedStyle(e).display !== 'inline')
  .map(e => e.outerHTML.slice(0, 100))"""
CRITERIA = "document.querySelector('#criteria').innerText"
GROUND = "getComputedStyle(document.body).backgroundColor"


@dataclass(frozen=True)
class Seen:
    complaints: list[str]
    requests: list[str]
    too_wide: list[str]
    cut_off: list[str]
    criteria: str
    ground: str


Views = Mapping[tuple[str, int, str], Seen]


async def look(pages: Mapping[str, Path]) -> Views:
    seen = {}
    async with browser.tab() as tab:
        for name, page in pages.items():
            for width, scheme in WINDOWS:
                await tab.show(page.as_uri(), width, scheme)
                found = [await tab.find(each) for each in (TOO_WIDE, CUT_OFF, CRITERIA, GROUND)]
                asked = [url for url in tab.requests if url != page.as_uri() and not url.startswith("data:")]
                seen[name, width, scheme] = Seen(list(tab.complaints), asked, *found)
    return seen


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    from stagecoach_evaluator.report import HTML, render

    from . import report_examples

    folder, pages = tmp_path_factory.mktemp("pages"), {}
    for name, make in (report_examples.ALL | {"hostile": report_examples.hostile}).items():
        pages[name] = folder / f"{name}.html"
        pages[name].write_bytes(render(make())[HTML])
    return asyncio.run(look(pages))


def test_nothing_is_complained_of(views: Views) -> None:
    assert {view: seen.complaints for view, seen in views.items() if seen.complaints} == {}


def test_no_request_leaves_the_page(views: Views) -> None:
    assert {view: seen.requests for view, seen in views.items() if seen.requests} == {}


def test_it_fits_the_window(views: Views) -> None:
    assert {view: seen.too_wide for view, seen in views.items() if seen.too_wide} == {}
    assert {view: seen.cut_off for view, seen in views.items() if seen.cut_off} == {}


def test_the_criteria_are_there_as_text(views: Views) -> None:
    for width, scheme in WINDOWS:
        text = views["banking", width, scheme].criteria
        for said in ("lost-card", "recall", "at least 0.95", "Failed", "0.872", "about 1,450 rows would tell"):
            assert said in text, (width, scheme)


def test_it_is_dark_where_the_reader_wants_it_dark(views: Views) -> None:
    grounds = {scheme: views["routing", 1280, scheme].ground for scheme in ("light", "dark")}
    assert grounds == {"light": "rgb(244, 246, 249)", "dark": "rgb(14, 19, 26)"}
