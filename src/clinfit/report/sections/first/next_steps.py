"""What to do next, from what was found: a few steps, none that was done already."""

from dataclasses import dataclass

from clinfit.evaluation.claims.advice import USES
from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.system_results import SystemResult
from clinfit.report.kinds import kind_of
from clinfit.report.section import section
from clinfit.report.sections.first.verdict import findings
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import metric_of, the_model
from clinfit.study.fold_checks import NO_PACK

#: Metric -> its ideal.
IDEAL = {"calibration_intercept": 0.0, "calibration_slope": 1.0}


@dataclass(frozen=True)
class Step:
    """section: what it leads to, after the anchor of the task; '' for nothing."""

    text: str
    section: str = ""


def next_steps(subject: Subject) -> list[Step]:
    """Beside what each finding asks for, which stands with it."""
    task, model = subject.task, the_model(subject.task)
    if task["withheld"]:
        return [Step("Settle the errors first: until then there are no numbers to act on.")]
    own = [] if model is None else [*_choice(task), *_calibration(model), *_uses(task), *_reading(subject)]
    return [
        *own,
        *_serving(task),
        *([Step("Ask whether the warnings spoil what you want to know.")] if findings(task, "warn") else []),
        Step(
            "Test the model on records of the place and time where it is to be used, before anyone relies on it; this "
            "report speaks of these test records only."
        ),
        *([Step("Complete what only a person knows.", "facts")] if subject.study is not None and model else []),
    ]


def _serving(task: TaskResult) -> list[Step]:
    if not section(task, "cross_validation"):
        return []
    if any(section(system, "refit") for system in task["systems"]):
        text = "Test the pack of the refitted model on records from elsewhere: no figure here is of that very model."
        return [Step(text, "refit")]
    return [Step(f"To serve the model: {NO_PACK}.")]


def _choice(task: TaskResult) -> list[Step]:
    chosen = task["chosen"]
    if chosen is None or chosen["split"] == "validation" or chosen["among"] == 1:
        return []
    return [Step("Choose the model on validation answers, or test the one that was picked here on new records.")]


def _calibration(model: SystemResult) -> list[Step]:
    """Where an interval excludes its ideal; where probabilities were recalibrated, another thing is to be done."""
    if not any(_off(model, name, ideal) for name, ideal in IDEAL.items()):
        known = [metric for name in IDEAL if (metric := metric_of(model, name)) is not None]
        if any(metric["value"] is not None and metric["low"] is None for metric in known):
            text = "Whether the probabilities can be read as risks is not tested: judge by the calibration curve."
            return [Step(text, "clinical")]
        return []
    recalibration = section(model, "recalibration")
    if recalibration is None or recalibration["kind"] == "none":
        return [
            Step(
                f"Do not read the probabilities of {model['name']} as risks: they are off. Recalibrate them on "
                "validation (evaluation.calibration) and look at the slope again.",
                "clinical",
            )
        ]
    return [Step("Do not read the probabilities as risks: they are off, recalibrated as they are.", "decisions")]


def _off(model: SystemResult, name: str, ideal: float) -> bool:
    metric = metric_of(model, name)
    if metric is None or metric["low"] is None or metric["high"] is None:
        return False
    return not metric["low"] <= ideal <= metric["high"]


def _uses(task: TaskResult) -> list[Step]:
    """Thresholds where the advice has uses, as that of binary tasks; the advice of other kinds is on cost alone."""
    uses = any(line.startswith(tuple(use.name for use in USES)) for line in task["advice"])
    return [Step("For screening or another use take the threshold and the system of that use.", "uses")] if uses else []


def _reading(subject: Subject) -> list[Step]:
    """Of a run; the report on a pack's new records has one system, and nothing to lay beside it."""
    kind = kind_of(subject.task)
    if not kind.reading or subject.study is None or section(subject.task, "external"):
        return []
    alike = [name for name in subject.study.tasks if subject.study.tasks[name].kind == subject.task["kind"]]
    return [Step(kind.reading.format(task=f" --task {subject.name}" if len(alike) > 1 else ""))]
