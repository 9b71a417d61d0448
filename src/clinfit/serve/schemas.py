"""What goes in and comes out, as OpenAPI shows it. Unknown fields are refused.

A body that is wrong in many places is refused at the first: whoever sends 100,000 numbers where texts belong would
otherwise have an error made of each, which takes minutes and gigabytes.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

DISCLAIMER = "For research. Not a medical device: a person who is responsible for the patient decides, never the model."

#: As packs/explain.py has it, whose imports this file does without.
Method = Literal["occlusion", "gradient"]
Cell = str | bool | int | float | Annotated[list[str], Field(fail_fast=True)] | None
Name = Annotated[str, Field(max_length=200)]
#: Most fields of one object.
FIELDS = 1000


def few_fields(value: Any) -> Any:
    """Refuse an object of very many fields before each is looked at."""
    if isinstance(value, dict) and len(value) > FIELDS:
        raise PydanticCustomError("too_many_fields", "more than {most} fields", {"most": FIELDS})
    return value


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    _few = model_validator(mode="before")(few_fields)


class Response(BaseModel):
    model_config = ConfigDict(protected_namespaces=())


class RecordIn(Request):
    """A record by the names of the task's inputs; null is a missing value."""

    id: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="comes back with the answer; default: its position, from 1"
    )
    inputs: Annotated[dict[str, Cell], BeforeValidator(few_fields)] = Field(
        description="name of the input -> value; every input of the task is named"
    )


Records = Annotated[list[str | RecordIn], Field(fail_fast=True)]


class ClassifyRequest(Request):
    """One record or several. A text alone is put into the task's text input."""

    model: Name | None = Field(default=None, description="a name of /v1/models; may be left out where there is one")
    input: str | RecordIn | Records = Field(description="a text, a record, or a list of them")
    explain: bool = Field(default=False, description="also say what moved the probability: costs many answers")
    explain_by: Method = Field(
        default="occlusion", description="occlusion: the answer without each thing; gradient: what a model looked at"
    )

    @property
    def explained(self) -> Method | None:
        """How answers are to be explained, where they are."""
        return self.explain_by if self.explain else None

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra={
            "examples": [
                {"input": "We report the outcome of 40 patients with a tumour of the lung."},
                {
                    "model": "tfidf-seed42/cancer",
                    "input": [{"id": "a", "inputs": {"text": "A tumour was seen.", "age": 61}}],
                    "explain": True,
                },
            ]
        },
    )


class WriteRequest(Request):
    """One record or several of a task that asks for texts."""

    model: Name | None = Field(default=None, description="a name of /v1/models; may be left out where there is one")
    input: str | RecordIn | Records = Field(description="a text, a record, or a list of them")

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra={
            "examples": [
                {"input": "Dear colleague, the patient fell on day 3. No fracture was seen."},
                {"model": "small-seed42/note", "input": [{"id": "a", "inputs": {"text": "Fell on day 3."}}]},
            ]
        },
    )


class ItemError(Response):
    """Why a record has no answer."""

    code: str
    detail: str = ""


class Effect(Response):
    """What one thing of the record did. effect: probability of the record less that without it; by gradient its share
    in it."""

    input: str
    start: int | None = Field(description="first character of the span in the text as it was sent; null for a value")
    end: int | None = Field(description="character behind the span")
    instead: str | float | None = Field(description="what was put in the place of a value")
    probability: float | None = Field(description="without it; null by gradient, which takes nothing away")
    effect: float


class FaithfulnessOut(Response):
    """How far the probability goes back without the `taken` things that move it most in one direction (`raise_it`), and
    without others instead, the mean of so many draws; further: than in how many of them. Where `named` is not larger
    than `drawn`, do not read the order of the effects."""

    taken: int
    raise_it: bool
    named: float
    drawn: float
    further: int
    draws: int


class ExplanationOut(Response):
    """The effects, the largest first. meaning: what they are and are not. faithfulness: null for few effects."""

    method: Method
    label: str
    probability: float
    effects: list[Effect]
    left_out: dict[str, str]
    meaning: str
    faithfulness: FaithfulnessOut | None


class TypeOut(Response):
    """A declared type. decided: its score reaches the threshold. mentioned: the text names it and does not deny it."""

    type: str
    score: float
    threshold: float | None
    decided: bool
    mentioned: bool


class DiseaseOut(Response):
    """A name in the text. negated: words before deny it."""

    type: str
    input: str = Field(description="in which input it stands")
    text: str
    start: int = Field(description="first character of the name in the text as it was sent")
    end: int = Field(description="character behind the name")
    negated: bool


class ItemOut(Response):
    """The answer to one record, or why there is none."""

    index: int
    id: str
    label: str | None = Field(default=None, description="the decision as text")
    probs: list[float] | None = Field(default=None, description="probabilities in the order of `labels`")
    num_classes: int | None = None
    predicted: str | list[str] | None = Field(default=None, description="the most probable label, or all from 0.5 on")
    decision: str | list[str] | None = Field(default=None, description="the same under the evaluation's threshold")
    threshold: dict[str, float] | None = None
    probabilities: dict[str, float] | None = None
    types: list[TypeOut] | None = Field(default=None, description="of tasks with a lexicon: each declared type")
    extracted_diseases: list[DiseaseOut] | None = Field(
        default=None, description="of tasks with a lexicon: every name of a type in the text"
    )
    text: str | None = Field(default=None, description="what was written, of tasks that ask for texts")
    finish_reason: Literal["stop", "length"] | None = Field(default=None, description="length: it ended at the limit")
    prompt_tokens: int | None = Field(default=None, description="of a text: that the model read; null of rules")
    output_tokens: int | None = Field(default=None, description="of a text: that it took; null of rules")
    extracted: dict[str, Any] | None = Field(
        default=None, description="field -> value, of tasks that ask for declared fields; null for an invalid text"
    )
    status: Literal["ok", "refer", "invalid"] | None = Field(
        default=None, description="refer: a person decides; invalid: the text is no object of the declared fields"
    )
    notes: list[str] | None = Field(
        default=None,
        description="on values that training has not seen, and numbers of a written text that the record does not hold",
    )
    prediction_set: list[str] | None = None
    engine: str | None = Field(default=None, description="what computed the answer")
    dropped_tokens: int | None = Field(default=None, description="tokens of the text that the model did not see")
    truncated: bool | None = Field(default=None, description="null where it is not known")
    explanation: ExplanationOut | None = None
    error: ItemError | None = None


