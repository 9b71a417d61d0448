"""Each label of a task in which any number of labels may hold: how often, from which threshold, how well."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from clinfit.evaluation.claims.wording import recalibration_words
from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.system_results import ClassResult, MetricDict, RecalibrationMap, SystemResult, ThresholdDict
from clinfit.report.figures.labels import LabelEstimates, labels_figure
from clinfit.report.format import Cell, decimal, metric_cell
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import NOTHING, Grid, counted_cell, model_first, withheld_reason

#: Metrics of each label, in the order of the table.
SHOWN = ("precision", "recall", "f1", "auroc", "auprc", "brier")
HEADS = ["Label", "Records with it", "Records given it"]


@dataclass(frozen=True)
class LabelTable:
    """rules: recalibration and thresholds, in words."""

    system: str
    table: Grid
    rules: str


@dataclass(frozen=True)
class LabelsView:
    """first: the model. drawn: the systems of the figure, in words. Where the numbers are withheld only
    the counts are told, and nothing is drawn."""

    first: LabelTable
    others: list[LabelTable]
    figure: Markup | None
    drawn: str


def labels_view(subject: Subject) -> LabelsView | None:
    """None where a confusion matrix tells the same, and where nothing is said of labels."""
    task = subject.task
    systems = [
        system for system in model_first(task) if section(system, "classes") and not section(system, "confusion")
    ]
    if not systems:
        return None
    first = systems[0]
    drawn = [] if task["withheld"] else [first, *_rival(task, first, systems)]
    return LabelsView(
        label_table(first),
        [label_table(system) for system in systems if system is not first],
        f1_figure(drawn, subject.confidence, f"{subject.anchor}-labels-f1") if drawn else None,
        " and ".join(system["name"] for system in drawn),
    )


def by_support(system: SystemResult) -> list[ClassResult]:
    """The labels of a system, the commonest in the test split first."""
    return sorted(section(system, "classes"), key=lambda entry: -entry["support"])


def label_table(system: SystemResult) -> LabelTable:
    thresholds: dict[str, ThresholdDict] = section(system, "label_thresholds") or {}
    names = [] if withheld_reason(system) else [name for name in SHOWN if name in by_support(system)[0]["metrics"]]
    fitted = section(system, "recalibration") if names else None
    before = {} if fitted is None else fitted["before"]
    rows = [
        (entry["label"], [*_cells(entry, thresholds, names), *_before(entry["label"], before)])
        for entry in by_support(system)
    ]
    heads = [*HEADS, *(["Threshold"] if thresholds else [])]
    heads += ["F1" if name == "f1" else definition(name).title for name in names]
    heads += ["Brier score before recalibration"] if before else []
    return LabelTable(system["name"], Grid(system["name"], heads, rows), _rules(thresholds, fitted))


def _before(label: str, before: Mapping[str, MetricDict]) -> list[Cell]:
    return [_metric(before[f"brier:{label}"], "brier")] if before else []


def _rules(thresholds: Mapping[str, ThresholdDict], fitted: RecalibrationMap | None) -> str:
    said = "" if fitted is None else f"Recalibration: {recalibration_words(fitted)}."
    return " ".join(filter(None, [said, threshold_words(thresholds)]))


def threshold_words(thresholds: Mapping[str, ThresholdDict]) -> str:
    """The rules in words, each said once, and how many labels could not get a threshold by theirs."""
    if not thresholds:
        return ""
    rules = dict.fromkeys(choice["words"] for choice in thresholds.values())
    splits = dict.fromkeys(choice["split"] for choice in thresholds.values() if choice["split"])
    text = f"Threshold of each label: {'; '.join(rules)}" + (f", chosen on {', '.join(splits)}" if splits else "") + "."
    noted = sum(choice["note"] is not None for choice in thresholds.values())
    return f"{text} * of {noted}: not by that rule, see the note of the value." if noted else text


def _cells(entry: ClassResult, thresholds: Mapping[str, ThresholdDict], names: Sequence[str]) -> list[Cell]:
    return [
        counted_cell(entry["support"], entry["prevalence"]),
        counted_cell(entry["predicted"], entry["predicted_proportion"]),
        *([_threshold(thresholds.get(entry["label"]))] if thresholds else []),
        *(_metric(entry["metrics"].get(name), name) for name in names),
    ]


def _metric(metric: MetricDict | None, name: str) -> Cell:
    """The reason why a number is missing is left to the note: the row says how many records there are."""
    cell = metric_cell(metric, percent=definition(name).percent)
    return Cell(cell.text, note=cell.interval) if cell.empty else cell


def _threshold(threshold: ThresholdDict | None) -> Cell:
    if threshold is None or threshold["value"] is None:
        return NOTHING
    note = "; ".join(filter(None, [repr(threshold["value"]), threshold["words"], threshold["note"]]))
    mark = "*" if threshold["note"] else ""
    return Cell(decimal(threshold["value"]) + mark, "", repr(threshold["value"]), note)


def _rival(task: TaskResult, first: SystemResult, systems: Sequence[SystemResult]) -> list[SystemResult]:
    """What the first system is set against in the figure: the baseline, else the next in the ranking."""
    others = [system for system in systems if system is not first]
    return [system for system in others if system["name"] == task["baseline"]] or others[:1]


def f1_figure(systems: Sequence[SystemResult], confidence: float, name: str, most: int | None = None) -> Markup:
    """F1 of each label of the systems, in the order of the first one's table; most: the commonest ones only."""
    by_label = [{entry["label"]: entry for entry in section(system, "classes")} for system in systems]
    rows = [
        LabelEstimates(
            entry["label"], entry["support"], [entries[entry["label"]]["metrics"].get("f1") for entries in by_label]
        )
        for entry in by_support(systems[0])[:most]
    ]
    return labels_figure(rows, [system["name"] for system in systems], confidence, name)
