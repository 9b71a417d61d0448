"""A study made small, to see in a minute or two what a run of it would give: `clinfit run STUDY --quick`."""

from clinfit.study.data import SplitRule
from clinfit.study.models import ModelSpec, Neural
from clinfit.study.schema import Study

#: Records of each task, of its training records alone; passes over them; bootstrap resamples; trials of a search.
RECORDS, EPOCHS, RESAMPLES, TRIALS = 160, 1.0, 200, 2

#: What the reader of any output is told.
QUICK = (
    f"A quick run: about {RECORDS} of the training records, {EPOCHS:g} epoch, {RESAMPLES} resamples, "
    f"{TRIALS} trials of a search. It shows what a run gives; its figures say nothing of the models. Validation and "
    "test records of the study were not touched."
)


def quickened(study: Study) -> Study:
    """The study with few records, one epoch, one seed, few resamples and few trials of a search, under a name of its
    own: it shares no folder with the whole one, and nothing of it is ever taken for a step of that. A cross-validation
    is divided once."""
    if study.quick:
        return study
    tasks = {
        name: task.model_copy(
            update={"data": task.data.model_copy(update={"quick": RECORDS, "split": _once(task.data.split)})}
        )
        for name, task in study.tasks.items()
    }
    resamples = min(RESAMPLES, study.evaluation.bootstrap)
    return study.model_copy(
        update={
            "name": f"{study.name}-quick",
            "tasks": tasks,
            "models": [_model(spec) for spec in study.models],
            "seeds": study.seeds[:1],
            "evaluation": study.evaluation.model_copy(update={"bootstrap": resamples}),
        }
    )


def _once(rule: SplitRule) -> SplitRule:
    return SplitRule(stratify=rule.stratify, seed=rule.seed) if rule.folds is not None else rule


def limited(study: Study, records: int) -> Study:
    """The study with the first `records` of every task's data alone, where it does not take fewer already; since the
    number is a part of the study, its folder and its models are others."""
    tasks = {
        name: task.model_copy(
            update={"data": task.data.model_copy(update={"limit": min(records, task.data.limit or records)})}
        )
        for name, task in study.tasks.items()
    }
    return study.model_copy(update={"tasks": tasks})


def _model(spec: ModelSpec) -> ModelSpec:
    spec = spec.model_copy(update={"refit": False})  # a model of records that are divided once is the one to serve
    if spec.searched is not None:
        spec = spec.model_copy(update={"search": spec.searched.model_copy(update={"trials": TRIALS})})
    if not isinstance(spec, Neural):
        return spec
    epochs = min(EPOCHS, spec.train.epochs)
    return spec.model_copy(update={"train": spec.train.model_copy(update={"epochs": epochs})})
