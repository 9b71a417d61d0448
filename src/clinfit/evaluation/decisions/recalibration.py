"""Recalibration: a map of probabilities fitted on validation, so that a predicted 30 % happens in 30 of 100.

    temperature   P'(k) ~ P(k)^(1/T)                  one number, any labels     (Guo et al., 2017)
    intercept     logit P' = a + logit P              one number, two labels     (in the large: Steyerberg et al., 2004)
    platt         logit P' = a + b logit P            two numbers, two labels    (Platt, 1999; Cox, 1958)
    isotonic      a rising step line through P        two labels, many items     (Zadrozny & Elkan, 2002)
    by-label      intercept, or platt, of each label  sets of labels: P(k) and 1 - P(k) are the two probabilities

Temperature, intercept and platt never change a ranking; isotonic may tie neighbours. What cannot be fitted is left as
it was, and says why.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from clinfit.evaluation.metrics.probabilities import CALIBRATION_EVENTS, EDGE, logistic
from clinfit.scoring.probabilities import softmax

Floats = NDArray[np.float64]
Kind = Literal["none", "temperature", "intercept", "platt", "isotonic", "by-label"]
LabelMap = Literal["intercept", "platt"]

#: Fewest validation items for steps; with fewer they follow chance.
ISOTONIC_ITEMS = 1000
#: What a label's probability of 0 or 1 is at least away from it: below, 1 less that is 1.
NEAREST = 1e-12
#: Temperatures that are looked at.
LOWEST, HIGHEST = 0.05, 100.0


@dataclass(frozen=True)
class Recalibration:
    """The map in force.

    parameters: temperature {temperature}; intercept {intercepts (one a label)}; platt {slope, intercepts}; isotonic
    {label, x, y}, the index of the positive label and the knots; by-label {slopes, intercepts (one a label; 1 and 0 of
    a label that is left as it was)}. split, n: where it was to be fitted, and on how many items. note: why it is not
    what the study asked for.
    """

    kind: Kind = "none"
    parameters: dict[str, list[float]] = field(default_factory=dict)
    split: str | None = None
    n: int = 0
    note: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recalibration":
        """From `as_dict`; other keys, such as the metrics before, are left out."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})

    def mapped_labels(self, labels: Sequence[str]) -> list[str]:
        """Of sets of labels: those that have a map."""
        if self.kind != "by-label":
            return []
        lines = zip(labels, self.parameters["slopes"], self.parameters["intercepts"], strict=True)
        return [label for label, slope, intercept in lines if (slope, intercept) != (1.0, 0.0)]

    def apply(self, probabilities: Floats) -> Floats:
        """(n, K) probabilities to (n, K) recalibrated ones; rows of nan stay nan.

        Every row is computed on its own, so that an item has the same numbers whatever stands beside it.
        """
        match self.kind:
            case "none":
                return probabilities
            case "temperature":
                return softmax(_log(probabilities, self.parameters["floor"][0]) / self.parameters["temperature"][0])
            case "intercept":
                intercepts = np.array(self.parameters["intercepts"])
                return softmax(_log(probabilities, self.parameters["floor"][0]) + intercepts)
            case "platt":
                (slope,), intercepts = self.parameters["slope"], np.array(self.parameters["intercepts"])
                return softmax(slope * _log(probabilities, self.parameters["floor"][0]) + intercepts)
            case "isotonic":
                label = int(self.parameters["label"][0])
                mapped = np.interp(probabilities[:, label], self.parameters["x"], self.parameters["y"])
                pair = (mapped, 1 - mapped) if label == 0 else (1 - mapped, mapped)
                return np.column_stack(pair)
            case "by-label":
                slopes, intercepts = np.array(self.parameters["slopes"]), np.array(self.parameters["intercepts"])
                mapped = expit(slopes * _logit(probabilities, self.parameters["floor"][0]) + intercepts)
                return np.where((slopes == 1) & (intercepts == 0), probabilities, mapped)


