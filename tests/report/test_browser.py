"""The page in a real browser: no console message, no request, nothing wider than a phone."""

import json
import re
import subprocess
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from browsers import BROWSER, MARKS
from clinfit.evaluation.decisions.operating_point import decision_threshold, swept_points
from clinfit.report.inputs import ReportInputs
from clinfit.report.sections.performance.explorer import values
from clinfit.report.sections.performance.panels import drawn_systems

#: The browser itself looks for updates here, whatever page it shows.
BROWSERS_OWN = ("google.com", "googleapis.com", "gstatic.com", "gvt1.com")

pytestmark = MARKS


def browse(page: Path, width: int, fragment: str = "") -> tuple[str, list[str], set[str]]:
    """The rendered document, the console's messages, and the addresses that the page asked for."""
    assert BROWSER is not None, "CI must have chromium"
    profile = page.parent / f"profile-{page.stem}"
    log = page.parent / f"{page.stem}-net.json"
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--allow-file-access-from-files", "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}",
            f"--window-size={width},900", "--enable-logging=stderr", f"--log-net-log={log}",
            "--dump-dom", page.as_uri() + fragment,
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    asked = {str(event["params"]["url"]) for event in events if "url" in event.get("params", {})}
    remote = {url for url in asked if urlsplit(url).scheme in ("http", "https", "ws", "wss")}
    return done.stdout, console, {url for url in remote if not (urlsplit(url).hostname or "").endswith(BROWSERS_OWN)}


def test_control_a_bad_page_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<img src='http://picture.invalid/x.png'><script>console.error('seen')</script>")
    _, console, asked = browse(page, 1280)
    assert any("seen" in line for line in console)
    assert asked == {"http://picture.invalid/x.png"}


@pytest.mark.parametrize("name", ["binary", "three labels", "one class", "three kinds"])
def test_page_renders_quietly(pages: dict[str, str], name: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(pages[name], encoding="utf-8")
    document, console, asked = browse(page, 1280)
    assert console == []
    assert asked == set()
    assert document.count("<svg") == pages[name].count("<svg")
    assert "Research use only." in document


@pytest.mark.parametrize("name", ["binary", "three kinds"])
def test_nothing_is_wider_than_a_phone_and_the_main_table_is_not_cut_on_a_desk(
    pages: dict[str, str], name: str, tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text(pages[name], encoding="utf-8")
    both = tmp_path / "both.html"
    both.write_text(
        "<p id=width></p><p id=cut></p><script>const within = (width, look) => {"
        "const frame = document.createElement('iframe'); frame.onload = () => look(frame.contentDocument);"
        "frame.style = `width:${width}px;height:800px;border:0`; frame.src = 'report.html';"
        "document.body.append(frame); };"
        "within(390, (page) => { width.textContent = 'width ' + page.documentElement.scrollWidth });"
        "within(1280, (page) => { cut.textContent = 'cut ' + [...page.querySelectorAll('table.main')]"
        ".map((table) => table.parentElement.scrollWidth - table.parentElement.clientWidth) + ' end' });</script>",
        encoding="utf-8",
    )
    document, _, _ = browse(both, 1400)
    found = re.search(r"width (\d+)", document)
    assert found is not None and int(found[1]) <= 390
    found = re.search(r"cut ([\d,]+) end", document)
    assert found is not None and set(found[1].split(",")) == {"0"}


def test_explorer_shows_what_the_results_say(
    cases: dict[str, ReportInputs], pages: dict[str, str], tmp_path: Path
) -> None:
    (task,) = cases["binary"].results["tasks"].values()
    systems = [drawn.system for drawn in drawn_systems(task)]
    (tmp_path / "report.html").write_text(pages["binary"], encoding="utf-8")
    driver = tmp_path / "driver.html"
    driver.write_text(
        "<meta charset=utf-8><iframe id=page src=report.html width=1200></iframe><pre id=seen></pre><script>"
        "page.onload = () => { const box = page.contentDocument.querySelector('.explorer'), all = [];"
        "const [choice, slider] = ['select', 'input'].map((tag) => box.querySelector(tag));"
        "const read = () => [...box.querySelectorAll('dd')].map((cell) => cell.textContent);"
        "for (let k = 0; k < choice.options.length; k++) { choice.selectedIndex = k;"
        "choice.dispatchEvent(new Event('change')); all.push([slider.value, ...read()]);"
        "for (const at of [1, 37, 99]) { slider.value = at; slider.dispatchEvent(new Event('input'));"
        "all.push([slider.value, ...read()]); } }"
        "seen.textContent = box.hidden + JSON.stringify(all) + 'end'; }</script>",
        encoding="utf-8",
    )
    document, console, _ = browse(driver, 1280)
    assert console == []
    found = re.search(r"false(\[\[.*\]\])end", document)
    assert found is not None
    expected = []
    for system in systems:
        points = swept_points(system, "malignant")
        for place in (round(100 * decision_threshold(system)), 1, 37, 99):
            expected.append([str(place), *values(points[place - 1])])
    shown = json.loads(unescape(found[1]))
    assert shown == expected


@pytest.mark.parametrize("script", [True, False])
def test_a_link_opens_the_fold_that_it_leads_into(pages: dict[str, str], script: bool, tmp_path: Path) -> None:
    text = pages["binary"] if script else re.sub(r"<script>.*?</script>", "", pages["binary"], flags=re.DOTALL)
    page = tmp_path / "report.html"
    page.write_text(text, encoding="utf-8")
    folds = re.findall(
        r'<details class="chapter"( open="")?><summary><h2 id="([^"]+)"', browse(page, 1280, "#task1-systems")[0]
    )
    assert [anchor for opened, anchor in folds if opened] == ["task1-chapter4"] and len(folds) > 6


def printed_pages(page: Path, fragment: str = "") -> int:
    assert BROWSER is not None
    file = page.with_suffix(".pdf")
    subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            f"--user-data-dir={page.parent / 'profile-print'}", f"--print-to-pdf={file}", page.as_uri() + fragment,
        ],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    return len(re.findall(rb"/Type\s*/Page\b", file.read_bytes()))


@pytest.mark.parametrize(("name", "first"), [("binary", 2), ("three labels", 2), ("three kinds", 7)])
def test_two_pages_a_task_are_printed_and_everything_where_it_is_unfolded(
    pages: dict[str, str], name: str, first: int, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_text(pages[name], encoding="utf-8")
    assert printed_pages(page) == first
    if name == "three kinds":  # where more is folded than in the others
        assert printed_pages(page, "#everything") > first + 15
