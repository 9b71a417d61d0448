"""How hyperparameters were chosen: what was tried, what each trial gave, and how sure the choice is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from clinfit.evaluation.checks.search import metric_title, noise, shown, told, value_of
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.evaluation.search_results import SearchOutcome, TrialDict
from clinfit.report.figures.search import search_figure
from clinfit.report.format import count, duration, per_cent, text_of
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import Plain


@dataclass(frozen=True)
class SearchView:
    """One model. how: what was compared on what. chosen: the choice, and what the block's own settings gave. sure: the
    standard error beside the spread, and what follows. space, trials: tables."""

    model: str
    how: str
    chosen: str
    sure: str
    importance: str
    figure: Markup
    space: Plain
    trials: Plain


def search_view(subject: Subject) -> list[SearchView]:
    """The searches of the models that answer the task, one a model; of a cross-validation that of the first fold."""
    found: dict[str, Mapping[str, Any]] = {}
    for record in subject.records:
        if "search" in record and _answers(subject, record):
            found.setdefault(record["model"], record)
    return [_view(record, f"{subject.anchor}-search-{k}") for k, record in enumerate(found.values(), 1)]


def _answers(subject: Subject, record: Mapping[str, Any]) -> bool:
    return any(system["model"] == record["model"] for system in subject.task["systems"])


def searched_words(outcome: SearchOutcome) -> str:
    """That hyperparameters were searched, in a line of a label."""
    point = ", ".join(f"{name} {text_of(value)}" for name, value in outcome["point"].items())
    value = shown(outcome, value_of(outcome["trials"][outcome["chosen"]]))
    return (
        f"hyperparameters: chosen by a search of {len(outcome['trials'])} trials by {metric_title(outcome)} on "
        f"{count(outcome['records'])} validation records ({value}): {point}"
    )


def _view(record: Mapping[str, Any], name: str) -> SearchView:
    outcome: SearchOutcome = record["search"]
    trials, title = outcome["trials"], metric_title(outcome)
    chosen = trials[outcome["chosen"]]
    known = noise(outcome)
    percent = outcome["metric"] != "loss" and METRICS[outcome["metric"]].percent
    figure = search_figure(
        _points(trials, "done"),
        _points(trials, "pruned"),
        (chosen["number"] + 1, value_of(chosen)),
        chosen["error"] if known is None else known.error,
        title,
        record["model"],
        percent,
        name,
    )
    return SearchView(
        record["model"],
        _how(record, outcome),
        _chosen(outcome, chosen),
        _sure(outcome),
        _importance(outcome),
        figure,
        _space(outcome, record["model"]),
        _trials(outcome, record["model"]),
    )


def _points(trials: Sequence[TrialDict], state: str) -> list[tuple[int, float]]:
    return [(one["number"] + 1, one["value"]) for one in trials if one["state"] == state and one["value"] is not None]


def _how(record: Mapping[str, Any], outcome: SearchOutcome) -> str:
    states = [trial["state"] for trial in outcome["trials"]]
    again = sum(trial["same_as"] is not None for trial in outcome["trials"])
    parts = [f"{states.count('done')} done", f"{states.count('pruned')} stopped early"]
    parts += [f"{states.count('failed')} failed"] + ([f"{again} a point that had been tried"] if again else [])
    fold = " In this cross-validation every fold was searched by itself; this is the first." if record["fold"] else ""
    metric = "validation loss" if outcome["by"] == "loss" else metric_title(outcome)
    return (
        f"{len(states)} trials ({', '.join(parts)}) with seed {outcome['seed']}, compared by the {metric} on "
        f"{count(outcome['records'])} validation records, in {duration(sum(t['seconds'] for t in outcome['trials']))}. "
        f"All seeds of the model have the chosen point. No trial saw a test record.{fold}"
    )


def _chosen(outcome: SearchOutcome, chosen: TrialDict) -> str:
    title = metric_title(outcome)
    text = f"Trial {chosen['number'] + 1} was chosen: {title} {shown(outcome, value_of(chosen))} on validation"
    if outcome["own"] == outcome["chosen"]:
        return f"{text}. It is the point of the study's own settings: nothing that was tried is better."
    own = None if outcome["own"] is None else outcome["trials"][outcome["own"]]
    if own is None or own["value"] is None:
        return f"{text}."
    return f"{text}; the study's own settings (trial 1) have {shown(outcome, own['value'])}."


def _sure(outcome: SearchOutcome) -> str:
    found = noise(outcome)
    if found is None:
        return "How much of this is chance is not told: too few points were tried, or no standard error is known."
    ending = (
        ": they cannot be told from the chosen one, and its value here is too good (Cawley and Talbot, 2010)."
        if found.hides
        else "."
    )
    return told(outcome, found) + ending


def _importance(outcome: SearchOutcome) -> str:
    if len(outcome["space"]) < 2:
        return ""
    if outcome["importance"] is None:
        return "Importance of the settings is told from 10 finished trials with different values on."
    found = noise(outcome)
    chance = " Since the points can hardly be told apart, it may well describe chance." if found and found.hides else ""
    return (
        "Importance is the share that each setting has in what sets the best tenth of the trials apart (PED-ANOVA; "
        f"Watanabe and others, 2023). It describes these trials, and is rough where they are few.{chance}"
    )


def _space(outcome: SearchOutcome, model: str) -> Plain:
    known = outcome["importance"]
    rows = [
        [name, tried_words(tried), _one(outcome["point"][name]), *([per_cent(known[name], 0)] if known else [])]
        for name, tried in outcome["space"].items()
    ]
    return Plain(
        f"What was tried: {model}", "", ["Setting", "Tried", "Chosen", *(["Importance"] if known else [])], rows
    )


def tried_words(tried: Any) -> str:
    if isinstance(tried, list):
        return "; ".join(map(_one, tried))
    return f"{text_of(tried['low'])} to {text_of(tried['high'])}" + (", on a log scale" if tried["log"] else "")


def _one(value: Any) -> str:
    return "not set" if value is None else text_of(value)


def _trials(outcome: SearchOutcome, model: str) -> Plain:
    names = list(outcome["space"])
    rows = [
        [
            str(trial["number"] + 1),
            _value(outcome, trial),
            *(_one(trial["point"][name]) for name in names),
            duration(trial["seconds"]),
        ]
        for trial in sorted(outcome["trials"], key=lambda trial: _rank(outcome, trial))
    ]
    heads = ["Trial", metric_title(outcome), *names, "Time"]
    return Plain(f"Trials, best first: {model}", "In brackets: standard error on validation.", heads, rows)


def _rank(outcome: SearchOutcome, trial: TrialDict) -> tuple[int, float]:
    sign = 1.0 if outcome["lower_is_better"] else -1.0
    order = ("done", "pruned", "failed").index(trial["state"])
    return order, sign * trial["value"] if trial["value"] is not None else 0.0


def _value(outcome: SearchOutcome, trial: TrialDict) -> str:
    if trial["state"] == "failed":
        return f"failed: {trial['reason']}"
    value = "—" if trial["value"] is None else shown(outcome, trial["value"])
    if trial["state"] == "pruned":
        return f"{value}, stopped at validation {trial['validations']}"
    return value + (f" ({shown(outcome, trial['error'])})" if trial["error"] is not None else "")
