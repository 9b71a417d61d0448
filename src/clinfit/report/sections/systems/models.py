"""What the report says of the models: how each was trained, with what, and why one did not finish."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER
from clinfit.evaluation.training_curve import CurveVerdict, curve_verdict
from clinfit.report.figures.basic import Scores, training_figure
from clinfit.report.format import count, duration, flatten, per_cent, text_of
from clinfit.report.glossary import definition

ModelRecord = Mapping[str, Any]
LogRow = Mapping[str, Any]

#: What each shape of a curve of validation losses means.
SHAPES = {
    "falling": "Validation loss fell to its end, so that more epochs may help",
    "flat": "Validation loss was flat at its end, so that more epochs are not expected to help",
    "rose": "Validation loss rose again before the end; the best checkpoint was kept",
}


@dataclass(frozen=True)
class ModelView:
    name: str
    summary: str
    facts: list[tuple[str, str]]


def run_name(record: ModelRecord) -> str:
    return f"{record['model']}-seed{record['seed']}"


def failures(records: Sequence[ModelRecord]) -> dict[str, str]:
    """Run name -> why, for the models that did not finish."""
    return {run_name(r): r.get("reason") or "no reason recorded" for r in records if r.get("status") != "done"}


def model_view(record: ModelRecord) -> ModelView:
    """Family, cost and the values that were really used, read back by the trainer."""
    facts: list[tuple[str, str]] = [
        ("family", text_of(record.get("family"))),
        ("status", text_of(record.get("status"))),
    ]
    if (fold := record.get("fold")) is not None:
        words = f"fold {fold['fold']} of repeat {fold['repeat']}; those of the other folds were trained alike"
        facts.append(("this model", words))
    if record.get("reason"):
        facts.append(("reason", text_of(record["reason"])))
    stages = record.get("stages", {})
    for number in sorted(stages, key=int):
        facts += _stage_facts(stages[number], f"stage {number}: " if len(stages) > 1 else "")
    facts += [
        (f"study: {name}", text) for name, text in flatten(record.get("spec", {})) if name not in ("name", "family")
    ]
    facts += [("inputs (SHA-256)", text_of(record.get("inputs")))]
    return ModelView(run_name(record), _summary(record), facts)


def _stage_facts(stage: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    """One round of training: time, size, details and the hash of what came out."""
    facts = [("training time", duration(stage["seconds"]))]
    if stage["parameters"]:
        share = stage["trainable_parameters"] / stage["parameters"]
        trained = f"{count(stage['trainable_parameters'])} of {count(stage['parameters'])} ({per_cent(share, 2)})"
        facts.append(("trained parameters", trained))
    facts += flatten(stage.get("details", {}))
    facts += [("alarm", text) for text in stage.get("alarms", [])]
    facts.append(("model (SHA-256)", text_of(stage.get("model"))))
    return [(prefix + name, text) for name, text in facts]


def _summary(record: ModelRecord) -> str:
    """One line for the closed view."""
    stages = list(record.get("stages", {}).values())
    parts = [text_of(record.get("family"))]
    if base := record.get("spec", {}).get("base"):
        parts.append(f"base {base}")
    if stages and stages[-1]["parameters"]:
        parts.append(
            f"{per_cent(stages[-1]['trainable_parameters'] / stages[-1]['parameters'], 2)} of parameters trained"
        )
    if stages:
        parts.append(f"fitted in {duration(sum(stage['seconds'] for stage in stages))}")
    return "; ".join(parts if record.get("status") == "done" else [*parts, "did not finish"])


@dataclass(frozen=True)
class Training:
    """One stage of a model by its log. name: of the run, and of the stage where it has several. kept: the step whose
    checkpoint was kept, None where none was. per: what losses are counted by, `record` or `token`. curve: what its
    validation losses say."""

    name: str
    rows: Sequence[LogRow]
    per: str
    kept: int | None
    curve: CurveVerdict


@dataclass(frozen=True)
class TrainingFigure:
    figure: Markup
    said: str


def trainings(records: Sequence[ModelRecord], logs: Mapping[tuple[str, int], Sequence[LogRow]]) -> list[Training]:
    """Every stage of every model that has a log."""
    by_run = {run_name(record): record for record in records}
    stages = Counter(name for name, _ in logs)
    found = []
    for (name, stage), rows in logs.items():
        if rows:
            record = by_run.get(name, {})
            kept, per = kept_step(record, stage), record.get("spec", {}).get("train", {}).get("loss_per", "record")
            told = name if stages[name] == 1 else f"{name}, stage {stage}"
            found.append(Training(told, rows, per, kept, curve_verdict(rows, kept)))
    return found


def training_figures(
    records: Sequence[ModelRecord], logs: Mapping[tuple[str, int], Sequence[LogRow]], primaries: Mapping[str, str]
) -> list[TrainingFigure]:
    """One figure for every stage of every model that has a log. primaries: task -> its primary metric."""
    return [
        TrainingFigure(
            training_figure(each.rows, each.name, each.per, scores(each.rows, primaries), each.kept, f"training{k}"),
            each.curve.sentence,
        )
        for k, each in enumerate(trainings(records, logs))
    ]


def curves_in_brief(records: Sequence[ModelRecord], logs: Mapping[tuple[str, int], Sequence[LogRow]]) -> list[str]:
    """What the curves of validation losses show: a line for each shape, with the trainings that have it."""
    found: dict[str, list[str]] = {}
    for each in trainings(records, logs):
        if each.curve.shape != "unknown":
            found.setdefault(SHAPES[each.curve.shape], []).append(each.name)
    return [f"{words}: {'; '.join(names)}" for words, names in found.items()]


def scores(rows: Sequence[LogRow], primaries: Mapping[str, str]) -> list[Scores]:
    """The primary metric of every task that the model was validated on, the task named where there are several."""
    tasks = list(dict.fromkeys(task for row in rows for task in validated(row, primaries)))
    found = []
    for task in tasks:
        title = definition(primaries[task]).title
        pairs = [(row["step"], validated(row, primaries)[task]) for row in rows if task in validated(row, primaries)]
        points = [(step, value) for step, value in pairs if value is not None]
        if points:
            found.append(Scores(f"{task}: {title}" if len(tasks) > 1 else title, points))
    return found


def validated(row: LogRow, primaries: Mapping[str, str]) -> dict[str, float | None]:
    """Task -> its primary metric on validation, in its own sign: logs hold larger-is-better values (models/base.py),
    so that Brier score, log loss and Hamming loss get theirs back."""
    return {
        task: _own_sign(primaries[task], found["primary"])
        for task, found in (row.get("validation_tasks") or {}).items()
        if task in primaries
    }


def _own_sign(metric: str, value: float | None) -> float | None:
    return -value if value is not None and metric in LOWER_IS_BETTER else value


def kept_step(record: ModelRecord, stage: int) -> int | None:
    """The step whose checkpoint was kept, as the trainer recorded it: it chose. None for a stage without validation, or
    one that did not end."""
    return record.get("stages", {}).get(str(stage), {}).get("details", {}).get("best_step")
