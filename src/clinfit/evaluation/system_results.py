"""The part of metrics.json that is about one system: metrics, curves, decisions, free answers. See results.py."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict


class MetricDict(TypedDict):
    """A metric with its interval (`Metric.as_dict()`); see evaluation/metric.py for the meaning of each field."""

    value: float | None
    low: float | None
    high: float | None
    method: str | None
    n: int
    events: int | None
    status: Literal["ok", "unreliable", "undefined", "withheld"]
    reason: str | None


class ClassResult(TypedDict):
    """One label of one system. predicted: items given this label, in repeats on average; proportions are of all
    items, unparsed included."""

    label: str
    support: int
    predicted: int
    prevalence: float | None
    predicted_proportion: float | None
    metrics: dict[str, MetricDict]  # precision, recall, f1, auroc (against the rest); multilabel: auprc, brier too


class Confusion(TypedDict):
    """Rows are gold labels, columns predicted labels and, last, `unparsed`; the cells sum to the answers: n, or
    n for each repeat of a cross-validation."""

    rows: list[str]
    columns: list[str]
    counts: list[list[int]]


class ThresholdDict(TypedDict):
    """`ThresholdChoice.as_dict()`: value of two labels, weights (label -> factor of its probability) of more; both are
    null when the most probable label is taken. words: the rule in words."""

    rule: str
    value: float | None
    split: str | None
    n: int
    achieved: dict[str, float]
    note: str | None
    words: str
    weights: dict[str, float] | None


class ScoringDict(TypedDict):
    """A multiple-choice system by one way of scoring the options (`study.tasks.SCORINGS`). answer: whether this is the
    one that the task's `answer` names, from which everything else is computed. agreement: share of the items in which
    it gives the same letter as that one."""

    scoring: str
    answer: bool
    accuracy: MetricDict
    log_loss: MetricDict
    agreement: MetricDict


class PositionsDict(TypedDict):
    """Whether a multiple-choice system prefers letters, whatever they say.

    distance: total variation between the shares of letters that are right and that are answered, 0 to 1. p: of
    Stuart and Maxwell's test that these shares are the same; null where it cannot be had, see reason.
    """

    distance: float | None
    p: float | None
    reason: str | None


class CalibrationBin(TypedDict):
    mean_probability: float
    observed: float
    low: float | None
    high: float | None
    n: int


class Curves(TypedDict):
    """Points to draw, thinned to a few hundred; binary tasks only, empty lists where not estimable.

    roc: [false positive rate, sensitivity, threshold]. precision_recall: [recall, precision, threshold].
    calibration: bins of equal size. calibration_curve: smooth, [P(positive), observed, low, high]. histogram: counts in
    20 bins of P(positive), by gold label. sweep: counts at thresholds 0.01 to 0.99, [threshold, TP, FP, FN, TN], of the
    parsed answers. net_benefit: [threshold, net benefit, net benefit of treating all, low, high], the interval being
    that of the first.
    """

    roc: list[list[float]]
    precision_recall: list[list[float]]
    calibration: list[CalibrationBin]
    calibration_curve: list[list[float]]
    histogram: dict[str, list[int]]
    sweep: list[list[float]]
    net_benefit: list[list[float]]


class RecalibrationMap(TypedDict):
    """A recalibration fitted on validation (`Recalibration.as_dict()`).

    kind: none, temperature, intercept, platt, isotonic, by-label. parameters: what `Recalibration.apply` needs to
    apply it again. note: why it is not what the study asked for.
    """

    kind: str
    parameters: dict[str, list[float]]
    split: str | None
    n: int
    note: str | None


class RecalibrationDict(RecalibrationMap):
    """before: the metrics with the probabilities as the model gave them."""

    before: dict[str, MetricDict]


class ReferralDict(TypedDict):
    """Which items are handed to a person, by the rule of the study, on test.

    rule, value: of the study. parameters: what is needed to apply it to a new item. decided, referred: items. metrics:
    of the decided items. note: why it is not what the study asked for. caution: why the promise is weaker than it
    reads.
    """

    rule: str
    value: float
    parameters: dict[str, list[float]]
    n: int
    decided: int
    referred: int
    metrics: dict[str, MetricDict]
    note: str | None
    caution: str | None


class SelectiveDict(TypedDict):
    """Accuracy among the items of which the model is surest.

    risk_coverage: [coverage, error rate], thinned. aurc: area under it. accuracy_at: coverage as text -> metric.
    """

    risk_coverage: list[list[float]]
    aurc: float
    accuracy_at: dict[str, MetricDict]


class ConformalDict(TypedDict):
    """Sets of labels that cover the truth with probability `level`, calibrated on validation, measured on test.

    by_label: coverage of the items of each label. sizes: number of items by size of the set. note: why there are none.
    caution: why the promise is weaker than it reads, else null.
    """

    level: float
    n_calibration: int
    coverage: MetricDict
    mean_size: float | None
    sizes: dict[str, int]
    by_label: dict[str, MetricDict]
    note: str | None
    caution: str | None


class GeneratedDict(TypedDict):
    """The free answers of a language model, read by `parser`, beside its label likelihoods.

    parsed: share that names a label; parsed_by_label: the same among the items of each gold label. accuracy, agreement:
    of all items, those without a readable label count as wrong and as not agreeing. agreement: with the most probable
    label, whatever the threshold. reasons: why no label was read -> items. cut_off: items not seen to end.
    """

    n: int
    parser: str
    parsed: MetricDict
    parsed_by_label: dict[str, MetricDict]
    accuracy: MetricDict
    agreement: MetricDict
    reasons: dict[str, int]
    cut_off: int


class PiecesDict(TypedDict):
    """Long items that were read in pieces (`long_input: map-reduce`). records: that were; pieces: of all of them; cut:
    pieces whose text reached `max_new_tokens`, None where that was not kept; most_rounds: that one of them took."""

    records: int
    pieces: int
    cut: int | None
    most_rounds: int


class CutDict(TypedDict):
    """An item of which a language model did not see all text: tokens that it did not see, and those that it read."""

    id: str
    dropped_tokens: int
    prompt_tokens: int | None


class LanguageDict(TypedDict):
    """What a language model read on test, and how much probability it puts on the labels.

    prompt_tokens, label_mass: minimum, quartiles and maximum; null where it has none. shortened: items of which it did
    not see all text; null where that is not known. cut: these items, the one that lost most first, 200 at most; all are
    in the predictions (`dropped_tokens`). pieces: null where no item may be read in pieces.
    """

    n: int
    prompt_tokens: list[float] | None
    label_mass: list[float] | None
    shortened: int | None
    cut: list[CutDict]
    pieces: PiecesDict | None


class LikelihoodDict(TypedDict):
    """How unlikely the model finds the references of a split. tokens, bytes: of the references, what the others are
    of; of a repeated cross-validation those of one repeat."""

    perplexity: float
    bits_per_byte: float
    tokens: int
    bytes: int


class WrittenDict(TypedDict):
    """The texts of a system on test, counted. n: texts, of a cross-validation one for each item a repeat.

    empty, cut_off, preamble: texts that say nothing, ended at the limit of tokens, begin with talk about the answer.
    tokens: that were written; length_ratio: against the reference; both minimum, quartiles and maximum, null where not
    known. likelihood: of the references by split, `validation` and `test`; empty without one.
    """

    n: int
    empty: int
    cut_off: int
    preamble: int
    tokens: list[float] | None
    length_ratio: list[float] | None
    likelihood: dict[str, LikelihoodDict]


class FieldResult(TypedDict):
    """One declared field of one system. type: as the study declares it. true, given: values of the references, and of
    the answers. metrics: accuracy, precision, recall, f1."""

    field: str
    type: str
    true: int
    given: int
    metrics: dict[str, MetricDict]


class ExtractedDict(TypedDict):
    """The answers of a system of which declared fields are asked, counted on test. n: answers, one for each item and
    repeat of a cross-validation.

    valid: that are an object of the declared fields. faults: what is wrong with the others -> answers; one may have
    several. cut_off: ended at the limit of tokens. tokens: that were written; minimum, quartiles and maximum, null
    where not known. fields: in the order of the study.
    """

    n: int
    valid: int
    faults: dict[str, int]
    cut_off: int
    tokens: list[float] | None
    fields: list[FieldResult]


class AskedAgain(TypedDict):
    """Records that were asked again: shares that declined, answered all the same, or said nothing."""

    declined: MetricDict
    answered: MetricDict
    empty: MetricDict


class AbstentionDict(TypedDict):
    """Whether a system declines to answer when what it should answer from is not there, and when it is.

    inputs: the context. phrases: by which declining is recognised. given: share of the answers to test records with a
    context of their own that decline (wrongly). removed, swapped: answers to records whose context was taken away, or
    is another record's. confidence: what the items are ranked by. risk: the mean of 1 - the primary metric over the
    items that have both; aurc: the area under the risk-coverage curve, whose points are [coverage, risk], thinned.
    """

    inputs: list[str]
    phrases: list[str]
    given: MetricDict
    removed: AskedAgain
    swapped: AskedAgain
    confidence: str
    risk: MetricDict
    aurc: MetricDict
    risk_coverage: list[list[float]]


class ContrastRow(TypedDict):
    """One kind of fault. likelier: share of the references that it fits which are likelier, a token, than the same text
    with the fault; a system that knows nothing is at about a half with a number, drug or problem changed, and anywhere
    with a denial put in or taken out, which changes the length."""

    fault: str
    likelier: MetricDict


class ImportanceRow(TypedDict):
    """One input. drop: of the metric, when its values are shuffled."""

    input: str
    drop: MetricDict


class ImportanceDict(TypedDict):
    """Permutation importance on validation. metric: auroc, or macro_auroc. value: before anything is shuffled.

    n: records asked. repeats: shuffles of each input. rows: the largest drop first.
    """

    metric: str
    value: float | None
    n: int
    repeats: int
    rows: list[ImportanceRow]


class WeightRow(TypedDict):
    """One coefficient of a linear model: change of the log-odds of `label`.

    term: a category, `missing`, or a word; empty for a number. step: the standard deviation of a number that it is
    for, in its unit. odds_ratio: exp(coefficient), null for words; with more than two labels against their geometric
    mean.
    """

    label: str
    input: str
    term: str
    coefficient: float
    odds_ratio: float | None
    step: float | None


class WeightsDict(TypedDict):
    """Coefficients of a linear model, penalised (L1, L2) and therefore without intervals. unnamed: how many others
    belong to values or words that fewer than 10 patients in training have; hidden: to words that the study does not ask
    to be named; more: are smaller; zero: are 0."""

    penalty: str
    rows: list[WeightRow]
    unnamed: int
    hidden: int
    more: int
    zero: int


class FoldDict(TypedDict):
    """One fold of a cross-validation. n, validation: records. primary: the primary metric on its test records, null
    where they cannot give it. threshold: null of a multilabel task, which has label_thresholds, and where texts are
    asked for. recalibration: null where the study asks for none."""

    repeat: int
    fold: int
    n: int
    validation: int
    primary: float | None
    threshold: ThresholdDict | None
    label_thresholds: NotRequired[dict[str, ThresholdDict]]
    recalibration: RecalibrationMap | None


class RefitDict(TypedDict):
    """How a model that is refitted on all records after a cross-validation decides, from the out-of-fold answers.
    threshold: null of multiple-choice tasks and tasks that ask for texts, which have none, and of multilabel tasks,
    which have label_thresholds.
    recalibration: null where the study asks for none."""

    threshold: ThresholdDict | None
    label_thresholds: NotRequired[dict[str, ThresholdDict]]
    recalibration: RecalibrationMap | None


class SystemSections(TypedDict, total=False):
    """What the analyses of its kind made of a system (`kinds.py`); only what was made is there.

    threshold: of a task with one label an item; label_thresholds: label -> threshold of a multilabel task. classes: in
    the order of the labels. scorings, positions: of multiple-choice tasks. generated, language: of language models.
    written: of generation; extracted: of extraction; abstention, contrast: where models were asked. importance: of
    models that were asked; weights: of linear models. folds: of a cross-validation, in which threshold is what the
    folds chose in one; refit: where the model is then trained on all records.
    """

    threshold: ThresholdDict
    label_thresholds: dict[str, ThresholdDict]
    classes: list[ClassResult]
    confusion: Confusion
    scorings: list[ScoringDict]
    positions: PositionsDict
    curves: Curves
    recalibration: RecalibrationDict
    referral: ReferralDict
    selective: SelectiveDict
    conformal: ConformalDict
    generated: GeneratedDict
    language: LanguageDict
    written: WrittenDict
    extracted: ExtractedDict
    abstention: AbstentionDict
    contrast: list[ContrastRow]
    importance: ImportanceDict
    weights: WeightsDict
    folds: list[FoldDict]
    refit: RefitDict


class SystemResult(TypedDict):
    """One (model, stage, seed) on the test split. moment: `before` and `after` for a model shown at both.

    cost: train_seconds, peak_memory_mb (of the process, an upper limit), parameters, trainable_parameters, seconds_p50
    and seconds_p95 an item, prompt_tokens_mean.
    """

    name: str
    model: str
    seed: int
    stage: int
    moment: Literal["before", "after"] | None
    family: str | None
    trained: bool
    n: int
    unparsed: int
    metrics: dict[str, MetricDict]
    cost: dict[str, float | int | None]
    alarms: list[str]
    sections: SystemSections
