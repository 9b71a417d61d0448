"""Numbers as plain words: the sentences of comparisons and decision rules, written from the numbers alone."""

from clinfit.evaluation.claims.paired import PairedDifference
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.evaluation.metrics.metric import Metric
from clinfit.evaluation.system_results import RecalibrationMap, ReferralDict, SystemResult, ThresholdDict


def number(metric: str, value: float) -> str:
    """A value as the reader expects it: 89.7 % for shares, 0.953 for the rest."""
    return f"{100 * value:.1f} %" if METRICS[metric.partition(":")[0]].percent else f"{value:.3f}"


def count_of(events: int, n: int) -> str:
    """12 of 60 (20.0 %)."""
    return f"{events} of {n} ({100 * events / n:.1f} %)"


def change(metric: str, value: float) -> str:
    """A difference with its sign, in points for shares; the unit is left to `unit`."""
    return f"{100 * value:+.1f}" if METRICS[metric.partition(":")[0]].percent else f"{value:+.3f}"


def unit(metric: str) -> str:
    return " points" if METRICS[metric.partition(":")[0]].percent else ""


def title(metric: str) -> str:
    """Accuracy; F1 of 'cancer'."""
    name, _, label = metric.partition(":")
    if name == "f1" and label:
        return f"F1 of {label!r}"
    return f"{METRICS[name].title} of {label!r}" if label else METRICS[name].title


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def with_interval(metric: str, result: Metric, confidence: float) -> str:
    """0.953 (95 % interval 0.921 to 0.973)."""
    if result.value is None:
        return f"not estimable ({result.reason})"
    text = number(metric, result.value)
    if result.low is None or result.high is None:
        return f"{text} (no interval)"
    low, high = number(metric, result.low), number(metric, result.high)
    return f"{text} ({100 * confidence:g} % interval {low} to {high})"


def evidence(found: PairedDifference, p_holm: float | None, confidence: float) -> str:
    """+5.0 points (95 % interval +0.6 to +9.4; McNemar, exact, p = 0.036)."""
    if found.difference is None:
        return found.reason or "not estimable"
    parts = []
    if found.low is not None and found.high is not None:
        low, high = change(found.metric, found.low), change(found.metric, found.high)
        parts.append(f"{100 * confidence:g} % interval {low} to {high}")
        parts += [found.reason] if found.reason is not None else []
    else:
        parts.append(found.reason or "no interval")
    if found.p is not None and found.test is not None:
        corrected = "" if p_holm is None or abs(p_holm - found.p) < 1e-12 else f", {p_value(p_holm)} after Holm"
        parts.append(f"{found.test}, {p_value(found.p)}{corrected}")
    return f"{change(found.metric, found.difference)}{unit(found.metric)} ({'; '.join(parts)})"


# ---------------------------------------------------------------- from probability to decision


def threshold_words(system: SystemResult) -> str:
    """How the system's probability becomes a decision: the rule, the threshold and where it was chosen."""
    threshold = system["sections"].get("threshold")
    if system["sections"].get("folds") and threshold and threshold["value"] is not None and threshold["split"]:
        caution = f" ({threshold['note']})" if threshold["note"] else ""
        return (
            f"positive from each fold's own probability on (median {threshold['value']:.4g}), chosen on about "
            f"{threshold['n']} {threshold['split']} items of the fold for {threshold['words']}{caution}"
        )
    return rule_and_threshold(threshold)


def rule_and_threshold(threshold: ThresholdDict | None) -> str:
    if threshold is None:
        return "none"
    if threshold["weights"] is not None:
        weights = ", ".join(f"{label} {weight:.3g}" for label, weight in threshold["weights"].items())
        mean = "geometric means of the folds: " if threshold["words"].endswith("each fold its own") else ""
        return f"the largest of weight x probability ({mean}{weights}), {_chosen(threshold)}"
    if threshold["value"] is None:
        if threshold["note"] is None:
            return threshold["words"]
        return f"the most probable label ({threshold['note'].partition(';')[0]})"
    return f"positive from a probability of {threshold['value']:.4g}, {_chosen(threshold)}"


def _chosen(threshold: ThresholdDict) -> str:
    if threshold["split"] is None:
        return "fixed in the study"
    caution = f" ({threshold['note']})" if threshold["note"] else ""
    return f"chosen on {threshold['n']} {threshold['split']} items for {threshold['words']}{caution}"


def recalibration_words(recalibration: RecalibrationMap | None) -> str:
    """The map of the probabilities and where it was fitted."""
    if recalibration is None:
        return "none"
    if recalibration["kind"] != "none" and not recalibration["parameters"]:
        note = f" ({recalibration['note']})" if recalibration["note"] else ""
        return f"{recalibration['kind']}, each fold's own, fitted on about {recalibration['n']} validation items{note}"
    parameters, where = recalibration["parameters"], f"fitted on {recalibration['n']} {recalibration['split']} items"
    match recalibration["kind"]:
        case "temperature":
            return f"temperature {parameters['temperature'][0]:.3g}, {where}"
        case "intercept":
            return f"intercept alone, {_larger(parameters['intercepts']):+.3g}, {where}"
        case "platt":
            return f"Platt, slope {parameters['slope'][0]:.3g}, {where}"
        case "isotonic":
            return f"isotonic, {len(parameters['x'])} knots, {where}"
        case "by-label":
            lines = zip(parameters["slopes"], parameters["intercepts"], strict=True)
            mapped = sum(line != (1.0, 0.0) for line in lines)
            kind = "intercept alone" if set(parameters["slopes"]) == {1.0} else "slope and intercept"
            return f"{kind} of each label ({mapped} of {len(parameters['slopes'])} labels), {where}"
        case _:
            return f"none ({recalibration['note']})" if recalibration["note"] else "none"


def _larger(intercepts: list[float]) -> float:
    """The intercept of the positive label; that of the other one is 0."""
    return max(intercepts, key=abs)


def referral_words(referral: ReferralDict | None) -> str:
    """Which items a person decides."""
    if referral is None:
        return "none"
    if referral["note"] is not None:
        return f"none ({referral['note'].partition(';')[0]})"
    cut = referral["parameters"]["cut"][0]
    caution = f" ({referral['caution']})" if referral["caution"] else ""
    if referral["rule"] == "confidence":
        return (
            f"an answer whose probability is below {cut:.4g} goes to a person; on validation "
            f"{100 * referral['value']:g} % were at or above it{caution}"
        )
    return (
        "an item goes to a person unless the answer is the only label with a probability of at least "
        f"{cut:.4g}; sets of such labels aim to cover {100 * referral['value']:g} % of items like those of validation"
        f"{caution}"
    )


def in_words(folds: int, repeats: int) -> str:
    """5-fold cross-validation, repeated twice."""
    often = {1: "", 2: ", repeated twice"}.get(repeats, f", repeated {repeats} times")
    return f"{folds}-fold cross-validation{often}"
