"""The study file: one YAML as typed, validated data.

Every key that a study may hold is a field here, with its default and its meaning; the JSON Schema and
the reference page are generated from these classes. Unknown keys are errors. Values that only make
sense together are checked here too, so that a study that loads can be run.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
LabelWeights = Literal["none", "balanced"] | dict[str, float]


class Section(BaseModel):
    """A part of the study file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


# ---------------------------------------------------------------- data


class InputColumn(Section):
    """One input of a record: where it stands in the file and how a prompt shows it."""

    column: str = Field(description="column of the data file")
    type: Literal["text", "number", "category"] = Field("text", description="how models treat it")
    unit: str | None = Field(None, description="unit of a number, shown in prompts: mmHg, years")
    title: str | None = Field(None, description="name shown in prompts and reports; default: the input's key")


class LabelColumn(Section):
    """The column that holds the answer, and the map from its values to the task's labels."""

    column: str
    map: dict[str | int | float | bool, str] | None = Field(
        None, description="value in the file -> label; true/1/'1'/1.0 are one value; an unmapped value is an error"
    )


class SplitRule(Section):
    """How records are divided: by ratio, by a column of the file, or by one file a split (see `Data.files`)."""

    train: Fraction = 0.6
    validation: Fraction = 0.2
    test: Fraction = 0.2
    stratify: bool = Field(True, description="keep label shares equal in every split")
    seed: int = 42
    column: str | None = Field(None, description="column whose values name the split; ratios are then unused")
    map: dict[str, Literal["train", "validation", "test"]] | None = Field(
        None, description="value in `column` -> split; default: train / validation / test by those names"
    )

    @model_validator(mode="after")
    def _ratios_sum_to_one(self) -> "SplitRule":
        total = self.train + self.validation + self.test
        if self.column is None and abs(total - 1) > 1e-6:
            raise ValueError(f"train + validation + test is {total:g}; the three ratios must sum to 1")
        return self


class Cleaning(Section):
    """Cleaning steps for text inputs; each is off unless named, and each reports how many records it changed."""

    strip_citations: bool = Field(False, description="remove [1], [2,3], (Smith et al., 2019)")
    strip_metadata: bool = Field(False, description="remove redundant lines: <ID:n>, PMID:, DOI:, Copyright")
    normalise_whitespace: bool = Field(False, description="squeeze runs of spaces and line breaks")
    drop_missing: list[str] = Field(
        default_factory=list, description="drop records in which any of these inputs is empty (missing abstracts)"
    )
    drop_duplicates: bool = Field(False, description="keep the first of records with the same normalised inputs")


class Data(Section):
    """Where the records come from and how they are read."""

    path: str | None = Field(
        None,
        description="csv, tsv, xlsx, parquet, jsonl, a folder (or .tar.gz) with one sub-folder of text files a "
        "class, or catalog:NAME; relative to the study file",
    )
    files: dict[Literal["train", "validation", "test"], str] | None = Field(
        None, description="one file a split, instead of `path` and ratios"
    )
    encoding: str = Field("utf-8", description="text encoding of csv, tsv, jsonl and text files")
    sheet: str | None = Field(None, description="sheet of an xlsx file; default: the first")
    id: str | None = Field(None, description="column with a unique id; default: the row number")
    group: str | None = Field(None, description="column that must not straddle splits: patient, document")
    inputs: dict[str, InputColumn | str] = Field(
        default_factory=dict, description="input name -> column name, or a block with type and unit"
    )
    label: LabelColumn | str = Field("label", description="label column, or a block with column and map")
    split: SplitRule = Field(default_factory=SplitRule)
    parse_abstracts: bool = Field(
        False, description="text files hold <ID:n>, `Title: ...`, `Abstract: ...`: read id, title and abstract"
    )
    clean: Cleaning = Field(default_factory=Cleaning)
    limit: int | None = Field(None, ge=2, description="use only the first N records (for trying things out)")

    @model_validator(mode="after")
    def _one_source(self) -> "Data":
        if (self.path is None) == (self.files is None):
            raise ValueError("give either `path` or `files` (one file a split), not both and not neither")
        if self.files is not None and not {"train", "test"} <= set(self.files):
            raise ValueError("`files` needs at least train and test")
        return self

    @property
    def columns(self) -> dict[str, InputColumn]:
        """The inputs with their defaults filled in."""
        return {
            name: InputColumn(column=value) if isinstance(value, str) else value for name, value in self.inputs.items()
        }

    @property
    def label_column(self) -> LabelColumn:
        return LabelColumn(column=self.label) if isinstance(self.label, str) else self.label


