"""The folds of a cross-validation one by one: sizes, the primary metric, and what was chosen in each."""

from typing import Any

from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.system_results import FoldDict
from clinfit.study.data import Fold


def folds(context: MeasuredContext, item: Measured) -> Outcome:
    """Of every system; none in a study that divides once."""
    values = [found.get(context.primary, float("nan")) for found in item.scored.of_folds]
    section = [
        FoldDict(
            repeat=fold.repeat,
            fold=fold.fold,
            n=len(part.test),
            validation=len(part.validation),
            primary=None if value != value else value,
            threshold=item.decision.folds[fold].choice.as_dict(),
            recalibration=_map(item, fold),
        )
        for (fold, part), value in zip(item.system.parts.items(), values, strict=True)
    ]
    return section or None, []


def _map(item: Measured, fold: Fold) -> dict[str, Any] | None:
    fitted = item.decision.folds[fold].recalibration
    return None if fitted is None else fitted.as_dict()
