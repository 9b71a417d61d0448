"""A search for hyperparameters by Optuna: its journal, its trials one after the other, and what came out.

    search/journal.jsonl   Optuna's own journal, all that happens to a trial: from it a killed search goes on
    search/search.json     the outcome (`SearchOutcome`), written at the end

A search that was killed ends with the trials of one that was not. Every setting of every trial has a sampler of its
own, whose seed depends on the search's seed and on both numbers alone; a trial that was under way begins again with
what the journal holds of it.

The first trial is the block's own point, where the space holds it. Of a space with no more points than trials all are
tried, in an order drawn by the seed. Otherwise points are drawn by the tree-structured Parzen estimator (Bergstra et
al., 2011), the first ten of them at random; a point that comes again takes the value that it had. A trial of a model
that is validated while it trains ends early where it lies below the median of the earlier trials at the same validation
(the median rule of Golovin et al., 2017).
"""

import json
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from clinfit.errors import ClinfitError
from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER
from clinfit.evaluation.search_results import SearchOutcome, TrialDict
from clinfit.files import DiskError, write_json
from clinfit.models.base import Progress
from clinfit.runs.folder import OUTCOME
from clinfit.runs.steps.failures import failure_of
from clinfit.runs.steps.trials import Subject, Worth, try_point
from clinfit.study.search import Dimension, as_value, setting, size_of, space_of

if TYPE_CHECKING:
    import optuna

JOURNAL = "journal.jsonl"
#: Below the folder of a run: where trials work.
SCRATCH = ".search-trial"
FORMAT = "clinfit-search/1"

#: Trials that must have ended before one is measured against their median.
BEFORE_PRUNING = 5
#: Trials that must have ended before importance means anything.
BEFORE_IMPORTANCE = 10


def run_search(subject: Subject, folder: Path, key: str, primary: str, progress: Progress) -> None:
    """Do what is left of a search and write its outcome. key: names the search; a journal with another key is another
    one. primary: the study's metric of the task.

    Raises ClinfitError where no trial could be done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    space = space_of(subject.spec, subject.search.over)
    study = _opened(folder / JOURNAL, key)
    ahead = _ahead(subject, space)
    total = subject.search.trials
    while (trial := _next(study, ahead, total)) is not None:
        _attempt(study, trial, subject, space, folder.parent / SCRATCH, progress)
        progress(trial.number + 1, total, f"trial {trial.number + 1} of {total}")
    write_json(folder / OUTCOME, _outcome(study, subject, space, primary))


# ---------------------------------------------------------------- the journal


def _opened(journal: Path, key: str) -> "optuna.Study":
    """The search in its journal. The run's folder is locked, so that locks of the journal are those of the dead, and a
    line without an end was being written when its process died."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for lock in journal.parent.glob(f"{journal.name}.lock*"):
        lock.unlink(missing_ok=True)
    if journal.exists():
        whole = journal.read_bytes()
        journal.write_bytes(whole[: whole.rfind(b"\n") + 1])
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(journal))),
        study_name=key,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=BEFORE_PRUNING),
    )


def _ahead(subject: Subject, space: Sequence[Dimension]) -> list[dict[str, Any]]:
    """The points that are known beforehand: the block's own, and all others where the trials are enough for them."""
    own = _own(subject, space)
    size = size_of(list(space))
    if size is None or size > subject.search.trials:
        return [] if own is None else [own]
    points = [dict(zip([d.name for d in space], values, strict=True)) for values in product(*map(_every, space))]
    order = np.random.default_rng(subject.seed).permutation(len(points))
    others = [points[k] for k in order]
    return others if own is None else [own, *(point for point in others if point != own)]


def _own(subject: Subject, space: Sequence[Dimension]) -> dict[str, Any] | None:
    """The block's own point, as Optuna holds it; None where it is outside the space."""
    values = {dimension.name: setting(subject.spec, dimension.name) for dimension in space}
    if not all(dimension.holds(values[dimension.name]) for dimension in space):
        return None
    return {dimension.name: _held(dimension, values[dimension.name]) for dimension in space}


