"""The part of metrics.json that is about a pack on new records: external validation."""

from typing_extensions import TypedDict

from clinfit.evaluation.system_results import MetricDict


class MovedMetric(TypedDict):
    """A metric on the study's own test records, and on records from elsewhere."""

    name: str
    before: MetricDict
    here: MetricDict


class InTheLarge(TypedDict):
    """Calibration in the large of one label among n items: observed events, the sum of the probabilities, and observed
    over expected with its interval."""

    label: str
    n: int
    observed: int
    expected: float
    ratio: float | None
    low: float | None
    high: float | None


class CaseMixRow(TypedDict):
    """One input in training and here, in words; outside: of n records, those whose value training surely lacks."""

    name: str
    train: str
    here: str
    outside: int
    n: int


class External(TypedDict):
    """A pack on new records (analyses/external.py). pack: its SHA-256. study, run: that made it. records: those with an
    answer and a value; unlabelled: those without an answer; empty: those with one and no value at all, to which the
    pack has nothing to say. unseen: records with values that no training record has, or fewer than 10. referred: those
    that the pack hands to a person. before: test records of the study. cross_validation: where the model of the pack
    was refitted, what the metrics before are of; recalibrated: the same where the pack was recalibrated. recalibrate:
    the command that recalibrates it on these records, null where they are too few or the task has no such map."""

    pack: str
    study: str
    run: str
    records: int
    unlabelled: int
    empty: int
    unseen: int
    referred: int
    before: int
    cross_validation: str | None
    recalibrated: str | None
    recalibrate: str | None
    metrics: list[MovedMetric]
    large: list[InTheLarge]
    case_mix: list[CaseMixRow]
