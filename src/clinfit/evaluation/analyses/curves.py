"""Points for the report's figures of a binary task: ROC, precision-recall, calibration, risks, thresholds."""

import numpy as np
from numpy.typing import NDArray

from clinfit.evaluation.answers import Ints, LabelAnswers, repeats_of
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.decisions.net_benefit import net_benefit_curve, threshold_sweep
from clinfit.evaluation.metrics.calibration_curve import fit_calibration_curve
from clinfit.evaluation.metrics.probabilities import Ranking
from clinfit.evaluation.statistics.intervals import wilson
from clinfit.evaluation.system_results import CalibrationBin, Curves

POINTS = 300
HISTOGRAM_BINS = 20


def curves_section(context: MeasuredContext, item: Measured) -> Outcome:
    """What to draw of the system."""
    return curves(item.answers, context.confidence, item.scored.resamples.clusters), []


def curves(answers: LabelAnswers, confidence: float, clusters: Ints | None = None) -> Curves | None:
    """What to draw; None for more than two labels or a system without probabilities.

    clusters: (n,) code of each item's group, where items come in groups: bands are then robust to it.
    """
    if answers.positive is None or not answers.has_probabilities.all() or not len(answers):
        return None
    hit, scores = answers.gold == answers.positive, answers.probabilities[:, answers.positive]
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    histogram = {
        label: np.histogram(scores[answers.gold == k], edges)[0].tolist() for k, label in enumerate(answers.labels)
    }
    if hit.all() or not hit.any():
        return Curves(
            roc=[],
            precision_recall=[],
            calibration=[],
            calibration_curve=[],
            histogram=histogram,
            sweep=[],
            net_benefit=[],
        )
    ranking = Ranking(hit, scores)
    positives, negatives = (steps[:, 0] for steps in ranking.steps(np.ones((len(answers), 1))))
    found, alarms = positives.cumsum(), negatives.cumsum()
    sensitivity, false_alarms = found / found[-1], alarms / alarms[-1]
    roc = np.column_stack([np.r_[0, false_alarms], np.r_[0, sensitivity], np.r_[1, ranking.levels]])
    precision_recall = np.column_stack([sensitivity, found / (found + alarms), ranking.levels])
    parsed = answers.parsed
    sweep = threshold_sweep(hit, scores, parsed)
    benefit = net_benefit_curve(sweep, hit, scores, parsed, confidence, clusters)
    smooth = fit_calibration_curve(hit, scores, clusters, repeats_of(answers))
    return Curves(
        roc=_thin(roc),
        precision_recall=_thin(precision_recall),
        calibration=_calibration_bins(hit, scores, None if answers.folds is not None else confidence),
        calibration_curve=[] if smooth is None else smooth.points(confidence),
        histogram=histogram,
        sweep=sweep.tolist(),
        net_benefit=benefit.tolist(),
    )


def _thin(points: NDArray[np.float64]) -> list[list[float]]:
    """At most POINTS rows, the first and the last among them."""
    keep = np.unique(np.linspace(0, len(points) - 1, min(len(points), POINTS)).round().astype(int))
    return points[keep].tolist()


def _calibration_bins(
    hit: NDArray[np.bool_], scores: NDArray[np.float64], confidence: float | None
) -> list[CalibrationBin]:
    """Up to ten bins of equal size by score; items with the same score stay together. confidence: None for bins without
    intervals, where several answers of a bin are about one item."""
    bins = np.unique(np.quantile(scores, np.linspace(0, 1, 11)[1:-1]))
    place = np.searchsorted(bins, scores, side="left")
    result: list[CalibrationBin] = []
    for code in np.unique(place):
        inside = place == code
        n, events = int(inside.sum()), int(hit[inside].sum())
        low, high = (None, None) if confidence is None else wilson(events, n, confidence)
        result.append(
            CalibrationBin(mean_probability=float(scores[inside].mean()), observed=events / n, low=low, high=high, n=n)
        )
    return result