class Task(Section):
    """What is asked of a record."""

    kind: Literal["classification"] = "classification"
    labels: list[str] = Field(min_length=2, description="all labels, in the order of every table and probability")
    positive: str | None = Field(None, description="the positive label of a binary task; default: the last label")
    data: Data
    prompt: str | None = Field(
        None,
        description="prompt for language models: a file relative to the study file, or the text itself (it then holds "
        "`{{`). Loading replaces the file's name by its text, so that runs and packs carry the text",
    )
    system: str | None = Field(None, description="system message for language models")

    @model_validator(mode="after")
    def _labels(self) -> "Task":
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must differ from each other")
        if any(not label.strip() for label in self.labels):
            raise ValueError("a label may not be empty")
        if self.positive is not None and self.positive not in self.labels:
            raise ValueError(f"positive: {self.positive!r} is not one of the labels {self.labels}")
        mapped = self.data.label_column.map or {}
        unknown = sorted({label for label in mapped.values() if label not in self.labels})
        if unknown:
            raise ValueError(f"label map names {unknown}, which are not among the labels {self.labels}")
        return self

    @property
    def binary(self) -> bool:
        return len(self.labels) == 2

    @property
    def positive_label(self) -> str | None:
        """The positive label of a binary task, None for more than two labels."""
        return (self.positive or self.labels[-1]) if self.binary else None


# ---------------------------------------------------------------- models


class ModelSection(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="unique name of the model")]


class Baseline(ModelSection):
    """Rules that need no training; every comparison should hold them."""

    family: Literal["baseline"]
    kind: Literal["majority", "always-positive", "keyword"]
    patterns: list[str] = Field(
        default_factory=list, description="keyword: regular expressions; any match means positive (case ignored)"
    )

    @model_validator(mode="after")
    def _patterns(self) -> "Baseline":
        if (self.kind == "keyword") != bool(self.patterns):
            raise ValueError("`patterns` goes with kind: keyword, and keyword needs at least one pattern")
        return self


class Classical(ModelSection):
    """scikit-learn models on text (TF-IDF) or on patient features."""

    family: Literal["classical"]
    kind: Literal["tfidf-logistic", "lasso", "random-forest", "gradient-boosting"]
    class_weights: LabelWeights = "none"
    oversample: bool = Field(False, description="repeat minority records of the training split until classes are equal")
    c_grid: list[float] = Field(
        default_factory=lambda: [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0],
        description="tfidf-logistic, lasso: inverse regularisation strengths tried; chosen by validation log loss",
    )
    trees: int = Field(300, ge=1, description="random-forest: number of trees")
    max_depth: int | None = Field(None, ge=1, description="random-forest, gradient-boosting: depth limit")


