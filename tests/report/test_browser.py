"""The page in a real browser: no console message, no request, nothing wider than a phone."""

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from clinfit.evaluation.operating import decision_threshold, swept_points
from clinfit.report.build import ReportInputs
from clinfit.report.explorer import values
from clinfit.report.panels import drawn_systems

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
#: The browser itself looks for updates here, whatever page it shows.
BROWSERS_OWN = ("google.com", "googleapis.com", "gstatic.com", "gvt1.com")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None and os.environ.get("CI") != "true",
        reason="no chromium or google-chrome on the path (apt-get install chromium)",
    ),
]


def browse(page: Path, width: int) -> tuple[str, list[str], set[str]]:
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
            "--dump-dom", page.as_uri(),
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


@pytest.mark.parametrize("name", ["binary", "three labels", "one class"])
def test_page_renders_quietly(pages: dict[str, str], name: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(pages[name], encoding="utf-8")
    document, console, asked = browse(page, 1280)
    assert console == []
    assert asked == set()
    assert document.count("<svg") == pages[name].count("<svg")
    assert "Research use only." in document


def test_nothing_is_wider_than_a_phone(pages: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(pages["binary"], encoding="utf-8")
    phone = tmp_path / "phone.html"
    phone.write_text(
        "<iframe id=page src=report.html style='width:390px;height:800px;border:0'></iframe><p id=width></p><script>"
        "page.onload = () => { width.textContent = 'width ' + page.contentDocument.documentElement.scrollWidth }"
        "</script>"
    )
    document, _, _ = browse(phone, 600)
    found = re.search(r"width (\d+)", document)
    assert found is not None and int(found[1]) <= 390


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
