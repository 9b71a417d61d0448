"""External validation: what a trained model does on records of which nothing was chosen, beside what it did before.

The decision and the map of the probabilities are those of the pack. Three questions remain (Debray et al., J Clin
Epidemiol 2015; Riley et al., BMJ 2024): are the records like those of training (case mix), are the probabilities right
on average (calibration in the large: observed over expected), and do the metrics hold.
"""

import math
from collections.abc import Iterator

import numpy as np

from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.external_results import External, InTheLarge, MovedMetric
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.evaluation.statistics.intervals import z_value
from clinfit.findings import Finding

#: Share of records with a value outside of what training has seen from which the case mix is called other.
OTHER = 0.05


def external(context: MeasuredContext) -> Outcome:
    """The section of a pack that was asked about new records; nothing where the records are the study's own."""
    known = context.facts.external
    if known is None:
        return None, []
    item = next(item for item in context.measured if item.system.run == known["system"])
    moved = [
        MovedMetric(name=name, before=before, here=item.metrics[name].as_dict())
        for name, before in known["metrics"].items()
        if name in item.metrics and before["value"] is not None
    ]
    section = External(
        pack=known["pack"],
        study=known["study"],
        run=known["run"],
        records=known["records"],
        unlabelled=known["unlabelled"],
        empty=known["empty"],
        unseen=known["unseen"],
        referred=known["referred"],
        before=known["before"],
        cross_validation=known["cross_validation"],
        recalibrated=known["recalibrated"],
        recalibrate=known["recalibrate"],
        metrics=moved,
        large=[] if context.task.kind == "multiple-choice" else list(in_the_large(item, context.confidence)),
        case_mix=list(known["case_mix"]),
    )
    return section, [*_told(section), *_miscalibrated(section, item), *_case_mix(section)]


def in_the_large(item: Measured, confidence: float) -> Iterator[InTheLarge]:
    """Observed and expected events of each label, or of the positive one where there are two, and their ratio.

    The interval is on the log scale with variance (1 - observed share) / events (Debray et al., 2017); there is none
    where items share groups, or without events.
    """
    answers = item.answers
    read = answers.has_probabilities
    n = int(read.sum())
    if not n:
        return
    gold = answers.gold[read]
    held = gold.astype(bool) if gold.ndim == 2 else np.eye(len(answers.labels), dtype=bool)[gold]
    positive = getattr(answers, "positive", None)
    for k, label in enumerate(answers.labels):
        if positive is not None and k != positive:
            continue
        events, expected = int(held[:, k].sum()), float(answers.probabilities[read, k].sum())
        ratio = events / expected if expected > 0 else None
        low = high = None
        if ratio and not item.scored.grouped:
            half = z_value(confidence) * math.sqrt((1 - events / n) / events)
            low, high = ratio * math.exp(-half), ratio * math.exp(half)
        yield InTheLarge(label=label, n=n, observed=events, expected=expected, ratio=ratio, low=low, high=high)


def _told(section: External) -> Iterator[Finding]:
    left, empty = section["unlabelled"], section["empty"]
    yield Finding(
        "info",
        "external-validation",
        "These records chose nothing: threshold, recalibration and weights are those of the pack",
        f"{section['records']} records with an answer"
        + (f"; {left} others have none that the task knows, and were left out" if left else "")
        + (f"; {empty} have no value at all, to which the pack gives no answer, and were left out too" if empty else "")
        + "; clinfit cannot know whether any of them is a record of training, whose ids and texts a pack does not hold",
        "say where and when these records were collected, and how they differ from those of training",
        section["run"],
    )


def _miscalibrated(section: External, item: Measured) -> Iterator[Finding]:
    """A finding where the interval of calibration intercept or slope leaves out the value of right probabilities."""
    off = []
    for name, right in (("calibration_intercept", 0.0), ("calibration_slope", 1.0)):
        metric = item.metrics.get(name)
        if metric is None or metric.value is None or metric.low is None or metric.high is None:
            continue
        if not metric.low <= right <= metric.high:
            interval = f"[{metric.low:.2f}, {metric.high:.2f}]"
            off.append(f"{METRICS[name].title} {metric.value:.2f} {interval}, where {right:g} is right")
    if off:
        command = section["recalibrate"]
        yield Finding(
            "warn",
            "miscalibrated-here",
            "The probabilities are not right on these records",
            "; ".join(off),
            "collect more records with an answer, and recalibrate the pack on them"
            if command is None
            else f"recalibrate the pack, and test the new one on other records of this place: {command}",
            section["run"],
        )


def _case_mix(section: External) -> Iterator[Finding]:
    other = [row for row in section["case_mix"] if row["n"] and row["outside"] / row["n"] >= OTHER]
    if other:
        named = ", ".join(f"{row['name']} ({row['outside']} of {row['n']})" for row in other)
        yield Finding(
            "warn",
            "case-mix",
            f"{len(other)} input{'s' if len(other) > 1 else ''} of these records lie outside of what training has seen",
            f"records with an unknown category or a number out of range: {named}",
            "read the figures as those of another population; look for other units, codes or patients",
            section["run"],
        )
