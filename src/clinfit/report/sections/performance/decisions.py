"""What becomes of a probability: recalibration, threshold, and which records are handed to a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from clinfit.evaluation.claims.wording import number, recalibration_words, referral_words, threshold_words
from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.system_results import ConformalDict, MetricDict, ReferralDict, SystemResult
from clinfit.report.figures.clinical import Curve
from clinfit.report.figures.risk_coverage import risk_coverage_figure
from clinfit.report.format import NOTHING, Cell, decimal, metric_cell
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.performance.panels import DRAWN
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import Grid, cell_of, model_first, number_cell

#: Metrics that a recalibration is judged by; a task has the binary or the multi-class ones.
JUDGED = ("brier", "brier_sum", "log_loss", "calibration_intercept", "calibration_slope", "ece")

#: What a threshold is judged by; label weights by macro F1 and balanced accuracy.
SHOWN = ("sensitivity", "specificity", "ppv")
#: Sections on what becomes of a probability before it is an answer.
RULES = ("threshold", "recalibration", "referral", "conformal")


@dataclass(frozen=True)
class DecisionsView:
    """Sentences are (name of the system, words). rules: whether more than the most probable label is spoken of."""

    rules: bool
    recalibrations: list[tuple[str, str]]
    before_after: Grid | None
    thresholds: list[tuple[str, str]]
    referrals: list[tuple[str, str]]
    referred: Grid | None
    figure: Markup | None
    selective: Grid | None
    conformal: Grid | None
    conformal_notes: list[str]


def decisions_view(subject: Subject) -> DecisionsView | None:
    """None where the numbers are withheld, and where no system gives probabilities of its own."""
    task = subject.task
    systems = [system for system in model_first(task) if section(system, "selective") is not None]
    if task["withheld"] or not systems:
        return None
    return DecisionsView(
        rules=any(section(system, name) for system in systems for name in RULES),
        recalibrations=[(s["name"], recalibration_words(found)) for s, found in _with(systems, "recalibration")],
        before_after=_before_after(systems),
        thresholds=[
            (s["name"], _threshold(s)) for s, found in _with(systems, "threshold") if found["rule"] != "argmax"
        ],
        referrals=[(s["name"], _referral(found)) for s, found in _with(systems, "referral")],
        referred=_referred(systems),
        figure=_figure(systems, subject.anchor),
        selective=_selective(systems),
        conformal=_conformal(task, systems),
        conformal_notes=_conformal_notes(systems),
    )


def _with(systems: Sequence[SystemResult], name: str) -> list[tuple[SystemResult, Any]]:
    """The systems that have a section, with it."""
    return [(system, section(system, name)) for system in systems if section(system, name) is not None]


def _before_after(systems: Sequence[SystemResult]) -> Grid | None:
    rows = []
    for system, found in _with(systems, "recalibration"):
        before = found["before"]
        for name in JUDGED:
            if name in before:
                cells = [metric_cell(before[name], percent=definition(name).percent), cell_of(system, name)]
                rows.append((f"{system['name']}: {definition(name).title}", cells))
    heads = ["System and metric", "As the model gave them", "Recalibrated"]
    return Grid("Probabilities on test before and after recalibration", heads, rows) if rows else None


def _threshold(system: SystemResult) -> str:
    """The rule, and what the threshold reached where it was chosen and on test."""
    threshold = section(system, "threshold")
    text = threshold_words(system)
    if threshold["value"] is None and threshold["weights"] is None:
        return f"{text}."
    shown = [name for name in SHOWN if name in system["metrics"]] or ["macro_f1", "balanced_accuracy"]
    there = ", ".join(_share(name, threshold["achieved"][name]) for name in shown if name in threshold["achieved"])
    test = ", ".join(_measured(name, system["metrics"][name]) for name in shown)
    return f"{text}. " + (f"On {threshold['split']}: {there}. " if there else "") + f"On test: {test}."


def _share(name: str, value: float) -> str:
    return f"{definition(name).title.lower()} {number(name, value)}"


def _measured(name: str, metric: MetricDict) -> str:
    cell = metric_cell(metric, percent=definition(name).percent)
    return f"{definition(name).title.lower()} {cell.plain}"


def _referral(referral: ReferralDict) -> str:
    words = referral_words(referral)
    if referral["note"] is not None:
        return f"{words}."
    if not referral["decided"]:
        return f"all {referral['n']} test records are handed to a person. Rule: {words}."
    return (
        f"{referral['referred']} of {referral['n']} test records are handed to a person; of the "
        f"{referral['decided']} that are decided, {referral['metrics']['accuracy']['events']} are right. Rule: {words}."
    )


def _referred(systems: Sequence[SystemResult]) -> Grid | None:
    """All decided records against all records, metric by metric."""
    found = [(system, referral) for system, referral in _with(systems, "referral") if referral["note"] is None]
    if not found:
        return None
    names = list(found[0][1]["metrics"])
    rows = [
        (
            system["name"],
            [
                number_cell(referral["decided"]),
                number_cell(referral["referred"]),
                *(metric_cell(referral["metrics"].get(name), percent=True) for name in names),
            ],
        )
        for system, referral in found
    ]
    heads = ["System", "Decided", "Handed on", *(_title(name) for name in names)]
    return Grid("Test records that the system decides itself", heads, rows)


def _title(name: str) -> str:
    kind, _, label = name.partition(":")
    return f"{definition(kind).title} of {label}" if label else definition(kind).title


def _figure(systems: Sequence[SystemResult], anchor: str) -> Markup:
    curves = [
        Curve(f"{system['name']}: {decimal(part['aurc'])}", part["risk_coverage"])
        for system, part in _with(systems[:DRAWN], "selective")
    ]
    return risk_coverage_figure(curves, f"{anchor}-coverage")


def _selective(systems: Sequence[SystemResult]) -> Grid:
    found = _with(systems, "selective")
    shares = list(dict.fromkeys(share for _, part in found for share in part["accuracy_at"]))
    rows = []
    for system, part in found:
        cells = [cell_of(system, "accuracy")]
        cells += [metric_cell(part["accuracy_at"][share], percent=True) for share in reversed(shares)]
        cells.append(Cell(decimal(part["aurc"]), "", repr(part["aurc"]), repr(part["aurc"])))
        rows.append((system["name"], cells))
    heads = ["System", "Accuracy, all", *(f"Surest {100 * float(share):g} %" for share in reversed(shares))]
    return Grid("Accuracy among the records of which the system is surest", [*heads, "Area under the curve"], rows)


def _conformal(task: TaskResult, systems: Sequence[SystemResult]) -> Grid | None:
    found = [(system["name"], sets) for system, sets in _with(systems, "conformal") if not sets["note"]]
    if not found:
        return None
    level = found[0][1]["level"]
    heads = [
        "System",
        "Coverage",
        *(f"of {label}" for label in task["labels"]),
        "Labels a set",
        "One label",
        "No label",
    ]
    rows = [(name, _coverage(part, task["labels"])) for name, part in found]
    return Grid(f"Sets of labels that aim to hold the truth for {100 * level:g} % of the records", heads, rows)


def _conformal_notes(systems: Sequence[SystemResult]) -> list[str]:
    """What is to be known of the sets, each said once with the systems it is said of."""
    said: dict[str, list[str]] = {}
    for system, sets in _with(systems, "conformal"):
        if words := sets["note"] or sets["caution"]:
            said.setdefault(words, []).append(system["name"])
    return [f"{', '.join(names)}: {words}" for words, names in said.items()]


def _coverage(part: ConformalDict, labels: Sequence[str]) -> list[Cell]:
    mean = part["mean_size"]
    return [
        metric_cell(part["coverage"], percent=True),
        *(metric_cell(part["by_label"].get(label), percent=True) for label in labels),
        NOTHING if mean is None else Cell(decimal(mean, 2), "", repr(mean), repr(mean)),
        number_cell(part["sizes"].get("1", 0)),
        number_cell(part["sizes"].get("0", 0)),
    ]
