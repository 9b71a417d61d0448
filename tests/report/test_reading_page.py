"""The reading page in a real browser: scores by keyboard, kept for each rater apart, saved as a file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browsers import BROWSER, MARKS
from clinfit.evaluation.readings import CRITERIA
from clinfit.report.reading import RATINGS_FORMAT, ReadItem, render_reading

pytestmark = MARKS


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    """The page of two records with two texts each; what the console says is an error of the test."""
    from playwright.sync_api import sync_playwright

    items = [ReadItem(f"r{k}", [("note", f"Fell <b>{k}</b> times.")], f"{k} falls", ["Fell.", ""]) for k in range(2)]
    (tmp_path / "page.html").write_text(render_reading("falls, note", "0123456789abcdef", items), encoding="utf-8")
    assert BROWSER is not None, "CI must have chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 400, "height": 900})
        said: list[str] = []
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.goto((tmp_path / "page.html").as_uri())
        yield opened
        assert said == []
        browser.close()


def chosen(page: Any) -> int:
    return page.locator("fieldset input:checked").count()


def test_scores_are_given_by_keyboard_and_saved_as_a_file(page: Any, tmp_path: Path) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "wider than a phone"
    page.fill("#rater", "AB")
    page.locator("#record-0 .answer input").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("n")
    assert page.evaluate("document.activeElement.id") == "record-1"
    for criterion in CRITERIA:
        page.check(f"[name='1-0-{criterion.name}'][value='{len(criterion.scale)}']")
    assert page.locator("#done").inner_text() == "1 of 4 texts scored"
    with page.expect_download() as download:
        page.click("text=Save scores as a file")
    download.value.save_as(tmp_path / "ratings.json")
    found = json.loads((tmp_path / "ratings.json").read_text())
    assert (found["format"], found["page"], found["rater"]) == (RATINGS_FORMAT, "0123456789abcdef", "AB")
    assert found["ratings"] == [
        {"id": "r0", "place": 0, "scores": {CRITERIA[0].name: 2}},
        {"id": "r1", "place": 0, "scores": {criterion.name: len(criterion.scale) for criterion in CRITERIA}},
    ]
    assert download.value.suggested_filename == "ratings-AB.json"


def test_raters_who_share_a_browser_do_not_see_each_others_scores(page: Any) -> None:
    page.check("[name='0-0-harm'][value='1']")
    page.fill("#rater", "AB")
    page.locator("#rater").blur()
    page.check("[name='0-1-harm'][value='2']")
    assert chosen(page) == 2
    for rater, expected in (("CD", 0), ("AB", 2)):
        page.fill("#rater", rater)
        page.locator("#rater").blur()
        assert chosen(page) == expected
    page.reload()
    assert chosen(page) == 0, "nobody has said who reads"
    page.fill("#rater", "ab ")
    page.locator("#rater").blur()
    assert chosen(page) == 2
