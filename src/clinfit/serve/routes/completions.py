"""OpenAI's addresses, for packs that write: POST /v1/chat/completions and /v1/completions.

A pack brings its prompt, its system text, its limit and its way to choose tokens, and what was evaluated is a record
under all of these. So a user message or a prompt is one record, and whatever would have the pack write otherwise than
it was evaluated is refused, never passed over. Nothing of the records or the texts is kept.
"""

import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import StreamingResponse

from clinfit.data.records import Record
from clinfit.serve.kinds import TEXTS
from clinfit.serve.models import ServedModel
from clinfit.serve.problems import Problem
from clinfit.serve.records import inputs_of
from clinfit.serve.routes.asking import Classifies, Serving, find_model, problems
from clinfit.serve.routes.classify import Asked, answer_out, counted, provenance, read_items, said, taken
from clinfit.serve.routes.following import pieces
from clinfit.serve.schemas import ItemOut, RecordIn
from clinfit.serve.schemas_openai import (
    ChatChoice,
    ChatCompletion,
    ChatMessage,
    ChatRequest,
    Completion,
    CompletionRequest,
    TextChoice,
    Usage,
    WrittenAs,
)
from clinfit.serve.security import Key
from clinfit.serve.service import Service
from clinfit.study.tasks import Writing

router = APIRouter(tags=["write"])

STREAM = "text/event-stream"
DECLARED = {
    200: {"content": {STREAM: {"schema": {"type": "string"}}}},
    **problems("unknown-model", "media-type", "rate", "queue-full", "late"),
}


@router.post("/v1/chat/completions", response_model=ChatCompletion, responses=DECLARED, summary="As OpenAI's chat")
async def chat(body: ChatRequest, request: HttpRequest, service: Serving, key: Classifies) -> Any:
    """The text for the record in the user message, exactly as `clinfit predict` writes it.

    A task with several inputs takes them as one JSON object. A stream has the text as it is written, about a word
    behind.
    """
    model = find_model(service, body.model)
    _check_written(model, body)
    asked = Asked(TEXTS.route, [_item(model, body.messages[0].text())], model.name)
    head = _head(model, "chatcmpl")
    if body.stream:
        return await _streamed(_chat_lines(head, await _begun(asked, request, service, key), _tells_usage(body)))
    _, (item,) = await said(asked, request, service, key)
    _check_answered(item, prompts=1)
    return ChatCompletion(
        **head,
        choices=[ChatChoice(index=0, message=ChatMessage(content=item.text or ""), finish_reason=item.finish_reason)],
        usage=_usage([item]),
        clinfit=[_written_as(model, item)],
    )


@router.post("/v1/completions", response_model=Completion, responses=DECLARED, summary="As OpenAI's completions")
async def complete(body: CompletionRequest, request: HttpRequest, service: Serving, key: Classifies) -> Any:
    """A text for each prompt, which is a record and not a prompt of your own: the pack brings that."""
    model = find_model(service, body.model)
    _check_written(model, body)
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    asked = Asked(TEXTS.route, [_item(model, prompt) for prompt in prompts], model.name)
    head = _head(model, "cmpl")
    if body.stream:
        return await _streamed(_text_lines(head, await _begun(asked, request, service, key), _tells_usage(body)))
    _, data = await said(asked, request, service, key)
    for item in data:
        _check_answered(item, prompts=len(data))
    return Completion(
        **head,
        choices=[
            TextChoice(index=k, text=item.text or "", finish_reason=item.finish_reason) for k, item in enumerate(data)
        ],
        usage=_usage(data),
        clinfit=[_written_as(model, item) for item in data],
    )


def _head(model: ServedModel, kind: str) -> dict[str, Any]:
    return {"id": f"{kind}-{uuid4().hex}", "created": int(time.time()), "model": model.name}


def _check_written(model: ServedModel, body: ChatRequest | CompletionRequest) -> None:
    """Raises Problem where the model does not write, or would have to stop before its own limit."""
    task = model.task
    if not isinstance(task, Writing):
        raise Problem("invalid", "this model has labels and writes no text: ask it at /v1/classify")
    if task.sampling is not None and body.temperature is not None:
        place = {"pointer": "#/temperature", "code": "not_evaluated"}
        raise Problem("invalid", "the pack draws its tokens as it was evaluated: leave it out", errors=[place])
    limit = body.most_tokens()
    if limit is not None and limit < task.max_new_tokens:
        named = "max_tokens" if limit == body.max_tokens else "max_completion_tokens"
        raise Problem(
            "invalid",
            f"the pack writes at most {task.max_new_tokens} tokens: ask for as many, or leave the limit out",
            errors=[{"pointer": f"#/{named}", "code": "greater_than_equal"}],
        )


def _item(model: ServedModel, text: str) -> str | RecordIn:
    """A text as a record: of a task with one input the text itself, else a JSON object with its inputs."""
    names = list(model.task.data.columns)
    if len(names) == 1:
        return text
    if (inputs := inputs_of(text)) is not None:
        return RecordIn(inputs=inputs)
    raise Problem("invalid-record", f"the task reads several inputs: send one JSON object with {', '.join(names)}")


