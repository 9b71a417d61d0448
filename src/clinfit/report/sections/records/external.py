"""A pack on new records, for the report: case mix, calibration in the large, and the metrics beside those of before."""

from dataclasses import dataclass

from clinfit.data.values import SMALL_CELL
from clinfit.evaluation.external_results import External, InTheLarge
from clinfit.evaluation.system_results import MetricDict
from clinfit.report.format import count, per_cent
from clinfit.report.glossary import definition
from clinfit.report.section import section
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import Plain


@dataclass(frozen=True)
class ExternalView:
    sentence: str
    recalibrate: str | None
    metrics: Plain
    large: Plain | None
    case_mix: Plain | None


def external_view(subject: Subject) -> ExternalView | None:
    """None where the records are those of the study."""
    found: External | None = section(subject.task, "external")
    if found is None:
        return None
    return ExternalView(_sentence(found), found["recalibrate"], _metrics(found), _large(found), _case_mix(found))


def _sentence(found: External) -> str:
    told = (
        f"{count(found['records'])} records were answered by the pack of {found['run']} (study {found['study']}, "
        f"SHA-256 {found['pack'][:12]}…), with its own threshold and recalibration. "
    )
    if found["unlabelled"]:
        told += f"{count(found['unlabelled'])} more have no answer that the task knows, and are left out. "
    if found["empty"]:
        told += f"{count(found['empty'])} more have no value at all, to which the pack gives no answer. "
    if found["unseen"]:
        told += f"{count(found['unseen'])} hold a value that no training record has, or fewer than {SMALL_CELL}. "
    if found["referred"]:
        told += f"The pack would hand {count(found['referred'])} to a person; the figures are of all. "
    return told + "Nothing was chosen or fitted on them; who they are, and from where, the reader must say."


def _metrics(found: External) -> Plain:
    rows = [
        [definition(moved["name"]).title, _number(moved["before"]), _number(moved["here"])]
        for moved in found["metrics"]
        if moved["here"]["value"] is not None
    ]
    divided = found["cross_validation"]
    before = f"the {'test records' if divided is None else 'records'} of the study ({count(found['before'])})"
    if found["recalibrated"] is not None:
        before = found["recalibrated"]
    title = f"On {before} and on these ({count(found['records'])})"
    hint = "Values with their intervals. Two samples of two populations: a difference is no test of the model."
    if divided is not None and found["recalibrated"] is None:
        hint += (
            " The model was refitted on all records of the study. The figures of then are of the models of a "
            f"{divided}, out of fold."
        )
    return Plain(title, hint, ["Metric", "Then", "Here"], rows)


def _number(metric: MetricDict) -> str:
    value, low, high = metric["value"], metric["low"], metric["high"]
    if value is None:
        return "—"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _large(found: External) -> Plain | None:
    if not found["large"]:
        return None
    rows = [[row["label"], count(row["observed"]), f"{row['expected']:.1f}", _ratio(row)] for row in found["large"]]
    hint = (
        "Expected is the sum of the probabilities. A ratio above 1: the probabilities are too low on average. "
        "Intercept and slope stand among the metrics."
    )
    return Plain("Calibration in the large", hint, ["Label", "Observed", "Expected", "Observed / expected"], rows)


def _ratio(row: InTheLarge) -> str:
    if row["ratio"] is None:
        return "—"
    interval = "" if row["low"] is None or row["high"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['ratio']:.2f}{interval}"


def _case_mix(found: External) -> Plain | None:
    if not found["case_mix"]:
        return None
    rows = [
        [row["name"], row["train"], row["here"], f"{count(row['outside'])} ({per_cent(row['outside'] / row['n'])})"]
        if row["n"]
        else [row["name"], row["train"], row["here"], "—"]
        for row in found["case_mix"]
    ]
    hint = "What the pack knows of training, as far as no patient is known by it; texts are not compared."
    return Plain("Case mix", hint, ["Input", "Training", "Here", "Records outside of training"], rows)
