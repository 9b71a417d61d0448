"""The study file: one YAML as typed, validated data.

Every key that a study may hold is a field here, with its default and its meaning; the JSON Schema and
the reference page are generated from these classes. Unknown keys are errors. Values of one section that only
make sense together are checked here; what spans sections is checked in `study_checks`. A study that
`load_study` returns can be run.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_serializer, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from clinfit.study_evaluation import Evaluation
from clinfit.study_section import Fraction, Name, Section

Weight = Annotated[float, Field(gt=0)]
LabelWeights = Literal["none", "balanced"] | dict[str, Weight]


# ---------------------------------------------------------------- data


class InputColumn(Section):
    """One input of a record: where it stands in the file and how a prompt shows it."""

    column: str = Field(description="column of the data file")
    type: Literal["text", "number", "category"] = Field(default="text", description="how models treat it")
    unit: str | None = Field(default=None, description="unit of a number, shown in prompts: mmHg, years")
    title: str | None = Field(default=None, description="name shown in prompts and reports; default: the input's key")


class LabelColumn(Section):
    """The column that holds the answer, and the map from its values to the task's labels."""

    column: str = Field(description="column of the data file")
    map: dict[str | int | float | bool, str] | None = Field(
        default=None,
        description="value in the file -> label; 1, '1' and 1.0 are one value, and so are true and 1 where all keys "
        "are of that kind; a boolean never matches a quoted key; an unmapped value is an error. JSON, which quotes all "
        "keys, may give a list of [value, label] pairs",
    )

    @field_validator("map", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        pairs = isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value)
        return dict(value) if pairs else value

    @field_serializer("map", when_used="json")
    def _typed_keys_survive_json(self, value: dict[Any, str] | None) -> Any:
        if value is None or all(isinstance(key, str) for key in value):
            return value
        return [[key, label] for key, label in value.items()]


class SplitRule(Section):
    """How records are divided: by ratio or by a column of the file (or by one file a split, see `data.files`)."""

    train: Fraction = Field(default=0.6, description="share of the records to learn from")
    validation: Fraction = Field(
        default=0.2, description="share for choices: best checkpoint, threshold, regularisation"
    )
    test: Fraction = Field(default=0.2, description="share for the reported figures; nothing is chosen on it")
    stratify: bool = Field(default=True, description="keep label shares equal in every split")
    seed: int = Field(default=42, description="seed of the division, the same for all models and training seeds")
    column: str | None = Field(default=None, description="column whose values name the split; ratios are then unused")
    map: dict[str, Literal["train", "validation", "test"]] | None = Field(
        default=None, description="value in `column` -> split; default: train / validation / test by those names"
    )

    @model_validator(mode="after")
    def _ratios_sum_to_one(self) -> "SplitRule":
        total = self.train + self.validation + self.test
        if self.column is None and abs(total - 1) > 1e-6:
            raise ValueError(f"train + validation + test is {total:g}; the three ratios must sum to 1")
        if self.map is not None and self.column is None:
            raise ValueError("`map` translates the values of `column`, and no column is given")
        return self


class Cleaning(Section):
    """Cleaning steps for text inputs; each is off unless named, and each reports how many records it changed."""

    strip_citations: bool = Field(default=False, description="remove [1], [2,3], (Smith et al., 2019)")
    strip_metadata: bool = Field(default=False, description="remove redundant lines: <ID:n>, PMID:, DOI:, Copyright")
    normalise_whitespace: bool = Field(default=False, description="squeeze runs of spaces and line breaks")
    drop_missing: list[str] = Field(
        default_factory=list, description="drop records in which any of these inputs is empty (missing abstracts)"
    )
    drop_duplicates: bool = Field(
        default=False, description="keep the first of records with the same normalised inputs"
    )


