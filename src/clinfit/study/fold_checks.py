"""What a study that is cross-validated must agree on, and what is not done with folds."""

from collections.abc import Iterator

from clinfit.study.data import SplitRule
from clinfit.study.evaluation import DecisionSettings, GenerationEvaluation
from clinfit.study.messages import Place, Problem, shown
from clinfit.study.parts import Parts

#: Why a cross-validation leaves no pack where no model is refitted.
NO_PACK = (
    "a cross-validation evaluates a way of training, by the models of its folds, and none of them is the one to serve; "
    "write `refit: true` at the chosen model and run the study again (its folds are taken over): it is then trained "
    "once on all records"
)


def _words(rule: SplitRule) -> str:
    return "no folds" if rule.folds is None else f"folds {rule.folds}, repeats {rule.repeats}"


def _wanted(rule: SplitRule) -> str:
    return "without folds" if rule.folds is None else f"{{folds: {rule.folds}, repeats: {rule.repeats}}}"


def fold_checks(parts: Parts) -> Iterator[Problem]:
    """All tasks have the same folds, and no setting asks for one model of one split; a model is refitted only behind
    folds, and only where it can be served."""
    divided = {name: task.data.split for name, task in parts.tasks.items()}
    folded = any(rule.folds for rule in divided.values())
    yield from _refits(parts, folded)
    if not folded:
        return
    first = next(iter(divided.values()))
    for name, rule in divided.items():
        here: Place = ("tasks", name, "data", "split")
        if rule.divisions != first.divisions:
            text = (
                f"{shown(here)}: all tasks of a study have the same `folds` and `repeats`, or none has any; here "
                f"{_words(rule)}, and {_words(first)} in {next(iter(divided))}: write split: {_wanted(first)}"
            )
            yield Problem(here, text)
        if rule.folds:
            yield from _of_one_model(parts, name)
    for position, model in parts.models.items():
        if getattr(model, "importance", None):
            place: Place = ("models", position, "importance")
            yield Problem(
                place, f"{shown(place)}: importance is asked of one model, and `folds` train several; leave it out"
            )


def _of_one_model(parts: Parts, name: str) -> Iterator[Problem]:
    """What the settings of a task ask of one model."""
    task = parts.tasks[name]
    own = task.evaluation or parts.evaluation
    asked: list[tuple[str, str]] = []
    if isinstance(own, DecisionSettings) and own.refer is not None:
        asked.append(("refer", "a rule of referral belongs to one model"))
    if isinstance(own, GenerationEvaluation):
        if own.abstention is not None:
            asked.append(("abstention", "whether a model declines is asked of one model"))
        if own.contrast:
            asked.append(("contrast", "faulty references are compared by one model"))
    where: Place = ("tasks", name, "evaluation") if task.evaluation else ("evaluation",)
    for key, why in asked:
        text = f"{why}, and `folds` train several; leave `{key}` out"
        yield Problem((*where, key), f"{shown((*where, key))}: {text}")


def _refits(parts: Parts, folded: bool) -> Iterator[Problem]:
    for position, model in parts.models.items():
        place: Place = ("models", position, "refit")
        if model.refit and not folded and parts.tasks and parts.all_tasks:
            text = "`refit` goes with `folds`; where records are divided once, the model that is evaluated is served"
            yield Problem(place, f"{shown(place)}: {text}, so leave it out")
        elif model.refit and model.holds_records:
            text = f"{model.name} holds training records as they are, so that it has no pack; leave `refit` out"
            yield Problem(place, f"{shown(place)}: {text}")
