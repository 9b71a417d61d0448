"""The results in two other forms: a short Markdown text, and report_metrics.json, one small record a system."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from textwrap import shorten
from typing import Any

from pydantic import TypeAdapter

from clinfit import __version__
from clinfit.evaluation.results import Results, TaskResult
from clinfit.evaluation.system_results import MetricDict, SystemResult
from clinfit.report.format import Cell
from clinfit.report.glossary import definition
from clinfit.report.kinds import TOLD, asked_briefly, counted
from clinfit.report.notices import notices
from clinfit.report.section import section
from clinfit.report.sections.first.overview import findings_in_words, standings
from clinfit.report.sections.systems.models import kept_step, run_name, validated
from clinfit.report.summary import titled
from clinfit.report.tables import by_rank, cell_of, chance_row, columns_of, withheld_reason

FORMAT = "clinfit-report-metrics/3"

#: Names in log.jsonl -> those of the export: of a step of training, and of a validation.
TRAINED = {
    "loss": "loss",
    "gradient_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "token_accuracy": "mean_token_accuracy",
    "epoch": "epoch",
}
VALIDATED = {"validation_loss": "eval_loss", "epoch": "epoch", "primary": "primary", "step": "step"}

#: Columns of the summary's table: what fits on a page of text.
SUMMARY_COLUMNS = 6

#: Letters of a finding's evidence in the summary; the report has them all.
EVIDENCE = 240


# ---------------------------------------------------------------- report_metrics.json


@dataclass(frozen=True)
class LabelEntry:
    """One label against the rest; null where it cannot be estimated. support: test items with this label."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class ConfusionEntry:
    """Rows are true labels, columns answers and, last, `unparsed`; the counts sum to `samples`."""

    rows: list[str]
    columns: list[str]
    counts: list[list[int]]


@dataclass(frozen=True)
class MetricsEntry:
    """One system on the test split of one task; the values are those of metrics.json.

    primary: name of the task's primary metric. metrics: its value and that of every other metric; null where withheld
    or not estimable. accuracy, macro_f1: the same by themselves; null too where the kind has none. label_distribution:
    label -> test items that have it. prediction_distribution: label (or `unparsed`) -> test items that were given it.
    Both sum to `samples` unless the kind is multilabel. confusion: null for that kind. withheld: why there are no
    numbers, else null.
    """

    task: str
    kind: str
    system: str
    samples: int
    primary: str
    metrics: dict[str, float | None]
    accuracy: float | None
    macro_f1: float | None
    label_distribution: dict[str, int]
    prediction_distribution: dict[str, int]
    per_class: list[LabelEntry]
    confusion: ConfusionEntry | None
    withheld: str | None


@dataclass(frozen=True)
class TrainingEntry:
    """One stage of training. Keys are those of the log of Transformers' Trainer, where they mean the same.

    final_train: `loss`, `grad_norm` (before clipping), `learning_rate`, `epoch` and, of models
    that PyTorch trains to answer, `mean_token_accuracy` (of the answer tokens alone) of the last step. best_eval:
    `eval_loss`, `epoch` and `step` of the validation that was kept; null where there was none, or the stage did not
    end. primary: task -> its primary metric there, in its own sign; null where it cannot be estimated. Of a model of
    one task it stands in `best_eval` too.
    """

    epochs: float
    global_steps: int
    final_train: dict[str, float]
    best_eval: dict[str, float] | None
    primary: dict[str, float | None]


@dataclass(frozen=True)
class ReportMetrics:
    """clinfit: the version that wrote it. metrics: `<task>/<system>` -> its results. training: `<model>-seed<seed>`
    (with several stages: `..., stage n`) -> how it was trained; models without a training log are not in it.
    """

    format: str
    clinfit: str
    study: str
    metrics: dict[str, MetricsEntry]
    training: dict[str, TrainingEntry]


def report_metrics(
    results: Results,
    models: Sequence[Mapping[str, Any]] = (),
    logs: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]] | None = None,
) -> dict[str, Any]:
    """The content of report_metrics.json. models: run.json of every run. logs: rows of log.jsonl by run and stage."""
    metrics = {
        f"{name}/{system['name']}": _metrics_entry(name, task, system)
        for name, task in results["tasks"].items()
        for system in task["systems"]
    }
    primaries = {name: task["primary"] for name, task in results["tasks"].items()}
    by_run = {run_name(model): model for model in models}
    logs = {key: rows for key, rows in (logs or {}).items() if rows}
    several = {run for run, stage in logs if stage > 1}
    training: dict[str, TrainingEntry] = {}
    for (run, stage), rows in logs.items():
        kept = kept_step(by_run.get(run, {}), stage)
        training[f"{run}, stage {stage}" if run in several else run] = _training_entry(rows, kept, primaries)
    return asdict(ReportMetrics(FORMAT, __version__, results["study"], metrics, training))


def report_metrics_schema() -> dict[str, Any]:
    """JSON Schema of report_metrics.json."""
    schema = TypeAdapter(ReportMetrics).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _metrics_entry(name: str, task: TaskResult, system: SystemResult) -> MetricsEntry:
    confusion, classes = section(system, "confusion"), section(system, "classes") or []
    return MetricsEntry(
        task=name,
        kind=task["kind"],
        system=system["name"],
        samples=system["n"],
        primary=task["primary"],
        metrics={metric: found["value"] for metric, found in system["metrics"].items()},
        accuracy=_value(system["metrics"].get("accuracy")),
        macro_f1=_value(system["metrics"].get("macro_f1")),
        label_distribution={entry["label"]: entry["support"] for entry in classes},
        prediction_distribution={entry["label"]: entry["predicted"] for entry in classes}
        | {"unparsed": system["unparsed"]},
        per_class=[
            LabelEntry(
                entry["label"],
                *(_value(entry["metrics"].get(metric)) for metric in ("precision", "recall", "f1")),
                support=entry["support"],
            )
            for entry in classes
        ],
        confusion=None if confusion is None else ConfusionEntry(**confusion),
        withheld=withheld_reason(system) or None,
    )


