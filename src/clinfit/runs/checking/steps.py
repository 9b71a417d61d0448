"""What single steps of a plan take, by the estimates of `clinfit check`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clinfit.data.load import TaskData
from clinfit.models.estimates.estimate import Work
from clinfit.runs.checking.models import Prepared, prepared_models
from clinfit.runs.checking.work import answer_work, fit_work
from clinfit.runs.steps.plan import Run, Step
from clinfit.study.models import Neural
from clinfit.study.schema import Study
from clinfit.study.taught import stages_of


@dataclass(frozen=True)
class Taken:
    """What a step takes: time in seconds; memory in bytes, of all processes of a fit together."""

    seconds: float
    memory: float


def step_estimates(
    study: Study, data: Mapping[str, TaskData], runs: Sequence[Run], steps: Sequence[Step]
) -> tuple[dict[str, Taken], list[str]]:
    """By the ids of steps what they take, of those of which it is known: searches, fits and answers of neural models.
    And the models whose memory was never compared with that of runs."""
    names = {run.name: run.spec.name for run in runs}
    asked = {names[step.run] for step in steps}
    specs = {spec.name: spec for run in runs if isinstance(spec := run.spec, Neural) and spec.name in asked}
    models = {model.spec.name: model for model in prepared_models(study, data, list(specs.values()))}
    alike: dict[tuple[object, ...], Taken | None] = {}  # the seeds of a model
    found: dict[str, Taken] = {}
    for step in steps:
        if (model := models.get(names[step.run])) is None:
            continue
        key = (model.spec.name, step.action, step.stage, step.task, step.split)
        if key not in alike:
            alike[key] = _taken(study, model, step)
        if (taken := alike[key]) is not None:
            found[step.id] = taken
    return found, [name for name, model in models.items() if not model.verified]


def _taken(study: Study, model: Prepared, step: Step) -> Taken | None:
    """Of a search all trials, as if none were stopped early."""
    work, times = _work(study, model, step), 1
    if work is None:
        return None
    if step.action == "search" and model.spec.searched is not None:
        times = model.spec.searched.trials
    estimate = model.takes(work)
    processes = model.spec.processes if step.action in ("fit", "search") else 1
    return Taken(estimate.seconds * times, estimate.memory * processes)


def _work(study: Study, model: Prepared, step: Step) -> Work | None:
    if step.action in ("fit", "search"):
        (taught,) = (taught for taught in stages_of(study, model.spec) if taught.number == step.stage)
        return fit_work(model.spec, taught, model.readings)
    if step.action != "answer" or step.split is None:
        return None
    (reading,) = (reading for reading in model.readings if reading.task == step.task)
    return answer_work(study, model.spec, reading, step.split, untrained=step.stage == 0)
