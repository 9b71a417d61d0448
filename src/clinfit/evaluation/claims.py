"""What may be said of each comparison: Holm over all comparisons, trivial answers, one sentence a row.

Family of Holm's correction: all comparisons of the task, separately for each metric; the same two systems the other way
round are one comparison. Trivial answers are the constant ones, always the same label; a difference to them counts when
its own interval and test show it, uncorrected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from clinfit.evaluation.classification import Scored
from clinfit.evaluation.comparison import (
    McNemar,
    PairedDifference,
    flips,
    grouped,
    holm,
    mcnemar,
    paired_difference,
    right,
)
from clinfit.evaluation.definitions import METRICS
from clinfit.evaluation.margin import non_inferiority
from clinfit.evaluation.results import Comparison, Difference, McNemarDict, NonInferiority
from clinfit.evaluation.wording import change, evidence, number, p_value, title

Direction = Literal["better", "worse", "no difference shown", "not estimable"]

#: Metrics in which a constant answer is a fair opponent. It is none in sensitivity (always-positive has 1), and in
#: macro F1 even random answers beat it.
FAIR = frozenset(
    {"accuracy", "balanced_accuracy", "f1", "mcc", "kappa", "auroc", "macro_auroc", "auprc"}
    | {"brier", "brier_sum", "log_loss"}
)


@dataclass(frozen=True)
class Pair:
    """kind: before-after, versus-majority, versus-baseline, declared; names of the two systems."""

    kind: str
    reference: str
    new: str

    @property
    def systems(self) -> frozenset[str]:
        """Both, whichever is the reference: what a two-sided test compares."""
        return frozenset((self.reference, self.new))


@dataclass(frozen=True)
class Unbeaten:
    """A trivial answer that a system is not shown to beat."""

    name: str
    value: float
    metric: str


class Trivial:
    """The constant answers on the same items, and whether a system is shown to beat them."""

    def __init__(self, answers: dict[str, Scored], primary: str) -> None:
        self._answers = answers
        self._primary = primary if primary in FAIR else "balanced_accuracy"
        self._known: dict[tuple[str, str], Unbeaten | None] = {}

    def unbeaten(self, name: str, system: Scored, metric: str | None = None) -> Unbeaten | None:
        """The first constant answer that the named system is not shown to beat, None when it beats them all.

        It must beat them in the primary metric (balanced accuracy where that is not FAIR) and in `metric` if FAIR.
        """
        found = self._in_metric(name, system, self._primary)
        if found is None and metric is not None and metric.partition(":")[0] in FAIR:
            return self._in_metric(name, system, metric)
        return found

    def _in_metric(self, name: str, system: Scored, metric: str) -> Unbeaten | None:
        if (name, metric) not in self._known:
            ahead = ((answer, self._ahead(scored, system, metric)) for answer, scored in self._answers.items())
            self._known[name, metric] = next(
                (Unbeaten(answer, value, metric) for answer, value in ahead if value is not None), None
            )
        return self._known[name, metric]

    def _ahead(self, constant: Scored, system: Scored, metric: str) -> float | None:
        """The constant answer's value where the system is not shown to beat it, else None."""
        found = paired_difference(metric, constant, system)
        if found.reference is None:
            return None
        if found.low is None and found.difference is not None:
            # All resamples agree, as they do for perfect answers: the labels themselves then decide.
            found = paired_difference("accuracy", constant, system)
        shown = found.gain > 0 and (found.p is None or found.p < 1 - system.confidence)
        return None if shown else constant.estimates[metric]


def compared_metrics(labels: Sequence[str], positive: int | None, primary: str) -> list[str]:
    """Rows of a comparison: the primary metric first, then the rest in the order of the table, then each label."""
    if positive is None:
        names = ["accuracy", "balanced_accuracy", "macro_f1", "mcc", "macro_auroc", "brier_sum", "log_loss"]
    else:
        names = ["accuracy", "balanced_accuracy", "sensitivity", "specificity", "balance_gap", "ppv", "npv", "f1"]
        names += ["macro_f1", "mcc", "auroc", "auprc", "brier", "log_loss"]
    names = [primary, *(name for name in names if name != primary)]
    return names + [f"{name}:{label}" for label in labels for name in ("precision", "recall", "f1")]


