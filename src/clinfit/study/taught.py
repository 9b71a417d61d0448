"""The stages of a study as one model meets them: what each teaches it, and which stages it goes on from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clinfit.study.models import Baseline, ModelSpec
from clinfit.study.schema import Study
from clinfit.study.stages import Stage


@dataclass(frozen=True)
class Taught:
    """One stage as one model meets it.

    number: in the list of stages, from 1. weights: of the model's own tasks that it trains, in the study's order,
    without zeros; nothing where adapters are merged. rehearsed: weights of the earlier tasks of which a share is
    learned again. starts: numbers of the stages that it goes on from: none is the base, several are merged. before:
    every task that the model had learned before it.
    """

    number: int
    stage: Stage
    weights: Mapping[str, float]
    rehearsed: Mapping[str, float] = field(default_factory=dict)
    starts: tuple[int, ...] = ()
    before: frozenset[str] = frozenset()

    @property
    def learned(self) -> frozenset[str]:
        """Every task that the model has learned after it."""
        return self.before | frozenset(self.weights)

    @property
    def new_weights(self) -> dict[str, float]:
        """The weights of the tasks that the model had not learned before it."""
        return {name: weight for name, weight in self.weights.items() if name not in self.before}

    @property
    def all_weights(self) -> dict[str, float]:
        """The weights of all tasks whose records it learns from."""
        return {**self.weights, **self.rehearsed}


def stages_of(study: Study, spec: ModelSpec) -> list[Taught]:
    """The stages that teach a model something; one without any of its tasks leaves it as it is.

    Rules look at the training records of all their tasks once, whatever the stages train.
    """
    tasks = study.tasks_of(spec)
    if isinstance(spec, Baseline):
        every = dict.fromkeys(tasks, 1.0)
        return [Taught(1, Stage(train=every), every)]
    found: list[Taught] = []
    for number, stage in enumerate(study.stages_of(spec), 1):
        weights = {name: stage.train[name] for name in tasks if stage.train.get(name)}
        if weights or (stage.merge and found and spec.merges):
            found.append(_taught(spec, number, stage, weights, {taught.number: taught for taught in found}))
    return found


def _taught(
    spec: ModelSpec, number: int, stage: Stage, weights: Mapping[str, float], earlier: Mapping[int, Taught]
) -> Taught:
    starts = _starts(stage, earlier)
    before = frozenset[str]().union(*(earlier[start].learned for start in starts))
    rehearsed: dict[str, float] = {}
    if spec.neural and stage.retain is not None and stage.retain.rehearsal:  # others have a model for each task
        known = _weights_before(starts, earlier)
        rehearsed = {name: weight for name, weight in known.items() if name not in weights}
    return Taught(number, stage, weights, rehearsed, starts, before)


def _starts(stage: Stage, earlier: Mapping[int, Taught]) -> tuple[int, ...]:
    """Those of the stages named that taught the model something; a stage that did not leaves what was before it."""
    if stage.merge is not None:
        return tuple(dict.fromkeys(at for number in stage.merge.stages if (at := _last(earlier, number))))
    if stage.start == "base":
        return ()
    last = _last(earlier, max(earlier, default=0) if stage.start == "previous" else stage.start)
    return (last,) if last else ()


def _last(earlier: Mapping[int, Taught], number: int) -> int:
    """The last stage up to `number` that taught the model something, 0 where there is none."""
    return max((at for at in earlier if at <= number), default=0)


def _weights_before(starts: tuple[int, ...], earlier: Mapping[int, Taught]) -> dict[str, float]:
    """What every task weighed when it was learned last, along the stages that a model went through."""
    weights: dict[str, float] = {}
    for start in starts:
        taught = earlier[start]
        weights |= {**_weights_before(taught.starts, earlier), **taught.weights}
    return weights


def learned_at(stages: Sequence[Taught]) -> dict[str, int]:
    """The stage that taught each task first, along the way of a model to its last stage; shown again, a task was known
    before."""
    by_number = {taught.number: taught for taught in stages}

    def way(number: int) -> dict[str, int]:
        taught = by_number[number]
        found = dict.fromkeys(taught.weights, number)
        for start in taught.starts:
            for task, first in way(start).items():
                found[task] = min(first, found.get(task, first))
        return found

    return way(stages[-1].number)