def fit_recalibration(
    kind: Kind,
    gold: NDArray[np.int64],
    probabilities: Floats,
    positive: int | None,
    split: str = "validation",
    *,
    classes: bool = True,
) -> Recalibration:
    """A map fitted on validation items: (n,) gold label indices, (n, K) probabilities without gaps.

    positive: index of the positive label, None for more than two labels. split: what the items are called, where they
    are others. classes: whether labels are classes, of which there must be two; letters of options are none. Kind
    `none` with a note where the items cannot give the map.
    """
    if kind == "none":
        return Recalibration()
    n = len(gold)
    left = Recalibration("none", {}, split, n)
    if not n:
        return Recalibration(note=f"no {split} items; the probabilities are as the model gave them")
    if classes and len(np.unique(gold)) < 2:
        return _unfitted(left, f"{split} items are of one class only")
    if not np.ptp(probabilities, axis=0).any():
        return _unfitted(left, f"every {split} item has the same probabilities")
    if kind == "temperature":
        return _temperature(left, gold, probabilities)
    if positive is None:
        return _unfitted(left, f"{kind} needs two labels")
    outcome = gold == positive
    if kind == "intercept":
        return _intercept(left, outcome, probabilities, positive)
    if kind == "platt":
        return _platt(left, outcome, probabilities, positive)
    return _isotonic(left, outcome, probabilities[:, positive], positive)


def fit_label_recalibration(
    kind: LabelMap,
    labels: Sequence[str],
    gold: NDArray[np.bool_],
    probabilities: Floats,
    split: str = "validation",
    mapped: Collection[str] | None = None,
) -> Recalibration:
    """A map of each label, fitted on validation items: (n, K) whether it holds, (n, K) probabilities without gaps.

    A label of fewer items with it, or without it, than CALIBRATION_EVENTS for each number is left as it was, as is one
    whose probabilities separate its items or go against them. Kind `none` with a note where no label has a map.

    mapped: the labels that are mapped whatever the number of their items, and no others; default: by that number.
    """
    n, needed = len(gold), CALIBRATION_EVENTS * (2 if kind == "platt" else 1)
    if not n:
        return Recalibration(note=f"no {split} items; the probabilities are as the model gave them")
    floor = max(NEAREST, min(_floor(probabilities), _floor(1 - probabilities)))
    logits = _logit(probabilities, floor)
    slopes, intercepts, left = np.ones(len(labels)), np.zeros(len(labels)), dict[str, str]()
    for k, label in enumerate(labels):
        fewest = int(min(gold[:, k].sum(), n - gold[:, k].sum()))
        enough = fewest >= needed if mapped is None else label in mapped and fewest > 0
        found = _line(kind, gold[:, k], logits[:, k]) if enough else None
        if found is None:
            left[label] = "no rising line fits" if enough else f"{fewest} items"
        else:
            intercepts[k], slopes[k] = found
    note = "; ".join(f"{label}: {why}" for label, why in left.items())
    if len(left) == len(labels):
        return _unfitted(Recalibration("none", {}, split, n), f"no label has a map ({note})")
    parameters = {"slopes": slopes.tolist(), "intercepts": intercepts.tolist(), "floor": [floor]}
    return Recalibration("by-label", parameters, split, n, f"as the model gave them: {note}" if left else None)


def _line(kind: LabelMap, outcome: NDArray[np.bool_], logits: Floats) -> tuple[float, float] | None:
    """Intercept and slope of one label; None where no rising line fits."""
    if not np.ptp(logits):
        return None
    if kind == "intercept":
        fit = logistic(np.ones((len(logits), 1)), outcome, logits)
        return None if fit is None else (float(fit[0][0]), 1.0)
    fit = logistic(np.column_stack([np.ones_like(logits), logits]), outcome, np.zeros_like(logits))
    return None if fit is None or fit[0][1] <= 0 else (float(fit[0][0]), float(fit[0][1]))


def _unfitted(left: Recalibration, why: str) -> Recalibration:
    return replace(left, note=f"{why}; the probabilities are as the model gave them")


