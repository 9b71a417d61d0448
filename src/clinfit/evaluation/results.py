"""The shape of metrics.json: what `evaluate` returns and what the report, the model card and the command line read.

Everything here is plain JSON: no NaN, no infinity; a number that cannot be given is null and its `reason` says why.
"""

from typing import Any, Literal, TypedDict

import pandas as pd

from clinfit.evaluation.system_results import MetricDict, SystemResult

FORMAT = "clinfit-metrics/2"

# ---------------------------------------------------------------- what comes in beside the predictions


class ModelFacts(TypedDict, total=False):
    """What a run knows of a model and predictions do not."""

    family: str
    train_seconds: float | None
    peak_memory_mb: float | None
    parameters: int
    trainable_parameters: int
    alarms: list[str]
    status: Literal["done", "failed", "running"]
    reason: str


class Facts(TypedDict, total=False):
    """models: by run name `<model>-seed<seed>`. counts: task -> split -> label -> records (train included).

    findings: task -> findings of the data audit as dictionaries (`Finding.as_dict()`). freeze: what was declared before
    the test split was opened, where a run folder says. subgroups: task -> table of `id` and one column of group names
    for each subgroup. leaks: task -> kind -> ids of test records. shift: task -> rows.
    """

    models: dict[str, ModelFacts]
    counts: dict[str, dict[str, dict[str, int]]]
    findings: dict[str, list[dict[str, Any]]]
    freeze: "FreezeResult"
    subgroups: dict[str, pd.DataFrame]
    leaks: dict[str, dict[str, list[str]]]
    shift: dict[str, list[dict[str, Any]]]


# ---------------------------------------------------------------- what goes out


class Difference(TypedDict):
    """One metric of `new` minus `reference` on the same items.

    points: difference x 100 for metrics that are shares (`percent`), else null. relative: difference / reference.
    supported: True only when the interval excludes 0, the test (where one exists) gives p < 1 - confidence after
    Holm, and the better system is better than the trivial answers.
    """

    metric: str
    title: str
    label: str | None
    percent: bool
    reference: float | None
    new: float | None
    difference: float | None
    points: float | None
    relative: float | None
    low: float | None
    high: float | None
    method: str | None
    test: str | None
    p: float | None
    p_holm: float | None
    direction: Literal["better", "worse", "no difference shown", "not estimable"]
    supported: bool
    reason: str | None
    sentence: str


class Flips(TypedDict):
    """Items on which the two systems differ. fixed: reference wrong, new right; broken: the other way round."""

    fixed: int
    broken: int
    both_right: int
    both_wrong: int
    by_label: dict[str, dict[str, int]]


class McNemarDict(TypedDict):
    """b: items that only the reference has right; c: only the new system. p: null where groups repeat, see reason."""

    b: int
    c: int
    p: float | None
    p_holm: float | None
    reason: str | None


class NonInferiority(TypedDict):
    """Whether `new` is not worse than `reference` by more than the margin of the study, in the primary metric.

    low: the least gain that the interval allows (for a loss, minus the upper end of the difference); shown where it is
    above -margin.
    """

    metric: str
    margin: float
    low: float | None
    shown: bool
    sentence: str


class Comparison(TypedDict):
    """kind: before-after, versus-majority, versus-baseline, declared. gained_most (before-after): label whose F1 rose
    most."""

    kind: str
    reference: str
    new: str
    n: int
    flips: Flips
    mcnemar: McNemarDict
    rows: list[Difference]
    gained_most: str | None
    non_inferiority: NonInferiority | None
    sentence: str


class SubgroupRow(TypedDict):
    """One system in one group. suppressed: too few items of a class to show any number; counts are then hidden too."""

    group: str
    n: int | None
    events: int | None
    suppressed: bool
    metrics: dict[str, MetricDict]


class SubgroupResult(TypedDict):
    """One system by one column. gap: metric -> largest difference between two groups, with its interval and pair.

    equalized_odds: the larger of the gaps in sensitivity and in 1 - specificity; null for more than two labels and with
    fewer than two groups. site: whether the column names sites; spread then holds the standard deviation between sites
    of each metric, sampling error included.
    """

    system: str
    column: str
    title: str
    site: bool
    rows: list[SubgroupRow]
    gaps: list["SubgroupGap"]
    equalized_odds: float | None
    spread: dict[str, float | None]


