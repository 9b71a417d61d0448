"""What a study that is cross-validated must agree on, and what is not done with folds."""

from collections.abc import Iterator

from clinfit.study.data import SplitRule
from clinfit.study.evaluation import DecisionSettings
from clinfit.study.messages import Place, Problem, shown
from clinfit.study.parts import Parts

#: Kinds of task whose metrics are computed over folds.
FOLDED = ("classification", "multilabel", "multiple-choice")

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
    """All tasks have the same folds, are of a kind that has them, and no setting asks for one model of one split; a
    model is refitted only behind folds, and only where it can be served."""
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
        task = parts.tasks[name]
        if rule.folds and task.kind not in FOLDED:
            yield Problem(here, f"{shown(here)}: `folds` goes with kind: {', '.join(FOLDED)}; the kind is {task.kind}")
        own = task.evaluation or parts.evaluation
        if rule.folds and isinstance(own, DecisionSettings) and own.refer is not None:
            where: Place = ("tasks", name, "evaluation") if task.evaluation else ("evaluation",)
            text = "a rule of referral belongs to one model, and `folds` train several; leave `refer` out"
            yield Problem((*where, "refer"), f"{shown((*where, 'refer'))}: {text}")
    for position, model in parts.models.items():
        if getattr(model, "importance", None):
            place: Place = ("models", position, "importance")
            yield Problem(
                place, f"{shown(place)}: importance is asked of one model, and `folds` train several; leave it out"
            )


def _refits(parts: Parts, folded: bool) -> Iterator[Problem]:
    for position, model in parts.models.items():
        place: Place = ("models", position, "refit")
        if model.refit and not folded and parts.tasks and parts.all_tasks:
            text = "`refit` goes with `folds`; where records are divided once, the model that is evaluated is served"
            yield Problem(place, f"{shown(place)}: {text}, so leave it out")
        elif model.refit and model.holds_records:
            text = f"{model.name} holds training records as they are, so that it has no pack; leave `refit` out"
            yield Problem(place, f"{shown(place)}: {text}")
