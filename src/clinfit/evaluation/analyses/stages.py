"""Stages as one task sees them: the column of the matrix R, and what may be said of it.

R[i, j] is a task's primary metric after stage i, on the same test items for every i, the base (stage 0) included
(Lopez-Paz and Ranzato, NeurIPS 2017). Differences are paired, so that they carry intervals of their own:

    gain       R[learned, j] - R[before, j]     what the stage that taught it brought
    retention  R[last, j] - R[learned, j]       backward transfer: below 0, it was forgotten
    transfer   R[learned - 1, j] - R[0, j]      forward transfer, against the pretrained base and not a random one
    joint      R[last, j] - R_joint[j]          what was given up for learning one after the other
    naive      R[last, j] - R_naive[last, j]    what a remedy is worth: against going on without any

No difference shown is not retention: that needs a margin, declared beforehand (non-inferiority).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, cast

import numpy as np
from scipy.stats import norm

from clinfit.evaluation.answers import items_of
from clinfit.evaluation.claims.non_inferiority import margin_words
from clinfit.evaluation.claims.paired import PairedDifference, paired_difference
from clinfit.evaluation.claims.wording import change, number, title, unit
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER
from clinfit.evaluation.metrics.metric import Metric, undefined
from clinfit.evaluation.stage_results import ChangeKind, StageChange, StagedModel, StageValue
from clinfit.evaluation.statistics.bootstrap import bootstrap_p, percentile
from clinfit.evaluation.statistics.intervals import z_value
from clinfit.findings import Finding
from clinfit.study.taught import Taught, learned_at

#: Chance of showing non-inferiority, where it holds, that the number of items is given for.
POWER = 0.8

#: One model after one stage: seed -> what was measured.
BySeed = Mapping[int, Measured]


def stages(context: MeasuredContext) -> Outcome:
    """Every language model that learned in several stages; a warning for each that is shown to have forgotten the task.

    Models of other families are fitted for each task by itself and have nothing to forget; nor have those of which
    nothing is trained (`method: prompt`, `family: remote`), which are no measure for those that are.
    """
    found: dict[str, dict[int, dict[int, Measured]]] = {}
    for item in context.measured:
        system = item.system
        if system.language_model and not (system.spec is not None and system.spec.prompting):
            found.setdefault(system.model, {}).setdefault(system.stage, {})[system.seed] = item
    through = [
        model
        for model, taught in context.stages.items()
        if len(taught) > 1 and model in found and len(found[model]) > 1
    ]
    section = [_model(context, model, found[model], _controls(context, model, found)) for model in through]
    if not section:
        return None, []
    return section, [finding for entry in section for finding in _forgotten(context, entry)]


@dataclass(frozen=True)
class Controls:
    """What a model is held against, of the same base: one that learned all tasks at once, one that retained nothing."""

    joint: Mapping[int, BySeed] | None
    naive: Mapping[int, BySeed] | None


def plain(taught: Sequence[Taught]) -> bool:
    """Whether each stage just goes on training what the one before left."""
    return all(
        each.stage.merge is None
        and each.stage.adapter == "continue"
        and (each.stage.retain is None or not (each.stage.retain.loss or each.stage.retain.rehearsal))
        and each.starts == ((before.number,) if before is not None else ())
        for before, each in zip([None, *taught], taught, strict=False)
    )


def _controls(context: MeasuredContext, model: str, found: Mapping[str, Mapping[int, BySeed]]) -> Controls:
    base = _base(found[model])
    peers = {name: context.stages[name] for name in context.stages if name in found and _base(found[name]) == base}
    return Controls(
        joint=next((found[name] for name, taught in peers.items() if _joint(taught)), None),
        naive=next((found[name] for name, taught in peers.items() if len(taught) > 1 and plain(taught)), None),
    )


def _base(measured: Mapping[int, BySeed]) -> tuple[str | None, ...]:
    """What a model was before training: its family, and the checkpoint that its adapters stand on."""
    spec = next(iter(next(iter(measured.values())).values())).system.spec
    return tuple(getattr(spec, name, None) for name in ("family", "base", "revision"))


def _joint(taught: Sequence[Taught]) -> bool:
    """Whether this task was learned together with others, in a single stage."""
    return len(taught) == 1 and len(taught[0].weights) > 1


def _model(context: MeasuredContext, model: str, measured: Mapping[int, BySeed], controls: Controls) -> StagedModel:
    taught = context.stages[model]
    learned, last = learned_at(taught).get(context.name), taught[-1].number
    words = {0: "before training", **{each.number: each.stage.trains for each in taught}}
    by_number = {each.number: each for each in taught}
    rows = [
        _value(context, measured[stage], stage, words[stage], by_number.get(stage))
        for stage in sorted(measured)
        if stage in words
    ]
    known = [row["metric"]["value"] for row in rows if row["known"] and row["metric"]["value"] is not None]
    end = next((row["metric"]["value"] for row in rows if row["stage"] == last), None)
    sign = -1 if context.primary in LOWER_IS_BETTER else 1
    seconds = [row["seconds"] for row in rows if row["seconds"] is not None]
    return StagedModel(
        model=model,
        seeds=sorted({seed for of_stage in measured.values() for seed in of_stage}),
        way=", then ".join(each.stage.trains for each in taught),
        learned=learned,
        rows=rows,
        changes=_changes(context, model, measured, by_number, learned, controls),
        forgotten=None if end is None or not known else max(sign * value for value in known) - sign * end,
        seconds=sum(seconds) if seconds else None,
    )


# ---------------------------------------------------------------- values


def _value(context: MeasuredContext, measured: BySeed, stage: int, words: str, taught: Taught | None) -> StageValue:
    estimates = {seed: item.scored.estimates for seed, item in measured.items()}
    by_seed = {str(seed): _defined(values, context.primary) for seed, values in estimates.items()}
    given = [value for value in by_seed.values() if value is not None]
    shares = np.mean([item.answers.predicted_shares for item in measured.values()], axis=0)
    runs = [context.facts.models.get(item.system.run, {}) for item in measured.values()]
    trained = [run.get("stage_seconds", {}).get(str(stage)) for run in runs]
    return StageValue(
        stage=stage,
        words=words,
        taught=taught is not None and context.name in taught.weights,
        known=taught is not None and context.name in taught.learned,
        metric=_mean(context, measured).as_dict(),
        by_seed=by_seed,
        sd=float(np.std(given, ddof=1)) if len(given) > 1 else None,
        predicted=dict(zip([*context.task.labels, "unparsed"], shares.tolist(), strict=True)),
        recall={label: _mean_of(estimates, f"recall:{label}") for label in context.task.labels},
        log_loss=_mean_of(estimates, "log_loss"),
        ece=_mean_of(estimates, "ece"),
        validation=_mean_known([item.validation_primary for item in measured.values()]),
        perplexity=_mean_known([run.get("stage_perplexity", {}).get(str(stage)) for run in runs]),
        seconds=_mean_known(trained),
    )


def _mean(context: MeasuredContext, measured: BySeed) -> Metric:
    """The primary metric; of several seeds their mean, with the interval of the mean over resampled items."""
    items = list(measured.values())
    if len(items) == 1:
        return items[0].metrics.get(context.primary) or undefined("not defined for this task")
    values = [_defined(item.scored.estimates, context.primary) for item in items]
    if None in values:
        return undefined("not estimable with every seed", n=items_of(items[0].answers))
    drawn = np.mean([item.scored.replicates[context.primary] for item in items], axis=0)
    low, high, _ = percentile(drawn, context.confidence)
    method = f"{items[0].scored.resamples.method}, mean of {len(items)} seeds"
    return Metric(float(np.mean(cast(list[float], values))), low, high, method, n=items_of(items[0].answers))


def _defined(estimates: Mapping[str, float], metric: str) -> float | None:
    value = estimates.get(metric, float("nan"))
    return None if np.isnan(value) else float(value)


def _mean_of(estimates: Mapping[int, Mapping[str, float]], metric: str) -> float | None:
    return _mean_known([_defined(values, metric) for values in estimates.values()])


def _mean_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


# ---------------------------------------------------------------- changes


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


def _changes(
    context: MeasuredContext,
    model: str,
    measured: Mapping[int, BySeed],
    taught: Mapping[int, Taught],
    learned: int | None,
    controls: Controls,
) -> list[StageChange]:
    if learned is None or learned not in measured:
        return []
    last = max(taught)
    before = taught[learned].starts[-1] if taught[learned].starts else 0
    stages: list[tuple[ChangeKind, int, int]] = [
        ("gain", before, learned),
        ("transfer", 0, before),
        ("retention", learned, last),
    ]
    pairs = [
        Pair(kind, reference, new, measured[reference], measured[new])
        for kind, reference, new in stages
        if reference != new and reference in measured and new in measured
    ]
    others: list[tuple[ChangeKind, Mapping[int, BySeed] | None]] = [
        ("joint", controls.joint),
        ("naive", controls.naive),
    ]
    for kind, control in others:
        if control is not None and control is not measured and last in measured:
            stage, items = max(control.items())
            pairs.append(Pair(kind, stage, last, items, measured[last], next(iter(items.values())).system.model))
    return [_change(context, model, pair) for pair in pairs]


def _change(context: MeasuredContext, model: str, pair: Pair) -> StageChange:
    found = _difference(context, list(pair.by_seed.values()))
    margin = context.settings.margin if pair.kind in {"retention", "joint"} else None
    within, needed = _within(context, found, margin, pair.n)
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
        within=within,
        needed=needed,
        sentence=_sentence(context, model, pair, found) + _margin_sentence(found, margin, within, needed),
    )


_DIRECTIONS = {1: "better", 0: "no difference shown", -1: "worse"}


def _difference(context: MeasuredContext, pairs: Sequence[tuple[Measured, Measured]]) -> PairedDifference:
    """Of one seed the paired difference; of several the mean of theirs, resampled together."""
    metric = context.primary
    if not pairs:
        return PairedDifference(metric, None, None, reason="no seed has both")
    each = [paired_difference(metric, first.scored, second.scored) for first, second in pairs]
    differences = [found.difference for found in each if found.difference is not None]
    if len(pairs) == 1 or len(differences) < len(each):
        return each[0] if len(pairs) == 1 else PairedDifference(metric, None, None, reason="not estimable for a seed")
    drawn = np.mean(
        [second.scored.replicates[metric] - first.scored.replicates[metric] for first, second in pairs], axis=0
    )
    low, high, _ = percentile(drawn, context.confidence)
    p = bootstrap_p(drawn, pairs[0][1].scored.resamples.fewest)
    was, now = (float(np.mean([getattr(found, name) for found in each])) for name in ("reference", "new"))
    method = f"paired {pairs[0][1].scored.resamples.method}, mean of {len(pairs)} seeds"
    return PairedDifference(metric, was, now, now - was, low, high, method, "paired bootstrap", p)


def _within(
    context: MeasuredContext, found: PairedDifference, margin: float | None, n: int
) -> tuple[bool | None, int | None]:
    """Whether the interval lies above -margin; where not, how many items would show it if nothing had changed.

    n ((z + z_power) SE / margin)^2: the half width of the interval gives SE at n items, which shrinks with their root.
    """
    if margin is None or found.low is None or found.high is None:
        return None, None
    worst = -found.high if context.primary in LOWER_IS_BETTER else found.low
    if worst > -margin:
        return True, None
    if found.gain < 0:
        return False, None  # it is worse: more items would not show the opposite
    z = z_value(context.confidence)
    error = (found.high - found.low) / (2 * z)
    return False, ceil(n * ((z + float(norm.ppf(POWER))) * error / margin) ** 2)


# ---------------------------------------------------------------- words


def _sentence(context: MeasuredContext, model: str, pair: Pair, found: PairedDifference) -> str:
    """What changed, by how much, and what may be concluded."""
    against = {
        "joint": f"{pair.of}, which learned all tasks at once",
        "naive": f"{pair.of}, which retained nothing",
    }.get(pair.kind, f"after stage {pair.reference}" if pair.reference else "before training")
    at_the_end = f"{model}: after its last stage, {context.name}"
    what = {
        "gain": f"{model}: stage {pair.new}, which taught {context.name}",
        "retention": f"{model}: after stage {pair.new}, {context.name}",
        "transfer": f"{model}: before it was taught {context.name}",
        "joint": at_the_end,
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
    return f"{what}, {title(found.metric)} {values}: {moved}; {_conclusion(pair.kind, found)}."


def _margin_sentence(found: PairedDifference, margin: float | None, within: bool | None, needed: int | None) -> str:
    """Whether no more than the margin was lost, behind the sentence; nothing where that was not asked."""
    if margin is None or found.difference is None:
        return ""
    words = margin_words(found.metric, margin)
    if within:
        return f" Not worse by more than {words}: shown."
    if needed is None:
        return ""
    return f" That it is not worse by more than {words} is not shown; about {needed:,} items would show it."


def _conclusion(kind: str, found: PairedDifference) -> str:
    if found.low is None:
        return found.reason or "no interval"
    worse, better = {
        "gain": ("it did harm", "learned"),
        "retention": ("forgotten", "it even gained"),
        "transfer": ("the stages before did harm", "the stages before helped"),
        "joint": ("worse", "better"),
        "naive": ("worse", "better"),
    }[kind]
    return {1: better, 0: "no difference shown, which is not the same as none", -1: worse}[found.gain]


def _forgotten(context: MeasuredContext, entry: StagedModel) -> list[Finding]:
    """A warning where the last stages are shown to have cost the task, and where one answer took over."""
    lost = [item for item in entry["changes"] if item["kind"] == "retention" and item["direction"] == "worse"]
    if not lost:
        return []
    evidence = lost[0]["sentence"]
    if context.task.labels:
        last = next(row for row in entry["rows"] if row["stage"] == lost[0]["new"])
        label, share = max(last["predicted"].items(), key=lambda pair: pair[1])
        evidence += f" It now answers {label!r} to {100 * share:.0f} % of the test items"
    return [
        Finding(
            "warn",
            "task-forgotten",
            f"{entry['model']} forgot {context.name} in the stages after it",
            evidence,
            "retain it (`retain: {rehearsal: 0.1}`), give each task its own adapter (`adapter: new`), or teach the "
            "tasks together",
        )
    ]
