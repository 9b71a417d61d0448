"""What is reported, how probabilities become decisions, against what: for the study, and by kind for single tasks."""

import re
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, PositiveFloat, field_validator, model_validator

from clinfit.study.section import Fraction, Section, Seed


class Threshold(Section):
    """How probabilities become a decision; chosen on validation, applied once to test. Of two labels by a threshold, of
    more by weights of the labels: the largest weight x probability is taken."""

    rule: Literal[
        "argmax",
        "fixed",
        "youden",
        "balanced-accuracy",
        "sensitivity",
        "specificity",
        "f1",
        "f-beta",
        "macro-f1",
        "cost",
        "guarantee",
    ] = Field(
        default="argmax",
        description="argmax: the most probable label; fixed: `value`, or `weights`; youden, balanced-accuracy: largest "
        "sensitivity + specificity, of more than two labels the largest mean recall; macro-f1: of more than two labels "
        "the largest; sensitivity, specificity: at least `value` of it, and then the most of the other; f1: the "
        "largest; f-beta: the largest F with beta = `value`, so that above 1 a miss weighs more than a false alarm; "
        "cost: the least cost when a miss costs `value` false alarms; guarantee: at least `value` of `metric` with "
        "probability `certainty` (Learn then Test, Angelopoulos et al., 2025)",
    )
    value: float | None = Field(
        default=None,
        ge=0,
        description="fixed: the threshold; sensitivity, specificity, guarantee: the floor; f-beta: beta; cost: cost of "
        "a miss in false alarms",
    )
    weights: dict[str, PositiveFloat] | None = Field(
        default=None, min_length=2, description="fixed, of more than two labels: what each probability is multiplied by"
    )
    metric: Literal["sensitivity", "specificity", "ppv"] = Field(
        default="sensitivity", description="guarantee: what is guaranteed"
    )
    certainty: float = Field(
        default=0.9, gt=0.5, lt=1, description="guarantee: probability, over validation sets, that it holds"
    )

    @model_validator(mode="after")
    def _value(self) -> "Threshold":
        if self.weights is not None and (self.rule != "fixed" or self.value is not None):
            raise ValueError("`weights` is for the rule 'fixed' of a task with more than two labels, without `value`")
        needs = self.rule in {"fixed", "sensitivity", "specificity", "f-beta", "cost", "guarantee"} and not self.weights
        if needs != (self.value is not None):
            raise ValueError(f"threshold rule {self.rule!r} {'needs' if needs else 'takes no'} `value`")
        share = self.rule not in {"f-beta", "cost"}
        if self.value is not None and (self.value > 1 if share else self.value == 0):
            expected = "between 0 and 1" if share else "above 0"
            raise ValueError(f"threshold rule {self.rule!r}: `value` is {self.value:g}; expected a number {expected}")
        return self


class Refer(Section):
    """Which items are handed to a person instead of being decided; chosen on validation, applied once to test."""

    rule: Literal["confidence", "conformal"] = Field(
        description="confidence: decide the share `value` of the items of which the model is surest; conformal: decide "
        "where the set of labels that covers the truth with probability `value` holds one label (needs validation "
        "items that were not used for anything else)"
    )
    value: float = Field(gt=0, lt=1, description="share of the items that are decided, or coverage of the sets")


class Subgroup(Section):
    """A column by which results are shown, and how a number in it becomes groups."""

    column: str = Field(description="column of the data file")
    bins: list[float] | None = Field(
        default=None, min_length=1, description="edges for a number: [40, 65] gives below 40, 40 to 65, 65 and above"
    )
    title: str | None = Field(default=None, description="name in the report; default: the column")


ClassificationPrimary = Literal[
    "auroc",
    "auprc",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "f1",
    "mcc",
    "brier",
    "log_loss",
    "sensitivity",
    "specificity",
]
MultilabelPrimary = Literal[
    "macro_f1", "micro_f1", "macro_auroc", "subset_accuracy", "hamming_loss", "jaccard", "example_f1"
]
MultipleChoicePrimary = Literal["accuracy", "log_loss", "brier_sum"]
GenerationPrimary = Literal[
    "token_f1", "rougeL", "rougeLsum", "rouge1", "rouge2", "chrf", "exact_match", "number_recall", "entity_recall"
]
ExtractionPrimary = Literal["field_f1", "field_precision", "field_recall", "all_fields", "valid_output"]
Primary = Literal[ClassificationPrimary, MultilabelPrimary, MultipleChoicePrimary, GenerationPrimary, ExtractionPrimary]