class SubgroupGap(TypedDict):
    """difference: metric in group `high` minus in group `low`. p_holm: over all pairs and metrics of the column."""

    metric: str
    high: str
    low: str
    difference: MetricDict
    p_holm: float | None


class LeakageResult(TypedDict):
    """Test items that share a group or (nearly) a text with another split.

    kinds: kind of leak -> number of test items. metrics: system -> metric -> [with, without].
    """

    items: int
    kinds: dict[str, int]
    metrics: dict[str, dict[str, list[MetricDict]]]


class SuspectLabel(TypedDict):
    """An item whose label is likely wrong: id, its label, the likelier one, and how likely the models find each."""

    id: str
    split: str
    label: str
    suggested: str
    p_label: float
    p_suggested: float


class WrongAnswers(TypedDict):
    """Items of one label that got another answer (`unparsed` for none), by the probability of that answer."""

    label: str
    predicted: str
    n: int
    confidence: list[int]


class Mistake(TypedDict):
    """One wrong answer: the id, never the text, and how probable the system found its answer."""

    id: str
    label: str
    predicted: str
    p_predicted: float


class ErrorAnalysis(TypedDict):
    """What the best trained system got wrong on the test split.

    bands: names of the ranges of probability that `WrongAnswers.confidence` counts; confident: worst first.
    """

    system: str
    n: int
    wrong: int
    bands: list[str]
    pairs: list[WrongAnswers]
    confident: list[Mistake]


class ShiftRow(TypedDict):
    """One property in training against test. difference: standardised; alert: whether it is large."""

    name: str
    kind: str
    train: str
    test: str
    difference: float | None
    alert: bool


class FreezeResult(TypedDict):
    """What was fixed before the test split was opened, and how often that split was scored (evaluation/freeze.py).

    state: frozen; changed (something else is evaluated than was frozen, named in `changed`); late (frozen after the
    test split had been opened); not-frozen. scored: scorings of the test split that differ in the answers or in what
    was declared, over all runs of the study on these data; making the report again from the same answers is none.
    """

    state: Literal["frozen", "changed", "late", "not-frozen"]
    sha256: str | None
    frozen_at: str | None
    first_scored_at: str | None
    scored: int
    changed: list[str]
    sentence: str


class Canary(TypedDict):
    """A made-up predictor through the same functions. expected and found: metric -> value (null: not estimable)."""

    name: str
    passed: bool
    expected: dict[str, float | None]
    found: dict[str, float | None]


class SeedSummary(TypedDict):
    """The same model trained from several seeds: spread of training, apart from sampling error of the test set."""

    system: str
    seeds: list[int]
    metrics: dict[str, dict[str, float | int | None]]  # metric -> mean, sd, min, max, n


class SplitCounts(TypedDict):
    n: int
    groups: int | None
    labels: dict[str, int]


class TaskResult(TypedDict):
    """One task. systems: in the order of the study; ranking: their names, best primary value first.

    baseline: the system that others are compared with. pareto: systems that no other beats in the primary metric and in
    time an item at once. withheld: True when an error finding hides the numbers.
    """

    labels: list[str]
    positive: str | None
    primary: str
    counts: dict[str, SplitCounts]
    systems: list[SystemResult]
    ranking: list[str]
    baseline: str | None
    seeds: list[SeedSummary]
    comparisons: list[Comparison]
    pareto: list[str]
    subgroups: list[SubgroupResult]
    leakage: LeakageResult | None
    suspect_labels: list[SuspectLabel]
    errors: ErrorAnalysis | None
    shift: list[ShiftRow]
    freeze: FreezeResult | None
    findings: list[dict[str, Any]]
    canaries: list[Canary]
    verdict: list[str]
    advice: list[str]
    withheld: bool


class Results(TypedDict):
    format: str
    study: str
    description: str
    confidence: float
    bootstrap: int
    tasks: dict[str, TaskResult]