class Lora(Section):
    """Low-rank adapter (Hu et al., 2021), in PEFT's own format."""

    rank: int = Field(16, ge=1)
    alpha: float = Field(32, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: Literal["all-linear"] | list[str] = Field("all-linear", description="module names, or all-linear")
    rslora: bool = Field(False, description="scale by alpha/sqrt(rank) (Kalajdzievski, 2023)")
    dora: bool = Field(False, description="weight-decomposed adapter (Liu et al., 2024)")


class Train(Section):
    """How a neural model is trained."""

    epochs: float = Field(3, gt=0)
    learning_rate: float = Field(2e-4, gt=0)
    batch_size: int = Field(16, ge=1, description="records in one optimizer step, whatever the memory")
    batch_tokens: int = Field(2048, ge=1, description="tokens in one forward pass, padding included")
    max_length: int = Field(1024, ge=16, description="tokens of prompt and answer; longer documents are shortened")
    shorten: Literal["middle", "end"] = Field("middle", description="where a too-long document loses text")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    warmup: Fraction = Field(0.05, description="share of the steps in which the learning rate rises")
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    evaluate_every: int | None = Field(None, ge=1, description="optimizer steps between validations; default: an epoch")
    early_stopping: int | None = Field(None, ge=1, description="stop after this many validations without improvement")
    select_by: Literal["loss", "primary"] = Field("loss", description="validation value that picks the best checkpoint")
    loss_per: Literal["record", "token"] = Field(
        "record", description="divide the loss by records (each counts once) or by answer tokens"
    )
    checkpoint_every: int = Field(50, ge=1, description="optimizer steps between resumable checkpoints")
    gradient_checkpointing: bool = Field(False, description="recompute activations to save memory")


class Neural(ModelSection):
    """What encoders and causal models share."""

    base: str = Field(description="clinfit/tiny, a local folder, or a hub id")
    revision: str | None = Field(None, description="hub revision; default: main, its commit is recorded")
    lora: Lora = Field(default_factory=Lora)
    train: Train = Field(default_factory=Train)
    class_weights: LabelWeights = Field("none", description="loss weight of each label's records")
    focal_gamma: float = Field(0.0, ge=0, description="focal loss (Lin et al., 2017); 0 is plain cross-entropy")
    sampling: Literal["none", "balanced", "oversample"] = Field(
        "none",
        description="training split only. balanced: draw labels equally often, same epoch length; "
        "oversample: repeat minority records until classes are equal",
    )


class Encoder(Neural):
    """A bidirectional encoder with a classification head."""

    family: Literal["encoder"]
    method: Literal["lora", "full"] = "lora"


class Causal(Neural):
    """A causal language model, scored by the likelihood of each label."""

    family: Literal["causal"]
    quantization: Literal["none", "4bit"] = "none"
    compare_base: bool = Field(True, description="also evaluate the model before fine-tuning")


ModelSpec = Annotated[Baseline | Classical | Encoder | Causal, Field(discriminator="family")]


# ---------------------------------------------------------------- the rest


class Stage(Section):
    """One round of training: how much each task weighs in it."""

    train: dict[str, float] = Field(min_length=1, description="task -> share")


class Threshold(Section):
    """How a binary probability becomes a decision; chosen on validation, applied once to test."""

    rule: Literal["argmax", "fixed", "youden", "sensitivity", "specificity", "f1", "balanced-accuracy"] = "argmax"
    value: float | None = Field(
        None, ge=0, le=1, description="fixed: the threshold; sensitivity / specificity: the floor"
    )

    @model_validator(mode="after")
    def _value(self) -> "Threshold":
        needs = self.rule in {"fixed", "sensitivity", "specificity"}
        if needs != (self.value is not None):
            raise ValueError(f"threshold rule {self.rule!r} {'needs' if needs else 'takes no'} `value`")
        return self


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

    primary: Primary = Field("auroc", description="the metric of the headline and of `select_by: primary`")
    threshold: Threshold = Field(default_factory=Threshold)
    baseline: str | None = Field(
        None, description="model that the others are compared with; default: the strongest simple one"
    )
    bootstrap: int = Field(2000, ge=100, description="bootstrap resamples")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    floors: dict[str, Fraction] = Field(
        default_factory=dict, description="metric -> value below which the report warns"
    )


class Study(Section):
    """A whole study."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str = ""
    tasks: dict[str, Task] = Field(min_length=1)
    models: list[ModelSpec] = Field(min_length=1)
    stages: list[Stage] = Field(default_factory=list, description="default: one stage over all tasks, equally")
    seeds: list[int] = Field(default_factory=lambda: [42], min_length=1)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    track: list[Literal["tensorboard", "mlflow", "wandb"]] = Field(
        default_factory=list, description="experiment trackers to write to, beside log.jsonl"
    )
    folder: Path = Field(Path(), exclude=True, description="folder of the study file; set when it is loaded")

    @model_validator(mode="after")
    def _names(self) -> "Study":
        names = [model.name for model in self.models]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"model names must differ; repeated: {repeated}")
        for stage in self.stages:
            unknown = sorted(set(stage.train) - set(self.tasks))
            if unknown:
                raise ValueError(f"a stage trains {unknown}, which are not among the tasks {sorted(self.tasks)}")
        if self.evaluation.baseline is not None and self.evaluation.baseline not in names:
            raise ValueError(f"evaluation.baseline: {self.evaluation.baseline!r} is not among the models {names}")
        return self