class Provenance(Response):
    """Who answered. pack: SHA-256 of the pack. engine: what computes."""

    model: str
    task: str
    kind: str
    labels: list[str]
    pack: str
    engine: str


class ClassifyResponse(Provenance):
    id: str
    object: Literal["list"] = "list"
    created: int
    data: list[ItemOut]
    disclaimer: str = DISCLAIMER


# ---------------------------------------------------------------- models and jobs


class InputOut(Response):
    """An input of a task. values: categories that training has seen; low, high: its range."""

    name: str
    title: str
    column: str = Field(description="its column in a table")
    type: Literal["text", "number", "category"]
    unit: str | None = None
    values: list[str] | None = None
    low: float | None = None
    high: float | None = None
    main: bool = Field(default=False, description="whether a text alone is put here")


class ModelOut(Provenance):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "clinfit"
    study: str
    run: str
    family: str
    base: str | None
    route: str = Field(description="where it is asked")
    explained_by: list[Method] = Field(
        description="what its answers can be explained by; none of tasks that ask for a text"
    )
    inputs: list[InputOut]
    options: list[str] = Field(description="of a multiple-choice task: the inputs behind its letters")
    positive: str | None
    lexicon: str | None = Field(description="whose names an answer finds in the text; such a task has /v1/cancer-types")
    threshold: dict[str, float]
    label_weights: dict[str, float] = Field(
        description="of more than two labels: what each probability is multiplied by before the largest is taken"
    )
    refers: bool = Field(description="whether some records are for a person to decide")
    n: int = Field(description="records behind `metrics`")
    metrics: dict[str, Any] = Field(description="what the evaluation measured")
    cross_validation: str | None = Field(
        description="null where `metrics` are of this very model; of a model that was refitted on all records the "
        "cross-validation that they are of"
    )
    recalibrated: str | None = Field(
        description="of a recalibrated pack the records that `n` and `metrics` are of; null of every other"
    )
    withheld: dict[str, str] = Field(description="tasks that the pack does not answer, and why")


class ModelList(Response):
    object: Literal["list"] = "list"
    data: list[ModelOut]
    limits: dict[str, int]
    keys: bool = Field(description="whether an API key is needed")
    version: str
    disclaimer: str = DISCLAIMER


class JobRequest(Request):
    """A job of records. Tables are sent as they are instead, with their own content type and `?model=`."""

    model: Name | None = None
    input: Annotated[Records, Field(min_length=1)]

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra={"examples": [{"input": [{"id": "a", "inputs": {"text": "A tumour was seen.", "age": 61}}]}]},
    )


class JobOut(Response):
    """A job. Counts are of records; failed: have no answer; referred: are for a person to decide."""

    id: str
    object: Literal["job"] = "job"
    model: str
    task: str
    pack: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]
    total: int
    done: int
    failed: int
    referred: int
    created: float
    started: float | None
    ended: float | None
    revision: int


class JobList(Response):
    """Jobs, the newest first. next: `before` of the following page, null at the end."""

    object: Literal["list"] = "list"
    data: list[JobOut]
    next: str | None = None


class ResultPage(Response):
    """Results from a position on. next: where the following page begins, null at the end."""

    job: JobOut
    data: list[ItemOut]
    next: int | None
    disclaimer: str = DISCLAIMER


class FailureOut(Response):
    """A record without an answer, and why. time: seconds since 1970."""

    index: int
    id: str
    code: Literal["unanswered", "invalid-record"] = Field(
        description="unanswered: it was given up after its last try; invalid-record: it is not what the task asks for"
    )
    detail: str
    time: float


class FailurePage(Response):
    """Failures from a position on. next: where the following page begins, null at the end."""

    job: JobOut
    data: list[FailureOut]
    next: int | None


class TextRequest(Request):
    text: str = Field(min_length=1)

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"text": "Forty patients with a tumour of the lung."}]}
    )


class Prediction(Response):
    prediction_id: str
    message: str


class PredictionResult(Response):
    prediction_id: str
    status: str
    result: ItemOut | None = None
    disclaimer: str = DISCLAIMER


class Health(Response):
    status: Literal["ok", "unavailable"]
    reason: str | None = None


class ErrorPlace(Response):
    """Where a request is wrong: a parameter, or a part of the body."""

    parameter: str | None = Field(default=None, description="of the address, its query or the headers")
    pointer: str | None = Field(
        default=None, description="JSON pointer into the body; `*` is a key that is not among the known ones"
    )
    code: str


class OpenAIError(Response):
    """A problem as OpenAI's libraries show it."""

    message: str
    type: str
    code: str


class ProblemOut(Response):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str | None = None
    request_id: str | None = None
    errors: list[ErrorPlace] | None = None
    error: OpenAIError | None = Field(default=None, description="at OpenAI's addresses alone")