def _held(dimension: Dimension, value: Any) -> Any:
    """A value as Optuna holds it: a choice as JSON, which may be a list or a block; a number as itself."""
    if dimension.values is not None:
        return json.dumps(value, sort_keys=True)
    return value[0] if dimension.listed else value


def _every(dimension: Dimension) -> list[Any]:
    if dimension.values is not None:
        return [_held(dimension, value) for value in dimension.values]
    return list(range(int(dimension.low), int(dimension.high) + 1))


def _next(study: "optuna.Study", ahead: Sequence[Mapping[str, Any]], total: int) -> "optuna.Trial | None":
    """The trial that comes next: the one that was under way, or a new one; None after the last."""
    import optuna

    known = study.get_trials(deepcopy=False)
    ended = sum(trial.state.is_finished() for trial in known)
    begun = sum(trial.state != optuna.trial.TrialState.WAITING for trial in known)
    if ended >= total:
        return None
    if ended < begun:
        return optuna.Trial(study, known[ended]._trial_id)
    if ended < len(ahead) and len(known) == ended:
        study.enqueue_trial(dict(ahead[ended]))
    return study.ask()


def _point(study: "optuna.Study", trial: "optuna.Trial", space: Sequence[Dimension], seed: int) -> dict[str, Any]:
    """The point of a trial. Each setting is drawn by a sampler of its own, so that one which a killed search had drawn
    already changes nothing of the next."""
    import optuna

    point = {}
    for place, dimension in enumerate(space):
        drawn_by = np.random.SeedSequence([seed, trial.number, place]).generate_state(1)[0]
        study.sampler = optuna.samplers.TPESampler(seed=int(drawn_by), constant_liar=False)
        point[dimension.name] = _suggested(trial, dimension)
    return point


def _suggested(trial: "optuna.Trial", dimension: Dimension) -> Any:
    """The value of one setting in a trial."""
    name, low, high = dimension.name, dimension.low, dimension.high
    if dimension.values is not None:
        held = [_held(dimension, value) for value in dimension.values]
        return json.loads(str(trial.suggest_categorical(name, held)))
    if dimension.whole:
        return as_value(trial.suggest_int(name, int(low), int(high), log=dimension.log), dimension.listed)
    value = trial.suggest_float(name, low, high, log=dimension.log)
    return [value] if dimension.listed else value


# ---------------------------------------------------------------- one trial