class Data(Section):
    """Where the records come from and how they are read."""

    path: str | None = Field(
        default=None,
        description="csv, tsv, xlsx, parquet, jsonl, a folder (or .tar.gz) with one sub-folder of text files a "
        "class, or catalog:NAME; relative to the study file",
    )
    files: dict[Literal["train", "validation", "test"], str] | None = Field(
        default=None, description="one file a split, instead of `path` and ratios"
    )
    encoding: str = Field(default="utf-8", description="text encoding of csv, tsv, jsonl and text files")
    sheet: str | None = Field(default=None, description="sheet of an xlsx file; default: the first")
    id: str | None = Field(default=None, description="column with a unique id; default: the row number")
    group: str | None = Field(default=None, description="column that must not straddle splits: patient, document")
    inputs: dict[str, InputColumn | str] = Field(
        default_factory=dict, description="input name -> column name, or a block with type and unit"
    )
    label: LabelColumn | str = Field(default="label", description="label column, or a block with column and map")
    split: SplitRule = Field(default_factory=SplitRule, description="how records are divided; unused with `files`")
    parse_abstracts: bool = Field(
        default=False, description="text files hold <ID:n>, `Title: ...`, `Abstract: ...`: read id, title and abstract"
    )
    clean: Cleaning = Field(default_factory=Cleaning, description="cleaning steps, each reported with its count")
    limit: int | None = Field(default=None, ge=2, description="use only the first N records (for trying things out)")

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

    kind: Literal["classification"] = Field(default="classification", description="what kind of answer is asked for")
    labels: list[str] = Field(min_length=2, description="all labels, in the order of every table and probability")
    positive: str | None = Field(
        default=None, description="the positive label of a binary task; default: the last label"
    )
    data: Data = Field(description="where the records come from")
    prompt: str | None = Field(
        default=None,
        description="prompt for language models: a file relative to the study file, or the text itself (it then holds "
        "`{{`). Loading replaces the file's name by its text, so that runs and packs carry the text",
    )
    system: str | None = Field(default=None, description="system message for language models")

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
    """What every model has."""

    name: Name = Field(description="unique name of the model, shown in every table")


class Baseline(ModelSection):
    """Rules that need no training; every comparison should hold them."""

    family: Literal["baseline"] = Field(description="rules that need no training")
    kind: Literal["majority", "always-positive", "keyword"] = Field(
        description="majority: the label shares of the training split; always-positive: what a model must beat when "
        "positives are common; keyword: `patterns`"
    )
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

    family: Literal["classical"] = Field(description="scikit-learn models")
    kind: Literal["tfidf-logistic", "lasso", "random-forest", "gradient-boosting"] = Field(
        description="tfidf-logistic: logistic regression on words of the text; lasso: logistic regression with an L1 "
        "penalty; random-forest and gradient-boosting: trees"
    )
    class_weights: LabelWeights = Field(
        default="none",
        description="weight of each label's records: none, balanced (inverse to their share), or label -> weight",
    )
    oversample: bool = Field(
        default=False, description="repeat minority records of the training split until classes are equal"
    )
    c_grid: list[Weight] = Field(
        default_factory=lambda: [0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0],
        min_length=1,
        description="tfidf-logistic, lasso: inverse regularisation strengths tried; chosen by validation log loss",
    )
    trees: int = Field(default=300, ge=1, description="random-forest: number of trees")
    max_depth: int | None = Field(default=None, ge=1, description="random-forest, gradient-boosting: depth limit")


class Lora(Section):
    """Low-rank adapter (Hu et al., 2021), in PEFT's own format."""

    rank: int = Field(default=16, ge=1, description="rank of the two low-rank matrices of every adapted layer")
    alpha: float = Field(default=32, gt=0, description="the adapter's output is scaled by alpha/rank")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout on the adapter's input")
    targets: Literal["all-linear"] | list[str] = Field(default="all-linear", description="module names, or all-linear")
    rslora: bool = Field(default=False, description="scale by alpha/sqrt(rank) (Kalajdzievski, 2023)")
    dora: bool = Field(default=False, description="weight-decomposed adapter (Liu et al., 2024)")


class Train(Section):
    """How a neural model is trained."""

    epochs: float = Field(default=3, gt=0, description="passes over the training split; may be a fraction")
    learning_rate: float = Field(default=2e-4, gt=0, description="highest learning rate of the schedule (AdamW)")
    batch_size: int = Field(default=16, ge=1, description="records in one optimizer step, whatever the memory")
    batch_tokens: int = Field(default=2048, ge=1, description="tokens in one forward pass, padding included")
    max_length: int = Field(
        default=1024, ge=16, description="tokens of prompt and answer; longer documents are shortened"
    )
    shorten: Literal["middle", "end"] = Field(default="middle", description="where a too-long document loses text")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="number format of the base's weights and products; auto: bf16 where the processor has it",
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        default="cosine", description="course of the learning rate after the warm-up; linear and cosine end at 0"
    )
    warmup: Fraction = Field(default=0.05, description="share of the steps in which the learning rate rises")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay of AdamW")
    clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    evaluate_every: int | None = Field(
        default=None, ge=1, description="optimizer steps between validations; default: an epoch"
    )
    early_stopping: int | None = Field(
        default=None, ge=1, description="stop after this many validations without improvement"
    )
    select_by: Literal["loss", "primary"] = Field(
        default="loss", description="validation value that picks the best checkpoint"
    )
    loss_per: Literal["record", "token"] = Field(
        default="record", description="divide the loss by records (each counts once) or by answer tokens"
    )
    checkpoint_every: int = Field(default=50, ge=1, description="optimizer steps between resumable checkpoints")
    gradient_checkpointing: bool = Field(default=False, description="recompute activations to save memory")