def _value(metric: MetricDict | None) -> float | None:
    return None if metric is None else metric["value"]


def _training_entry(rows: Sequence[Mapping[str, Any]], kept: int | None, primaries: Mapping[str, str]) -> TrainingEntry:
    last, best = rows[-1], next((row for row in rows if row["step"] == kept), None)
    primary = {} if best is None else validated(best, primaries)
    alone = next(iter(primary.values())) if len(primary) == 1 else None
    return TrainingEntry(
        epochs=float(last["epoch"]),
        global_steps=int(last["step"]),
        final_train=_numbers(last, TRAINED),
        best_eval=None if best is None else _numbers({**best, "primary": alone}, VALIDATED),
        primary=primary,
    )


def _numbers(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, float]:
    """The finite numbers of a log's row, under the names of the export."""
    found = {new: row.get(old) for old, new in names.items()}
    return {name: value for name, value in found.items() if value is not None and isfinite(value)}


# ---------------------------------------------------------------- summary.md


def summary_markdown(results: Results, command: str, curves: Sequence[str] = ()) -> str:
    """Verdict, main numbers, findings and how to get them again, as Markdown. curves: what those of training show."""
    return "\n".join(_lines(results, command, curves)) + "\n"


def _lines(results: Results, command: str, curves: Sequence[str]) -> Iterator[str]:
    yield f"# {results['study']}"
    if results["description"]:
        yield from ("", results["description"])
    for notice in notices(results):
        yield from ("", f"**{notice}**")
    if len(results["tasks"]) > 1:
        yield from _overview_lines(results)
    if "stages" in results:
        yield from ("", "## Stages")
        for ways in results["stages"]["ways"]:
            yield from ("", f"**{ways['conclusion']}**", "")
            yield from (f"- {sentence}" for sentence in ways["verdict"])
    for name, task in results["tasks"].items():
        yield from _task_lines(name, task, results["confidence"])
    if curves:
        yield from ("", "## Training", "", *(f"- {line}." for line in curves))
    yield from ("", "## How to reproduce", "", "```", command, "```", "")
    yield (
        "Every number with its interval, method and reason is in `metrics.json`; `report.html` shows them. "
        "Research use only: not for decisions about a patient."
    )


def _overview_lines(results: Results) -> Iterator[str]:
    """One line a task: how it stands. A cell says what its system is, since beside a model that is the baseline itself
    stands a language model."""
    yield from ("", "## All tasks", "", "| task | asked | records | metric | model | beside it | findings |")
    yield "|---|---|---:|---|---:|---:|---|"
    for name, task in results["tasks"].items():
        n, metric = task["counts"].get("test", {"n": 0})["n"], definition(task["primary"]).title
        told = [f"{one.role}: {one.system} {_cell(one.value)}" for one in standings(task)]
        shown = told or ["withheld"] * 2
        cells = [_plain(name), asked_briefly(task), str(n), metric, *map(_plain, shown), findings_in_words(task)]
        yield f"| {' | '.join(cells)} |"


def _task_lines(name: str, task: TaskResult, confidence: float) -> Iterator[str]:
    counts = task["counts"].get("test")
    yield from ("", f"## {name}", "")
    if counts:
        labels = ", ".join(f"{label} {counts['labels'].get(label, 0)}" for label in task["labels"])
        shown = labels if len(task["labels"]) <= TOLD else counted(task)
        divided = section(task, "cross_validation")
        of = "test records" if divided is None else f"records, out of fold in {divided['words']}"
        yield from (f"{counts['n']} {of}{': ' if shown else ''}{shown}.", "")
    yield from (f"- {sentence}" for sentence in task["verdict"])
    columns = columns_of(task)[:SUMMARY_COLUMNS]
    yield from ("", f"| system | {' | '.join(column.title for column in columns)} |", f"|---|{'---:|' * len(columns)}")
    for system in by_rank(task):
        cells = (_cell(cell_of(system, column.key)) for column in columns)
        yield f"| {_plain(system['name'])} | {' | '.join(cells)} |"
    for row in chance_row(task, columns):
        yield f"| {row.name} | {' | '.join(map(_cell, row.cells))} |"
    yield from ("", f"In brackets: {confidence:.0%} interval. Best {columns[0].title if columns else 'system'} first.")
    told = [finding for finding in task["findings"] if finding["level"] != "info"]
    if told:
        yield from ("", "Findings:", "")
    for finding in told:
        evidence = f": {shorten(finding['evidence'], EVIDENCE, placeholder=' …')}" if finding["evidence"] else ""
        yield f"- **{finding['level']}** {titled(finding)}{evidence}"
    if task["advice"]:
        yield from ("", "Which system for which use:", "")
    yield from (f"- {sentence}" for sentence in task["advice"])


def _cell(cell: Cell) -> str:
    return _plain(cell.text if cell.empty else cell.plain)


def _plain(text: str) -> str:
    """A bar would end the table's cell."""
    return text.replace("|", "/")