def compare(
    pairs: Sequence[Pair], scored: dict[str, Scored], trivial: Trivial, primary: str, margin: float | None = None
) -> list[Comparison]:
    """All comparisons of a task, in the order of the pairs. margin: of non-inferiority in the primary metric."""
    if not pairs:
        return []
    answers = scored[pairs[0].new].answers
    metrics = compared_metrics(answers.labels, answers.positive, primary)
    found = {
        (pair, metric): paired_difference(metric, scored[pair.reference], scored[pair.new])
        for pair in pairs
        for metric in metrics
    }
    corrected: dict[tuple[Pair, str], float] = {}
    for metric in metrics:
        tested = {pair: p for pair in pairs if (p := found[pair, metric].p) is not None}
        corrected |= {(pair, metric): p for pair, p in _holm_once(tested).items()}

    def rival(pair: Pair, metric: str) -> str | None:
        """The study's baseline, where the new system is not shown to be better than it in this metric."""
        against = next((other for other in pairs if other.kind == "versus-baseline" and other.new == pair.new), None)
        if against is None or against.reference == pair.reference:
            return None
        difference, p_holm = found[against, metric], corrected.get((against, metric))
        better = _direction(difference, p_holm, scored[pair.new].confidence) == "better"
        return None if better else against.reference

    def within(pair: Pair) -> NonInferiority | None:
        if margin is None:
            return None
        unbeaten = trivial.unbeaten(pair.new, scored[pair.new])
        obstacle = unbeaten and f"{unbeaten.name} ({title(unbeaten.metric)} {number(unbeaten.metric, unbeaten.value)})"
        confidence = scored[pair.new].confidence
        return non_inferiority(pair.new, pair.reference, found[pair, primary], margin, obstacle, confidence)

    tests = {pair: mcnemar(right(scored[pair.reference].answers), right(scored[pair.new].answers)) for pair in pairs}
    adjusted = _holm_once({pair: test.p for pair, test in tests.items()})
    return [
        _comparison(
            pair,
            [
                _row(pair, found[pair, name], corrected.get((pair, name)), scored, trivial, rival(pair, name))
                for name in metrics
            ],
            _mcnemar(tests[pair], adjusted[pair], independent=not grouped(scored[pair.new])),
            within(pair),
            scored,
        )
        for pair in pairs
    ]


def _holm_once(p_values: dict[Pair, float]) -> dict[Pair, float]:
    """Holm's correction over the pairs; the same two systems the other way round count once, with the larger p."""
    once: dict[frozenset[str], float] = {}
    for pair, p in p_values.items():
        once[pair.systems] = max(p, once.get(pair.systems, 0.0))
    adjusted = dict(zip(once, holm(list(once.values())), strict=True))
    return {pair: adjusted[pair.systems] for pair in p_values}


def _mcnemar(test: McNemar, p_holm: float, *, independent: bool) -> McNemarDict:
    """Counts always; a p value only where items are independent of each other."""
    if independent:
        return McNemarDict(b=test.b, c=test.c, p=test.p, p_holm=p_holm, reason=None)
    reason = "items of one group are not independent, as the test assumes"
    return McNemarDict(b=test.b, c=test.c, p=None, p_holm=None, reason=reason)


def _comparison(
    pair: Pair,
    rows: list[Difference],
    test: McNemarDict,
    within: NonInferiority | None,
    scored: dict[str, Scored],
) -> Comparison:
    new = scored[pair.new].answers
    gained, gained_sentence = _gained_most(rows) if pair.kind == "before-after" else (None, "")
    exact = f" (exact McNemar, {p_value(test['p'])})" if test["p"] is not None else f" (no test: {test['reason']})"
    counts = (
        f"Of {len(new)} items, {test['c']} are right only with {pair.new} and {test['b']} only with "
        f"{pair.reference}{exact}."
    )
    return Comparison(
        kind=pair.kind,
        reference=pair.reference,
        new=pair.new,
        n=len(new),
        flips=flips(scored[pair.reference].answers, new),
        mcnemar=test,
        rows=rows,
        gained_most=gained,
        non_inferiority=within,
        sentence=" ".join(part for part in (rows[0]["sentence"], counts, gained_sentence) if part),
    )


