"""The curves of a binary task: calibration first, then ranking, then the distribution of risks by outcome.

The order is that of the core set of the STRATOS initiative (Van Calster et al., Lancet Digital Health 2025).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from clinfit.evaluation.results import Curves, SystemResult, TaskResult
from clinfit.report import figures
from clinfit.report.tables import by_rank, cell_of

#: More curves than this in one plot cannot be told apart.
DRAWN = 7


@dataclass(frozen=True)
class Panels:
    """Figures that stand side by side."""

    title: str
    hint: str
    figures: list[Markup]


@dataclass(frozen=True)
class Drawn:
    """A system that has curves worth drawing."""

    system: SystemResult
    curves: Curves

    @property
    def name(self) -> str:
        return self.system["name"]

    def legend(self, metric: str) -> str:
        return f"{self.name}: {cell_of(self.system, metric).text}"


def panels(task: TaskResult, confidence: float, anchor: str) -> list[Panels]:
    """Nothing for more than two labels, for withheld results, and where no system ranks records at all."""
    event, systems = task["positive"], drawn_systems(task)
    if event is None or task["withheld"] or not systems:
        return []
    return [
        calibration(systems, event, confidence, anchor),
        ranking(task, systems, event, anchor),
        risks(systems, event, anchor),
    ]


def drawn_systems(task: TaskResult) -> list[Drawn]:
    """Best first; systems that give every record the same probability have no curve."""
    pairs = ((system, system["curves"]) for system in by_rank(task))
    return [Drawn(system, curves) for system, curves in pairs if curves is not None and len(curves["roc"]) > 2]


def calibration(systems: Sequence[Drawn], event: str, confidence: float, anchor: str) -> Panels:
    return Panels(
        "Calibration",
        f"Of the records with a predicted probability near p, about p should turn out {event}: points near the dashed "
        "line. Points below it mean that risks are too high, points above it that they are too low. The bars beneath "
        "count the records at each risk.",
        [
            figures.calibration_figure(
                drawn.name,
                drawn.curves["calibration"],
                drawn.curves["histogram"],
                event,
                confidence,
                f"{anchor}-cal{k}",
            )
            for k, drawn in enumerate(systems)
        ],
    )


def ranking(task: TaskResult, systems: Sequence[Drawn], event: str, anchor: str) -> Panels:
    """ROC and precision-recall of the best systems, with the areas of the results in the legend."""
    hint = (
        "Left, the dashed diagonal is chance. Right, the dashed line is the prevalence, which a blind ranking reaches."
    )
    if len(systems) > DRAWN:
        hint += f" The {DRAWN} best systems are drawn."
    shown = systems[:DRAWN]
    test = task["counts"]["test"]
    roc = [figures.Curve(drawn.legend("auroc"), drawn.curves["roc"]) for drawn in shown]
    recall = [figures.Curve(drawn.legend("auprc"), drawn.curves["precision_recall"]) for drawn in shown]
    prevalence = test["labels"].get(event, 0) / test["n"]
    return Panels(
        "Ranking",
        hint,
        [
            figures.roc_figure(roc, f"{anchor}-roc"),
            figures.precision_recall_figure(recall, prevalence, f"{anchor}-pr"),
        ],
    )


def risks(systems: Sequence[Drawn], event: str, anchor: str) -> Panels:
    return Panels(
        "Predicted risk by outcome",
        "A useful model pushes the two groups apart. The dashed line is the decision threshold, where one was chosen.",
        [
            figures.risk_figure(
                drawn.name, drawn.curves["histogram"], event, drawn.system["threshold"]["value"], f"{anchor}-risk{k}"
            )
            for k, drawn in enumerate(systems)
        ],
    )
