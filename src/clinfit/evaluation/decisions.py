"""From probabilities to what is done with an item, as parts of metrics.json: recalibration, referral, selective
prediction, sets of labels; and what a reader must know of choices made on validation."""

from collections.abc import Sequence

import numpy as np

from clinfit.evaluation.conformal import conformal
from clinfit.evaluation.definitions import METRICS
from clinfit.evaluation.measure import Measured
from clinfit.evaluation.referral import choose_referral, referral_result
from clinfit.evaluation.selective import selective
from clinfit.evaluation.system_results import RecalibrationDict, SystemResult
from clinfit.findings import Finding
from clinfit.study_evaluation import Evaluation

#: Level of the sets of labels where the study names none.
LEVEL = 0.9
#: Validation items of each class below which what was chosen on them is a matter of chance.
FEW_TO_CHOOSE = 100


def with_decisions(entry: SystemResult, evaluation: Evaluation, item: Measured) -> SystemResult:
    """The entry with its parts on recalibration, referral, selective prediction and sets; rules have none of them."""
    if item.system.family == "baseline":
        return entry
    if item.recalibration is not None:
        before = {name: metric.as_dict() for name, metric in item.before.items()}
        entry["recalibration"] = RecalibrationDict(**item.recalibration.as_dict(), before=before)
    refer = evaluation.refer
    entry["selective"] = selective(item.scored)
    level = refer.value if refer is not None and refer.rule == "conformal" else LEVEL
    groups = len(np.unique(item.system.validation.groups))
    entry["conformal"] = conformal(item.scored, item.validation, groups, level)
    if refer is not None:
        entry["referral"] = referral_result(choose_referral(refer, item.validation, groups), item.scored)
    return entry


def check_decisions(
    evaluation: Evaluation, measured: Sequence[Measured], entries: Sequence[SystemResult]
) -> list[Finding]:
    """What the reader must know of the choices; entries: of the same systems, with their decisions."""
    found = _small_validation(evaluation, measured)
    for item, entry in zip(measured, entries, strict=True):
        found += _recalibration(item)
        referral = entry["referral"]
        if referral is not None and referral["note"] is not None:
            title = f"{item.name}: {referral['note']}"
            advice = "give the study more validation items, or leave evaluation.refer out"
            found.append(Finding("warn", "referral-fallback", title, "", advice, item.name))
    return found


def _small_validation(evaluation: Evaluation, measured: Sequence[Measured]) -> list[Finding]:
    """Once a task: all systems have the same validation items."""
    chosen = [item for item in measured if item.choice.split is not None and item.choice.value is not None]
    fitted = [item for item in measured if item.recalibration is not None and item.recalibration.kind != "none"]
    used = [name for name, items in (("threshold", chosen), ("recalibration", fitted)) if items]
    if not used:
        return []
    answers = (chosen or fitted)[0].validation
    support = np.bincount(answers.gold, minlength=len(answers.labels))
    if support.min() >= FEW_TO_CHOOSE:
        return []
    counts = ", ".join(f"{label}: {count}" for label, count in zip(answers.labels, support, strict=True))
    what = " and ".join(used)
    return [
        Finding(
            "warn",
            "small-validation",
            f"The {what} {'were' if len(used) > 1 else 'was'} chosen on few validation items: "
            f"{int(support.min())} in the smallest class",
            counts,
            f"read what they reach on test, not on validation; {FEW_TO_CHOOSE} items of each class are a sound basis",
        )
    ]


def _recalibration(item: Measured) -> list[Finding]:
    if item.recalibration is None:
        return []
    if item.recalibration.note is not None:
        title = f"{item.name} is not recalibrated: {item.recalibration.note}"
        advice = "choose another evaluation.calibration, or give the study more validation items"
        return [Finding("warn", "recalibration-fallback", title, "", advice, item.name)]
    for name in ("brier", "brier_sum", "log_loss"):
        before, after = item.before.get(name), item.metrics.get(name)
        if before is None or after is None or before.value is None or after.value is None:
            continue
        if after.value > before.value:
            return [
                Finding(
                    "warn",
                    "recalibration-worse",
                    f"{item.name}: the recalibration made the {METRICS[name].title} on test worse",
                    f"{before.value:.4f} before, {after.value:.4f} after; fitted on {item.recalibration.n} validation "
                    "items",
                    "leave evaluation.calibration out, or fit it on more validation items",
                    item.name,
                )
            ]
    return []