#: Metrics that may be larger than 1.
ABOVE_ONE = frozenset({"log_loss", "brier_sum", "unsupported_numbers", "perplexity", "bits_per_byte"})


class CommonSettings(Section):
    """What every kind of task has: comparisons, parts of the test split, floors."""

    baseline: str | None = Field(
        default=None, description="model that the others are compared with; default: the strongest simple one"
    )
    compare: list[list[str]] = Field(
        default_factory=list,
        description="further pairs of models to compare, each [new, reference]; before and after, majority and "
        "baseline are compared anyway",
    )
    margin: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="non-inferiority margin of the primary metric in its own unit (0.02: two points): how much worse "
        "a model may be and still count as not inferior",
    )
    subgroups: list[Subgroup | str] = Field(
        default_factory=list, description="columns by which results are shown: sex, age (with bins), language"
    )
    site: str | None = Field(
        default=None, description="column that names the hospital or source; results by site and their spread"
    )
    floors: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="metric -> value below which the report warns, or above which where lower is better",
    )

    @model_validator(mode="after")
    def _shares(self) -> Self:
        above = [metric for metric, value in self.floors.items() if value > 1 and metric not in ABOVE_ONE]
        if above:
            raise ValueError(f"floors: {', '.join(above)} is above 1, which it cannot reach; write 0.9 for 90 %")
        return self

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if odd := next((pair for pair in self.compare if len(pair) != 2 or pair[0] == pair[1]), None):
            raise ValueError(f"compare holds {odd}; expected pairs of two different models: [new, reference]")
        return self

    @property
    def subgroup_columns(self) -> list[Subgroup]:
        """The subgroups with their defaults filled in, the site among them."""
        named = [Subgroup(column=item) if isinstance(item, str) else item for item in self.subgroups]
        sites = [] if self.site is None or any(item.column == self.site for item in named) else [self.site]
        return [*named, *(Subgroup(column=site) for site in sites)]


class DecisionSettings(CommonSettings):
    """How the probabilities of one answer out of several become decisions."""

    threshold: Threshold = Field(default_factory=Threshold, description="how a probability becomes a decision")
    calibration: Literal["none", "temperature", "intercept", "platt", "isotonic"] = Field(
        default="none",
        description="recalibration of the probabilities, fitted on validation before the threshold is chosen: "
        "temperature (one number, any labels), intercept (one number, binary: only how often the positive label is "
        "expected), platt (slope and intercept, binary), isotonic (steps, binary, for 1,000 validation items or more)",
    )
    refer: Refer | None = Field(default=None, description="which items are handed to a person; default: none")
    decision_range: list[Fraction] | None = Field(
        default=None,
        min_length=2,
        max_length=2,
        description="lowest and highest threshold probability that is clinically reasonable: shaded in the decision "
        "curve, in which net benefit is read",
    )

    @model_validator(mode="after")
    def _lower_first(self) -> Self:
        if self.decision_range is not None and not self.decision_range[0] < self.decision_range[1]:
            raise ValueError(f"decision_range is {self.decision_range}; expected the lower threshold first")
        return self


class ClassificationEvaluation(DecisionSettings):
    """Settings of a task with one label an item."""

    primary: ClassificationPrimary = Field(
        default="auroc", description="the metric of the headline and of `select_by: primary`"
    )


class LabelThreshold(Section):
    """How the probability of each label of a multilabel task becomes yes or no."""

    rule: Literal["fixed", "f1"] = Field(
        default="fixed", description="fixed: `value` for every label; f1: for each label the largest F1 on validation"
    )
    value: float = Field(default=0.5, ge=0, le=1, description="fixed, and where validation cannot give one: threshold")