class Neural(ModelSection):
    """What encoders and causal models share."""

    base: str = Field(
        description="clinfit/tiny, clinfit/minilm (the extra `minilm`), a folder (relative to the study file), "
        "or a hub id"
    )
    revision: str | None = Field(default=None, description="hub revision; default: main, its commit is recorded")
    lora: Lora = Field(default_factory=Lora, description="the adapter that is trained")
    train: Train = Field(default_factory=Train, description="how it is trained")
    class_weights: LabelWeights = Field(default="none", description="loss weight of each label's records")
    focal_gamma: float = Field(default=0.0, ge=0, description="focal loss (Lin et al., 2017); 0 is plain cross-entropy")
    sampling: Literal["none", "balanced", "oversample"] = Field(
        default="none",
        description="training split only. balanced: draw labels equally often, same epoch length; "
        "oversample: repeat minority records until classes are equal",
    )


class Encoder(Neural):
    """A bidirectional encoder with a classification head."""

    family: Literal["encoder"] = Field(description="bidirectional encoders, such as BERT")
    method: Literal["lora", "full"] = Field(default="lora", description="train an adapter and the head, or all weights")


class Causal(Neural):
    """A causal language model, scored by the likelihood of each label."""

    family: Literal["causal"] = Field(description="decoder-only language models, such as Llama")
    quantization: Literal["none", "4bit"] = Field(default="none", description="4bit: NF4 weights (needs a CUDA GPU)")
    compare_base: bool = Field(default=True, description="also evaluate the model before fine-tuning")
    generate: int = Field(
        default=0,
        ge=0,
        description="also let the model write a free answer of at most this many tokens, read by the strict parser and "
        "reported beside the label likelihood; 0: no",
    )


ModelSpec = Annotated[Baseline | Classical | Encoder | Causal, Field(discriminator="family")]


# ---------------------------------------------------------------- the rest


class Stage(Section):
    """One round of training: how much each task weighs in it."""

    train: dict[str, float] = Field(min_length=1, description="task -> share")


class Study(Section):
    """A whole study."""

    name: Name = Field(description="name of the study; its runs go to runs/<name>")
    description: str = Field(default="", description="what the study asks, in a sentence; shown in the report")
    tasks: dict[Name, Task] = Field(min_length=1, description="task name -> task")
    models: list[ModelSpec] = Field(min_length=1, description="the models that are compared, each with its `family`")
    stages: list[Stage] = Field(default_factory=list, description="default: one stage over all tasks, equally")
    seeds: list[int] = Field(
        default_factory=lambda: [42], min_length=1, description="every trained model is trained once with each seed"
    )
    evaluation: Evaluation = Field(default_factory=Evaluation, description="what is reported, and against what")
    track: list[Literal["tensorboard", "mlflow", "wandb"]] = Field(
        default_factory=list, description="experiment trackers to write to, beside log.jsonl"
    )
    folder: SkipJsonSchema[Path] = Field(
        default=Path(), exclude=True, description="folder of the study file; set when it is loaded"
    )


def load_study(path: Path | str) -> Study:
    """The study in a YAML file, with prompt files replaced by their text.

    Raises ClinfitError that lists everything that is wrong with the file, with lines.
    """
    from clinfit.study_file import read_study  # deferred: reading a study needs the classes above

    return read_study(Path(path))


def study_yaml(study: Study) -> str:
    """The resolved study (every default filled in, prompts as text) as YAML that loads to an equal study."""
    from clinfit.study_file import dump_yaml

    return dump_yaml(study.model_dump())


def study_hash(study: Study) -> str:
    """SHA-256 (hex) of the resolved study: the identity of its runs.

    Formatting, key order and the file's folder do not count; the full path of a local base does, and the order of the
    inputs, in which `{{ record }}` and models see them.
    """
    content = study.model_dump(mode="json")
    for task in content["tasks"].values():
        data = task["data"]
        data["inputs"] = list(data["inputs"].items())
        if isinstance(data["label"], dict) and isinstance(data["label"]["map"], list):
            data["label"]["map"].sort(key=json.dumps)
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def json_schema() -> dict[str, Any]:
    """JSON Schema of the study file, for editors that check and complete YAML."""
    schema = Study.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": "clinfit study"}
