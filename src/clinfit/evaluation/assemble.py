"""The parts of metrics.json that are plain copies of what is known: systems, split counts, seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from clinfit.evaluation.answers import UNPARSED, Answers, Rows, confusion
from clinfit.evaluation.classification import label_table
from clinfit.evaluation.curves import curves
from clinfit.evaluation.definitions import primary_name
from clinfit.evaluation.measure import Measured
from clinfit.evaluation.metric import Metric
from clinfit.evaluation.results import Facts, SeedSummary, SplitCounts
from clinfit.evaluation.system_results import ClassResult, Confusion, Curves, SystemResult
from clinfit.evaluation.systems import System
from clinfit.evaluation.thresholds import ThresholdChoice
from clinfit.study import Study, Task


def split_counts(system: System, task: Task, known: Mapping[str, Mapping[str, int]]) -> dict[str, SplitCounts]:
    """Records, groups and labels of each split: from the data where known, else from the system's own rows."""
    rows = {"validation": system.validation, "test": system.test}
    counts: dict[str, SplitCounts] = {}
    for split in ("train", "validation", "test"):
        part = rows.get(split)
        labels = dict(known[split]) if split in known else _label_counts(part, task)
        if labels:
            groups = None if part is None or not len(part) else len(np.unique(part.groups))
            counts[split] = SplitCounts(n=sum(labels.values()), groups=groups, labels=labels)
    return counts


def _label_counts(rows: Rows | None, task: Task) -> dict[str, int]:
    """Items of each declared label; empty when there are no rows."""
    if rows is None or not len(rows):
        return {}
    declared = rows.gold[rows.gold != UNPARSED]
    return dict(zip(task.labels, np.bincount(declared, minlength=len(task.labels)).tolist(), strict=True))


def system_result(item: Measured, facts: Facts) -> SystemResult:
    """One system's entry."""
    answers = item.answers
    classes = [_class_result(answers, k, metrics) for k, metrics in enumerate(label_table(item.scored).values())]
    drawn = curves(answers, item.scored.confidence, item.scored.resamples.clusters)
    return _entry(item.system, answers, item.choice, item.metrics, classes, drawn, facts)


def withheld_result(system: System, study: Study, task: Task, facts: Facts, why: str) -> SystemResult:
    """An entry without numbers: counts and confusion show what went wrong, the headline metrics are withheld."""
    reason = f"withheld: {why}"
    n, answers = len(system.test), _countable(system, task)
    names = [
        "accuracy",
        primary_name(study.evaluation.primary, len(task.labels)),
        "balanced_accuracy",
        "macro_f1",
        "mcc",
    ]
    if task.binary:
        names += ["sensitivity", "specificity", "f1", "auroc", "auprc", "brier"]
    metrics = {name: Metric(None, n=n).withheld(reason) for name in dict.fromkeys(names)}
    by_label = {name: Metric(None, n=n).withheld(reason) for name in ("precision", "recall", "f1", "auroc")}
    classes = [_class_result(answers, k, by_label) for k in range(len(task.labels))]
    return _entry(system, answers, ThresholdChoice(), metrics, classes, None, facts)


def _countable(system: System, task: Task) -> Answers:
    """The rows whose gold label is declared, without probabilities."""
    answers = system.test.answers(task.labels, task.positive_label)
    inside = answers.gold != UNPARSED
    n = int(inside.sum())
    return replace(
        answers,
        gold=answers.gold[inside],
        predicted=answers.predicted[inside],
        probabilities=np.full((n, len(task.labels)), np.nan),
        label_mass=np.full(n, np.nan),
    )


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
        "peak_memory_mb": known.get("peak_memory_mb"),
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
        recalibration=None,
        referral=None,
        selective=None,
        conformal=None,
        generated=None,
        language=None,
        cost=cost,
        alarms=list(known.get("alarms", [])) if system.trained else [],
    )


def _inference_cost(rows: Rows) -> dict[str, float | int | None]:
    """Seconds an item (median and 95th percentile) and prompt tokens an item (mean)."""
    seconds = rows.seconds[np.isfinite(rows.seconds)]
    tokens = rows.prompt_tokens[np.isfinite(rows.prompt_tokens)]
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
