"""The results of a task as tables ready to print: rows, cells and their words. Templates only lay them out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isclose

from clinfit.evaluation.results import Comparison, Difference, SeedSummary, TaskResult
from clinfit.evaluation.system_results import Confusion, MetricDict, SystemResult
from clinfit.report.format import (
    NOTHING,
    Cell,
    count,
    decimal,
    duration,
    interval,
    megabytes,
    metric_cell,
    p_value,
    per_cent,
    signed,
    text_of,
)
from clinfit.report.glossary import MEANINGS, definition

#: Columns of the comparison of all systems, after the primary metric.
BINARY_COLUMNS = ("accuracy", "sensitivity", "specificity", "balance_gap", "f1", "mcc", "auroc", "brier")
MANY_LABELS_COLUMNS = ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "macro_auroc", "brier_sum")

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
    """One system; `instead` says why there are no numbers: withheld, or a model that did not finish."""

    name: str
    under: str
    cells: list[Cell]
    best_simple: bool = False
    instead: str = ""


@dataclass(frozen=True)
class ChangeRow:
    """One metric before and after."""

    title: str
    before: Cell
    after: Cell
    change: Cell
    relative: Cell
    p: Cell
    direction: str
    sentence: str


@dataclass(frozen=True)
class BeforeAfter:
    before: str
    after: str
    n: int
    rows: list[ChangeRow]
    sentence: str
    within: str
    agreement: str


@dataclass(frozen=True)
class Pair:
    """Two systems on the same records, by the primary metric; every other metric is in `rows`."""

    new: str
    reference: str
    difference: Cell
    p: Cell
    agreement: str
    sentence: str
    within: str
    rows: list[ChangeRow]


@dataclass(frozen=True)
class Share:
    """A cell of a confusion matrix. tint: opacity of its shading; wrong answers have another colour."""

    count: str
    share: str
    tint: float
    right: bool


@dataclass(frozen=True)
class Matrix:
    name: str
    hint: str
    columns: list[str]
    rows: list[tuple[str, list[Share]]]


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


def best(task: TaskResult, *, simple: bool) -> SystemResult | None:
    """The first of the ranking among the simple systems, or among the trained neural ones."""
    fitting = (s for s in by_rank(task) if is_simple(s) == simple and (simple or s["moment"] != "before"))
    return next(fitting, None)


def metric_of(system: SystemResult, name: str, label: str | None = None) -> MetricDict | None:
    """A metric of a system, or of one of its labels."""
    if label is None:
        return system["metrics"].get(name)
    return next((entry["metrics"].get(name) for entry in system["classes"] if entry["label"] == label), None)


def cell_of(system: SystemResult, name: str, label: str | None = None) -> Cell:
    return metric_cell(metric_of(system, name, label), percent=definition(name).percent)


# ---------------------------------------------------------------- all systems


def columns_of(task: TaskResult) -> list[Column]:
    """The primary metric first, then the usual ones that any system has."""
    usual = BINARY_COLUMNS if len(task["labels"]) == 2 else MANY_LABELS_COLUMNS
    keys = [task["primary"], *(key for key in usual if key != task["primary"])]
    if any(system["unparsed"] for system in task["systems"]):
        keys.append("unparsed")
    found = [key for key in keys if any(key in system["metrics"] for system in task["systems"])]
    return [
        Column(key, definition(key).title, MEANINGS.get(key, ""), definition(key).formula, key == task["primary"])
        for key in found
    ]


def system_rows(task: TaskResult, columns: Sequence[Column], failures: Mapping[str, str]) -> list[SystemRow]:
    """Best primary value first; then systems without one; then models that did not finish (name -> why)."""
    simple = best(task, simple=True)
    rows = []
    for system in by_rank(task):
        marks = [mark for mark, applies in (
            (system["family"] or "", True),
            ("best simple baseline", system is simple),
            ("reference of the comparisons", system["name"] == task["baseline"] and system is not simple),
        ) if applies and mark]  # fmt: skip
        why = withheld_reason(system)
        cells = [] if why else [cell_of(system, column.key) for column in columns]
        if (summary := _first_of_seeds(task, system, rows)) is not None and not why:
            rows.append(seed_row(summary, columns))
        rows.append(SystemRow(system["name"], ", ".join(marks), cells, system is simple, why))
    return rows + [SystemRow(name, "", [], instead=f"did not finish: {why}") for name, why in failures.items()]


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


# ---------------------------------------------------------------- comparisons


def before_after(task: TaskResult) -> list[BeforeAfter]:
    systems = {system["name"]: system for system in task["systems"]}
    return [
        BeforeAfter(
            comparison["reference"],
            comparison["new"],
            comparison["n"],
            change_rows(comparison, systems),
            comparison["sentence"],
            _within(comparison),
            _agreement(comparison),
        )
        for comparison in task["comparisons"]
        if comparison["kind"] == "before-after"
    ]


def pairs(task: TaskResult) -> list[Pair]:
    """Every comparison that is not before against after: with the majority, with the baseline, and those declared."""
    systems = {system["name"]: system for system in task["systems"]}
    found = []
    for comparison in task["comparisons"]:
        if comparison["kind"] == "before-after":
            continue
        row = next((r for r in comparison["rows"] if r["metric"] == task["primary"] and r["label"] is None), None)
        found.append(
            Pair(
                comparison["new"],
                comparison["reference"],
                change_cell(row) if row else NOTHING,
                p_cell(row) if row else NOTHING,
                _agreement(comparison),
                comparison["sentence"],
                _within(comparison),
                change_rows(comparison, systems),
            )
        )
    return found


def change_rows(comparison: Comparison, systems: Mapping[str, SystemResult]) -> list[ChangeRow]:
    """One row a metric; values keep the interval of their own system where the results hold it."""
    rows = []
    for row in comparison["rows"]:
        old, new = (systems.get(comparison[side]) for side in ("reference", "new"))
        rows.append(
            ChangeRow(
                row["title"],
                _value_cell(row["reference"], row, old),
                _value_cell(row["new"], row, new),
                change_cell(row),
                _relative_cell(row),
                p_cell(row),
                row["direction"] if row["supported"] else "",
                row["sentence"],
            )
        )
    return rows


def _value_cell(value: float | None, row: Difference, system: SystemResult | None) -> Cell:
    name = row["metric"].partition(":")[0]  # a label's own metric is called precision:<label>
    metric = metric_of(system, name, row["label"]) if system else None
    known = metric["value"] if metric is not None else None
    if metric is not None and (known is value or (known is not None and value is not None and isclose(known, value))):
        return metric_cell(metric, percent=row["percent"])
    if value is None:
        return Cell("not estimable")
    return Cell(per_cent(value) if row["percent"] else decimal(value), "", repr(value), repr(value))


def change_cell(row: Difference) -> Cell:
    """Points for shares, the plain difference otherwise, with the paired interval in the same unit."""
    if row["difference"] is None:
        return Cell("not estimable", f"({row['reason']})" if row["reason"] else "")
    shown = row["points"] if row["percent"] else row["difference"]
    assert shown is not None, "a share that has a difference has points"
    text = signed(shown, 1) if row["percent"] else signed(shown, 3)
    note = "; ".join(filter(None, [repr(shown), row["method"] and f"interval: {row['method']}", row["reason"]]))
    return Cell(text, interval(row["low"], row["high"], percent=row["percent"]), repr(shown), note)


def _relative_cell(row: Difference) -> Cell:
    if row["relative"] is None:
        return NOTHING
    return Cell(f"{signed(row['relative'] * 100)} %", "", repr(row["relative"]), repr(row["relative"]))


def p_cell(row: Difference) -> Cell:
    """The p value of the row's own test and, beneath, after Holm's correction."""
    if row["p"] is None:
        return NOTHING
    holm = "" if row["p_holm"] is None else f"Holm {p_value(row['p_holm'])}"
    return Cell(p_value(row["p"]), holm, repr(row["p"]), "; ".join(filter(None, [row["test"], repr(row["p"])])))


def _within(comparison: Comparison) -> str:
    """What the study's margin says; '' without one."""
    return "" if comparison["non_inferiority"] is None else comparison["non_inferiority"]["sentence"]


