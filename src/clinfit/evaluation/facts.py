"""What evaluation is told beside the predictions: by a run folder, by files of predictions, or by nobody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

import pandas as pd

from clinfit.evaluation.external_results import CaseMixRow
from clinfit.evaluation.results import Characteristics, FreezeResult
from clinfit.evaluation.search_results import SearchOutcome
from clinfit.evaluation.system_results import ThresholdDict, WeightsDict
from clinfit.findings import FindingDict


class ModelFacts(TypedDict, total=False):
    """What a run knows of a model and predictions do not. stage_seconds, stage_tokens, stage_perplexity: training
    time, tokens trained on where the trainer counts them, and perplexity of general text (scoring/general_text.py), by
    number of the stage; that of 0 is the base's.
    search: how its hyperparameters were chosen. remote: of a model on a server, what was found out there."""

    family: str
    train_seconds: float | None
    stage_seconds: dict[str, float]
    stage_tokens: dict[str, float]
    stage_perplexity: dict[str, float]
    peak_memory_mb: float | None
    parameters: int
    trainable_parameters: int
    alarms: list[str]
    status: Literal["done", "failed", "running"]
    reason: str
    search: SearchOutcome
    remote: dict[str, Any]


class Importance(TypedDict):
    """What a run has asked of a trained model on validation, and its weights (runs/steps/importance.py).

    stage: after which it was asked. answers: predictions with the columns `input` (null: nothing is shuffled) and
    `repeat`.
    """

    stage: int
    answers: pd.DataFrame
    weights: WeightsDict | None


class ExternalFacts(TypedDict):
    """What is known of a pack that was asked about new records; see `External` in external_results.py.

    run, system: the run that made it, and that as `System.run`. metrics: those of the study's own test records, or of
    the cross-validation that is named. thresholds: of each label of a multilabel task, by which it decides.
    """

    pack: str
    study: str
    run: str
    system: str
    records: int
    unlabelled: int
    empty: int
    unseen: int
    referred: int
    before: int
    cross_validation: str | None
    recalibrated: str | None
    recalibrate: str | None
    metrics: dict[str, Any]
    thresholds: dict[str, ThresholdDict]
    case_mix: list[CaseMixRow]


#: Run name and stage -> a table with a row an item.
AskedMore = Mapping[tuple[str, int], pd.DataFrame]


class KnownCounts(TypedDict):
    """n: records of a split. labels: those that have each label."""

    n: int
    labels: dict[str, int]


class Facts(TypedDict, total=False):
    """models: by run name `<model>-seed<seed>`. counts: task -> split -> counts (train included).

    findings: task -> findings of the data audit as dictionaries (`Finding.as_dict()`). freeze: what was declared before
    the test split was opened, where a run folder says. subgroups: task -> table of `id` and one column of group names
    for each subgroup. leaks: task -> kind -> ids of test records. shift: task -> rows. characteristics: task -> the
    first table of its records (data/characteristics.py). importance: task -> run name -> what it was asked.
    abstention, contrast: task -> what systems that write were asked beside their answers (runs/steps/abstention.py,
    runs/steps/contrast.py). external: task -> a pack on new records.
    """

    models: dict[str, ModelFacts]
    counts: dict[str, dict[str, KnownCounts]]
    findings: dict[str, list[FindingDict]]
    freeze: FreezeResult
    subgroups: dict[str, pd.DataFrame]
    leaks: dict[str, dict[str, list[str]]]
    shift: dict[str, list[dict[str, Any]]]
    characteristics: dict[str, Characteristics]
    importance: dict[str, dict[str, Importance]]
    abstention: dict[str, AskedMore]
    contrast: dict[str, AskedMore]
    external: dict[str, ExternalFacts]


@dataclass(frozen=True)
class TaskFacts:
    """The facts of one task; see Facts for each."""

    models: Mapping[str, ModelFacts] = field(default_factory=dict)
    counts: Mapping[str, KnownCounts] = field(default_factory=dict)
    findings: Sequence[FindingDict] = ()
    freeze: FreezeResult | None = None
    subgroups: pd.DataFrame = field(default_factory=pd.DataFrame)
    leaks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    shift: Sequence[Mapping[str, Any]] = ()
    characteristics: Characteristics | None = None
    importance: Mapping[str, Importance] = field(default_factory=dict)
    abstention: AskedMore = field(default_factory=dict)
    contrast: AskedMore = field(default_factory=dict)
    external: ExternalFacts | None = None


def task_facts(facts: Facts, task: str) -> TaskFacts:
    """What is known of one task."""
    return TaskFacts(
        models=facts.get("models", {}),
        counts=facts.get("counts", {}).get(task, {}),
        findings=facts.get("findings", {}).get(task, []),
        freeze=facts.get("freeze"),
        subgroups=facts.get("subgroups", {}).get(task, pd.DataFrame()),
        leaks=facts.get("leaks", {}).get(task, {}),
        shift=facts.get("shift", {}).get(task, []),
        characteristics=facts.get("characteristics", {}).get(task),
        importance=facts.get("importance", {}).get(task, {}),
        abstention=facts.get("abstention", {}).get(task, {}),
        contrast=facts.get("contrast", {}).get(task, {}),
        external=facts.get("external", {}).get(task),
    )
