"""The results in two other forms: a short Markdown text, and report_metrics.json, one small record a system."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from pydantic import TypeAdapter

from clinfit.evaluation.results import Results, TaskResult
from clinfit.evaluation.system_results import MetricDict, SystemResult
from clinfit.report.format import Cell
from clinfit.report.models import as_reported, best_step, run_name
from clinfit.report.tables import by_rank, cell_of, columns_of, withheld_reason

FORMAT = "clinfit-report-metrics/1"

#: Columns of the summary's table: what fits on a page of text.
SUMMARY_COLUMNS = 6


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

    accuracy, macro_f1: null where withheld or not estimable. label_distribution: label -> test items.
    prediction_distribution: answer (or `unparsed`) -> test items. withheld: why there are no numbers, else null.
    """

    task: str
    system: str
    samples: int
    accuracy: float | None
    macro_f1: float | None
    label_distribution: dict[str, int]
    prediction_distribution: dict[str, int]
    per_class: list[LabelEntry]
    confusion: ConfusionEntry
    withheld: str | None


@dataclass(frozen=True)
class TrainingEntry:
    """One stage of training. final_train: the numbers of the last step. best_eval: those of the validation that was
    kept, with its step; null where there was no validation. `primary` is the primary metric in its own sign.
    """

    epochs: float
    global_steps: int
    final_train: dict[str, float]
    best_eval: dict[str, float] | None


@dataclass(frozen=True)
class ReportMetrics:
    """metrics: `<task>/<system>` -> its results. training: `<model>-seed<seed>` (with several stages: `..., stage n`)
    -> how it was trained; models without a training log are not in it.
    """

    format: str
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
        f"{name}/{system['name']}": _metrics_entry(name, system)
        for name, task in results["tasks"].items()
        for system in task["systems"]
    }
    primary = next(task["primary"] for task in results["tasks"].values())
    kept = {run_name(model): model.get("spec", {}).get("train", {}).get("select_by") or "loss" for model in models}
    logs = {key: rows for key, rows in (logs or {}).items() if rows}
    several = {run for run, stage in logs if stage > 1}
    training = {
        f"{run}, stage {stage}" if run in several else run: _training_entry(rows, kept.get(run, "loss"), primary)
        for (run, stage), rows in logs.items()
    }
    return asdict(ReportMetrics(FORMAT, results["study"], metrics, training))


def report_metrics_schema() -> dict[str, Any]:
    """JSON Schema of report_metrics.json."""
    schema = TypeAdapter(ReportMetrics).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _metrics_entry(task: str, system: SystemResult) -> MetricsEntry:
    confusion = system["confusion"]
    answered = [sum(column) for column in zip(*confusion["counts"], strict=True)]
    return MetricsEntry(
        task=task,
        system=system["name"],
        samples=system["n"],
        accuracy=_value(system["metrics"].get("accuracy")),
        macro_f1=_value(system["metrics"].get("macro_f1")),
        label_distribution={entry["label"]: entry["support"] for entry in system["classes"]},
        prediction_distribution=dict(zip(confusion["columns"], answered, strict=True)),
        per_class=[
            LabelEntry(
                entry["label"],
                *(_value(entry["metrics"].get(name)) for name in ("precision", "recall", "f1")),
                support=entry["support"],
            )
            for entry in system["classes"]
        ],
        confusion=ConfusionEntry(**confusion),
        withheld=withheld_reason(system) or None,
    )


def _value(metric: MetricDict | None) -> float | None:
    return None if metric is None else metric["value"]


def _training_entry(rows: Sequence[Mapping[str, Any]], select_by: str, primary: str) -> TrainingEntry:
    last, step = rows[-1], best_step(rows, select_by)
    best = next((row for row in as_reported(rows, primary) if row["step"] == step), None)
    names = {"validation_loss": "loss", "validation_primary": "primary", "step": "step"}
    return TrainingEntry(
        epochs=float(last["epoch"]),
        global_steps=int(last["step"]),
        final_train=_numbers(last, {name: name for name in ("loss", "gradient_norm", "learning_rate")}),
        best_eval=None if best is None else _numbers(best, names),
    )


def _numbers(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, float]:
    """The finite numbers of a log's row, under the names of the export."""
    found = {new: row.get(old) for old, new in names.items()}
    return {name: value for name, value in found.items() if value is not None and isfinite(value)}


# ---------------------------------------------------------------- summary.md


def summary_markdown(results: Results, command: str) -> str:
    """Verdict, main numbers, findings and how to get them again, as Markdown."""
    return "\n".join(_lines(results, command)) + "\n"


def _lines(results: Results, command: str) -> Iterator[str]:
    yield f"# {results['study']}"
    if results["description"]:
        yield from ("", results["description"])
    for name, task in results["tasks"].items():
        yield from _task_lines(name, task, results["confidence"])
    yield from ("", "## How to reproduce", "", "```", command, "```", "")
    yield (
        "Every number with its interval, method and reason is in `metrics.json`; `report.html` shows them. "
        "Research use only: not for decisions about a patient."
    )


def _task_lines(name: str, task: TaskResult, confidence: float) -> Iterator[str]:
    counts = task["counts"].get("test")
    yield from ("", f"## {name}", "")
    if counts:
        labels = ", ".join(f"{label} {counts['labels'].get(label, 0)}" for label in task["labels"])
        yield from (f"{counts['n']} test records: {labels}.", "")
    yield from (f"- {sentence}" for sentence in task["verdict"])
    columns = columns_of(task)[:SUMMARY_COLUMNS]
    yield from ("", f"| system | {' | '.join(column.title for column in columns)} |", f"|---|{'---:|' * len(columns)}")
    for system in by_rank(task):
        cells = (_cell(cell_of(system, column.key)) for column in columns)
        yield f"| {_plain(system['name'])} | {' | '.join(cells)} |"
    yield from ("", f"In brackets: {confidence:.0%} interval. Best {columns[0].title if columns else 'system'} first.")
    told = [finding for finding in task["findings"] if finding["level"] != "info"]
    if told:
        yield from ("", "Findings:", "")
    for finding in told:
        about = f" ({finding['system']})" if finding["system"] else ""
        evidence = f": {finding['evidence']}" if finding["evidence"] else ""
        yield f"- **{finding['level']}** {finding['title']}{about}{evidence}"
    if task["advice"]:
        yield from ("", "Which system for which use:", "")
    yield from (f"- {sentence}" for sentence in task["advice"])


def _cell(cell: Cell) -> str:
    return _plain(cell.text if cell.empty else cell.plain)


def _plain(text: str) -> str:
    """A bar would end the table's cell."""
    return text.replace("|", "/")
