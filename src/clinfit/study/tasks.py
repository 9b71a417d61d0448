"""The tasks of a study, by kind: what is asked of a record."""

from collections.abc import Mapping
from string import ascii_uppercase
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, TypeAdapter, model_validator

from clinfit.study.data import AnswerColumns, Data
from clinfit.study.evaluation import (
    ClassificationEvaluation,
    ExtractionEvaluation,
    GenerationEvaluation,
    MultilabelEvaluation,
    MultipleChoiceEvaluation,
)
from clinfit.study.fields import ExtractedField, FieldType
from clinfit.study.lexicon import Lexicon, NamedLexicon
from clinfit.study.section import Name, Section

#: A label of a multilabel task is predicted from this probability on, unless a threshold is chosen.
HOLDS = 0.5
#: The ways in which a multiple-choice record is scored.
SCORINGS = ("letters", "texts", "texts-normalised")


class TaskBase(Section):
    """What every kind of task has."""

    data: Data = Field(description="where the records come from")
    prompt: str | None = Field(
        default=None,
        description="prompt for language models: a file relative to the study file, or the text itself (it then holds "
        "`{{`). Loading replaces the file's name by its text, which knows the task's name as `task`, so that runs and "
        "packs carry the text",
    )
    system: str | None = Field(default=None, description="system message for language models")

    @model_validator(mode="after")
    def _mask(self) -> Self:
        if self.data.clean.mask_lexicon and lexicon_of(self) is None:
            raise ValueError("clean.mask_lexicon needs a lexicon of the task, such as lexicon: cancer-types")
        return self

    @property
    def text_inputs(self) -> list[str]:
        """The inputs of type text."""
        return [name for name, column in self.data.columns.items() if column.type == "text"]

    @property
    def binary(self) -> bool:
        """Whether one of two labels is asked for."""
        return False

    @property
    def positive_label(self) -> str | None:
        """The positive label of a binary task, None for every other."""
        return None


class Labelled(TaskBase):
    """What tasks with declared labels have in common."""

    labels: list[str] = Field(min_length=2, description="all labels, in the order of every table and probability")
    lexicon: NamedLexicon | None = Field(
        default=None,
        description="the names by which texts call the labels: cancer-types, or a block of types; answers then say "
        "where the text names which of them, the rule `lexicon` answers by them, and `clean.mask_lexicon` hides them",
    )

    @model_validator(mode="after")
    def _names(self) -> Self:
        _distinct(self.labels)
        known = self.lexicon
        if known is not None and (odd := [label for label in self.labels if label not in known.types]):
            raise ValueError(f"labels {odd} are not types of the lexicon {known.name}: {', '.join(known.types)}")
        return self


class Classification(Labelled):
    """One of several labels holds for a record."""

    kind: Literal["classification"] = Field(default="classification", description="one label out of several")
    positive: str | None = Field(
        default=None, description="the positive label of a binary task; default: the last label"
    )
    evaluation: ClassificationEvaluation | None = Field(
        default=None, description="settings of this task alone; default: those of the study"
    )

    @model_validator(mode="after")
    def _labels(self) -> "Classification":
        if self.positive is not None and self.positive not in self.labels:
            raise ValueError(f"positive: {self.positive!r} is not one of the labels {self.labels}")
        if isinstance(self.data.label, AnswerColumns):
            raise ValueError("one column a label is for tasks of kind multilabel; give one label column")
        _mapped(self.data, self.labels)
        return self

    @property
    def binary(self) -> bool:
        return len(self.labels) == 2

    @property
    def positive_label(self) -> str | None:
        return (self.positive or self.labels[-1]) if self.binary else None


