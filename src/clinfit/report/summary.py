"""The results on a terminal: one table a task and the sentences of its verdict."""

import re
from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clinfit.evaluation.results import Results, TaskResult
from clinfit.findings import FindingDict
from clinfit.report.format import Cell
from clinfit.report.glossary import definition
from clinfit.report.kinds import kind_of
from clinfit.report.section import section
from clinfit.report.tables import baseline, by_rank, cell_of

#: More systems than this of which the same is said are counted.
MOST_NAMES = 4
#: What stands behind a model's name in that of a system or of a run.
SEED_OR_STAGE = re.compile(r" \(.*\)$|-seed\d+$")


def print_summary(results: Results, console: Console) -> None:
    """Systems by main metrics, best first, then errors, warnings and verdict of every task; what is found of the study
    as a whole comes last."""
    for name, task in results["tasks"].items():
        console.print(summary_table(name, task, results["confidence"]))
        for level, colour in (("error", "bold red"), ("warn", "yellow")):
            for line in told_once([finding for finding in task["findings"] if finding["level"] == level]):
                console.print(Text(f"{level}: {line}", style=colour))
        for sentence in task["verdict"]:
            console.print(Text(sentence))
    for ways in results["stages"]["ways"] if "stages" in results else []:
        for sentence in (ways["conclusion"], *ways["verdict"]):
            console.print(Text(sentence))
    for finding in results.get("findings", []):
        console.print(Text(f"{finding['level']}: {finding['title']}: {finding['evidence']}", style="yellow"))


def told_once(findings: Sequence[FindingDict]) -> list[str]:
    """The titles of findings, in order; what holds for several systems is said once, with their names behind it, or how
    many of each model they are where seeds and stages make them many."""
    systems: dict[str, list[str]] = {}
    titles: dict[str, str] = {}
    for finding in findings:
        system, title = finding["system"], finding["title"]
        said = title if system is None else title.removeprefix(system).lstrip(": ")
        titles.setdefault(said, titled(finding))
        systems.setdefault(said, []).extend([] if system is None else [system])
    return [titles[said] if len(names) < 2 else f"{said}: {_named(names)}" for said, names in systems.items()]


def _named(systems: Sequence[str]) -> str:
    names = list(dict.fromkeys(systems))
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    counts = Counter(SEED_OR_STAGE.sub("", name) for name in names)
    return f"{len(names)} systems of " + ", ".join(f"{model} ({count} x)" for model, count in counts.items())


def titled(finding: FindingDict) -> str:
    """The title of a finding, and the system that it is about where the title does not name it."""
    system = finding["system"]
    return finding["title"] if system is None or system in finding["title"] else f"{finding['title']} ({system})"


def summary_table(name: str, task: TaskResult, confidence: float) -> Table:
    """The primary metric with its interval and a few others without; the baseline of the comparisons has a mark."""
    others = [metric for metric in kind_of(task).short(task) if metric != task["primary"]]
    n = task["counts"].get("test", {"n": 0})["n"]
    divided = section(task, "cross_validation")
    records = f"{n} test records" if divided is None else f"{n} records, out of fold in {divided['words']}"
    table = Table(title=f"{name}: {records}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("system", no_wrap=True)
    table.add_column(f"{definition(task['primary']).title} [{confidence:.0%}]".replace("[", "\\["), justify="right")
    for metric in others:
        table.add_column(definition(metric).title, justify="right")
    if task["ranking"]:
        models = {(system["model"], system["stage"], system["moment"]) for system in task["systems"]}
        seeds = "; seeds of one model stand together, in the place of their mean"
        more = seeds if len(models) < len(task["systems"]) else ""
        table.caption, table.caption_justify = f"best {definition(task['primary']).title} first{more}", "left"
    reference = baseline(task)
    for system in by_rank(task):
        mark = " (baseline)" if system is reference else ""
        cells = [short(cell_of(system, metric)) for metric in others]
        table.add_row(Text(system["name"] + mark), Text(shown(cell_of(system, task["primary"]))), *map(Text, cells))
    return table


def shown(cell: Cell) -> str:
    return short(cell) if cell.empty else cell.plain


def short(cell: Cell) -> str:
    """A number, or a dash where there is none: the reasons stand in the report."""
    return cell.text if not cell.empty or cell.text == "withheld" else "\N{EM DASH}"
