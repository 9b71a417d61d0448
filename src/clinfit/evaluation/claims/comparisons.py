"""What may be said of each comparison: Holm over all comparisons, constant answers, one sentence a row.

Family of Holm's correction: all comparisons of the task, separately for each metric; the same two systems the other way
round are one comparison. Constant answers always say the same label; a difference to them counts when its own interval
and test show it, uncorrected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clinfit.evaluation.answers import Answers, items_of, repeats_of
from clinfit.evaluation.claims.constant_answers import ConstantAnswer, ConstantAnswers
from clinfit.evaluation.claims.non_inferiority import non_inferiority
from clinfit.evaluation.claims.paired import PairedDifference, flips, paired_difference
from clinfit.evaluation.claims.wording import change, evidence, number, p_value, title
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.evaluation.metrics.engine import Scored
from clinfit.evaluation.results import Comparison, Difference, McNemarDict, NonInferiority
from clinfit.evaluation.statistics.holm import holm
from clinfit.evaluation.statistics.mcnemar import McNemar, mcnemar

#: Other labels whose gains a sentence names one by one.
NAMED_GAINS = 3

Direction = Literal["better", "worse", "no difference shown", "not estimable"]


@dataclass(frozen=True)
class Pair:
    """kind: before-after, versus-few-shot, versus-majority, versus-baseline, declared; names of the two systems."""

    kind: str
    reference: str
    new: str

    @property
    def systems(self) -> frozenset[str]:
        """Both, whichever is the reference: what a two-sided test compares."""
        return frozenset((self.reference, self.new))


def compare(
    pairs: Sequence[Pair],
    scored: dict[str, Scored],
    constants: ConstantAnswers,
    primary: str,
    margin: float | None = None,
) -> list[Comparison]:
    """All comparisons of a task, in the order of the pairs. margin: of non-inferiority in the primary metric."""
    if not pairs:
        return []
    answers = scored[pairs[0].new].answers
    metrics = scored[pairs[0].new].engine.compared(answers, primary)
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
        unbeaten = constants.not_beaten(pair.new, scored[pair.new])
        words = unbeaten and f"{unbeaten.name} ({title(unbeaten.metric)} {number(unbeaten.metric, unbeaten.value)})"
        confidence = scored[pair.new].confidence
        return non_inferiority(pair.new, pair.reference, found[pair, primary], margin, words, confidence)

    judged = scored[pairs[0].new].engine.item_values is None
    tests = {
        pair: mcnemar(scored[pair.reference].answers.right, scored[pair.new].answers.right)
        for pair in (pairs if judged else ())
    }
    adjusted = _holm_once({pair: test.p for pair, test in tests.items()})
    return [
        _comparison(
            pair,
            [
                _row(pair, found[pair, name], corrected.get((pair, name)), scored, constants, rival(pair, name))
                for name in metrics
            ],
            _mcnemar(tests[pair], adjusted[pair], _dependent(scored[pair.new])) if judged else None,
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


def _dependent(scored: Scored) -> str | None:
    """Why McNemar's test does not hold; None where it does."""
    if scored.answers.folds is not None:
        return "answers come from the models of several folds, and the test takes those of one"
    return "items of one group are not independent, as the test assumes" if scored.grouped else None


def _mcnemar(test: McNemar, p_holm: float, reason: str | None) -> McNemarDict:
    """Counts always; a p value only where items are independent of each other."""
    if reason is None:
        return McNemarDict(b=test.b, c=test.c, p=test.p, p_holm=p_holm, reason=None)
    return McNemarDict(b=test.b, c=test.c, p=None, p_holm=None, reason=reason)


def _comparison(
    pair: Pair,
    rows: list[Difference],
    test: McNemarDict | None,
    within: NonInferiority | None,
    scored: dict[str, Scored],
) -> Comparison:
    reference, new = scored[pair.reference].answers, scored[pair.new].answers
    gained, gained_sentence = _gained_most(rows) if pair.kind == "before-after" else (None, "")
    counts = _item_by_item(pair, rows[0]["metric"], scored) if test is None else _right_items(pair, new, test)
    return Comparison(
        kind=pair.kind,
        reference=pair.reference,
        new=pair.new,
        n=items_of(new),
        flips=None if test is None else flips(reference, new),
        mcnemar=test,
        rows=rows,
        gained_most=gained,
        non_inferiority=within,
        sentence=" ".join(part for part in (rows[0]["sentence"], counts, gained_sentence) if part),
    )


