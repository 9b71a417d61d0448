"""The shape of metrics.json: what `evaluate` returns and what the report, the model card and the command line read.

Everything here is plain JSON: no NaN, no infinity; a number that cannot be given is null and its `reason` says why.
"""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from clinfit.evaluation.external_results import External
from clinfit.evaluation.stage_results import StagedModel, StagesResult
from clinfit.evaluation.system_results import MetricDict, SystemResult
from clinfit.evaluation.text_results import DoubtfulTexts, TextMetrics
from clinfit.findings import FindingDict

FORMAT = "clinfit-metrics/3"


class CommonItems(TypedDict):
    """Items that have a value of a metric: with both systems, only with the reference, only with the new one."""

    both: int
    reference: int
    new: int


class Difference(TypedDict):
    """One metric of `new` minus `reference` on the same items.

    common: of a mean over the items that have a value (the numbers of a text that holds any): reference, new and
    difference are over those that both have; null where every item has one, and of metrics that are no such mean.

    points: difference x 100 for metrics that are proportions (`percent`), else null. relative: difference / reference.
    supported: True only when the interval excludes 0, the test (where one exists) gives p < 1 - confidence after
    Holm, and the better system is better than the constant answers.
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
    common: CommonItems | None
    sentence: str


class Flips(TypedDict):
    """Answers (one an item, or one a repeat) in which the two systems differ. fixed: reference wrong, new right;
    broken: the other way round."""

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
    """kind: before-after, versus-few-shot, versus-majority, versus-baseline, declared. flips, mcnemar: null where
    answers are not right or wrong (generation). gained_most (before-after): label whose F1 rose most."""

    kind: str
    reference: str
    new: str
    n: int
    flips: Flips | None
    mcnemar: McNemarDict | None
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


class LabelError(TypedDict):
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
    """What the model of the task got wrong on the test split.

    bands: names of the ranges of probability that `WrongAnswers.confidence` counts; confident: worst first.
    """

    system: str
    n: int
    wrong: int
    bands: list[str]
    pairs: list[WrongAnswers]
    confident: list[Mistake]


class LabelMistakes(TypedDict):
    """missed: items that have the label and were not given it; added: items that were given it and do not have it."""

    label: str
    missed: int
    added: int


class SetMistake(TypedDict):
    """One wrong set of labels: the id, never the text."""

    id: str
    missed: list[str]
    added: list[str]


class SetErrors(TypedDict):
    """What the model of a multilabel task got wrong on the test split.

    wrong: items whose set is not exactly right, unparsed ones among them; of these, missing: labels are missed and none
    added; extra: some are added and none missed; both. labels: in the order of the task. worst: most wrong labels
    first.
    """

    system: str
    n: int
    wrong: int
    missing: int
    extra: int
    both: int
    unparsed: int
    labels: list[LabelMistakes]
    worst: list[SetMistake]


class ShiftRow(TypedDict):
    """One property in training against test. difference: standardised; alert: whether it is large. p: how often chance
    alone gives as much, uncorrected."""

    name: str
    kind: str
    train: str
    test: str
    difference: float | None
    alert: bool
    p: float | None


class CharacteristicsColumn(TypedDict):
    """Which records a column is about: `all`, those of an outcome, those of a split. name: of outcome or split."""

    of: Literal["all", "outcome", "split"]
    name: str
    n: int


class NumberSummary(TypedDict):
    """Of the known values of a number, in its unit; of a text, of its length in words."""

    mean: float
    sd: float
    lower_quartile: float
    median: float
    upper_quartile: float


class CharacteristicsRow(TypedDict):
    """One input; every list has a value a column. missing: records without it, null where there are fewer than 10 or
    where they would give such a count away. values (numbers, texts): null for fewer than 10 records. counts
    (categories): value -> records, null as in missing; null altogether for more than 20 distinct values. difference,
    missing_difference: the largest absolute standardised difference between two outcomes, null where there is none,
    that of missing values also where their count in an outcome is null.
    """

    input: str
    type: Literal["number", "category", "text"]
    unit: str | None
    missing: list[int | None]
    missing_difference: float | None
    difference: float | None
    values: NotRequired[list[NumberSummary | None]]
    distinct: NotRequired[int]
    counts: NotRequired[dict[str, list[int | None]] | None]


class Characteristics(TypedDict):
    """The first table of a study: its records, all of them, by outcome (one label a record, at most 6), by split."""

    columns: list[CharacteristicsColumn]
    rows: list[CharacteristicsRow]


class FreezeResult(TypedDict):
    """What was fixed before the test split was opened, and how often that split was scored (analyses/freeze.py).

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


class Chosen(TypedDict):
    """*The* model of a task: the system that is best by the primary metric on validation, never on test, and the
    simpler one of equals. Constant answers and rules that write texts are not asked.

    split: `test` where no system has validation answers to choose by; its figures are then too good. value: the primary
    metric there, of several seeds their mean. among: models that were there to choose from, the seeds of one counted
    once.
    """

    system: str
    split: Literal["validation", "test"]
    value: float
    among: int


class SplitCounts(TypedDict):
    n: int
    groups: int | None
    labels: dict[str, int]


class FoldSizes(TypedDict):
    """Records of each split of one fold."""

    repeat: int
    fold: int
    train: int
    validation: int
    test: int


class CrossValidation(TypedDict):
    """How the records were divided, where each was tested once a repeat. words: the same for a reader."""

    folds: int
    repeats: int
    words: str
    sizes: list[FoldSizes]


class TaskSections(TypedDict, total=False):
    """What the analyses of its kind made of a task (`kinds.py`); only what was made is there.

    pareto: systems that no other beats in the primary metric and in time an item at once. errors, set_errors,
    doubtful_texts: of the model that was chosen. text_metrics: of a generation task. chance: of a multiple-choice task,
    metric -> value of an even guess. stages: models that learned in several stages. external: of a pack that was asked
    about new records.
    """

    cross_validation: CrossValidation
    canaries: list[Canary]
    characteristics: Characteristics
    shift: list[ShiftRow]
    freeze: FreezeResult
    leakage: LeakageResult
    subgroups: list[SubgroupResult]
    chance: dict[str, float]
    errors: ErrorAnalysis
    set_errors: SetErrors
    label_errors: list[LabelError]
    text_metrics: TextMetrics
    doubtful_texts: DoubtfulTexts
    pareto: list[str]
    stages: list[StagedModel]
    external: External


class TaskResult(TypedDict):
    """One task: the shell that every kind has, and the sections of its kind.

    systems: in the order of the study; ranking: their names, best primary value first. baseline: the system that others
    are compared with. chosen: the model of this task; null without numbers, or where none can be estimated. withheld:
    True when an error finding hides the numbers.
    """

    kind: str
    labels: list[str]
    positive: str | None
    primary: str
    counts: dict[str, SplitCounts]
    systems: list[SystemResult]
    ranking: list[str]
    baseline: str | None
    chosen: Chosen | None
    seeds: list[SeedSummary]
    comparisons: list[Comparison]
    findings: list[FindingDict]
    verdict: list[str]
    advice: list[str]
    withheld: bool
    sections: TaskSections


class Results(TypedDict):
    """clinfit: the version that made them. stages: where models learned several tasks in several stages. findings: on
    the study as a whole, where there are any; those on a task stand with it."""

    format: str
    clinfit: str
    study: str
    description: str
    confidence: float
    bootstrap: int
    tasks: dict[str, TaskResult]
    findings: NotRequired[list[FindingDict]]
    stages: NotRequired[StagesResult]
