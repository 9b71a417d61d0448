"""Stages as one task sees them: the column of the matrix R, and what may be said of it.

R[i, j] is a task's primary metric after stage i, on the same test items for every i, the base (stage 0) included
(Lopez-Paz and Ranzato, NeurIPS 2017). Differences are paired, so that they carry intervals of their own:

    gain       R[learned, j] - R[before, j]     what the stage that taught it first brought
    retention  R[last, j] - R[learned, j]       backward transfer: below 0, it was forgotten
    transfer   R[learned - 1, j] - R[0, j]      forward transfer, against the pretrained base and not a random one
    joint      R[last, j] - R_joint[j]          what was given up for learning one after the other
    single     R[last, j] - R_single[j]         what was given up for one model of several tasks
    naive      R[last, j] - R_naive[last, j]    what a remedy is worth: against going on without any

No difference shown is not retention: that needs a margin, declared beforehand (non-inferiority).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from clinfit.evaluation.analyses.language import rows_on_test
from clinfit.evaluation.analyses.stage_changes import BySeed, against_controls, own_changes
from clinfit.evaluation.answers import items_of, numbers
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER
from clinfit.evaluation.metrics.metric import Metric, resampled, undefined
from clinfit.evaluation.stage_results import StagedModel, StageValue
from clinfit.findings import Finding
from clinfit.study.taught import Taught, learned_at


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
    """What a model is held against, of the same base, trained and asked with the same settings: one that learned the
    same tasks at once, one that learned this task alone as the model's own stage did, and one that learned the same
    tasks in the same order and retained nothing."""

    joint: Mapping[int, BySeed] | None
    single: Mapping[int, BySeed] | None
    naive: Mapping[int, BySeed] | None


def plain(taught: Sequence[Taught]) -> bool:
    """Whether each stage just goes on training what the one before left, and mixes nothing known into what is new."""
    return all(
        each.stage.merge is None
        and each.stage.adapter == "continue"
        and (each.stage.retain is None or not (each.stage.retain.loss or each.stage.retain.rehearsal))
        and each.starts == ((before.number,) if before is not None else ())
        and each.new_weights in ({}, each.weights)
        for before, each in zip([None, *taught[:-1]], taught, strict=True)
    )


def _controls(context: MeasuredContext, model: str, found: Mapping[str, Mapping[int, BySeed]]) -> Controls:
    own, taught = _settings(found[model]), context.stages[model]
    peers = {
        name: stages
        for name, stages in context.stages.items()
        if name != model and name in found and _settings(found[name]) == own
    }
    every = {task for each in taught for task in each.weights}
    plainly = {} if plain(taught) else {name: other for name, other in peers.items() if len(other) > 1 and plain(other)}
    return Controls(
        joint=next((found[name] for name, other in peers.items() if _at_once(other) == every), None),
        single=next((found[name] for name in peers if _single(context, taught, context.stages[name])), None),
        naive=next((found[name] for name, other in plainly.items() if _order(other) == _order(taught)), None),
    )


def _order(taught: Sequence[Taught]) -> list[tuple[Mapping[str, float], Any, Any]]:
    """What was taught one after the other, with the settings of each stage and how its tasks were mixed; what was
    merged afterwards apart. A known task that is mixed into new ones retains it, and is no other order."""
    return [
        (new := each.new_weights or each.weights, each.stage.settings, each.stage.mix if new == each.weights else None)
        for each in taught
        if each.weights
    ]


def _at_once(taught: Sequence[Taught]) -> set[str]:
    """The tasks that were learned together in a single stage; nothing of another way."""
    return set(taught[0].weights) if len(taught) == 1 and len(taught[0].weights) > 1 else set()


def _single(context: MeasuredContext, own: Sequence[Taught], other: Sequence[Taught]) -> bool:
    """Whether `other` learned this task and no other, as the stage of the model did that taught it."""
    if len(other) != 1 or set(other[0].weights) != {context.name} or not plain(other):
        return False
    of_stage = {each.number: each.stage for each in own}.get(learned_at(own).get(context.name, 0))
    return of_stage is not None and (other[0].stage.settings, other[0].stage.mix) == (of_stage.settings, of_stage.mix)


def _settings(measured: Mapping[int, BySeed]) -> Mapping[str, Any]:
    """How a model is trained and asked, whatever it is taught."""
    spec = next(iter(next(iter(measured.values())).values())).system.spec
    return {} if spec is None else spec.model_dump(exclude={"name", "stages", "tasks", "seeds"})


def _base(measured: Mapping[int, BySeed]) -> str:
    """What a model was before training: its family, and the checkpoint that its adapters stand on."""
    spec = next(iter(next(iter(measured.values())).values())).system.spec
    known = (getattr(spec, name, None) for name in ("family", "base", "revision"))
    return " ".join(str(value) for value in known if value)


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
    known = [
        row["metric"]["value"]
        for row in rows
        if row["known"] and row["stage"] < last and row["metric"]["value"] is not None
    ]
    end = next((row["metric"]["value"] for row in rows if row["stage"] == last), None)
    sign = -1 if context.primary in LOWER_IS_BETTER else 1
    seconds = [row["seconds"] for row in rows if row["seconds"] is not None]
    changes, mastered = own_changes(context, model, measured, by_number, learned)
    if changes and last in measured:
        kinds: list[Any] = [("joint", controls.joint), ("single", controls.single), ("naive", controls.naive)]
        changes += against_controls(context, model, (last, measured[last]), kinds)
    runs = [context.facts.models.get(item.system.run, {}) for item in next(iter(measured.values())).values()]
    return StagedModel(
        model=model,
        base=_base(measured),
        seeds=sorted({seed for of_stage in measured.values() for seed in of_stage}),
        way=", then ".join(each.stage.trains for each in taught),
        learned=learned,
        rows=rows,
        changes=changes,
        mastered=mastered,
        forgotten=None if end is None or not known else max(sign * value for value in known) - sign * end,
        base_perplexity=_mean_known([run.get("stage_perplexity", {}).get("0") for run in runs]),
        seconds=sum(seconds) if seconds else None,
        tokens=_mean_known([sum(by_stage.values()) for run in runs if (by_stage := run.get("stage_tokens"))]),
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
        ece=_mean_known([item.metrics["ece"].value for item in measured.values() if "ece" in item.metrics]),
        label_mass=_mean_known([_label_mass(context, item) for item in measured.values()]),
        validation=_mean_known([item.validation_primary for item in measured.values()]),
        perplexity=_mean_known([run.get("stage_perplexity", {}).get(str(stage)) for run in runs]),
        seconds=_mean_known(trained),
    )


def _label_mass(context: MeasuredContext, item: Measured) -> float | None:
    """Mean probability of all labels together: it falls where a model forgets how a task is answered."""
    rows = rows_on_test(context.table, item.system)
    mass = numbers(rows, "label_mass") if "label_mass" in rows else np.array([])
    return float(np.nanmean(mass)) if np.isfinite(mass).any() else None


def _mean(context: MeasuredContext, measured: BySeed) -> Metric:
    """The primary metric; of several seeds their mean, with the interval of the mean over resampled items."""
    items = list(measured.values())
    if len(items) == 1:
        return items[0].metrics.get(context.primary) or undefined("not defined for this task")
    values = [_defined(item.scored.estimates, context.primary) for item in items]
    if None in values:
        return undefined("not estimable with every seed", n=items_of(items[0].answers))
    drawn = np.mean([item.scored.replicates[context.primary] for item in items], axis=0)
    mean = Metric(float(np.mean(cast(list[float], values))), n=items_of(items[0].answers))
    found = resampled(mean, drawn, items[0].scored.resamples, context.confidence)
    return found if found.method is None else replace(found, method=f"{found.method}, mean of {len(items)} seeds")


def _defined(estimates: Mapping[str, float], metric: str) -> float | None:
    value = estimates.get(metric, float("nan"))
    return None if np.isnan(value) else float(value)


def _mean_of(estimates: Mapping[int, Mapping[str, float]], metric: str) -> float | None:
    return _mean_known([_defined(values, metric) for values in estimates.values()])


def _mean_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


# ---------------------------------------------------------------- findings


def _forgotten(context: MeasuredContext, entry: StagedModel) -> list[Finding]:
    """A warning where the last stages are shown to have cost a task that was learned, and what it answers now."""
    if entry["mastered"] is False:
        return []
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