class MultilabelEvaluation(CommonSettings):
    """Settings of a task with any number of labels an item."""

    primary: MultilabelPrimary = Field(
        default="macro_f1", description="the metric of the headline and of `select_by: primary`"
    )
    threshold: LabelThreshold = Field(
        default_factory=LabelThreshold, description="how a label's probability becomes yes or no"
    )
    calibration: Literal["none", "intercept", "platt"] = Field(
        default="none",
        description="recalibration of each label's probability, fitted on validation before its threshold is chosen: "
        "intercept (one number: only how often the label is expected), platt (slope and intercept); a label of few "
        "validation items is left as it is",
    )


class MultipleChoiceEvaluation(CommonSettings):
    """Settings of a task with options that differ from item to item."""

    primary: MultipleChoicePrimary = Field(
        default="accuracy", description="the metric of the headline and of `select_by: primary`"
    )
    calibration: Literal["none", "temperature"] = Field(
        default="none",
        description="recalibration of the probabilities, fitted on validation: temperature (one number)",
    )

    @property
    def threshold(self) -> Threshold:
        """The most probable option, always."""
        return Threshold()


#: Phrases that decline an answer; none that a good answer may say of what it is about ("insufficient evidence").
DECLINING = (
    "I cannot answer", "I cannot tell", "I do not know", "unable to answer", "not able to answer",
    "cannot answer the question", "cannot answer this question", "question cannot be answered",
    "not enough information", "insufficient information", "no information is given", "no information was given",
    "no information is provided", "no information was provided", "no context is given", "no context was given",
    "no context is provided", "no context was provided", "no abstract is given", "no abstract was given",
    "no abstract is provided", "no abstract was provided", "no text is given", "no text was given",
    "no text is provided", "no text was provided", "text does not say", "abstract does not say",
    "record does not say", "context does not say",
)  # fmt: skip


class Abstention(Section):
    """Whether a model declines to answer when what it should answer from is not there: it is asked again, of some test
    records without their context, of others with another record's."""

    inputs: list[str] = Field(min_length=1, description="the inputs that are the context: they are taken away together")
    items: int = Field(
        default=50,
        ge=1,
        description="test records whose context is removed, and as many others whose context is another record's; both "
        "are answered once more by every language model, after every stage",
    )
    phrases: list[Annotated[str, Field(pattern=r"[^\W_]")]] = Field(
        default_factory=lambda: list(DECLINING),
        min_length=1,
        description="an answer declines when its first sentence holds one of these, word by word",
    )
    seed: Seed = Field(default=0, description="of the choice of records")

    @field_validator("phrases")
    @classmethod
    def _more_than_articles(cls, phrases: list[str]) -> list[str]:
        """Articles are left out before phrases are looked for, and nothing would be left of such a phrase."""
        if odd := [phrase for phrase in phrases if {*re.findall(r"\w+", phrase.casefold())} <= {"a", "an", "the"}]:
            raise ValueError(f"phrases {odd} are nothing but articles, which do not count; add the words that decline")
        return phrases


class BertScore(Section):
    """Similarity to the reference by an encoder that is on this machine."""

    #: The key that names its weights.
    key: ClassVar[str] = "encoder"

    @property
    def weights(self) -> str:
        return self.encoder

    encoder: str = Field(description="clinfit/minilm, or the folder of an encoder; nothing is fetched")
    layer: int | None = Field(
        default=None, ge=0, description="whose vectors are compared, 0 being the embeddings; default: the last"
    )


class PairJudge(Section):
    """A classifier of pairs of texts that is on this machine."""

    #: The key that names its weights.
    key: ClassVar[str] = "classifier"

    @property
    def weights(self) -> str:
        return self.classifier

    classifier: str


class Nli(PairJudge):
    """Whether the source entails a text, sentence by sentence."""

    classifier: str = Field(
        description="the folder of a sequence classifier with labels named entailment and contradiction; nothing is "
        "fetched"
    )


class AlignScore(PairJudge):
    """Whether the source supports a text, sentences of the text with long pieces of the source."""

    classifier: str = Field(
        description="the folder of a sequence classifier with a label named aligned, as "
        "scripts/convert_alignscore.py makes it of a published checkpoint; nothing is fetched"
    )


Judge = BertScore | Nli | AlignScore


