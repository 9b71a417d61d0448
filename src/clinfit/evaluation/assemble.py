"""The parts of metrics.json that are plain copies of what is known: systems, split counts, seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from clinfit.evaluation.answers import UNPARSED, Answers, confusion, label_codes
from clinfit.evaluation.classification import label_table
from clinfit.evaluation.curves import curves
from clinfit.evaluation.definitions import primary_name
from clinfit.evaluation.measure import Measured
from clinfit.evaluation.metric import Metric
from clinfit.evaluation.results import (
    ClassResult,
    Confusion,
    Curves,
    Facts,
    SeedSummary,
    SplitCounts,
    SystemResult,
)
from clinfit.evaluation.systems import System
from clinfit.evaluation.thresholds import ThresholdChoice
from clinfit.study import Study, Task


def split_counts(system: System, known: Mapping[str, Mapping[str, int]]) -> dict[str, SplitCounts]:
    """Records, groups and labels of each split: from the data where known, else from the system's own rows."""
    rows = {"validation": system.validation, "test": system.test}
    counts: dict[str, SplitCounts] = {}
    for split in ("train", "validation", "test"):
        part = rows.get(split)
        labels = dict(known[split]) if split in known else _label_counts(part)
        if labels:
            groups = None if part is None or not len(part) else int(part["group"].nunique())
            counts[split] = SplitCounts(n=sum(labels.values()), groups=groups, labels=labels)
    return counts


def _label_counts(rows: pd.DataFrame | None) -> dict[str, int]:
    if rows is None:
        return {}
    return {str(label): int(count) for label, count in rows["gold"].value_counts().sort_index().items()}


def system_result(item: Measured, facts: Facts) -> SystemResult:
    """One system's entry."""
    answers = item.answers
    classes = [_class_result(answers, k, metrics) for k, metrics in enumerate(label_table(item.scored).values())]
    return _entry(
        item.system, answers, item.choice, item.metrics, classes, curves(answers, item.scored.confidence), facts
    )


def withheld_result(system: System, study: Study, task: Task, facts: Facts, why: str) -> SystemResult:
    """An entry without numbers: counts and confusion show what went wrong, the headline metrics are withheld."""
    reason = f"withheld: {why}"
    known = label_codes(system.test["gold"].tolist(), task.labels)
    answers = _countable(system, task, known)
    names = [
        "accuracy",
        primary_name(study.evaluation.primary, len(task.labels)),
        "balanced_accuracy",
        "macro_f1",
        "mcc",
    ]
    if task.binary:
        names += ["sensitivity", "specificity", "f1", "auroc", "auprc", "brier"]
    metrics = {name: Metric(None, n=len(known)).withheld(reason) for name in dict.fromkeys(names)}
    by_label = {name: Metric(None, n=len(known)).withheld(reason) for name in ("precision", "recall", "f1", "auroc")}
    classes = [_class_result(answers, k, by_label) for k in range(len(task.labels))]
    return _entry(system, answers, ThresholdChoice(), metrics, classes, None, facts)


def _countable(system: System, task: Task, gold: np.ndarray) -> Answers:
    """The rows whose gold label is declared."""
    inside = gold != UNPARSED
    predicted = label_codes(system.test["predicted"].tolist(), task.labels)
    predicted[(system.test["status"] != "ok").to_numpy()] = UNPARSED
    n, k = int(inside.sum()), len(task.labels)
    positive = None if task.positive_label is None else list(task.labels).index(task.positive_label)
    nothing = np.full((n, k), np.nan)
    return Answers(tuple(task.labels), positive, gold[inside], predicted[inside], nothing, np.full(n, np.nan))


def _class_result(answers: Answers, label: int, metrics: dict[str, Metric]) -> ClassResult:
    counts, n = confusion(answers), len(answers)
    support, given = int(counts[label].sum()), int(counts[:, label].sum())
    return ClassResult(
        label=answers.labels[label],
        support=support,
        predicted=given,
        prevalence=support / n if n else None,
        predicted_share=given / n if n else None,
        metrics={name: metric.as_dict() for name, metric in metrics.items()},
    )


def _entry(
    system: System,
    answers: Answers,
    choice: ThresholdChoice,
    metrics: dict[str, Metric],
    classes: list[ClassResult],
    drawn: Curves | None,
    facts: Facts,
) -> SystemResult:
    counts = confusion(answers)
    known = facts.get("models", {}).get(system.run, {})
    cost: dict[str, float | int | None] = {
        "train_seconds": known.get("train_seconds"),
        "parameters": known.get("parameters"),
        "trainable_parameters": known.get("trainable_parameters"),
        **_inference_cost(system.test),
    }
    return SystemResult(
        name=system.name,
        model=system.model,
        seed=system.seed,
        stage=system.stage,
        moment=system.moment,
        family=system.family,
        trained=system.trained,
        n=len(system.test),
        unparsed=int(counts[:, -1].sum()),
        unparsed_by_label={label: int(counts[k, -1]) for k, label in enumerate(answers.labels)},
        threshold=choice.as_dict(),
        metrics={name: metric.as_dict() for name, metric in metrics.items()},
        classes=classes,
        confusion=Confusion(rows=list(answers.labels), columns=[*answers.labels, "unparsed"], counts=counts.tolist()),
        curves=drawn,
        cost=cost,
        alarms=list(known.get("alarms", [])) if system.trained else [],
    )


def _inference_cost(rows: pd.DataFrame) -> dict[str, float | int | None]:
    """Seconds an item (median and 95th percentile) and prompt tokens an item (mean)."""
    seconds = pd.to_numeric(rows["seconds"]).to_numpy(dtype=np.float64)
    seconds = seconds[np.isfinite(seconds)]
    tokens = pd.to_numeric(rows["prompt_tokens"]).astype("Float64").dropna()
    return {
        "seconds_p50": float(np.quantile(seconds, 0.5)) if len(seconds) else None,
        "seconds_p95": float(np.quantile(seconds, 0.95)) if len(seconds) else None,
        "prompt_tokens_mean": float(tokens.mean()) if len(tokens) else None,
    }


def seed_summaries(measured: Sequence[Measured]) -> list[SeedSummary]:
    """Mean, standard deviation and range over seeds, for each model and stage that has several."""
    families: dict[tuple[str, int], list[Measured]] = {}
    for item in measured:
        families.setdefault((item.system.model, item.system.stage), []).append(item)
    summaries = []
    for (model, _), items in families.items():
        if len(items) < 2:
            continue
        moment = items[0].system.moment
        spread: dict[str, dict[str, float | int | None]] = {}
        for name in items[0].metrics:
            values = [item.metrics[name].value for item in items if name in item.metrics]
            defined = np.array([value for value in values if value is not None])
            if len(defined) > 1:
                spread[name] = {
                    "mean": float(defined.mean()),
                    "sd": float(defined.std(ddof=1)),
                    "min": float(defined.min()),
                    "max": float(defined.max()),
                    "n": len(defined),
                }
        title = f"{model} ({moment})" if moment else model
        summaries.append(SeedSummary(system=title, seeds=[item.system.seed for item in items], metrics=spread))
    return summaries
