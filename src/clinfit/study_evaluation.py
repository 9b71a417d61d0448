"""The `evaluation` section of the study file: what is reported, how probabilities become decisions, against what."""

from typing import Literal

from pydantic import Field, model_validator

from clinfit.study_section import Fraction, Section


class Threshold(Section):
    """How a binary probability becomes a decision; chosen on validation, applied once to test."""

    rule: Literal[
        "argmax",
        "fixed",
        "youden",
        "balanced-accuracy",
        "sensitivity",
        "specificity",
        "f1",
        "f-beta",
        "cost",
        "guarantee",
    ] = Field(
        default="argmax",
        description="argmax: the most probable label; fixed: `value`; youden, balanced-accuracy: largest sensitivity + "
        "specificity; sensitivity, specificity: at least `value` of it, and then the most of the other; f1: the "
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
    metric: Literal["sensitivity", "specificity", "ppv"] = Field(
        default="sensitivity", description="guarantee: what is guaranteed"
    )
    certainty: float = Field(
        default=0.9, gt=0.5, lt=1, description="guarantee: probability, over validation sets, that it holds"
    )

    @model_validator(mode="after")
    def _value(self) -> "Threshold":
        needs = self.rule in {"fixed", "sensitivity", "specificity", "f-beta", "cost", "guarantee"}
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


Primary = Literal[
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


class Evaluation(Section):
    """What is reported, and against what."""

    primary: Primary = Field(default="auroc", description="the metric of the headline and of `select_by: primary`")
    threshold: Threshold = Field(default_factory=Threshold, description="how a probability becomes a decision")
    calibration: Literal["none", "temperature", "platt", "isotonic"] = Field(
        default="none",
        description="recalibration of the probabilities, fitted on validation before the threshold is chosen: "
        "temperature (one number, any labels), platt (slope and intercept, binary), isotonic (steps, binary, for 1,000 "
        "validation items or more)",
    )
    refer: Refer | None = Field(default=None, description="which items are handed to a person; default: none")
    decision_range: list[Fraction] | None = Field(
        default=None,
        min_length=2,
        max_length=2,
        description="lowest and highest threshold probability that is clinically reasonable: shaded in the decision "
        "curve, in which net benefit is read",
    )
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
    bootstrap: int = Field(default=2000, ge=100, description="bootstrap resamples")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="level of every interval")
    floors: dict[str, Fraction] = Field(
        default_factory=dict, description="metric -> value below which the report warns"
    )

    @model_validator(mode="after")
    def _pairs(self) -> "Evaluation":
        if odd := next((pair for pair in self.compare if len(pair) != 2 or pair[0] == pair[1]), None):
            raise ValueError(f"compare holds {odd}; expected pairs of two different models: [new, reference]")
        if self.decision_range is not None and not self.decision_range[0] < self.decision_range[1]:
            raise ValueError(f"decision_range is {self.decision_range}; expected the lower threshold first")
        return self

    @property
    def subgroup_columns(self) -> list[Subgroup]:
        """The subgroups with their defaults filled in, the site among them."""
        named = [Subgroup(column=item) if isinstance(item, str) else item for item in self.subgroups]
        sites = [] if self.site is None or any(item.column == self.site for item in named) else [self.site]
        return [*named, *(Subgroup(column=site) for site in sites)]
