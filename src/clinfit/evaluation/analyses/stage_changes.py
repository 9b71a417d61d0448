"""What changed from one stage to another, or against a control: paired, with its interval, in a sentence.

Over several seeds the interval holds both what other items and what other seeds would change (claims/paired_seeds.py).
No interval is corrected for the number of changes that a study shows. Whether a loss is within the margin is asked of
the task's declared one, of what a model had and of controls that it should reach.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

from scipy.stats import norm

from clinfit.evaluation.answers import items_of
from clinfit.evaluation.claims.non_inferiority import margin_words
from clinfit.evaluation.claims.paired import PairedDifference, paired_difference
from clinfit.evaluation.claims.paired_seeds import Errors, paired_over_seeds
from clinfit.evaluation.claims.wording import change, number, title, unit
from clinfit.evaluation.context import Measured, MeasuredContext
from clinfit.evaluation.stage_results import ChangeKind, StageChange
from clinfit.evaluation.statistics.intervals import z_value
from clinfit.study.taught import Taught

#: Chance of showing non-inferiority, where it holds, that the number of items is given for.
POWER = 0.8
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
    """What became of one task in the model's own stages; and whether it is shown to have learned it, None where that
    cannot be asked. learned: the stage that taught the task last."""
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
    gain = changed(context, model, pairs["gain"]) if "gain" in pairs else None
    mastered = _mastered(context, gain, measured[learned])
    others = [changed(context, model, pair, mastered) for kind, pair in pairs.items() if kind != "gain"]
    return [*([gain] if gain is not None else []), *others], mastered


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


def _mastered(context: MeasuredContext, gain: StageChange | None, taught: BySeed) -> bool | None:
    """Whether the stage that taught a task is shown to have taught it: better than before, and than a constant answer
    with one seed at least."""
    if all(item.system.name in context.uninformative for item in taught.values()):
        return False
    if gain is None or gain["direction"] == "not estimable":
        return None
    return gain["direction"] == "better"


def changed(context: MeasuredContext, model: str, pair: Pair, mastered: bool | None = None) -> StageChange:
    """mastered: whether the model is shown to have learned the task."""
    states = list(pair.by_seed.values())
    found, errors = paired_over_seeds(context.primary, [(first.scored, second.scored) for first, second in states])
    margin = context.settings.margin if pair.kind in MARGINS else None
    within = within_margin(found, errors, margin, pair.n, context.confidence)
    direction: Any = "not estimable" if found.low is None else _DIRECTIONS[found.gain]
    return StageChange(
        kind=pair.kind,
        of=pair.of,
        reference=pair.reference,
        new=pair.new,
        difference=found.difference,
        low=found.low,
        high=found.high,
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

    n (SE_items / SE)^2 with SE^2 = (margin / (z + z_power))^2 - SE_seeds^2: the error of items shrinks with the root of
    their number, that of seeds does not.
    """
    if margin is None or found.worst is None or errors.items is None:
        return Within()
    if found.worst > -margin:
        return Within(True)
    if found.gain < 0:
        return Within(False)  # it is worse: more items would not show the opposite
    room = (margin / (z_value(confidence) + float(norm.ppf(POWER)))) ** 2 - errors.seeds**2
    if room <= 0:
        return Within(False, why="the seeds differ by too much: more seeds are needed, not more items")
    needed = ceil(n * (errors.items / sqrt(room)) ** 2)
    if needed <= n:
        return Within(False, why="as many items would show it if nothing had been lost")
    return Within(False, needed)


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
