"""The models of a study, by family."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from clinfit.study.search import Search
from clinfit.study.section import Fraction, Name, Section, Seed
from clinfit.study.stages import Stage, StageSettings
from clinfit.study.tasks import Task, Writing, lexicon_of

Weight = Annotated[float, Field(gt=0)]
LabelWeights = Literal["none", "balanced"] | dict[str, Weight]

SEARCH = "settings of this block that are chosen by trying them on validation (the extra `search`)"


class ModelSection(Section):
    """What every model has."""

    #: Whether it is a neural network: needs torch, a pretrained base and `train` settings.
    neural: ClassVar[bool] = False
    #: Whether training draws anything at random, so that every seed is a run of its own.
    seeded: ClassVar[bool] = True
    #: Whether it can be asked what no stage has taught it.
    untaught: ClassVar[bool] = False
    #: Whether adapters of several stages can be put together, beside each other or afterwards.
    merges: ClassVar[bool] = False

    name: Name = Field(description="unique name of the model, shown in every table")
    tasks: list[Name] | None = Field(
        default=None, min_length=1, description="tasks that it learns and answers; default: all that it can"
    )
    seeds: list[Seed] | None = Field(
        default=None, min_length=1, description="seeds of this model; default: those of the study"
    )
    stages: list[Stage] | None = Field(
        default=None, min_length=1, description="stages of this model; default: those of the study"
    )
    refit: bool = Field(
        default=False,
        description="with `folds`: also train it once on all records, as the model to serve: a pack whose figures are "
        "those of the cross-validation",
    )

    @property
    def repeats(self) -> bool:
        """Whether every seed is a run of its own."""
        return self.seeded

    @property
    def searched(self) -> Search | None:
        """How its hyperparameters are searched; None where they stand in the study."""
        return None

    @property
    def chooses(self) -> bool:
        """Whether training makes a choice on validation records: a checkpoint, a penalty, a point of a search."""
        return self.searched is not None

    @property
    def named_words(self) -> bool:
        """Whether the words of texts with the largest weights are named."""
        return False

    @property
    def asked_importance(self) -> bool:
        """Whether it is asked how much it needs each input (runs/steps/importance.py)."""
        return False

    @property
    def holds_records(self) -> bool:
        """Whether the saved model holds training records as they are, so that it may not be given away."""
        return False

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of task that it can answer."""
        return frozenset({"classification"})

    def obstacle(self, task: Task) -> str | None:
        """Why it cannot learn and answer a task; None when it can."""
        if task.kind not in self.kinds:
            return f"it answers {' and '.join(sorted(self.kinds))}, and this task is {task.kind}"
        return None

    def stage_obstacle(self, stage: Stage) -> str | None:
        """Why it cannot learn in a stage of that kind; None when it can.

        Models without a base have a model for each task, so that nothing is forgotten and nothing has to be retained.
        """
        return None


#: Rules that write texts.
WRITING_RULES = ("copy", "lead", "nearest")


