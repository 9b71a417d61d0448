"""The models of a study, by family."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from clinfit.study.model_section import ModelSection
from clinfit.study.remote import Remote
from clinfit.study.search import Search
from clinfit.study.stages import Stage
from clinfit.study.tasks import Task, Writing, lexicon_of
from clinfit.study.train import Lora, Train

Weight = Annotated[float, Field(gt=0)]
LabelWeights = Literal["none", "balanced"] | dict[str, Weight]

SEARCH = "settings of this block that are chosen by trying them on validation (the extra `search`)"


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
    def _of_its_kind(self) -> "Baseline":
        if (self.kind == "keyword") != bool(self.patterns):
            raise ValueError("`patterns` goes with kind: keyword, and keyword needs at least one pattern")
        fields = type(self).model_fields
        for name, kind in (("sentences", "lead"), ("most_words", "copy")):
            if self.kind != kind and getattr(self, name) != fields[name].default:
                raise ValueError(f"`{name}` goes with kind: {kind}, and the kind is {self.kind}")
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


class Neural(ModelSection):
    """What encoders and causal models share."""

    neural: ClassVar[bool] = True
    language_model: ClassVar[bool] = True
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
    def processes(self) -> int:
        return self.train.processes

    @property
    def asked_importance(self) -> bool:
        return self.importance

    @property
    def trains_all(self) -> bool:
        """Whether all weights are trained instead of an adapter."""
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
        if way == "adapter: stack" and self.processes > 1:
            return "adapter: stack is put together by one process; leave out train.processes"
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


class LanguageModel(Neural):
    """A causal language model, scored by the likelihood of each answer, whatever computes it."""

    untaught: ClassVar[bool] = True
    prompted: ClassVar[bool] = True

    compare_base: bool = Field(default=True, description="also evaluate the model before fine-tuning")
    generate: int = Field(
        default=0,
        ge=0,
        description="also let the model write a free answer of at most this many tokens, read by the strict parser and "
        "reported beside the label likelihood; 0: no",
    )

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
        return super().obstacle(task)


class Causal(LanguageModel):
    """A causal language model that PyTorch computes."""

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

    @model_validator(mode="after")
    def _nothing_trained(self) -> "Causal":
        if self.shots and not self.prompting:
            raise ValueError("`shots` goes with method: prompt")
        fields = type(self).model_fields
        for name in ("class_weights", "focal_gamma", "sampling"):
            if self.prompting and getattr(self, name) != fields[name].default:
                raise ValueError(f"`method: prompt` trains nothing, so `{name}` means nothing")
        if self.prompting and self.processes > 1:
            raise ValueError("`method: prompt` trains nothing, so `train.processes` means nothing")
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

    def obstacle(self, task: Task) -> str | None:
        if self.shots and task.kind == "multilabel":
            return "examples (`shots`) are for tasks with one answer a record"
        return super().obstacle(task)


class Mlx(LanguageModel):
    """A causal language model that MLX computes; its adapters are those of `causal`."""

    family: Literal["mlx"] = Field(
        description="decoder-only language models computed by MLX (the extra `mlx`), for Macs with Apple's processors"
    )
    method: Literal["lora"] = Field(default="lora", description="lora: train an adapter")
    quantization: Literal["none"] = Field(default="none", description="weights are not quantized in this family")

    @model_validator(mode="after")
    def _what_mlx_does(self) -> "Mlx":
        if self.lora.dora:
            raise ValueError("family mlx trains LoRA and rsLoRA; leave out `lora.dora`, or use family causal")
        if self.processes > 1:
            raise ValueError("family mlx computes in one process; leave out `train.processes`, or use family causal")
        if self.train.precision == "fp16":
            raise ValueError("family mlx computes in fp32 or bf16; set train.precision to one of them, or to auto")
        if self.train.gradient_checkpointing:
            raise ValueError(
                "family mlx keeps all activations: leave out `train.gradient_checkpointing`; a smaller "
                "train.batch_tokens saves memory"
            )
        return self

    def stage_obstacle(self, stage: Stage) -> str | None:
        way = "merge" if stage.merge is not None else f"adapter: {stage.adapter}"
        if way not in {"adapter: continue", "adapter: new"} or (stage.retain is not None and stage.retain.kl):
            way = way if way in {"merge", "adapter: stack"} else "retain.kl"
            return f"family mlx has `adapter: continue` and `new`, `rehearsal` and `l2`; {way} is for family causal"
        return super().stage_obstacle(stage)


ModelSpec = Annotated[Baseline | Classical | Encoder | Causal | Mlx | Remote, Field(discriminator="family")]
