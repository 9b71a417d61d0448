"""The clinical panel of a binary task: calibration first, then ranking, then what decisions gain, then the risks.

The order is that of the core set of the STRATOS initiative (Van Calster et al., Lancet Digital Health 2025). The model
has the panel; the others join its ROC and decision curves, and their own figures are folded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from clinfit.evaluation.decisions.net_benefit import interventions_avoided
from clinfit.evaluation.decisions.operating_point import decision_threshold
from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.system_results import Curves, SystemResult
from clinfit.report.figures import clinical as figures
from clinfit.report.format import decimal
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import cell_of, metric_of, model_first, threshold_in_force, thresholds_of_folds

#: More curves than this in one plot cannot be told apart.
DRAWN = 7
#: What is said of a calibration curve beside it, where the results hold it.
CALIBRATION = ("calibration_slope", "calibration_intercept", "oe_ratio", "ici")


@dataclass(frozen=True)
class Shown:
    """A figure with what stands beneath it."""

    figure: Markup
    caption: str = ""


@dataclass(frozen=True)
class Panels:
    """Figures that stand side by side. paired: two in a row, large. folded: only the title is seen at first."""

    title: str
    hint: str
    figures: list[Shown]
    paired: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Drawn:
    """A system that has curves worth drawing."""

    system: SystemResult
    curves: Curves

    @property
    def name(self) -> str:
        return self.system["name"]

    @property
    def largest(self) -> float:
        """The largest predicted probability."""
        return self.curves["precision_recall"][0][2]

    def legend(self, metric: str) -> str:
        """Name, value and interval."""
        return f"{self.name}: {cell_of(self.system, metric).plain}"

    def operating(self, x: str, y: str) -> tuple[float, float] | None:
        """Where the system's decisions lie, by two of its metrics."""
        values = [metric["value"] if (metric := metric_of(self.system, name)) else None for name in (x, y)]
        return None if values[0] is None or values[1] is None else (values[0], values[1])


def panels(subject: Subject) -> list[Panels]:
    """Nothing for more than two labels, for withheld results, and where no system ranks records at all."""
    task, confidence, anchor = subject.task, subject.confidence, subject.anchor
    event, systems = task["positive"], drawn_systems(task)
    if event is None or task["withheld"] or not systems:
        return []
    shown = systems[:DRAWN]
    clinical = Panels(
        f"Clinical panel: {systems[0].name}",
        "Are its probabilities right, does it rank records well, do its decisions do more good than harm, and how far "
        "apart are the groups? Dots in the curves mark where a system decides."
        + (f" The {DRAWN} best systems are drawn." if len(systems) > DRAWN else ""),
        [
            calibration(systems[0], event, confidence, f"{anchor}-cal0"),
            roc(shown, f"{anchor}-roc"),
            decision(shown, subject.decision_range, event, confidence, f"{anchor}-decision"),
            risks(systems[0], event, f"{anchor}-risk0"),
        ],
        paired=True,
    )
    result = [clinical, precision_recall(task, shown, event, f"{anchor}-pr")]
    if len(systems) > 1:
        rest = [
            part
            for k, drawn in enumerate(systems[1:], 1)
            for part in (
                calibration(drawn, event, confidence, f"{anchor}-cal{k}"),
                risks(drawn, event, f"{anchor}-risk{k}"),
            )
        ]
        result.append(Panels("Calibration and risks of the other systems", "", rest, paired=True, folded=True))
    return result


def drawn_systems(task: TaskResult) -> list[Drawn]:
    """The model first, then the best; systems that give every record the same probability have no curve."""
    pairs = ((system, section(system, "curves")) for system in model_first(task))
    return [Drawn(system, curves) for system, curves in pairs if curves is not None and len(curves["roc"]) > 2]


def calibration(
    drawn: Drawn, event: str, confidence: float, name: str, size: tuple[float, float] = figures.CALIBRATION
) -> Shown:
    curves = drawn.curves
    figure = figures.calibration_figure(
        drawn.name,
        curves["calibration_curve"],
        curves["calibration"],
        curves["histogram"],
        event,
        confidence,
        name,
        size,
    )
    known = [key for key in CALIBRATION if key in drawn.system["metrics"]]
    numbers = "; ".join(f"{definition(key).title} {cell_of(drawn.system, key).plain}" for key in known)
    caption = (
        f"Of the records with a predicted probability near p, about p should turn out {event}: the dashed line. Below "
        f"it risks are too high, above it too low. {numbers}. Beneath: records at each risk, with {event} upwards."
    )
    if not curves["calibration_curve"]:
        caption += " There is no smooth curve: the indices of calibration say why."
    return Shown(figure, caption)


