"""What changed from one stage to another, or against a control: paired, with its interval, in a sentence.

Over several seeds the interval holds both what other items and what other seeds would change (claims/paired_seeds.py).
No interval is corrected for the number of changes that a study shows. Whether a loss is within the margin is asked of
the task's declared one, of what a model had and of controls that it should reach.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from scipy.stats import t as student

from clinfit.evaluation.answers import Floats, items_of
from clinfit.evaluation.claims.non_inferiority import margin_words
from clinfit.evaluation.claims.paired import PairedDifference, paired_difference
from clinfit.evaluation.claims.paired_seeds import Errors, paired_over_seeds
from clinfit.evaluation.claims.wording import change, number, title, unit
from clinfit.evaluation.context import Measured, MeasuredContext
from clinfit.evaluation.stage_results import ChangeKind, StageChange
from clinfit.study.taught import Taught

#: Chance of showing non-inferiority, where it holds, that the number of items is given for.
POWER = 0.8
#: How many times the items are tried: in steps of 1 %, up to ten thousand times.
MORE: Floats = np.geomspace(1.0, 1e4, 926)
#: Changes that are asked for their margin.
MARGINS = {"retention", "joint", "single"}

#: One model after one stage: seed -> what was measured.
BySeed = Mapping[int, Measured]


@dataclass(frozen=True)
class Pair:
    """Two states of a model, or of it and another one (`of`), whose difference says something of a task.

    reference, new: their stages. was, now: what was measured there.
    """

    kind: ChangeKind
    reference: int
    new: int
    was: BySeed
    now: BySeed
    of: str | None = None

    @property
    def by_seed(self) -> dict[int, tuple[Measured, Measured]]:
        return {seed: (self.was[seed], self.now[seed]) for seed in self.now if seed in self.was}

    @property
    def n(self) -> int:
        """Test items."""
        return items_of(next(iter(self.now.values())).answers)


def own_changes(
    context: MeasuredContext,
    model: str,
    measured: Mapping[int, BySeed],
    taught: Mapping[int, Taught],
    learned: int | None,
) -> tuple[list[StageChange], bool | None]:
    """What became of one task in the model's own stages; and whether it is shown to know it when it was taught, None
    where that cannot be asked. learned: the stage that taught the task first."""
    if learned is None or learned not in measured:
        return [], None
    last = max(taught)
    before = taught[learned].starts[-1] if taught[learned].starts else 0
    stages: list[tuple[ChangeKind, int, int]] = [
        ("gain", before, learned),
        ("transfer", 0, before),
        ("retention", learned, last),
    ]
    pairs = {
        kind: Pair(kind, reference, new, measured[reference], measured[new])
        for kind, reference, new in stages
        if reference != new and reference in measured and new in measured
    }
    # Some bases know a task before anybody teaches it: what they lose is forgotten all the same.
    mastered = any(item.system.name not in context.uninformative for item in measured[learned].values())
    return [changed(context, model, pair, mastered) for pair in pairs.values()], mastered


def against_controls(
    context: MeasuredContext,
    model: str,
    end: tuple[int, BySeed],
    controls: Sequence[tuple[ChangeKind, Mapping[int, BySeed] | None]],
) -> list[StageChange]:
    """The model at its end against each control at its own. end: the stage, and what was measured there."""
    found = []
    for kind, control in controls:
        if control is not None:
            stage, items = max(control.items())
            of = next(iter(items.values())).system.model
            found.append(changed(context, model, Pair(kind, stage, end[0], items, end[1], of)))
    return found


def changed(context: MeasuredContext, model: str, pair: Pair, mastered: bool | None = None) -> StageChange:
    """mastered: whether the model is shown to know the task."""
    states = list(pair.by_seed.values())
    found, errors = paired_over_seeds(context.primary, [(first.scored, second.scored) for first, second in states])
    margin = context.settings.margin if pair.kind in MARGINS else None
    within = within_margin(found, errors, margin, pair.n, context.confidence)
    direction: Any = "not estimable" if found.low is None else _DIRECTIONS[found.shown(context.confidence)]
    return StageChange(
        kind=pair.kind,
        of=pair.of,
        reference=pair.reference,
        new=pair.new,
        difference=found.difference,
        low=found.low,
        high=found.high,
        item_error=errors.of_items,
        method=found.method,
        p=found.p,
        n=pair.n,
        by_seed={
            str(seed): paired_difference(context.primary, first.scored, second.scored).difference
            for seed, (first, second) in pair.by_seed.items()
        },
        direction=direction,
        margin=margin,
        within=within.shown,
        needed=within.needed,
        sentence=_sentence(context, model, pair, found, mastered) + _margin_sentence(found, margin, within, mastered),
    )


_DIRECTIONS = {1: "better", 0: "no difference shown", -1: "worse"}


# ---------------------------------------------------------------- the margin


@dataclass(frozen=True)
class Within:
    """Whether a loss is shown to be within the margin. needed: items that would show it if nothing had changed, more
    than there are. why: why more of them would not."""

    shown: bool | None = None
    needed: int | None = None
    why: str = ""


def within_margin(found: PairedDifference, errors: Errors, margin: float | None, n: int, confidence: float) -> Within:
    """Whether the interval lies above -margin; where not, what would show it if nothing had changed. n: items.

    With m items SE^2 = SE_items^2 n / m + SE_seeds^2: the error of items shrinks with the root of their number, that of
    seeds does not. They show it where (t + t_power) SE is within the margin, of Student's t with the degrees of freedom
    that the interval would have then (Satterthwaite's).
    """
    if margin is None or found.worst is None or errors.items is None:
        return Within()
    if found.worst > -margin:
        return Within(True)
    if found.gain < 0:
        return Within(False)  # it is worse: more items would not show the opposite
    # With more items the error shrinks, and the fewer degrees of freedom that are left weigh more: no closed form.
    enough = np.flatnonzero(_ruled_out(errors.items / np.sqrt(MORE), errors, confidence) <= margin)
    if not len(enough):
        return Within(False, why="the seeds differ by too much: more seeds are needed, not more items")
    if enough[0] == 0:
        return Within(False, why="as many items would show it if nothing had been lost")
    return Within(False, ceil(n * MORE[enough[0]]))


def _ruled_out(items: Floats, errors: Errors, confidence: float) -> Floats:
    """The loss that is ruled out, with the power that is asked for, where nothing changed. items: standard errors."""
    whole, freedom = errors.whole(items)
    return (student.ppf(0.5 + confidence / 2, freedom) + student.ppf(POWER, freedom)) * whole


def _margin_sentence(found: PairedDifference, margin: float | None, within: Within, mastered: bool | None) -> str:
    """Whether no more than the margin was lost, behind the sentence; nothing where that was not asked."""
    if margin is None or found.difference is None:
        return ""
    words = margin_words(found.metric, margin)
    if within.shown:
        little = ", which says little of a task that was not learned" if mastered is False else ""
        return f" Not worse by more than {words}: shown{little}."
    if within.needed is not None:
        would = f"about {within.needed:,} items would show it if nothing had changed"
        return f" That it is not worse by more than {words} is not shown; {would}."
    return f" That it is not worse by more than {words} is not shown; {within.why}." if within.why else ""


# ---------------------------------------------------------------- words


def _sentence(context: MeasuredContext, model: str, pair: Pair, found: PairedDifference, mastered: bool | None) -> str:
    """What changed, by how much, and what may be concluded."""
    against = {
        "joint": f"{pair.of}, which learned all tasks at once",
        "single": f"{pair.of}, which learned {context.name} alone",
        "naive": f"{pair.of}, which retained nothing",
    }.get(pair.kind, f"after stage {pair.reference}" if pair.reference else "before training")
    at_the_end = f"{model}: after its last stage, {context.name}"
    what = {
        "gain": f"{model}: stage {pair.new}, which taught {context.name}",
        "retention": f"{model}: after stage {pair.new}, {context.name}",
        "transfer": f"{model}: before it was taught {context.name}",
        "joint": at_the_end,
        "single": at_the_end,
        "naive": at_the_end,
    }[pair.kind]
    if found.difference is None or found.reference is None or found.new is None:
        return f"{what}, against {against}: not estimable ({found.reason})."
    values = f"{number(found.metric, found.reference)} ({against}) to {number(found.metric, found.new)}"
    interval = "no interval"
    if found.low is not None and found.high is not None:
        low, high = change(found.metric, found.low), change(found.metric, found.high)
        interval = f"{100 * context.confidence:g} % interval {low} to {high}"
    moved = f"{change(found.metric, found.difference)}{unit(found.metric)} ({interval})"
    return f"{what}, {title(found.metric)} {values}: {moved}; {_conclusion(pair.kind, found, mastered)}."


def _conclusion(kind: str, found: PairedDifference, mastered: bool | None) -> str:
    if found.low is None:
        return found.reason or "no interval"
    worse, better = {
        "gain": ("it did harm", "learned"),
        "retention": ("forgotten", "it even gained"),
        "transfer": ("the stages before did harm", "the stages before helped"),
        "joint": ("worse", "better"),
        "single": ("worse", "better"),
        "naive": ("worse", "better"),
    }[kind]
    if kind == "retention" and mastered is False:
        worse = "lower, of a task that it is not shown to have learned"
    return {1: better, 0: "no difference shown, which is not the same as none", -1: worse}[found.gain]