class Baseline(ModelSection):
    """Rules that need no training; every comparison should hold them."""

    seeded: ClassVar[bool] = False

    family: Literal["baseline"] = Field(description="rules that need no training")
    kind: Literal["majority", "always-positive", "keyword", "lexicon", "copy", "lead", "nearest"] = Field(
        description="majority: the label shares of the training split, of extraction the most frequent value of each "
        "field; always-positive: what a model must beat when positives are common; keyword: `patterns`; lexicon: of "
        "multilabel tasks with a `lexicon`, which labels the text names. Of generation: "
        "copy: the source as it is; lead: its first sentences. Of both that and extraction: nearest: the reference of "
        "the training record with the most similar source (TF-IDF)"
    )
    patterns: list[str] = Field(
        default_factory=list, description="keyword: regular expressions; any match means positive (case ignored)"
    )
    sentences: int = Field(default=3, ge=1, description="lead: how many sentences")
    most_words: int | None = Field(
        default=None, ge=1, description="copy: words of the source; default: the task's max_new_tokens"
    )

    @model_validator(mode="after")
    def _patterns(self) -> "Baseline":
        if (self.kind == "keyword") != bool(self.patterns):
            raise ValueError("`patterns` goes with kind: keyword, and keyword needs at least one pattern")
        return self

    @property
    def kinds(self) -> frozenset[str]:
        if self.kind in WRITING_RULES:
            return frozenset({"generation", "extraction"} if self.kind == "nearest" else {"generation"})
        if self.kind == "lexicon":
            return frozenset({"multilabel"})
        every = {"classification", "multilabel", "multiple-choice", "extraction"}
        return frozenset(every if self.kind == "majority" else {"classification"})

    @property
    def holds_records(self) -> bool:
        return self.kind == "nearest"

    def obstacle(self, task: Task) -> str | None:
        if self.kind != "majority" and task.kind == "classification" and not task.binary:
            return f"{self.kind} needs a task with two labels, and this one has {len(task.labels)}"
        if self.kind == "lexicon" and lexicon_of(task) is None:
            return "lexicon needs a task that declares one (lexicon: cancer-types), and this one has none"
        if self.kind in (*WRITING_RULES, "keyword", "lexicon") and not task.text_inputs:
            return f"{self.kind} needs an input of type text, and there is none"
        return super().obstacle(task)


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
    words: bool = Field(
        default=False,
        description="tfidf-logistic, lasso: name in the report the words of texts with the largest weights, of those "
        "that ten or more patients of training have; a word may still be a name",
    )
    trees: int = Field(default=300, ge=1, description="random-forest: number of trees")
    max_depth: int | None = Field(default=None, ge=1, description="random-forest, gradient-boosting: depth limit")
    rounds: int = Field(default=100, ge=1, description="gradient-boosting: number of trees that are added up")
    learning_rate: float = Field(default=0.1, gt=0, description="gradient-boosting: share of each tree that is added")
    search: Search | None = Field(default=None, description=SEARCH)

    @property
    def searched(self) -> Search | None:
        return self.search

    @property
    def chooses(self) -> bool:
        return super().chooses or self.kind in ("tfidf-logistic", "lasso")

    @property
    def named_words(self) -> bool:
        return self.words

    @property
    def asked_importance(self) -> bool:
        return True

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset({"classification", "multilabel"})

    def obstacle(self, task: Task) -> str | None:
        if self.kind == "tfidf-logistic" and not task.text_inputs:
            return f"{self.kind} needs an input of type text, and there is none"
        return super().obstacle(task)


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
    max_steps: int | None = Field(
        default=None, ge=1, description="most optimizer steps, whatever `epochs` says; the schedule ends there"
    )
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
    checkpoint_every: int = Field(
        default=50,
        ge=1,
        description="most optimizer steps between resumable checkpoints; one is also written every 30 s",
    )
    gradient_checkpointing: bool = Field(default=False, description="recompute activations to save memory")

    def during(self, stage: StageSettings) -> "Train":
        """The settings of one stage."""
        return self.model_copy(update=stage.model_dump(exclude_none=True))


