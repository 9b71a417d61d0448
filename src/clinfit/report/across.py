"""The comparison of several runs: one page of its own, and the table on the terminal."""

from importlib import resources
from pathlib import Path

from markupsafe import Markup
from rich.console import Console
from rich.text import Text

import clinfit
from clinfit.evaluation.across import Across
from clinfit.report.build import DISCLAIMER, templates
from clinfit.report.sections.first.overview import overview
from clinfit.report.sections.subject import Subject
from clinfit.report.sections.task import ACROSS, task_view
from clinfit.report.summary import summary_table
from clinfit.report.tables import Plain


def write_comparison(results: Across, path: Path) -> None:
    """Write the page; the same results give the same bytes."""
    css = resources.files("clinfit.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    subjects = [
        Subject(name, f"task{number}", task["result"], results["confidence"])
        for number, (name, task) in enumerate(results["tasks"].items(), 1)
    ]
    page = (
        templates()
        .get_template("comparison.html.j2")
        .render(
            css=Markup(css),
            version=clinfit.__version__,
            overview=overview(subjects),
            tasks=[task_view(subject, ACROSS) for subject in subjects],
            runs=run_table(results),
            left_out=results["left_out"],
            disclaimer=DISCLAIMER,
        )
    )
    path.write_text(page, encoding="utf-8")


def run_table(results: Across) -> Plain:
    """Which runs are compared."""
    rows = [
        [run["name"], run["study"], _systems(results, run["name"]), run["sha256"][:8], run["path"]]
        for run in results["runs"]
    ]
    hint = (
        "All were tested on the same items with the same gold labels. Each keeps the decision rule of its own study; "
        "primary metric, level of the intervals and resamples are the first run's."
    )
    return Plain("Runs", hint, ["Run", "Study", "Systems", "Study's SHA-256", "Folder"], rows)


def _systems(results: Across, run: str) -> str:
    """The systems of a run, by task where there are several."""
    listed = {name: ", ".join(task["systems"][run]) for name, task in results["tasks"].items()}
    if len(listed) == 1:
        return next(iter(listed.values()))
    return "; ".join(f"{name}: {systems}" for name, systems in listed.items())


def print_comparison(results: Across, console: Console) -> None:
    """For each task the systems, best first, and one sentence a comparison."""
    for name, task in results["tasks"].items():
        console.print(summary_table(name, task["result"], results["confidence"]))
        for finding in task["result"]["findings"]:
            if finding["code"] == "different-inputs":
                console.print(Text(f"{finding['level']}: {finding['title']}: {finding['evidence']}", style="yellow"))
        for comparison in task["result"]["comparisons"]:
            console.print(Text(comparison["rows"][0]["sentence"]))
            if comparison["non_inferiority"] is not None:
                console.print(Text(comparison["non_inferiority"]["sentence"]))
    for name, reason in results["left_out"].items():
        console.print(Text(f"Task {name} is left out: {reason}"))