def _right_items(pair: Pair, answers: Answers, test: McNemarDict) -> str:
    """On how many items only one of the two is right; of a repeated cross-validation: in how many answers."""
    items = _counted(len(answers), answers)
    exact = f" (exact McNemar, {p_value(test['p'])})" if test["p"] is not None else f" (no test: {test['reason']})"
    return f"Of {items}, {test['c']} are right only with {pair.new} and {test['b']} only with {pair.reference}{exact}."


def _counted(n: int, answers: Answers) -> str:
    """So many items; of a repeated cross-validation so many answers."""
    repeats = repeats_of(answers)
    return f"{n} items" if repeats == 1 else f"{n} answers ({repeats} to each item)"


def _item_by_item(pair: Pair, metric: str, scored: dict[str, Scored]) -> str:
    """On how many items one of the two has the higher value."""
    of_items = scored[pair.new].engine.item_values
    assert of_items is not None
    before, after = (of_items(scored[name].answers, metric) for name in (pair.reference, pair.new))
    known = np.isfinite(before) & np.isfinite(after)
    gain, counted = (after - before)[known], _counted(int(known.sum()), scored[pair.new].answers)
    more, less = int((gain > 0).sum()), int((gain < 0).sum())
    return f"Of {counted}, {more} have a higher {title(metric)} with {pair.new} and {less} with {pair.reference}."


def _gained_most(rows: Sequence[Difference]) -> tuple[str | None, str]:
    """The label whose F1 rose most, and the sentence that names it."""
    by_label = [row for row in rows if row["metric"].startswith("f1:") and row["difference"] is not None]
    best = max(by_label, key=lambda row: row["difference"] or 0.0, default=None)
    if best is None or (best["difference"] or 0.0) <= 0:
        return None, ""
    metric, others = best["metric"], [row for row in by_label if row is not best]
    text = f"{best['label']!r} gained most: F1 {change(metric, best['difference'] or 0.0)} points"
    gains = [row["difference"] or 0.0 for row in others]
    if len(others) > NAMED_GAINS:
        text += f" ({len(others)} other labels {change(metric, min(gains))} to {change(metric, max(gains))})"
    elif others:
        text += " (" + ", ".join(f"{row['label']!r} {change(metric, row['difference'] or 0.0)}" for row in others) + ")"
    shown = "" if best["direction"] == "better" else "; this gain is not told from chance"
    return best["label"], f"{text}{shown}."


def _row(
    pair: Pair,
    found: PairedDifference,
    p_holm: float | None,
    scored: dict[str, Scored],
    constants: ConstantAnswers,
    rival: str | None,
) -> Difference:
    """One metric of one comparison. rival: a baseline that the new system is not shown to be better than."""
    new = scored[pair.new]
    direction = _direction(found, p_holm, new.confidence)
    unbeaten = constants.not_beaten(pair.new, new, found.metric) if direction == "better" else None
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
        supported=direction == "better" and unbeaten is None,
        reason=found.reason,
        common=found.common,
        sentence=_sentence(pair, found, p_holm, direction, unbeaten, rival, new.confidence),
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
    unbeaten: ConstantAnswer | None,
    rival: str | None,
    confidence: float,
) -> str:
    name = title(found.metric)
    if found.reference is None or found.new is None:
        return f"{name}: {pair.new} and {pair.reference} cannot be compared; {found.reason}."
    values = f"{number(found.metric, found.new)} against {number(found.metric, found.reference)}"
    facts = f"{values}, {evidence(found, p_holm, confidence)}"
    if direction == "better":
        if unbeaten is None:
            limit = f", but not shown to be better than {rival}" if rival is not None else ""
            return f"{name}: {pair.new} is better than {pair.reference}, {facts}{limit}."
        value = number(unbeaten.metric, unbeaten.value)
        return (
            f"{name}: {pair.new} scores better than {pair.reference}, {facts}, but is not shown to be better than "
            f"{unbeaten.name} ({title(unbeaten.metric)} {value}), so no improvement is claimed."
        )
    if direction == "worse":
        return f"{name}: {pair.new} is worse than {pair.reference}, {facts}."
    return f"{name}: {pair.new} is not shown to be better than {pair.reference}, {facts}."
