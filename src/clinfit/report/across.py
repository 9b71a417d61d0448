"""The comparison of several runs: one page of its own, and the table on the terminal."""

from importlib import resources
from pathlib import Path

from markupsafe import Markup
from rich.console import Console
from rich.text import Text

import clinfit
from clinfit.evaluation.across import Across
from clinfit.report.build import DISCLAIMER, templates
from clinfit.report.summary import summary_table
from clinfit.report.tables import Plain
from clinfit.report.task import task_view


def write_comparison(results: Across, path: Path) -> None:
    """Write the page; the same results give the same bytes."""
    css = resources.files("clinfit.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    page = (
        templates()
        .get_template("comparison.html.j2")
        .render(
            css=Markup(css),
            version=clinfit.__version__,
            task=task_view(0, results["task"], results["result"], results["confidence"], {}, {}),
            runs=run_table(results),
            disclaimer=DISCLAIMER,
        )
    )
    path.write_text(page, encoding="utf-8")


def run_table(results: Across) -> Plain:
    """Which runs are compared."""
    rows = [
        [run["name"], run["study"], ", ".join(run["systems"]), run["sha256"][:8], run["path"]]
        for run in results["runs"]
    ]
    hint = (
        "All were tested on the same items with the same gold labels. Each keeps the decision rule of its own study; "
        "primary metric, level of the intervals and resamples are the first run's."
    )
    return Plain("Runs", hint, ["Run", "Study", "Systems", "Study's SHA-256", "Folder"], rows)


def print_comparison(results: Across, console: Console) -> None:
    """The systems, best first, and one sentence a comparison."""
    task = results["result"]
    console.print(summary_table(results["task"], task, results["confidence"]))
    for comparison in task["comparisons"]:
        console.print(Text(comparison["rows"][0]["sentence"]))
        if comparison["non_inferiority"] is not None:
            console.print(Text(comparison["non_inferiority"]["sentence"]))
