"""What goes in and comes out at OpenAI's addresses."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from clinfit.serve.schemas import DISCLAIMER, Name, Provenance, Request, Response


class TextPart(Request):
    type: Literal["text"]
    text: str


class UserMessage(Request):
    """The record. What the system says and what was said before is the pack's own, and refused."""

    role: Literal["user"]
    content: str | Annotated[list[TextPart], Field(fail_fast=True)]
    name: None = None

    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


#: An empty list or object, which leaves things as they are.
Nothing = Annotated[list[Any], Field(max_length=0)] | None
NoEntries = Annotated[dict[str, Any], Field(max_length=0)] | None


class StreamOptions(Request):
    include_usage: bool | None = Field(default=None, description="of a stream: a last piece with the tokens")
    include_obfuscation: Literal[False] | None = None


class ResponseFormat(Request):
    type: Literal["text"] = "text"


class AsEvaluated(Request):
    """Settings of OpenAI's with the values that leave a pack as it was evaluated: one text, its own limit and draws.

    Libraries send many of them as they are when nobody sets them; null always is such a value. seed, user and what else
    OpenAI tells askers apart by change nothing, and are not kept.
    """

    model: Name | None = Field(default=None, description="a name of /v1/models; may be left out where there is one")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(default=None, description="not below the pack's own limit")
    temperature: Literal[0] | None = Field(default=None, description="as evaluated, where it is left out")
    top_p: Literal[1] | None = None
    n: Literal[1] | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None
    stop: Nothing = None
    logit_bias: NoEntries = None
    seed: int | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    store: Literal[False] | None = None
    metadata: NoEntries = None
    service_tier: Literal["auto", "default"] | None = None


class ChatRequest(AsEvaluated):
    """One user message: the text of a record, or a JSON object with its inputs where the task has several."""

    messages: list[UserMessage] = Field(min_length=1, max_length=1, fail_fast=True)
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = Field(default=None, description="as max_tokens")
    logprobs: Literal[False] | None = None
    top_logprobs: Literal[0] | None = None
    response_format: ResponseFormat | None = None
    tools: Nothing = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = Field(default=None, description="there are no tools")
    functions: Nothing = None
    function_call: Literal["none", "auto"] | None = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=1)] | None = None
    audio: None = None
    prediction: None = None
    reasoning_effort: None = None
    verbosity: None = None
    web_search_options: None = None

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra={
            "examples": [{"model": "small-seed42/note", "messages": [{"role": "user", "content": "Fell on day 3."}]}]
        },
    )

    def most_tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class CompletionRequest(AsEvaluated):
    """prompt: the text of a record, or of several; a JSON object with its inputs where the task has several."""

    prompt: str | Annotated[list[str], Field(min_length=1, fail_fast=True)]
    best_of: Literal[1] | None = None
    echo: Literal[False] | None = None
    logprobs: Literal[False] | None = None
    suffix: Literal[""] | None = None

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra={"examples": [{"model": "small-seed42/note", "prompt": ["Fell on day 3.", "Slept well."]}]},
    )

    def most_tokens(self) -> int | None:
        return self.max_tokens


class WrittenAs(Provenance):
    """Who wrote a text, and what its reader should know."""

    status: Literal["ok", "refer", "invalid"]
    notes: list[str]
    truncated: bool | None
    disclaimer: str = DISCLAIMER


class Usage(Response):
    """Tokens of all texts of an answer, counted by the model's own tokenizer. prompt_tokens: that were read, the pack's
    own prompt and all pieces of a long record among them; completion_tokens: of the texts, without end tokens and
    without what was written to pieces."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatMessage(Response):
    role: Literal["assistant"] = "assistant"
    content: str


class ChatChoice(Response):
    index: int
    message: ChatMessage
    finish_reason: Literal["stop", "length"] | None
    logprobs: None = None


class ChatCompletion(Response):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage | None = Field(description="null of rules, which have no tokens")
    clinfit: list[WrittenAs] = Field(description="of each choice: beside what OpenAI's answers have")


class TextChoice(Response):
    index: int
    text: str
    finish_reason: Literal["stop", "length"] | None
    logprobs: None = None


class Completion(Response):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | None = Field(description="null of rules, which have no tokens")
    clinfit: list[WrittenAs] = Field(description="of each choice: beside what OpenAI's answers have")
