"""Who stands first, and who the others are compared with."""

from collections.abc import Callable, Sequence

import numpy as np

from clinfit.evaluation.context import Measured, MeasuredContext
from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER
from clinfit.evaluation.results import Chosen
from clinfit.evaluation.systems import System


def rank_systems(measured: Sequence[Measured], primary: str) -> list[str]:
    """Names, best primary value on test first; equal ones in the order of the study, not estimable ones last.

    Seeds of one model stand together, in the place of their mean: a lucky seed is no better model.
    """
    sign = 1 if primary in LOWER_IS_BETTER else -1

    def value(item: Measured) -> float:
        metric = item.metrics.get(primary)
        return float("inf") if metric is None or metric.value is None else sign * metric.value

    def key(item: Measured) -> tuple[float, int, float]:
        seeds = [place for place, other in enumerate(measured) if item.same_model(other)]
        known = [value(measured[place]) for place in seeds if value(measured[place]) < float("inf")]
        return sum(known) / len(known) if known else float("inf"), seeds[0], value(item)

    return [item.name for item in sorted(measured, key=key)]


def choose(measured: Sequence[Measured], primary: str) -> Chosen | None:
    """The model of the task: best on validation, the simpler one of equals; on test only where no system has validation
    answers. Constant answers and rules that write are not asked. Of a model with several seeds the mean counts, and its
    best seed on that split stands for it."""
    asked = [item for item in measured if not item.system.constant and not item.system.writing_rule]
    sign = -1 if primary in LOWER_IS_BETTER else 1

    def on_validation(item: Measured) -> float | None:
        return item.validation_primary

    def on_test(item: Measured) -> float | None:
        metric = item.metrics.get(primary)
        return None if metric is None or metric.value is None else sign * metric.value

    found = _best(asked, on_validation)
    best, value, among = found or _best(asked, on_test) or (None, 0.0, 0)
    if best is None:
        return None
    return Chosen(system=best.name, split="validation" if found else "test", value=sign * value, among=among)


def chosen_among(context: MeasuredContext, systems: Sequence[Measured]) -> Measured | None:
    """The one of these systems that a reader would be told of if there were no others: chosen as the model of the task
    is, never the best on test beside validation answers; None of none."""
    found = choose(systems, context.primary)
    return None if found is None else next(item for item in systems if item.name == found["system"])


def _best(
    measured: Sequence[Measured], value: Callable[[Measured], float | None]
) -> tuple[Measured, float, int] | None:
    """The best system, the mean over the seeds of its model, and the number of models; larger is better."""
    models: dict[tuple[str, int], list[tuple[float, Measured]]] = {}
    for item in measured:
        if (known := value(item)) is not None:
            models.setdefault((item.system.model, item.system.stage), []).append((known, item))
    if not models:
        return None
    means = {key: float(np.mean([known for known, _ in seeds])) for key, seeds in models.items()}
    key = max(models, key=lambda key: (means[key], models[key][0][1].system.simple))
    return max(models[key], key=lambda seed: seed[0])[1], means[key], len(models)


def baseline_of(measured: Sequence[Measured], model: str | None) -> System | None:
    """The system to compare with: the named model, else the simple one that is best on validation, never on test."""
    named = [item.system for item in measured if item.system.model == model]
    if named:
        return named[-1] if named[-1].moment == "after" else named[0]
    return best_simple(measured)


def best_simple(measured: Sequence[Measured]) -> System | None:
    """The simple system with the best primary value on validation."""
    simple = [item for item in measured if item.system.simple]
    best = max(simple, key=lambda item: _or_lowest(item.validation_primary), default=None)
    return best.system if best is not None else None


def _or_lowest(value: float | None) -> float:
    return float("-inf") if value is None else value