def _agreement(comparison: Comparison) -> str:
    """The half of the 2 x 2 table that the comparison's sentence does not tell."""
    flips = comparison["flips"]
    return f"Both are right on {flips['both_right']} and both are wrong on {flips['both_wrong']} of the records."


# ---------------------------------------------------------------- confusion and labels


def matrix(system: SystemResult) -> Matrix:
    """Counts and per cent of each row; the last column is what could not be read as a label."""
    confusion: Confusion = system["confusion"]
    threshold = system["threshold"]
    rule = "" if threshold["value"] is None else f"threshold {threshold['value']:.3f} ({threshold['rule']})"
    rows = []
    for label, counts in zip(confusion["rows"], confusion["counts"], strict=True):
        total = sum(counts)
        shares = [value / total if total else 0.0 for value in counts]
        cells = [
            Share(count(value), per_cent(share, 0) if total else "—", 0.4 * share, column == label)
            for value, share, column in zip(counts, shares, confusion["columns"], strict=True)
        ]
        rows.append((label, cells))
    return Matrix(system["name"], rule, confusion["columns"], rows)


def label_table(system: SystemResult) -> Grid:
    """Each label against the rest: support, how often it was answered, precision, recall, F1 and AUROC."""
    names = list(system["classes"][0]["metrics"])
    rows = [
        (
            entry["label"],
            [
                number_cell(entry["support"]),
                number_cell(entry["predicted"]),
                *(cell_of(system, name, entry["label"]) for name in names),
            ],
        )
        for entry in system["classes"]
    ]
    heads = ["F1" if name == "f1" else definition(name).title for name in names]
    return Grid(system["name"], ["Label", "Records", "Answered", *heads], rows)


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
    heads = ["System", "Time to fit", "Parameters", "of them trained", "Time a record, median", "95th percentile"]
    heads += ["Prompt tokens, mean", "Memory, at most"]
    return Grid("Cost", heads, rows)


def number_cell(value: float | None, show: Callable[[float], str] = count) -> Cell:
    """A plain number without an interval."""
    return NOTHING if value is None else Cell(show(value), "", repr(value), repr(value))