class Neural(ModelSection):
    """What encoders and causal models share."""

    neural: ClassVar[bool] = True
    #: Whether it reads prompts and predicts the tokens of answers; else it reads documents under a head of its own.
    prompted: ClassVar[bool] = False

    base: str = Field(
        description="clinfit/tiny, clinfit/minilm (the extra `minilm`), clinfit/smollm2 (see the guide on models), a "
        "folder (relative to the study file), or a hub id"
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

    importance: bool = Field(
        default=False,
        description="also measure how much the model needs each input, by shuffling it on validation: 5 answers an "
        "input for each of at most 500 records. Classical models are always asked",
    )
    search: Search | None = Field(default=None, description=SEARCH)

    @property
    def searched(self) -> Search | None:
        return self.search

    @property
    def chooses(self) -> bool:
        return not self.prompting

    @property
    def asked_importance(self) -> bool:
        return self.importance

    @property
    def trains_all(self) -> bool:
        """Whether all weights are trained instead of an adapter."""
        return False

    @property
    def prompting(self) -> bool:
        """Whether nothing is trained: the base is asked as it is, with examples where it is given some."""
        return False

    @property
    def four_bit(self) -> bool:
        """Whether 4-bit weights are asked for."""
        return False

    def stage_obstacle(self, stage: Stage) -> str | None:
        way = "merge" if stage.merge is not None else f"adapter: {stage.adapter}"
        if self.prompting and (way != "adapter: continue" or stage.retain is not None):
            return (
                f"`method: prompt` trains nothing, so {'retain' if way == 'adapter: continue' else way} means nothing; "
                "give it `stages` of its own"
            )
        if self.trains_all and way != "adapter: continue":
            return f"{way} needs adapters, and `method: full` trains all weights"
        if way in {"merge", "adapter: stack"} and (not self.merges or self.lora.dora):
            return f"{way} is for causal models with LoRA, whose adapters add up"
        if stage.retain is not None and stage.retain.kl:
            if self.focal_gamma:
                return "`kl` and `focal_gamma` do not go together: focal loss would weigh the divergence as well"
            if stage.retain.kl_to == "base" and not self.prompted:
                return "`kl_to: base` is for causal models: the base of an encoder has no head that could answer"
        return None


class Encoder(Neural):
    """A bidirectional encoder with a classification head."""

    family: Literal["encoder"] = Field(description="bidirectional encoders, such as BERT")
    method: Literal["lora", "full"] = Field(default="lora", description="train an adapter and the head, or all weights")

    @property
    def trains_all(self) -> bool:
        return self.method == "full"

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset({"classification", "multilabel"})


class Causal(Neural):
    """A causal language model, scored by the likelihood of each label."""

    untaught: ClassVar[bool] = True

    prompted: ClassVar[bool] = True
    merges: ClassVar[bool] = True

    family: Literal["causal"] = Field(description="decoder-only language models, such as Llama")
    method: Literal["lora", "prompt"] = Field(
        default="lora",
        description="lora: train an adapter; prompt: train nothing, and ask the base as it is, with `shots` examples",
    )
    shots: int = Field(
        default=0,
        ge=0,
        description="method: prompt: examples before every question, with their answers; drawn from the training split "
        "with the seed, as many of each label as there can be. Each is shortened to max_length / (shots + 1) tokens",
    )
    quantization: Literal["none", "4bit"] = Field(default="none", description="4bit: NF4 weights (needs a CUDA GPU)")
    compare_base: bool = Field(default=True, description="also evaluate the model before fine-tuning")
    generate: int = Field(
        default=0,
        ge=0,
        description="also let the model write a free answer of at most this many tokens, read by the strict parser and "
        "reported beside the label likelihood; 0: no",
    )

    @model_validator(mode="after")
    def _nothing_trained(self) -> "Causal":
        if self.shots and not self.prompting:
            raise ValueError("`shots` goes with method: prompt")
        fields = type(self).model_fields
        for name in ("class_weights", "focal_gamma", "sampling"):
            if self.prompting and getattr(self, name) != fields[name].default:
                raise ValueError(f"`method: prompt` trains nothing, so `{name}` means nothing")
        return self

    @property
    def prompting(self) -> bool:
        return self.method == "prompt"

    @property
    def repeats(self) -> bool:
        return not self.prompting or self.shots > 0

    @property
    def holds_records(self) -> bool:
        return self.shots > 0

    @property
    def four_bit(self) -> bool:
        return self.quantization == "4bit"

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset({"classification", "multilabel", "multiple-choice", "generation", "extraction"})

    def obstacle(self, task: Task) -> str | None:
        if isinstance(task, Writing):
            if self.train.select_by == "primary":
                return "select_by: primary would write every validation text at every validation; use select_by: loss"
            if self.train.max_length <= task.max_new_tokens:
                return (
                    f"max_length {self.train.max_length} leaves no room for a prompt beside max_new_tokens "
                    f"{task.max_new_tokens}"
                )
        if self.shots and task.kind == "multilabel":
            return "examples (`shots`) are for tasks with one answer a record"
        return super().obstacle(task)


ModelSpec = Annotated[Baseline | Classical | Encoder | Causal, Field(discriminator="family")]
