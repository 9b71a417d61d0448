"""Models that are trained on all records after a cross-validation, for the report: what they decide by, and whose
figures theirs are."""

from dataclasses import dataclass

from clinfit.evaluation.claims.wording import recalibration_words, rule_and_threshold
from clinfit.evaluation.system_results import RefitDict
from clinfit.report.section import section
from clinfit.report.sections.answers.labels import threshold_words
from clinfit.report.sections.subject import Subject
from clinfit.report.tables import model_first


@dataclass(frozen=True)
class RefitRow:
    """run: of the refitted model. decision: how its probabilities become answers. missing: whether it is not there,
    which a finding explains."""

    system: str
    run: str
    decision: str
    missing: bool


@dataclass(frozen=True)
class RefitView:
    """words: the cross-validation. labels: whether labels are asked for. records: all that a refitted model has learned
    from."""

    words: str
    labels: bool
    records: int
    rows: list[RefitRow]


def refit_view(subject: Subject) -> RefitView | None:
    """None where no model is refitted, or numbers are withheld."""
    divided = section(subject.task, "cross_validation")
    missing = {f["system"] for f in subject.task["findings"] if f["code"] in ("model-failed", "model-unfinished")}
    labels = subject.task["kind"] not in ("generation", "extraction")
    rows = []
    for system in model_first(subject.task):
        if (found := section(system, "refit")) is not None:
            decision = _decision(found) if labels else "its texts are taken as they are"
            if found["recalibration"] is not None:
                decision += f"; probabilities recalibrated: {recalibration_words(found['recalibration'])}"
            run = f"{system['model']}-seed{system['seed']}-refit"
            rows.append(RefitRow(system["name"], run, decision, run in missing))
    return RefitView(divided["words"], labels, subject.task["counts"]["test"]["n"], rows) if rows else None


def _decision(found: RefitDict) -> str:
    if "label_thresholds" in found:
        return threshold_words(found["label_thresholds"])
    return rule_and_threshold(found["threshold"]) if found["threshold"] else "the most probable option"
