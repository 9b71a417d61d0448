"""The metrics table of one system: each value with its interval, its counts, and a reason where it has none.

Intervals: Wilson for shares, DeLong on the logit scale for AUROC, log scale for ratios, Wald for calibration
(robust to groups where items come in these), bootstrap for the rest. When items come in groups, other formulas that
need independent items give way to the bootstrap over groups.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from clinfit.evaluation.answers import UNPARSED, LabelAnswers, confusion, repeats_of
from clinfit.evaluation.metrics.calibration_curve import INDICES, calibration_indices, fit_calibration_curve
from clinfit.evaluation.metrics.engine import MEANS_OVER_LABELS, RANKINGS, Scored
from clinfit.evaluation.metrics.fold_scorer import of_a_repeat
from clinfit.evaluation.metrics.metric import Metric, resampled, undefined
from clinfit.evaluation.metrics.probabilities import (
    CALIBRATION_EVENTS,
    EDGE,
    Calibration,
    calibration,
    calibration_error,
)
from clinfit.evaluation.statistics.delong import delong_interval
from clinfit.evaluation.statistics.hidden import NOTHING, Hidden, hidden_in
from clinfit.evaluation.statistics.intervals import Interval, log_ratio, ratio_of_sums, wilson, z_value

Floats = NDArray[np.float64]

NO_PROBABILITIES = "the system gives no probabilities"
ONE_CLASS = "one class in every fold"
#: Metrics of a binary task that hang on the items of either class; of a single one every resample says the same.
OF_BOTH_CLASSES = {"balanced_accuracy", "macro_f1", "balance_gap", "f1", "mcc", "kappa", "auprc"}


def overall_metrics(scored: Scored) -> dict[str, Metric]:
    """Every metric of the system as a whole, in the order of the table; names from `definitions.METRICS`."""
    answers = scored.answers
    names = ["accuracy", "balanced_accuracy", "macro_f1"]
    if np.bincount(answers.gold, minlength=len(answers.labels)).min() == 0:
        names.append("macro_f1_declared")
    names.append("weighted_f1")
    if (answers.predicted == UNPARSED).any():
        names.append("micro_f1")
    if answers.positive is not None:
        names += ["sensitivity", "specificity", "balance_gap", "ppv", "npv", "f1", "lr_plus", "lr_minus"]
        ranking = ["auroc", "auprc", "brier", "scaled_brier", "log_loss", "oe_ratio"]
    else:
        ranking = ["macro_auroc", "brier_sum", "log_loss"]
    table = {name: _metric(scored, name) for name in [*names, "mcc", "kappa", *ranking, "unparsed"]}
    table |= _calibration_metrics(scored)
    if np.isfinite(answers.label_mass).any():
        table["label_mass"] = _metric(scored, "label_mass")
    return {name: of_a_repeat(answers, metric) for name, metric in table.items()}


def label_table(scored: Scored) -> dict[str, dict[str, Metric]]:
    """Precision, recall, F1 and AUROC against the rest, for each declared label."""
    return {
        label: {
            name: of_a_repeat(scored.answers, metric)
            for name, metric in (
                *((name, _metric(scored, f"{name}:{label}")) for name in ("precision", "recall", "f1")),
                ("auroc", _auroc(scored, k)),
            )
        }
        for k, label in enumerate(scored.answers.labels)
    }


def _metric(scored: Scored, name: str) -> Metric:
    """One metric with its interval: exact forms where there are any, else the bootstrap."""
    answers = scored.answers
    if name == "auroc" and answers.positive is not None:
        return _auroc(scored, answers.positive)
    n, events = _counts(answers, name)
    value = scored.estimates.get(name, float("nan"))
    reason = _undefined_reason(answers, name) if np.isnan(value) else _remark(answers, name)
    if name in RANKINGS and answers.has_probabilities.any():
        folds = known_folds(scored, name)
        reason = folds if folds is not None and np.isnan(value) else _joined(reason, folds)
    if np.isnan(value):
        return undefined(reason or "not estimable", n, events)
    base = Metric(value, n=n, events=events, reason=reason)
    if len(answers) < 2:
        return replace(base, reason="one item: no interval")
    if not scored.grouped and name in ("lr_plus", "lr_minus"):
        interval = _likelihood_ratio(answers, name, scored.confidence)
        if interval[0] is None:
            return replace(base, reason=reason or "no interval: a share of the ratio is 0 or both are 1")
        return _with_interval(base, interval, "log scale")
    if not scored.grouped and name == "oe_ratio":
        outcome = (answers.gold == answers.positive).astype(np.float64)
        interval = ratio_of_sums(outcome, answers.probabilities[:, answers.positive or 0], scored.confidence)
        if interval[0] is None:
            return replace(base, reason=reason or "no interval: every risk is the outcome itself")
        return _with_interval(base, interval, "ratio of sums, log scale")
    if not scored.grouped and _is_proportion(name):
        return _with_interval(base, wilson(events or 0, n, scored.confidence), "Wilson")
    if not scored.grouped and _hangs_on_one(answers, name):
        return replace(base, reason=_joined(reason, "a class has one item: no interval"))
    return _bootstrapped(scored, name, base)


def _hangs_on_one(answers: LabelAnswers, name: str) -> bool:
    """Whether a metric hangs on a single item, of which resamples show nothing."""
    kind, _, label = name.partition(":")
    if answers.positive is not None:
        return kind in OF_BOTH_CLASSES and int(answers.support.min()) == 1
    return kind == "f1" and bool(label) and int(answers.support[answers.labels.index(label)]) == 1


def _with_interval(metric: Metric, interval: Interval, method: str) -> Metric:
    low, high = interval
    return metric if low is None else replace(metric, low=low, high=high, method=method)


def unseen(scored: Scored, name: str) -> Hidden:
    """What few items of a label hide of a mean over labels: as if one more item of each were right and one wrong; in
    a ranking, as if two had stood as far from the others as items of one label do, root mean square."""
    answers = scored.answers
    if scored.grouped or name not in MEANS_OVER_LABELS:
        return NOTHING
    if MEANS_OVER_LABELS[name] != "auroc":
        return hidden_in(answers.support[answers.support > 0], 0.25)
    places = list(scored.places.values())
    apart = sum(len(each) - 1 for each in places)
    squares = sum(float(((each - each.mean()) ** 2).sum()) for each in places)
    items = np.array([min(len(each), len(answers) - len(each)) for each in places], dtype=np.int64)
    return hidden_in(items, squares / apart if apart else 0.0)


def _bootstrapped(scored: Scored, name: str, base: Metric) -> Metric:
    if name != "balance_gap":
        return resampled(base, scored.replicates[name], scored.resamples, scored.confidence, unseen(scored, name))
    # |d| has a bootstrap bias near 0; the interval of the signed difference has none, and gives that of |d|.
    signed = scored.replicates["sensitivity"] - scored.replicates["specificity"]
    found = resampled(base, signed, scored.resamples, scored.confidence)
    if found.low is None or found.high is None:
        return found
    low, high = found.low, found.high
    nearest = 0.0 if low < 0 < high else min(abs(low), abs(high))
    return replace(found, low=nearest, high=max(abs(low), abs(high)))


def _auroc(scored: Scored, label: int) -> Metric:
    """AUROC of P(label) against all other labels."""
    answers = scored.answers
    hit = answers.gold == label
    n, events = len(answers), int(hit.sum())
    if not answers.has_probabilities.any():
        return undefined(NO_PROBABILITIES, n, events)
    if events in (0, n):
        return undefined(_one_class(answers, label), n, events)
    constant = np.ptp(answers.scores(label)) == 0
    reason = "no ranking: every item has the same probability" if constant else _worst_case(answers)
    if scored.grouped:
        name = "auroc" if answers.positive == label else f"auroc:{answers.labels[label]}"
        # The other label of a binary task has the same AUROC, and so the same resamples.
        name = name if name in scored.replicates else "auroc"
        value, folds = scored.estimates[name], known_folds(scored, name)
        if np.isnan(value):
            return undefined(folds or "not estimable", n, events)
        return _bootstrapped(scored, name, Metric(value, n=n, events=events, reason=_joined(reason, folds)))
    estimate = scored.delong(label)
    base = Metric(estimate.auroc, n=n, events=events, reason=reason)
    interval = delong_interval(estimate, scored.confidence)
    if interval[0] is None or interval[0] == interval[1]:
        return replace(base, reason=reason or "no interval: AUROC of 0 or 1, or a single item of one class")
    return _with_interval(base, interval, "DeLong, logit scale")


def _calibration_metrics(scored: Scored) -> dict[str, Metric]:
    """Intercept, slope and curve of a binary task; expected calibration error with its value for a perfect model."""
    answers = scored.answers
    n = len(answers)
    names = ["ece", "ece_null", *(["classwise_ece"] if answers.positive is None else [])]
    if answers.positive is not None:
        names = ["calibration_intercept", "calibration_slope", *INDICES, *names]
    missing = n - int(answers.has_probabilities.sum())
    if missing:
        reason = NO_PROBABILITIES if missing == n else f"{missing} of {n} items have no probabilities"
        return {name: undefined(reason, n) for name in names}
    if answers.positive is None:
        top = answers.probabilities.argmax(1)
        outcome, confidence = top == answers.gold, answers.probabilities.max(1)
        return _calibration_error(answers, outcome, confidence) | _classwise_error(answers)
    outcome = answers.gold == answers.positive
    events = int(outcome.sum())
    confidence = answers.probabilities[:, answers.positive]
    if events in (0, n):
        return {name: undefined(_one_class(answers, answers.positive), n, events) for name in names}
    repeats, clusters = repeats_of(answers), scored.resamples.clusters
    few = min(events, n - events) // repeats < CALIBRATION_EVENTS
    fit = None if few else calibration(outcome, confidence, clusters)
    if few:
        why = f"fewer than {CALIBRATION_EVENTS} items of a class"
    else:
        why = "the model is constant, or its probabilities separate the classes"
    table = _recalibration(fit, why, n, events, scored)
    curve = fit_calibration_curve(outcome, confidence, clusters, repeats)
    if clusters is not None and not few and int(clusters.max()) + 1 < CALIBRATION_EVENTS:
        why = f"fewer than {CALIBRATION_EVENTS} groups"
    table |= calibration_indices(curve, why, n, events, scored.confidence)
    table |= _calibration_error(answers, outcome, confidence)
    return {name: replace(metric, events=events) for name, metric in table.items()}


def _recalibration(fit: Calibration | None, why: str, n: int, events: int, scored: Scored) -> dict[str, Metric]:
    if fit is None:
        return {name: undefined(why, n, events) for name in ("calibration_intercept", "calibration_slope")}
    if fit.freedom is not None and fit.freedom + 1 < CALIBRATION_EVENTS:
        reason = f"fewer than {CALIBRATION_EVENTS} {scored.resamples.unit}s: no interval"
        values = {"calibration_intercept": fit.intercept, "calibration_slope": fit.slope}
        return {name: Metric(value, n=n, events=events, reason=reason) for name, value in values.items()}
    # Plain Wald errors take items for independent: with eight alike in a group they cover half the time.
    method = "Wald" if fit.freedom is None else f"Wald, robust by {scored.resamples.unit}"
    reach = z_value(scored.confidence)
    if fit.freedom is not None:
        reach = float(student.ppf(0.5 + scored.confidence / 2, fit.freedom))
    return {
        name: Metric(value, value - reach * error, value + reach * error, method, n, events)
        for name, value, error in (
            ("calibration_intercept", fit.intercept, fit.intercept_error),
            ("calibration_slope", fit.slope, fit.slope_error),
        )
    }


def _calibration_error(answers: LabelAnswers, outcome: np.ndarray, confidence: np.ndarray) -> dict[str, Metric]:
    error, null = _error_of_repeats(answers, outcome, confidence)
    n = len(outcome)
    return {
        "ece": Metric(error, n=n, reason=f"10 bins of equal width; a perfect model would show {null:.3f} at this n"),
        "ece_null": Metric(null, n=n),
    }


def _error_of_repeats(
    answers: LabelAnswers, outcome: np.ndarray, confidence: np.ndarray, seed: int = 0
) -> tuple[float, float]:
    """The error, and that of a perfect model, of each repeat, averaged: its outcomes are those of n items, not of as
    many as there are answers."""
    repeats = np.zeros(len(outcome)) if answers.folds is None else answers.folds.repeat
    parts = [repeats == repeat for repeat in np.unique(repeats)]
    error, null = np.mean([calibration_error(outcome[part], confidence[part], seed) for part in parts], axis=0)
    return float(error), float(null)


def _classwise_error(answers: LabelAnswers) -> dict[str, Metric]:
    """Mean over labels of the error of P(label) (Kull et al., 2019)."""
    pairs = [
        _error_of_repeats(answers, answers.gold == k, answers.probabilities[:, k], k)
        for k in range(len(answers.labels))
    ]
    error, null = (float(value) for value in np.mean(pairs, axis=0))
    reason = f"10 bins of equal width; a perfect model would show {null:.3f} at this n"
    return {"classwise_ece": Metric(error, n=len(answers), reason=reason)}


# ---------------------------------------------------------------- counts and reasons


def _is_proportion(name: str) -> bool:
    return name in {"accuracy", "sensitivity", "specificity", "ppv", "npv", "unparsed"} or name.startswith(
        ("precision:", "recall:")
    )


def _counts(answers: LabelAnswers, name: str) -> tuple[int, int | None]:
    """Items in the denominator and, for a share, in the numerator; else all items and the positives."""
    counts = confusion(answers)
    n, positive = len(answers), answers.positive
    if name == "accuracy":
        return n, int(np.trace(counts))
    if name == "unparsed":
        return n, int(counts[:, -1].sum())
    label = _label_of(answers, name)
    if label is not None:
        right = int(counts[label, label])
        rows = name.startswith(("sensitivity", "specificity", "recall:"))
        return int(counts[label].sum() if rows else counts[:, label].sum()), right
    return n, None if positive is None else int(counts[positive].sum())


def _label_of(answers: LabelAnswers, name: str) -> int | None:
    """The label that a share is about."""
    kind, _, label = name.partition(":")
    if kind in ("precision", "recall"):
        return answers.labels.index(label)
    if answers.positive is None:
        return None
    return {
        "sensitivity": answers.positive,
        "ppv": answers.positive,
        "specificity": 1 - answers.positive,
        "npv": 1 - answers.positive,
    }.get(kind)


def _likelihood_ratio(answers: LabelAnswers, name: str, confidence: float) -> Interval:
    counts, positive = confusion(answers), answers.positive
    assert positive is not None
    positives, negatives = int(counts[positive].sum()), int(counts[1 - positive].sum())
    found, cleared = int(counts[positive, positive]), int(counts[1 - positive, 1 - positive])
    if name == "lr_plus":
        return log_ratio(found, positives, negatives - cleared, negatives, confidence)
    return log_ratio(positives - found, positives, cleared, negatives, confidence)


def _one_class(answers: LabelAnswers, label: int) -> str:
    """Why a ranking of this label is not estimable."""
    kind = "positives" if label == answers.positive else repr(answers.labels[label])
    if not (answers.gold == label).any():
        return f"one class: no {kind} in the test set"
    others = "negatives" if label == answers.positive else f"items other than {answers.labels[label]!r}"
    return f"one class: no {others} in the test set"


def known_folds(scored: Scored, name: str) -> str | None:
    """Over which folds of a cross-validation a ranking is averaged, where it is not over all."""
    known = [np.isfinite(values.get(name, np.nan)) for values in scored.of_folds]
    if all(known):
        return None
    return f"in {sum(known)} of {len(known)} folds; the others hold one class" if any(known) else ONE_CLASS


def _joined(*reasons: str | None) -> str | None:
    return "; ".join(reason for reason in reasons if reason is not None) or None


def _worst_case(answers: LabelAnswers) -> str | None:
    missing = len(answers) - int(answers.has_probabilities.sum())
    return f"{missing} items without probabilities are counted as wrong with certainty" if missing else None


def _remark(answers: LabelAnswers, name: str) -> str | None:
    """What a reader must know beside a value that is defined."""
    support = np.bincount(answers.gold, minlength=len(answers.labels))
    if name in ("mcc", "kappa") and len(np.unique(answers.predicted)) == 1:
        return "constant predictor: one answer for every item"
    if name in ("macro_f1", "balanced_accuracy", "macro_auroc") and support.min() == 0:
        absent = [label for label, count in zip(answers.labels, support, strict=True) if count == 0]
        return f"without {', '.join(absent)}: no such items in the test set"
    if name in ("brier", "brier_sum", "scaled_brier", "auprc", "macro_auroc"):
        return _worst_case(answers)
    if name == "log_loss":
        held = int((answers.probabilities[np.arange(len(answers)), answers.gold] < EDGE).sum())
        return f"{held} items with P(gold label) below {EDGE:g}" if held else None
    return None


def _undefined_reason(answers: LabelAnswers, name: str) -> str:
    """Why these items cannot give the metric."""
    if len(answers) == 0:
        return "no items"
    kind = name.partition(":")[0]
    if kind in ("auprc", "brier", "brier_sum", "scaled_brier", "log_loss", "oe_ratio", "macro_auroc", "label_mass"):
        missing = len(answers) - int(answers.has_probabilities.sum())
        if kind == "label_mass":
            return "some items have no label mass"
        if missing == len(answers):
            return NO_PROBABILITIES
        if missing and kind in ("log_loss", "oe_ratio"):
            what = "the loss is infinite" if kind == "log_loss" else "the expected events are not known"
            return f"{missing} items have no probabilities, so {what}"
    if len(np.unique(answers.gold)) == 1:
        only = answers.labels[answers.gold[0]]
        if kind in ("precision", "ppv", "npv") and answers.gold[0] == _label_of(answers, name):
            return f"precision would be 1 whatever the system does: every item is {only!r}"
        return f"one class: every item of the test set is {only!r}"
    label = _label_of(answers, name)
    if kind in ("precision", "ppv", "npv") and label is not None:
        return f"never predicts {answers.labels[label]!r}"
    if kind == "lr_plus":
        return "no false positives: the ratio has no upper limit"
    if kind == "oe_ratio":
        return "no positives are expected: every P(positive) is 0"
    if kind == "lr_minus":
        return "specificity is 0: the ratio has no upper limit"
    return f"no items labelled {name.partition(':')[2]!r} in the test set"