def _check_answered(item: ItemOut, prompts: int) -> None:
    """OpenAI's answers have no place for what is wrong with one of several prompts."""
    if item.error is not None:
        raise Problem(item.error.code, _which(item.index, prompts) + item.error.detail)


def _which(index: int, prompts: int) -> str:
    return f"prompt {index + 1}: " if prompts > 1 else ""


def _usage(items: Sequence[ItemOut]) -> Usage | None:
    """The tokens of all texts; None where they are not known of one."""
    read = [item.prompt_tokens for item in items if item.prompt_tokens is not None]
    written = [item.output_tokens for item in items if item.output_tokens is not None]
    if min(len(read), len(written)) < len(items):
        return None
    return Usage(prompt_tokens=sum(read), completion_tokens=sum(written), total_tokens=sum(read) + sum(written))


def _tells_usage(body: ChatRequest | CompletionRequest) -> bool:
    """Whether a stream is to end with its tokens."""
    return body.stream_options is not None and bool(body.stream_options.include_usage)


def _written_as(model: ServedModel, item: ItemOut) -> WrittenAs:
    """What OpenAI's answers have no place for."""
    return WrittenAs(status=item.status or "ok", notes=item.notes or [], truncated=item.truncated, **provenance(model))


# ---------------------------------------------------------------- streams


@dataclass(frozen=True)
class Part:
    """A piece of a text, and with its last one what is said of the text (`Piece`)."""

    index: int
    text: str
    item: ItemOut | None
    clinfit: WrittenAs | None


async def _begun(asked: Asked, request: HttpRequest, service: Service, key: Key) -> AsyncGenerator[Part]:
    """The texts piece by piece; raises Problem for records that cannot be asked."""
    model, items = taken(asked, request, service, key)
    read = await read_items(service, model, items)
    for index, found in read.items():
        if isinstance(found, Problem):
            counted(service, model, None)
            raise Problem(found.code, _which(index, len(items)) + found.detail)
    return _parts(service, model, [found for found in read.values() if isinstance(found, Record)])


async def _parts(service: Service, model: ServedModel, records: Sequence[Record]) -> AsyncGenerator[Part]:
    async with aclosing(pieces(service, model, records)) as found:
        async for piece in found:
            if piece.answer is None:
                yield Part(piece.index, piece.text, None, None)
                continue
            item = answer_out(model, piece.index, piece.answer)
            counted(service, model, item)
            yield Part(piece.index, piece.text, item, _written_as(model, item))


async def _chat_lines(
    head: Mapping[str, Any], parts: AsyncGenerator[Part], usage: bool
) -> AsyncGenerator[dict[str, Any]]:
    head = {**head, "object": "chat.completion.chunk", **_without_usage(usage)}

    def line(delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return {**head, "choices": [choice]}

    async with aclosing(parts):
        begun, items = False, list[ItemOut]()
        async for part in parts:
            if not begun:
                yield line({"role": "assistant", "content": ""})
            begun = True
            if part.text:
                yield line({"content": part.text})
            if part.item is not None and part.clinfit is not None:
                items.append(part.item)
                yield {**line({}, part.item.finish_reason), "clinfit": [part.clinfit.model_dump()]}
        if usage:
            yield _last_line(head, items)


async def _text_lines(
    head: Mapping[str, Any], parts: AsyncGenerator[Part], usage: bool
) -> AsyncGenerator[dict[str, Any]]:
    head = {**head, "object": "text_completion", **_without_usage(usage)}
    async with aclosing(parts):
        items = list[ItemOut]()
        async for part in parts:
            items += [] if part.item is None else [part.item]
            reason = None if part.item is None else part.item.finish_reason
            choice = {"index": part.index, "text": part.text, "finish_reason": reason, "logprobs": None}
            said = {} if part.clinfit is None else {"clinfit": [part.clinfit.model_dump()]}
            yield {**head, "choices": [choice], **said}
        if usage:
            yield _last_line(head, items)


def _without_usage(usage: bool) -> dict[str, None]:
    """What the pieces before the last one say of tokens, where that one tells them."""
    return {"usage": None} if usage else {}


def _last_line(head: Mapping[str, Any], items: Sequence[ItemOut]) -> dict[str, Any]:
    told = _usage(items)
    return {**head, "choices": [], "usage": None if told is None else told.model_dump()}


async def _streamed(lines: AsyncGenerator[dict[str, Any]]) -> StreamingResponse:
    """What goes wrong before anything is written is an answer of its own; raises Problem."""
    first = await anext(lines)
    return StreamingResponse(_events(first, lines), media_type=STREAM, headers={"X-Accel-Buffering": "no"})


async def _events(first: dict[str, Any], lines: AsyncGenerator[dict[str, Any]]) -> AsyncGenerator[str]:
    async with aclosing(lines):
        yield _event(first)
        try:
            async for line in lines:
                yield _event(line)
        except Problem as problem:
            yield _event({"error": problem.openai_error()})
            return
    yield "data: [DONE]\n\n"


def _event(content: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