class GenerationEvaluation(CommonSettings):
    """Settings of a task that asks for a text."""

    primary: GenerationPrimary = Field(
        default="token_f1",
        description="the metric of the headline: how much of the reference's wording, numbers or entities a text has. "
        "ROUGE and chrF need the extra `text`",
    )
    abstention: Abstention | None = Field(
        default=None, description="whether models decline when the context is not there; default: they are not asked"
    )
    contrast: int = Field(
        default=0,
        ge=0,
        description="test records of whose reference the likelihood is compared with that of the same text with one "
        "fault (a number, a negation, a drug, a problem); each costs a pass a fault; 0: none",
    )
    bertscore: BertScore | None = Field(default=None, description="BERTScore, a proxy; default: it is not computed")
    nli: Nli | None = Field(default=None, description="entailment by the source, a proxy; default: it is not computed")
    alignscore: AlignScore | None = Field(
        default=None, description="support by the source in long pieces, a proxy; default: it is not computed"
    )

    @property
    def judges(self) -> dict[str, Judge]:
        """Metric -> its settings, of the metrics with weights of their own that are asked for."""
        known = {"bertscore": self.bertscore, "nli": self.nli, "alignscore": self.alignscore}
        return {metric: judge for metric, judge in known.items() if judge is not None}


class ExtractionEvaluation(CommonSettings):
    """Settings of a task that asks for declared fields."""

    primary: ExtractionPrimary = Field(
        default="field_f1",
        description="the metric of the headline: field_f1, field_precision and field_recall are of the values of all "
        "fields together; all_fields is the share of records with every field right",
    )


class Evaluation(DecisionSettings):
    """What is reported, and against what. Tasks take from here what their kind knows; a task may bring a block of its
    own instead."""

    primary: Primary = Field(
        default="auroc",
        description="the metric of the headline and of `select_by: primary`; a task whose kind does not know it takes "
        "its kind's own",
    )
    bootstrap: int = Field(default=2000, ge=100, description="bootstrap resamples")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="level of every interval")


TaskEvaluation = (
    ClassificationEvaluation
    | MultilabelEvaluation
    | MultipleChoiceEvaluation
    | GenerationEvaluation
    | ExtractionEvaluation
)

#: Settings by kind of task.
SETTINGS: dict[str, type[TaskEvaluation]] = {
    "classification": ClassificationEvaluation,
    "multilabel": MultilabelEvaluation,
    "multiple-choice": MultipleChoiceEvaluation,
    "generation": GenerationEvaluation,
    "extraction": ExtractionEvaluation,
}

#: Metrics beside the primary ones for which a task may set a floor, by kind.
OTHER_FLOORS: dict[str, tuple[str, ...]] = {
    "classification": ("ppv", "npv", "kappa"),
    "generation": (
        "number_precision", "unsupported_numbers", "entity_precision", "unsupported_sentences", "empty", "cut_off",
        "perplexity", "bits_per_byte",
    ),
    "extraction": ("not_json", "cut_off", "perplexity", "bits_per_byte"),
}  # fmt: skip


def settings_of(kind: str, evaluation: Evaluation) -> TaskEvaluation:
    """What a task of this kind takes from the study's `evaluation`; its kind's default where that does not fit."""
    settings = SETTINGS[kind]
    shared = settings.model_fields.keys() & CommonSettings.model_fields.keys()
    if issubclass(settings, DecisionSettings):
        shared = settings.model_fields.keys() & DecisionSettings.model_fields.keys()
    taken = {name: getattr(evaluation, name) for name in shared}
    if evaluation.calibration in calibrations(kind):
        taken["calibration"] = evaluation.calibration
    taken["floors"] = {metric: floor for metric, floor in evaluation.floors.items() if metric in floor_names(kind)}
    if evaluation.primary in primaries(kind):
        taken["primary"] = evaluation.primary
    else:
        taken["margin"] = None  # it is of the study's primary metric, in its unit
    return settings(**taken)


def calibrations(kind: str) -> tuple[str, ...]:
    """The recalibrations that a kind knows."""
    field = SETTINGS[kind].model_fields.get("calibration")
    return () if field is None else get_args(field.annotation)


def primaries(kind: str) -> tuple[str, ...]:
    """The primary metrics that a kind knows."""
    return get_args(SETTINGS[kind].model_fields["primary"].annotation)


def floor_names(kind: str) -> tuple[str, ...]:
    """The metrics for which a task of this kind may set a floor."""
    return (*primaries(kind), *OTHER_FLOORS.get(kind, ()))
