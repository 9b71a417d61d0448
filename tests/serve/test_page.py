"""The page in a real browser: a record, two models beside each other, a table as a job, a key; wide, narrow, dark."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import clinfit
from browsers import BROWSER, MARKS
from clinfit.packs.output import write_table
from clinfit.serve.security import new_key

from .conftest import Served
from .services import answering

pytestmark = MARKS

TEXT = (
    "We report 40 patients \U0001fac1. A tumour was seen in the left lung. Treatment was well tolerated. Nobody fell."
)


def violations(page: Any) -> list[str]:
    """What axe-core finds on the page as it is now: rule, element, and what would put it right."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        f"{found['id']}: {node['html'][:100]}: {node['failureSummary']}"
        for found in Axe().run(page).response["violations"]
        for node in found["nodes"]
    ]


@pytest.fixture(scope="module")
def url(small: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with answering(tmp_path_factory.mktemp("page"), small.pack, small.majority) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    assert BROWSER is not None, "CI must have chromium"
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


class Seen:
    """A page with what went wrong on it and what it asked for."""

    def __init__(self, browser: Any, url: str, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.faults: list[str] = []
        self.asked: set[str] = set()
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.asked.add(request.url))
        self.page.goto(url)
        self.page.wait_for_selector("#input-0, #key-value:visible")

    def pictures(self, name: str) -> None:
        """Kept where CLINFIT_PICTURES names a folder, for people to look at."""
        if folder := os.environ.get("CLINFIT_PICTURES"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_a_record_is_answered_with_all_that_belongs_to_it(browser: Any, url: str, width: int, scheme: str) -> None:
    seen = Seen(browser, url, width, scheme)
    page = seen.page
    page.fill("#input-0", TEXT)
    page.fill("#input-1", "91")
    page.check("#explain")
    page.select_option("#beside", "majority-seed42/cancer")
    page.keyboard.press("Tab")
    page.click("#send")
    page.wait_for_selector(".answer >> nth=1")
    with clinfit.Client(url) as client:
        record = {"inputs": {"text": TEXT, "age": "91"}}
        (expected,) = client.classify(record, "tfidf-seed42/cancer", explain=True)
    first = page.locator(".answer").first
    assert first.locator(".decision").inner_text() == expected["decision"]
    assert f"{100 * expected['probabilities']['yes']:.1f} %" in first.inner_text()
    assert f"{100 * expected['threshold']['yes']:.1f} %" in first.inner_text()
    assert "age: 91 is outside 40 to 80" in first.inner_text()
    assert page.locator("#waiting").get_attribute("role") == "status"
    assert expected["decision"] in page.locator("#waiting").inner_text()
    strongest = expected["explanation"]["effects"][0]
    assert TEXT[strongest["start"] : strongest["end"]] in first.locator("mark.strong").all_inner_texts()
    assert "not the disease" in first.inner_text()
    check = expected["explanation"]["faithfulness"]
    assert f"by {100 * check['named']:.1f} percentage points, without {check['taken']} others" in first.inner_text()
    assert ("So do not read the order" in first.inner_text()) == (check["named"] <= check["drawn"])
    facts = page.locator("#facts")
    assert facts.get_by_role("heading", level=3).all_inner_texts() == ["tfidf-seed42/cancer", "majority-seed42/cancer"]
    assert facts.inner_text().count("0.76") == 1, "the interval of the accuracy"
    assert facts.get_by_text("decision").count() == 2, "of both models"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.faults == [] and all(asked.startswith(url) for asked in seen.asked)
    assert page.evaluate("Object.keys(localStorage).length + Object.keys(sessionStorage).length") == 0
    assert seen.context.cookies() == []
    seen.pictures(f"record-{width}-{scheme}")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert violations(page) == []


def test_a_language_model_is_explained_by_its_gradient_where_that_is_chosen(
    browser: Any, url: str, three: Path, tmp_path: Path
) -> None:
    plain = Seen(browser, url).page
    plain.check("#explain")
    assert plain.locator("#how").is_hidden(), "a classical model has no gradient"
    with answering(tmp_path, three) as own:
        with clinfit.Client(own) as client:
            name = next(one["id"] for one in client.models() if one["kind"] == "classification")
        seen = Seen(browser, own)
        page = seen.page
        page.select_option("#choose", name)
        assert page.locator("#how").is_hidden()
        page.check("#explain")
        page.select_option("#explain-by", "gradient")
        page.fill("textarea", TEXT)
        with page.expect_response("**/v1/classify") as told:
            page.click("#send")
        page.wait_for_selector(".answer")
        explanation = told.value.json()["data"][0]["explanation"]
        assert explanation["method"] == "gradient" and explanation["meaning"] in page.locator(".answer").inner_text()
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert "part" in page.locator(".answer details th").all_inner_texts()
        seen.pictures("gradient")
        assert violations(page) == [] and seen.faults == []


def test_a_table_is_sent_followed_downloaded_and_erased(browser: Any, url: str, small: Served, tmp_path: Path) -> None:
    seen = Seen(browser, url)
    page = seen.page
    page.set_input_files("#file", small.data)
    page.click("text=Send as a job")
    page.wait_for_selector("#jobs li h3:has-text('succeeded')")
    assert "60 of 60 records" in page.locator("#jobs li").first.inner_text()
    with page.expect_download() as download:
        page.click("text=Download CSV")
    write_table(clinfit.load_pack(small.pack).predict(small.data), tmp_path / "expected.csv")
    assert Path(download.value.path()).read_bytes() == (tmp_path / "expected.csv").read_bytes()
    seen.pictures("table")
    assert violations(page) == []
    page.get_by_role("button", name="Erase").click()
    page.wait_for_selector("#jobs li", state="detached")
    assert seen.faults == []


def test_a_text_that_is_too_long_is_refused_and_not_cut(browser: Any, small: Served, tmp_path: Path) -> None:
    with answering(tmp_path, small.pack, works=False, characters=60) as url:
        page = Seen(browser, url).page
        page.focus("#input-0")
        page.keyboard.insert_text(TEXT)
        assert page.input_value("#input-0") == TEXT
        page.click("#send")
        page.wait_for_selector("#problem:has-text('60 characters')")
        assert page.locator(".answer").count() == 0
        page.fill("#input-0", "\U0001fac1" * 60)
        page.click("#send")
        page.wait_for_selector(".answer")


def test_many_jobs_leave_room_for_a_question(browser: Any, small: Served, tmp_path: Path) -> None:
    """A browser opens six connections to one service."""
    record = {"inputs": {"text": "A tumour was seen.", "age": 61}}
    with answering(tmp_path, small.pack, works=False) as url, clinfit.Client(url) as client:
        jobs = [client.submit([record])["id"] for _ in range(8)]
        seen = Seen(browser, url)
        page = seen.page
        page.wait_for_selector("#jobs li >> nth=7")
        page.fill("#input-0", TEXT)
        page.click("#send")
        page.wait_for_selector(".answer")
        assert all(client.job(job)["ended"] is None for job in jobs), "all of them are followed"
        for job in jobs[:-1]:
            client.cancel(job)
        page.wait_for_selector("#jobs li h3:has-text('cancelled') >> nth=6")
        with answering(tmp_path, small.pack):  # works on the same jobs
            page.wait_for_selector("#jobs li h3:has-text('succeeded')")
        page.wait_for_selector("#job-news:has-text('has ended')")
        assert seen.faults == []
        seen.context.close()


def test_what_is_wrong_is_told_where_it_can_be_seen(browser: Any, url: str, tmp_path: Path) -> None:
    (tmp_path / "notes.pdf").write_bytes(b"%PDF")
    seen = Seen(browser, url, width=400)
    seen.page.set_input_files("#file", tmp_path / "notes.pdf")
    seen.page.click("text=Send as a job")
    seen.page.wait_for_selector("#problem:has-text('Choose a CSV')")
    place = seen.page.locator("#problem").bounding_box()
    assert place is not None and 0 <= place["y"] <= 900 - place["height"], place


def test_by_keyboard_alone(browser: Any, url: str) -> None:
    page = Seen(browser, url).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the form"
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "input-0"
    page.keyboard.type("A tumour was seen.")
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".answer")


def test_nothing_is_asked_without_words_and_script_in_a_text_is_text(browser: Any, url: str) -> None:
    seen = Seen(browser, url)
    page = seen.page
    page.click("#send")
    page.wait_for_selector("#problem:has-text('Enter a text')")
    assert violations(page) == []
    page.fill("#input-0", "<img src=x onerror=alert(1)><script>alert(2)</script> A tumour was seen there.")
    page.check("#explain")
    page.click("#send")
    page.wait_for_selector(".answer")
    assert page.locator(".answer img, .answer script").count() == 0 and "<img" in page.locator(".marked").inner_text()
    page.fill("#input-1", "250,000")
    with page.expect_request("**/v1/classify") as sent:
        page.click("#send")
    assert sent.value.post_data_json["input"]["inputs"]["age"] == "250,000", "which mark is decimal the task says"
    page.fill("#input-1", "old")
    page.click("#send")
    page.wait_for_selector("#problem:has-text('input age is not a number')")
    assert [fault for fault in seen.faults if "422" not in fault] == []


def test_a_service_with_keys_asks_for_one(browser: Any, small: Served, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = new_key(file, "ward", ["classify", "jobs"])
    with answering(tmp_path, small.pack, keys=file) as url:
        page = Seen(browser, url).page
        assert violations(page) == []
        page.fill("#key-value", key)
        page.keyboard.press("Enter")
        page.wait_for_selector("#input-0")
        page.fill("#input-0", "A tumour was seen.")
        page.click("#send")
        page.wait_for_selector(".answer")
        assert not page.is_visible("#key")


def test_types_are_marked_where_the_text_names_them(browser: Any, typed: dict[str, Path], tmp_path: Path) -> None:
    with answering(tmp_path, typed["tfidf-seed42"]) as url:
        seen = Seen(browser, url, 400)
        page = seen.page
        page.fill("#input-0", "\U0001f9ec No sign of breast cancer; lung\n cancer, a lump.")
        page.click("#send")
        page.wait_for_selector("mark.named")
        assert page.locator("mark.named").all_text_contents() == ["lung\n cancer"]
        assert page.locator("mark.denied").all_text_contents() == ["breast cancer"]
        assert "abstract: breast cancer (denied), lung cancer" in page.locator(".answer").inner_text()
        page.select_option("#choose", "tfidf-seed42/masked")
        page.fill("#input-0", "Case 3: a lump")
        page.click("#send")
        page.wait_for_selector(".answer")
        assert "not what the text says: breast cancer." in page.locator(".answer").inner_text()
        assert seen.faults == [] and violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        seen.pictures("types")