class Multilabel(Labelled):
    """Any number of the labels hold for a record, none of them too."""

    kind: Literal["multilabel"] = Field(description="any number of labels")
    evaluation: MultilabelEvaluation | None = Field(
        default=None, description="settings of this task alone; default: those of the study"
    )

    @model_validator(mode="after")
    def _labels(self) -> "Multilabel":
        if any("|" in label for label in self.labels):
            raise ValueError("a label of a multilabel task may not hold |, which joins labels in tables")
        if isinstance(self.data.label, AnswerColumns):
            if set(self.data.label.columns) != set(self.labels):
                odd = sorted(set(self.data.label.columns) ^ set(self.labels))
                raise ValueError(f"label.columns must name a column for each label and no other; differing: {odd}")
        else:
            _mapped(self.data, self.labels)
        return self


class MultipleChoice(TaskBase):
    """One of several options, whose texts are inputs of the record and differ from record to record."""

    kind: Literal["multiple-choice"] = Field(description="one option out of several that each record brings along")
    options: list[str] = Field(
        min_length=2,
        max_length=26,
        description="names of the inputs that hold the options; they are called A, B, C ...",
    )
    answer: Literal["letters", "texts", "texts-normalised"] = Field(
        default="letters",
        description="what is trained, and which score is the answer: the option's letter; its text; its text with the "
        "log-likelihood divided by its bytes. A causal model reports all three",
    )
    evaluation: MultipleChoiceEvaluation | None = Field(
        default=None, description="settings of this task alone; default: those of the study"
    )

    @model_validator(mode="after")
    def _options(self) -> "MultipleChoice":
        if len(set(self.options)) != len(self.options):
            raise ValueError("options must differ from each other")
        unknown = [name for name in self.options if name not in self.data.inputs]
        if unknown:
            raise ValueError(f"options name {unknown}, which are not among the inputs {list(self.data.inputs)}")
        if isinstance(self.data.label, AnswerColumns):
            raise ValueError("one column a label is for tasks of kind multilabel; give one label column")
        _mapped(self.data, self.labels)
        return self

    @property
    def labels(self) -> list[str]:
        """The options' letters, in their order."""
        return list(ascii_uppercase[: len(self.options)])


class Sampling(Section):
    """How tokens are drawn: logits are divided by `temperature`, and only the most probable tokens are kept that
    together have a probability of `top_p` (nucleus sampling, Holtzman et al., 2020)."""

    temperature: float = Field(default=1.0, gt=0, description="below 1 the probable tokens become more so")
    top_p: float = Field(default=1.0, gt=0, le=1, description="share that the tokens that may be drawn have together")


class Writing(TaskBase):
    """What tasks that ask for a text have in common."""

    source: list[str] | None = Field(
        default=None,
        min_length=1,
        description="inputs that a text must rest on: numbers and names that they do not hold count as unsupported; "
        "default: every input",
    )
    max_new_tokens: int = Field(
        default=128, ge=1, description="most tokens that a model writes; so much room is kept behind every prompt"
    )
    sampling: Sampling | None = Field(
        default=None,
        description="draw each token instead of taking the most probable one; each record draws from the model's seed "
        "and its id, so that evaluation and pack write the same. Default: greedy",
    )

    @model_validator(mode="after")
    def _sources(self) -> Self:
        unknown = [name for name in self.source or () if name not in self.data.inputs]
        if unknown:
            raise ValueError(f"source names {unknown}, which are not among the inputs {list(self.data.inputs)}")
        return self

    @property
    def labels(self) -> list[str]:
        """None: texts are not chosen from a list."""
        return []

    @property
    def sources(self) -> list[str]:
        """The inputs that a text must rest on."""
        return list(self.data.columns) if self.source is None else self.source