def _gained_most(rows: Sequence[Difference]) -> tuple[str | None, str]:
    """The label whose F1 rose most, and the sentence that names it."""
    by_label = [row for row in rows if row["metric"].startswith("f1:") and row["difference"] is not None]
    best = max(by_label, key=lambda row: row["difference"] or 0.0, default=None)
    if best is None or (best["difference"] or 0.0) <= 0:
        return None, ""
    metric, others = best["metric"], [row for row in by_label if row is not best]
    text = f"{best['label']!r} gained most: F1 {change(metric, best['difference'] or 0.0)} points"
    if others:
        text += " (" + ", ".join(f"{row['label']!r} {change(metric, row['difference'] or 0.0)}" for row in others) + ")"
    shown = "" if best["direction"] == "better" else "; this gain is not told from chance"
    return best["label"], f"{text}{shown}."


def _row(
    pair: Pair,
    found: PairedDifference,
    p_holm: float | None,
    scored: dict[str, Scored],
    trivial: Trivial,
    rival: str | None,
) -> Difference:
    """One metric of one comparison. rival: a baseline that the new system is not shown to be better than."""
    new = scored[pair.new]
    direction = _direction(found, p_holm, new.confidence)
    obstacle = trivial.unbeaten(pair.new, new, found.metric) if direction == "better" else None
    definition = METRICS[found.name]
    relative = None
    if found.difference is not None and found.reference:
        relative = found.difference / abs(found.reference)
    return Difference(
        metric=found.metric,
        title=title(found.metric),
        label=found.label,
        percent=definition.percent,
        reference=found.reference,
        new=found.new,
        difference=found.difference,
        points=100 * found.difference if definition.percent and found.difference is not None else None,
        relative=relative,
        low=found.low,
        high=found.high,
        method=found.method,
        test=found.test,
        p=found.p,
        p_holm=p_holm,
        direction=direction,
        supported=direction == "better" and obstacle is None,
        reason=found.reason,
        sentence=_sentence(pair, found, p_holm, direction, obstacle, rival, new.confidence),
    )


def _direction(found: PairedDifference, p_holm: float | None, confidence: float) -> Direction:
    if found.difference is None or found.low is None:
        return "not estimable"
    if found.gain == 0 or (p_holm is not None and p_holm >= 1 - confidence):
        return "no difference shown"
    return "better" if found.gain > 0 else "worse"


def _sentence(
    pair: Pair,
    found: PairedDifference,
    p_holm: float | None,
    direction: Direction,
    obstacle: Unbeaten | None,
    rival: str | None,
    confidence: float,
) -> str:
    name = title(found.metric)
    if found.reference is None or found.new is None:
        return f"{name}: {pair.new} and {pair.reference} cannot be compared; {found.reason}."
    values = f"{number(found.metric, found.new)} against {number(found.metric, found.reference)}"
    facts = f"{values}, {evidence(found, p_holm, confidence)}"
    if direction == "better":
        if obstacle is None:
            limit = f", but not shown to be better than {rival}" if rival is not None else ""
            return f"{name}: {pair.new} is better than {pair.reference}, {facts}{limit}."
        value = number(obstacle.metric, obstacle.value)
        return (
            f"{name}: {pair.new} scores better than {pair.reference}, {facts}, but is not shown to be better than "
            f"{obstacle.name} ({title(obstacle.metric)} {value}), so no improvement is claimed."
        )
    if direction == "worse":
        return f"{name}: {pair.new} is worse than {pair.reference}, {facts}."
    return f"{name}: {pair.new} is not shown to be better than {pair.reference}, {facts}."
