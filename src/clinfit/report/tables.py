"""The results of a task as tables ready to print: rows, cells and their words. Templates only lay them out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from clinfit.evaluation.results import SeedSummary, TaskResult
from clinfit.evaluation.system_results import MetricDict, SystemResult
from clinfit.report.format import NOTHING, Cell, count, decimal, duration, megabytes, metric_cell, per_cent, text_of
from clinfit.report.glossary import MEANINGS, definition
from clinfit.report.kinds import kind_of
from clinfit.report.section import section

#: Families that need no neural network: what a fine-tuned model has to beat.
SIMPLE_FAMILIES = ("baseline", "classical")


@dataclass(frozen=True)
class Column:
    key: str
    title: str
    meaning: str
    formula: str
    primary: bool = False


@dataclass(frozen=True)
class SystemRow:
    """One system. model: whether it is the model of the task. instead: why there are no numbers: withheld, or a model
    that did not finish."""

    name: str
    under: str
    cells: list[Cell]
    best_simple: bool = False
    instead: str = ""
    model: bool = False


@dataclass(frozen=True)
class Grid:
    """A table of cells; each row has its heading apart."""

    caption: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


@dataclass(frozen=True)
class Plain:
    """A table of texts; the first cell of each row is its heading."""

    caption: str
    hint: str
    columns: list[str]
    rows: list[list[str]]


def is_simple(system: SystemResult) -> bool:
    return system["family"] in SIMPLE_FAMILIES


def by_rank(task: TaskResult) -> list[SystemResult]:
    """Best primary value first; systems without one come last, in the order of the study."""
    place = {name: k for k, name in enumerate(task["ranking"])}
    return sorted(task["systems"], key=lambda system: place.get(system["name"], len(place)))


def best_neural(task: TaskResult) -> SystemResult | None:
    """The first of the ranking among the trained neural systems."""
    return next((s for s in by_rank(task) if not is_simple(s) and s["moment"] != "before"), None)


def baseline(task: TaskResult) -> SystemResult | None:
    """The system that others are compared with: named by the study, else the simple one that is best on validation.

    Never the simple one that is best on test: that would be another choice, made with the answers at hand.
    """
    return next((system for system in task["systems"] if system["name"] == task["baseline"]), None)


def the_model(task: TaskResult) -> SystemResult | None:
    """The chosen system: what verdict, figures, model facts and checklists are about. None where there is none."""
    chosen = task["chosen"]
    return None if chosen is None else next(s for s in task["systems"] if s["name"] == chosen["system"])


def model_first(task: TaskResult) -> list[SystemResult]:
    """The model, then the others by rank."""
    return sorted(by_rank(task), key=lambda system: system is not the_model(task))


def metric_of(system: SystemResult, name: str, label: str | None = None) -> MetricDict | None:
    """A metric of a system, or of one of its labels."""
    if label is None:
        return system["metrics"].get(name)
    classes = section(system, "classes") or []
    return next((entry["metrics"].get(name) for entry in classes if entry["label"] == label), None)


def threshold_in_force(system: SystemResult) -> str:
    """The threshold of a system that has one: 0.310; of a cross-validation each fold has its own."""
    threshold = section(system, "threshold")
    shown = f"{threshold['value']:.3f}"
    return f"each fold's own, median {shown}" if thresholds_of_folds(system) else shown


def rule_in_force(system: SystemResult) -> str:
    """threshold 0.310 (youden), or label weights (macro-f1); empty where the most probable label is taken."""
    threshold = section(system, "threshold")
    if threshold["weights"] is not None:
        return f"label weights ({threshold['rule']})"
    return "" if threshold["value"] is None else f"threshold {threshold_in_force(system)} ({threshold['rule']})"


def thresholds_of_folds(system: SystemResult) -> bool:
    """Whether each fold has chosen a threshold, so that no single one is in force."""
    threshold = section(system, "threshold")
    return bool(section(system, "folds")) and threshold is not None and threshold["split"] is not None


def cell_of(system: SystemResult, name: str, label: str | None = None) -> Cell:
    return metric_cell(metric_of(system, name, label), percent=definition(name).percent)


# ---------------------------------------------------------------- all systems


def columns_of(task: TaskResult) -> list[Column]:
    """The primary metric first, then those usual for the kind that any system has."""
    return columns_named(task, kind_of(task).columns(task))


def columns_named(task: TaskResult, names: Sequence[str]) -> list[Column]:
    """The primary metric and those named that any system has; unparsed answers where there are such."""
    keys = [task["primary"], *(key for key in names if key != task["primary"])]
    if any(system["unparsed"] for system in task["systems"]):
        keys.append("unparsed")
    found = [key for key in keys if any(key in system["metrics"] for system in task["systems"])]
    return [
        Column(key, definition(key).title, MEANINGS.get(key, ""), definition(key).formula, key == task["primary"])
        for key in found
    ]


def system_rows(task: TaskResult, columns: Sequence[Column], failures: Mapping[str, str]) -> list[SystemRow]:
    """Best primary value first; then systems without one; then models that did not finish (name -> why); last what an
    even guess would give, where that is known."""
    reference, model = baseline(task), the_model(task)
    rows: list[SystemRow] = []
    for system in by_rank(task):
        marks = [mark for mark, applies in (
            ("rule" if system["family"] == "baseline" else system["family"] or "", True),
            ("the model", system is model),
            ("the baseline", system is reference),
        ) if applies and mark]  # fmt: skip
        why = withheld_reason(system)
        cells = [] if why else [cell_of(system, column.key) for column in columns]
        if (summary := _first_of_seeds(task, system, rows)) is not None and not why:
            rows.append(seed_row(summary, columns))
        rows.append(SystemRow(system["name"], ", ".join(marks), cells, system is reference, why, system is model))
    rows += [SystemRow(name, "", [], instead=f"did not finish: {why}") for name, why in failures.items()]
    return rows if task["withheld"] else [*rows, *chance_row(task, columns)]


def chance_row(task: TaskResult, columns: Sequence[Column]) -> list[SystemRow]:
    """What guessing evenly among the options would give; no row for a kind of task that has no such level."""
    chance = section(task, "chance")
    if chance is None:
        return []
    cells = [level_cell(chance.get(column.key), percent=definition(column.key).percent) for column in columns]
    return [SystemRow("an even guess", "chance level, no system", cells)]


def counted_cell(n: int, share: float | None) -> Cell:
    """A number of records with its share beneath."""
    return Cell(count(n), "" if share is None else per_cent(share), repr(n), "" if share is None else repr(share))


def level_cell(value: float | None, *, percent: bool) -> Cell:
    """A known level without an interval."""
    return NOTHING if value is None else Cell(per_cent(value) if percent else decimal(value), "", repr(value))


def _first_of_seeds(task: TaskResult, system: SystemResult, rows: Sequence[SystemRow]) -> SeedSummary | None:
    """The summary over seeds that the system belongs to, when it is the first of them in the table."""
    title = f"{system['model']} ({system['moment']})" if system["moment"] else system["model"]
    summary = next((entry for entry in task["seeds"] if entry["system"] == title), None)
    shown = summary is not None and any(row.name == seeds_title(summary) for row in rows)
    return None if shown else summary


def seeds_title(summary: SeedSummary) -> str:
    return f"{summary['system']}, {len(summary['seeds'])} seeds"


def seed_row(summary: SeedSummary, columns: Sequence[Column]) -> SystemRow:
    """Mean and standard deviation over seeds, above the row of each seed: spread of training, not of the test set."""
    return SystemRow(
        seeds_title(summary),
        "mean ± standard deviation between seeds",
        [_spread_cell(summary["metrics"].get(column.key), definition(column.key).percent) for column in columns],
    )


def _spread_cell(spread: Mapping[str, float | int | None] | None, percent: bool) -> Cell:
    mean, sd = (None, None) if spread is None else (spread["mean"], spread["sd"])
    if mean is None or sd is None:
        return NOTHING
    show = per_cent if percent else decimal
    note = f"{mean!r}; standard deviation {sd!r} of {text_of(spread['n'] if spread else None)} seeds"
    return Cell(show(mean), f"± {show(sd)}", repr(mean), note)


def withheld_reason(system: SystemResult) -> str:
    """Why the numbers of a system are withheld, '' when they are not."""
    for metric in system["metrics"].values():
        if metric["status"] == "withheld":
            return metric["reason"] or "withheld"
    return ""


# ---------------------------------------------------------------- every number


def every_metric(task: TaskResult) -> Grid:
    """All metrics (rows) of all systems (columns): what the tables above had no room for."""
    systems = by_rank(task)
    names = dict.fromkeys(name for system in systems for name in system["metrics"])
    rows = [(definition(name).title, [cell_of(system, name) for system in systems]) for name in names]
    return Grid("Every metric of every system", ["Metric", *(system["name"] for system in systems)], rows)


def cost_table(task: TaskResult) -> Grid:
    """What each system costs: time to fit, size, time to answer, length of the prompt, memory of the process."""
    rows = []
    for system in by_rank(task):
        cost = system["cost"]
        cells = [
            NOTHING if system["moment"] == "before" else number_cell(cost.get("train_seconds"), duration),
            number_cell(cost.get("parameters"), count),
            number_cell(cost.get("trainable_parameters"), count),
            number_cell(cost.get("seconds_p50"), duration),
            number_cell(cost.get("seconds_p95"), duration),
            number_cell(cost.get("prompt_tokens_mean")),
            NOTHING if system["moment"] == "before" else number_cell(cost.get("peak_memory_mb"), megabytes),
        ]
        rows.append((system["name"], cells))
    fit = "Time to fit" if section(task, "cross_validation") is None else "Time to fit, all folds"
    heads = ["System", fit, "Parameters", "of them trained", "Time a record, median", "95th percentile"]
    heads += ["Prompt tokens, mean", "Memory, at most"]
    return Grid("Cost", heads, rows)


def number_cell(value: float | None, show: Callable[[float], str] = count) -> Cell:
    """A plain number without an interval."""
    return NOTHING if value is None else Cell(show(value), "", repr(value), repr(value))
