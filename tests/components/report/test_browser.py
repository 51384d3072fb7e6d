"""The page in headless Chromium: offline, both themes, a phone, accessibility."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

# Debian's, and what others call it.
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
CHARTS = 10


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        missing = f"none of {', '.join(_NAMES)} is on the PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, its mistakes with script tags and a megabyte of text included, as a file."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


class Opened:
    """The page in a tab without network, and what the browser had to say about it."""

    def __init__(self, browser: Browser, file: Path, **context: Any) -> None:
        self.context = browser.new_context(offline=True, **context)
        self.tab: Page = self.context.new_page()
        self.said: list[str] = []
        self.requested: list[str] = []
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("request", lambda request: self.requested.append(request.url))
        self.tab.goto(file.as_uri())

    def open_details(self) -> None:
        self.tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")


@pytest.fixture(params=["light", "dark"])
def opened(request: pytest.FixtureRequest, browser: Browser, file: Path) -> Iterator[Opened]:
    opened = Opened(
        browser, file, color_scheme=request.param, viewport={"width": 1280, "height": 900}
    )
    yield opened
    opened.context.close()


def test_opens_without_a_word_or_a_request(opened: Opened, file: Path) -> None:
    opened.open_details()
    assert opened.said == []
    assert opened.requested == [file.as_uri()]


def test_hostile_abstracts_do_not_run(opened: Opened) -> None:
    assert opened.tab.evaluate("window.ran") is None
    assert "<script>window.ran = true</script>" in opened.tab.locator(".mistakes").inner_text()


def test_charts_are_drawn(opened: Opened) -> None:
    drawings = opened.tab.locator("figure svg")
    assert drawings.count() == CHARTS
    for box in (drawings.nth(index).bounding_box() for index in range(CHARTS)):
        assert box is not None
        assert box["width"] > 300
        assert box["height"] > 100


def test_charts_take_the_themes_colours(opened: Opened, request: pytest.FixtureRequest) -> None:
    dark = "dark" in request.node.callspec.id
    paper = opened.tab.evaluate("getComputedStyle(document.body).backgroundColor")
    word = opened.tab.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill")
    brightness = [
        sum(map(int, c.removeprefix("rgb(").rstrip(")").split(","))) for c in (paper, word)
    ]
    assert (
        (brightness[0] < 150 and brightness[1] > 600)
        if dark
        else (brightness[0] > 700 and brightness[1] < 150)
    )


def test_axe_finds_nothing_serious(opened: Opened) -> None:
    opened.open_details()
    results = Axe().run(opened.tab).response
    assert results["passes"]
    found = [
        (one["id"], one["impact"], [node["target"] for node in one["nodes"]][:5])
        for one in results["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert found == []


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_makes_the_page_scroll_sideways(browser: Browser, file: Path, width: int) -> None:
    opened = Opened(browser, file, viewport={"width": width, "height": 800})
    opened.open_details()
    assert opened.tab.evaluate("document.documentElement.scrollWidth") <= width
    opened.context.close()


def test_keyboard_reaches_tables_and_details(opened: Opened) -> None:
    opened.tab.keyboard.press("Tab")
    assert opened.tab.evaluate("document.activeElement.textContent") == "Skip to the verdict"
    reached = set()
    for _ in range(80):
        opened.tab.keyboard.press("Tab")
        reached.add(
            opened.tab.evaluate(
                "document.activeElement.getAttribute('aria-label') "
                "|| document.activeElement.tagName + document.activeElement.textContent"
            )
        )
    assert {"Confusion matrix", "SUMMARYAll 6 slices", "ALineage"} <= reached
    opened.tab.locator("summary", has_text="All 6 slices").focus()
    opened.tab.keyboard.press("Enter")
    assert opened.tab.locator("[aria-label='All slices']").is_visible()


def test_print_is_light_and_opens_what_is_closed(browser: Browser, file: Path) -> None:
    opened = Opened(browser, file, color_scheme="dark", viewport={"width": 794, "height": 1123})
    opened.tab.emulate_media(media="print")
    paper = opened.tab.evaluate(
        "getComputedStyle(document.documentElement).getPropertyValue('--paper').trim()"
    )
    assert paper == "#ffffff"
    assert not opened.tab.locator("nav").is_visible()
    assert opened.tab.locator("[aria-label='Every epoch'] td").first.is_visible()
    assert opened.tab.evaluate("document.documentElement.scrollWidth") <= 794
    assert opened.tab.pdf(format="A4").startswith(b"%PDF")
    opened.context.close()