def roc(systems: Sequence[Drawn], name: str, size: tuple[float, float] = figures.ROC) -> Shown:
    curves = []
    for drawn in systems:
        point = drawn.operating("specificity", "sensitivity")
        made = None if point is None else (1 - point[0], point[1])
        curves.append(figures.Curve(drawn.legend("auroc"), drawn.curves["roc"], made))
    caption = "Area under the curve with its interval in the legend; the dashed diagonal is chance."
    return Shown(figures.roc_figure(curves, name, size), caption)


def precision_recall(task: TaskResult, systems: Sequence[Drawn], event: str, name: str) -> Panels:
    test = task["counts"]["test"]
    prevalence = test["labels"].get(event, 0) / test["n"]
    curves = [
        figures.Curve(drawn.legend("auprc"), drawn.curves["precision_recall"], drawn.operating("sensitivity", "ppv"))
        for drawn in systems
    ]
    hint = (
        f"The dashed line is the prevalence, {decimal(prevalence)}, which a blind ranking reaches: curves of "
        "populations with different prevalence cannot be compared."
    )
    return Panels("Precision and recall", hint, [Shown(figures.precision_recall_figure(curves, prevalence, name))])


def decision(
    systems: Sequence[Drawn],
    declared: Sequence[float] | None,
    event: str,
    confidence: float,
    name: str,
    size: tuple[float, float] = figures.DECISION,
) -> Shown:
    """The decision curve, and in words what the best system saves in the range that the study declares."""
    benefits = [
        figures.Benefit(drawn.name, drawn.curves["net_benefit"], drawn.largest, one_threshold(drawn.system))
        for drawn in systems
    ]
    caption = (
        "At a threshold of 0.10 one missed event weighs as much as nine unnecessary alarms. A system is worth using "
        "where its curve is above both grey and black, calling all or none positive. "
    )
    if declared is None:
        caption += "No range of thresholds was declared in the study, so none is shaded. "
    else:
        caption += f"Shaded: {declared[0]:g} to {declared[1]:g}, the thresholds that the study declares reasonable. "
    caption += avoided_sentence(systems[0], declared)
    return Shown(figures.decision_figure(benefits, declared, event, confidence, name, size), caption)


def avoided_sentence(drawn: Drawn, declared: Sequence[float] | None) -> str:
    """Interventions avoided per 100 records at the ends of the declared range, else at the threshold in force, of a
    cross-validation at the median of those of the folds."""
    wanted = [decision_threshold(drawn.system)] if declared is None else declared
    rows = [min(drawn.curves["net_benefit"], key=lambda row: abs(row[0] - t)) for t in wanted]
    parts = [f"{decimal(float(interventions_avoided(b, a, t)), 1)} at {t:.2f}" for t, b, a, *_ in rows]
    median = ", the median threshold of the folds" if declared is None and thresholds_of_folds(drawn.system) else ""
    told = f"Net interventions avoided by {drawn.name} per 100 records, against calling all positive"
    return f"{told}: {', '.join(parts)}{median}."


def risks(drawn: Drawn, event: str, name: str) -> Shown:
    threshold, in_force = section(drawn.system, "threshold")["value"], one_threshold(drawn.system)
    rule = "0.5 (the more probable label is taken)" if threshold is None else threshold_in_force(drawn.system)
    line = (
        f"Dashed: the decision threshold, {rule}."
        if in_force is not None
        else f"No threshold is drawn, since there is not one: {rule}."
    )
    return Shown(
        figures.risk_figure(drawn.name, drawn.curves["histogram"], event, in_force, name),
        f"A useful model pushes the two groups apart. {line}",
    )


def one_threshold(system: SystemResult) -> float | None:
    """The threshold of all decisions of a system; None where each fold of a cross-validation has its own."""
    return None if thresholds_of_folds(system) else decision_threshold(system)