def _attempt(
    study: "optuna.Study",
    trial: "optuna.Trial",
    subject: Subject,
    space: Sequence[Dimension],
    scratch: Path,
    progress: Progress,
) -> None:
    """Do a trial, and tell the journal how it ended."""
    import optuna

    state = optuna.trial.TrialState
    point = _point(study, trial, space, subject.seed)
    held = max(study.get_trials(deepcopy=False)[trial.number].intermediate_values, default=0)
    total, number = subject.search.trials, trial.number + 1

    def within(done: int, of: int, text: str) -> None:
        progress(trial.number, total, f"trial {number} of {total}: {done}/{of} {text}".rstrip())

    def report(validation: int, share: float, value: float) -> None:
        if validation < held:
            return  # it went on behind this one before it was killed
        if validation > held:
            trial.report(value, validation)
        if share < 1 and trial.should_prune():
            raise optuna.TrialPruned

    began = time.perf_counter()
    trial.set_user_attr("point", point)
    within(0, 1, "")
    try:
        known = _known(study, point, trial.number)
        if known is not None:
            trial.set_user_attr("same_as", known.number)
            worth = Worth(cast(float, known.value), known.user_attrs.get("error"))
        else:
            worth = try_point(subject, point, scratch, within, report)
        trial.set_user_attr("error", worth.error)
        value, ended = worth.value, state.COMPLETE
    except optuna.TrialPruned:
        value, ended = None, state.PRUNED
    except DiskError:
        raise
    except Exception as error:
        failure = failure_of(error)
        if not failure.fixable:  # a fault of the program, not of the point: the step fails, and is tried again
            raise
        trial.set_user_attr("reason", failure.reason)
        value, ended = None, state.FAIL
    trial.set_user_attr("seconds", round(time.perf_counter() - began, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.tell(trial, value, state=ended)


def _known(study: "optuna.Study", point: Mapping[str, Any], before: int) -> "optuna.trial.FrozenTrial | None":
    """The first trial with the same point that is done."""
    import optuna

    done = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    return next((trial for trial in done if trial.number < before and trial.user_attrs["point"] == point), None)


# ---------------------------------------------------------------- the outcome


def _outcome(study: "optuna.Study", subject: Subject, space: Sequence[Dimension], primary: str) -> SearchOutcome:
    tasks = list(subject.lesson.taught.weights)
    metric, lower = _metric(subject, primary)
    trials = [_trial(trial, -1.0 if lower else 1.0) for trial in study.get_trials(deepcopy=False)]
    done = [trial for trial in trials if trial["state"] == "done"]
    if not done:
        reason = next((trial["reason"] for trial in trials if trial["reason"]), "")
        raise ClinfitError(f"none of {len(trials)} trials of the search could be done: {reason}")
    best = min if lower else max
    chosen = best(done, key=lambda trial: cast(float, trial["value"]))
    own, over = _own(subject, space), subject.search.over
    return SearchOutcome(
        format=FORMAT,
        by=subject.search.by,
        metric=metric,
        lower_is_better=lower,
        task=tasks[0] if len(tasks) == 1 else None,
        records=sum(len(subject.validation(task)) for task in tasks),
        seed=subject.seed,
        planned=subject.search.trials,
        space={name: tried if isinstance(tried, list) else tried.model_dump() for name, tried in over.items()},
        own=0 if own is not None else None,
        trials=trials,
        chosen=chosen["number"],
        point=chosen["point"],
        importance=_importance(study, space, done),
    )


def _metric(subject: Subject, primary: str) -> tuple[str, bool]:
    """What was compared, and whether less of it is better."""
    if subject.search.by == "loss":
        return "loss", True
    from clinfit.evaluation.metrics.engines import ENGINES  # scipy.stats, which rules never ask for

    (task,) = subject.tasks.values()
    name = ENGINES[task.kind].primary(primary, len(task.labels))
    return name, name in LOWER_IS_BETTER


def _trial(trial: "optuna.trial.FrozenTrial", sign: float) -> TrialDict:
    import optuna

    states = optuna.trial.TrialState
    state = {states.COMPLETE: "done", states.PRUNED: "pruned"}.get(trial.state, "failed")
    value = trial.value if trial.state == states.COMPLETE else None
    if trial.state == states.PRUNED and trial.intermediate_values:
        value = trial.intermediate_values[max(trial.intermediate_values)]
    told = trial.user_attrs
    return TrialDict(
        number=trial.number,
        state=state,
        point=told["point"],
        value=None if value is None or not math.isfinite(value) else sign * value,
        error=told.get("error"),
        seconds=told["seconds"],
        validations=len(trial.intermediate_values),
        same_as=told.get("same_as"),
        reason=told.get("reason"),
    )


def _importance(
    study: "optuna.Study", space: Sequence[Dimension], done: Sequence[TrialDict]
) -> dict[str, float] | None:
    """Optuna's own importance of each setting (PED-ANOVA; Watanabe et al., 2023): how much of what sets the best tenth
    of the trials apart lies in it."""
    import optuna

    if len(space) < 2 or len(done) < BEFORE_IMPORTANCE or len({trial["value"] for trial in done}) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(study)
    return {name: float(share) for name, share in found.items()} if sum(found.values()) > 0 else None