def _temperature(left: Recalibration, gold: NDArray[np.int64], probabilities: Floats) -> Recalibration:
    floor = _floor(probabilities)
    logs = _log(probabilities, floor)
    items = np.arange(len(gold))
    # The loss is convex in 1 / T: it has no minimum when it still falls at infinity, and none above 0 when it rises
    # from there on.
    others = np.where(np.eye(logs.shape[1], dtype=bool)[gold], -np.inf, logs).max(1)
    if (logs[items, gold] > others).all():
        return _unfitted(left, f"every answer to {left.split} items is right, so no temperature fits")
    if (logs[items, gold] - logs.mean(1)).mean() <= 0:
        return _unfitted(
            left, f"the probabilities say nothing of the labels of {left.split} items, so no temperature fits"
        )

    def loss(log_temperature: float) -> float:
        scaled = logs / np.exp(log_temperature)
        return float((np.logaddexp.reduce(scaled, axis=1) - scaled[items, gold]).mean())

    bounds = (np.log(LOWEST), np.log(HIGHEST))
    fit: Any = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-8})
    return replace(left, kind="temperature", parameters={"temperature": [float(np.exp(fit.x))], "floor": [floor]})


def _intercept(left: Recalibration, outcome: NDArray[np.bool_], probabilities: Floats, positive: int) -> Recalibration:
    floor = _floor(probabilities)
    logs = _log(probabilities, floor)
    fit = logistic(np.ones((len(logs), 1)), outcome, logs[:, positive] - logs[:, 1 - positive])
    if fit is None:
        return _unfitted(left, f"no intercept fits {left.split} items")
    intercepts = [0.0, 0.0]
    intercepts[positive] = float(fit[0][0])
    return replace(left, kind="intercept", parameters={"intercepts": intercepts, "floor": [floor]})


def _platt(left: Recalibration, outcome: NDArray[np.bool_], probabilities: Floats, positive: int) -> Recalibration:
    floor = _floor(probabilities)
    logs = _log(probabilities, floor)
    logit = logs[:, positive] - logs[:, 1 - positive]
    fit = logistic(np.column_stack([np.ones_like(logit), logit]), outcome, np.zeros_like(logit))
    if fit is None:
        return _unfitted(left, f"the probabilities separate the classes of {left.split} items, so no line fits")
    intercept, slope = (float(value) for value in fit[0])
    if slope <= 0:
        return _unfitted(left, f"higher probabilities do not go with more positives among {left.split} items")
    intercepts = [0.0, 0.0]
    intercepts[positive] = intercept
    return replace(left, kind="platt", parameters={"slope": [slope], "intercepts": intercepts, "floor": [floor]})


def _isotonic(left: Recalibration, outcome: NDArray[np.bool_], scores: Floats, positive: int) -> Recalibration:
    if len(outcome) < ISOTONIC_ITEMS:
        return _unfitted(left, f"isotonic needs {ISOTONIC_ITEMS:,} {left.split} items and there are {len(outcome)}")
    from sklearn.isotonic import IsotonicRegression  # a second to load

    # A step of 0 or 1 would claim certainty from the items of one step: the edges are those of one item more.
    edge = 1 / (len(outcome) + 2)
    fit = IsotonicRegression(y_min=edge, y_max=1 - edge).fit(scores, outcome)
    parameters = {"label": [float(positive)], "x": fit.X_thresholds_.tolist(), "y": fit.y_thresholds_.tolist()}
    return replace(left, kind="isotonic", parameters=parameters)


def _floor(probabilities: Floats) -> float:
    """What a probability of 0 counts as: the smallest that the model gave on validation, at most EDGE."""
    return float(probabilities[probabilities > 0].min(initial=EDGE))


def _logit(probabilities: Floats, floor: float) -> Floats:
    """log(P / (1 - P)) under the same floor of both."""
    return np.asarray(logit(np.clip(np.ascontiguousarray(probabilities), floor, 1 - floor)))


def _log(probabilities: Floats, floor: float) -> Floats:
    """Logarithms under the same floor where the map is fitted and where it is applied."""
    return np.log(np.maximum(np.ascontiguousarray(probabilities), floor))
