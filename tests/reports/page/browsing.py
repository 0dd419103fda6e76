"""Headless Chromium for the tests of pages, and what a reader sees in one."""

import csv
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gatehouse.reports.page.payload import Links
from gatehouse.reports.page.report import render
from gatehouse.reports.verdict.findings import AssessedRun
from tests.reports.made_up_page import made_up_page
from tests.reports.made_up_texts import made_up_texts

CHROMIUM = os.environ.get("GATEHOUSE_CHROMIUM") or shutil.which("chromium")
FLAGS = [
    f"--{flag}"
    for flag in (
        "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking "
        "disable-component-update disable-sync"
    ).split()
]
PAGE_ROWS = 100
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    if not (CHROMIUM and Path(CHROMIUM).exists()):
        if os.environ.get("GATEHOUSE_REQUIRE_CHROMIUM") == "1":
            pytest.fail("GATEHOUSE_REQUIRE_CHROMIUM is 1 and no Chromium was found")
        pytest.skip("no Chromium: install it, or set GATEHOUSE_CHROMIUM to its path")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def run_page() -> AssessedRun:
    return made_up_page(4, 400)


@pytest.fixture(scope="module")
def address(run_page, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(run_page, Links(layer=1), made_up_texts(run_page)), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def tab(browser, address):
    """One page for the tests that leave it as they found it; any fault in it fails the last."""
    opened = browser.new_page(viewport=DESK, reduced_motion="reduce")
    # a browser that starts on a busy machine takes its time
    opened.set_default_timeout(30_000)
    faults: list[str] = []
    opened.on("console", lambda message: faults.append(message.text))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda request: faults.append(request.url))
    opened.on("dialog", lambda dialog: faults.append(dialog.message))
    opened.goto(address)
    assert faults == [address]
    yield opened
    assert faults == [address]
    opened.close()


@contextmanager
def drawn_without_a_fault(browser, path: Path, **looks) -> Iterator[Any]:
    """Open a page for a block, at the end of which nothing has been logged or raised in it.

    Args:
        browser: the fixture.
        path: the file of the page.
        looks: of Playwright's `new_page`.
    """
    faults: list[str] = []
    page = browser.new_page(**looks)
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(path.as_uri())
    yield page
    assert faults == []
    page.close()


def frame_of(run_page: AssessedRun, layer: int) -> pd.DataFrame:
    """Return the tokens of a layer by id."""
    tokens = run_page.marts.tokens
    return tokens[tokens["moe_index"] == layer].set_index("token_id")


def column(tab, name: str) -> list[str]:
    """Return the texts of a column on the token table's current page."""
    place = [each[0] for each in COLUMNS].index(name) + 1
    return tab.locator(f"#token-table tbody tr > :nth-child({place})").all_text_contents()


COLUMNS = (("Token",), ("Id",), ("Frequency",), ("Entropy",), ("Confidence",), ("Consistency",))


def whole(texts: list[str]) -> list[int]:
    return [int(text.replace(",", "")) for text in texts]


def assert_layer(tab, layer: int) -> None:
    # the browser reports a new address a little after it has changed
    tab.wait_for_url(re.compile(f"#layer={layer}$"))


def figures_of(tab, drawn: str = "svg") -> Iterator[Any]:
    """Scroll to every figure of a page, one after another, and yield it once it is drawn.

    Args:
        tab: the page.
        drawn: a selector of what a figure has by then.
    """
    for figure in tab.locator(".figure").all():
        figure.scroll_into_view_if_needed()
        figure.locator(drawn).first.wait_for()
        yield figure


def cells_of(figure) -> list[str]:
    """Open the table of a figure, and return the texts of its cells."""
    # by keyboard, as a download; a browser tells the page of an opened table a little later
    figure.locator("summary").press("Enter")
    figure.locator(".alternative td").first.wait_for()
    cells = figure.locator(".alternative td").all_text_contents()
    figure.locator("summary").press("Enter")
    return cells


def downloaded(tab, button) -> list[dict[str, str]]:
    # by keyboard: a figure that is drawn while it scrolls into view moves what a mouse aimed at
    with tab.expect_download() as download:
        button.press("Enter")
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