class Generation(Writing):
    """A text is asked for: an answer to a question, a summary. `data.label` names the column of reference texts."""

    kind: Literal["generation"] = Field(description="a text; the label column holds references")
    long_input: Literal["shorten", "map-reduce"] = Field(
        default="shorten",
        description="what becomes of a record that is longer than a model reads. shorten: text is left out, as the "
        "model's `shorten` says. map-reduce: its longest text is divided at sentence ends, the model writes to each "
        "piece, and then to what it wrote, again until that fits; in answers only: training, and the likelihood of "
        "references, shorten all the same",
    )
    evaluation: GenerationEvaluation | None = Field(
        default=None, description="settings of this task alone; default: those of the study"
    )

    @model_validator(mode="after")
    def _texts(self) -> "Generation":
        if isinstance(self.data.label, AnswerColumns) or self.data.label_column.map is not None:
            raise ValueError("the label of a generation task is one column of texts, and takes neither map nor columns")
        if self.long_input == "map-reduce" and self.data.columns and not self.text_inputs:
            raise ValueError("long_input: map-reduce divides an input of type text, and there is none; leave it out")
        asked = self.evaluation and self.evaluation.abstention
        if asked and (odd := [name for name in asked.inputs if name not in self.data.inputs]):
            raise ValueError(f"evaluation.abstention.inputs names {odd}, not among the inputs {list(self.data.inputs)}")
        if asked and not {*self.data.inputs} - {*asked.inputs}:
            raise ValueError(
                "evaluation.abstention.inputs names all inputs, so that nothing is asked without them, and those of "
                "another are another record; name those that hold the answer, and leave out what asks for it"
            )
        return self


class Extraction(Writing):
    """The values of declared fields are asked for, as one JSON object. `data.label` names where the true ones stand."""

    kind: Literal["extraction"] = Field(description="declared fields, written as a JSON object")
    fields: dict[Name, ExtractedField | FieldType] = Field(
        min_length=1,
        description="field -> its type (string, number, integer, boolean, list), or a block; the order is that of the "
        "JSON object",
    )
    evaluation: ExtractionEvaluation | None = Field(
        default=None, description="settings of this task alone; default: those of the study"
    )

    @model_validator(mode="after")
    def _fields(self) -> "Extraction":
        if isinstance(self.data.label, AnswerColumns):
            if odd := sorted(set(self.data.label.columns) ^ set(self.fields)):
                raise ValueError(f"label.columns must name a column for each field and no other; differing: {odd}")
        elif self.data.label_column.map is not None:
            raise ValueError("the label of an extraction task is a column of JSON objects, or label: {columns: {...}}")
        if self.data.clean.deidentify:
            raise ValueError(
                "clean.deidentify replaces names in the inputs, and the true fields would keep them: take one of the "
                "two out"
            )
        return self

    @property
    def declared(self) -> dict[str, ExtractedField]:
        """The fields with their defaults filled in."""
        return {
            name: ExtractedField(type=field) if isinstance(field, str) else field for name, field in self.fields.items()
        }


#: A task that asks for a text.
TextTask = Generation | Extraction


def lexicon_of(task: TaskBase) -> Lexicon | None:
    """The names of the task's labels in texts, where it declares them."""
    return task.lexicon if isinstance(task, Labelled) else None


def _distinct(labels: list[str]) -> None:
    if len(set(labels)) != len(labels):
        raise ValueError("labels must differ from each other")
    if any(not label.strip() for label in labels):
        raise ValueError("a label may not be empty")


def _mapped(data: Data, labels: list[str]) -> None:
    mapped = data.label_column.map or {}
    unknown = sorted({label for label in mapped.values() if label not in labels})
    if unknown:
        raise ValueError(f"label map names {unknown}, which are not among the labels {labels}")


def _kind(value: Any) -> str | None:
    """The kind of a task block; one that names none is a classification."""
    return value.get("kind", "classification") if isinstance(value, Mapping) else getattr(value, "kind", None)


Task = Annotated[
    Annotated[Classification, Tag("classification")]
    | Annotated[Multilabel, Tag("multilabel")]
    | Annotated[MultipleChoice, Tag("multiple-choice")]
    | Annotated[Generation, Tag("generation")]
    | Annotated[Extraction, Tag("extraction")],
    Discriminator(_kind),
]

_TASK: TypeAdapter[Task] = TypeAdapter(Task)


def task_from(content: Any) -> Task:
    """A task from its block, of whatever kind; raises pydantic's ValidationError."""
    return _TASK.validate_python(content)
