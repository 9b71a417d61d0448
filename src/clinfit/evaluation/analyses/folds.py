"""A cross-validation and its folds one by one: sizes, the primary metric, and what was chosen in each."""

from collections.abc import Iterator

from clinfit.evaluation.answers import repeats_of
from clinfit.evaluation.claims.wording import in_words
from clinfit.evaluation.context import Context, Measured, MeasuredContext, Outcome
from clinfit.evaluation.results import CrossValidation, FoldSizes
from clinfit.evaluation.system_results import FoldDict, RecalibrationMap
from clinfit.study.data import Fold


def cross_validation(context: Context) -> Outcome:
    """How the records were divided; none in a study that divides once."""
    first = context.systems[0]
    if not first.parts:
        return None, []
    repeats = repeats_of(first.test.answers)
    k, records = len(first.parts) // repeats, len(first.test) // repeats
    sizes = [
        FoldSizes(
            repeat=fold.repeat,
            fold=fold.fold,
            train=records - len(part.test) - len(part.validation),
            validation=len(part.validation),
            test=len(part.test),
        )
        for fold, part in first.parts.items()
    ]
    return CrossValidation(folds=k, repeats=repeats, words=in_words(k, repeats), sizes=sizes), []


def folds(context: MeasuredContext, item: Measured) -> Outcome:
    """Of every system; none in a study that divides once."""
    section = [
        {**one, "threshold": item.decision.folds[fold].choice.as_dict(), "recalibration": _map(item, fold)}
        for fold, one in _counted(context, item)
    ]
    return section or None, []


def folds_of_sets(context: MeasuredContext, item: Measured) -> Outcome:
    """The same of a multilabel task, in which each label has a threshold."""
    section = [
        {
            **one,
            "label_thresholds": {
                label: choice.as_dict() for label, choice in item.decision.folds[fold].choices.items()
            },
            "recalibration": _map(item, fold),
        }
        for fold, one in _counted(context, item)
    ]
    return section or None, []


def folds_of_texts(context: MeasuredContext, item: Measured) -> Outcome:
    """The same of a task that asks for texts, in which nothing is chosen."""
    return [one for _, one in _counted(context, item)] or None, []


def _counted(context: MeasuredContext, item: Measured) -> Iterator[tuple[Fold, FoldDict]]:
    """Each fold with its records and the primary metric on them; nothing is said yet of what was chosen in it."""
    values = [found.get(context.primary, float("nan")) for found in item.scored.of_folds]
    for (fold, part), value in zip(item.system.parts.items(), values, strict=True):
        yield (
            fold,
            FoldDict(
                repeat=fold.repeat,
                fold=fold.fold,
                n=len(part.test),
                validation=len(part.validation),
                primary=None if value != value else value,
                threshold=None,
                recalibration=None,
            ),
        )


def _map(item: Measured, fold: Fold) -> RecalibrationMap | None:
    fitted = item.decision.folds[fold].recalibration
    return None if fitted is None else RecalibrationMap(**fitted.as_dict())
