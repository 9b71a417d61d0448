"""OpenAI's addresses, for packs that write: POST /v1/chat/completions and /v1/completions.

A pack brings its prompt, its system text, its limit and its greedy choice of tokens, and what was evaluated is a record
under all of these. So a user message or a prompt is one record, and whatever would have the pack write otherwise than
it was evaluated is refused, never passed over. Nothing of the records or the texts is kept.
"""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from uuid import uuid4

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import StreamingResponse

from clinfit.data.fields import object_pairs
from clinfit.serve.kinds import TEXTS
from clinfit.serve.models import ServedModel
from clinfit.serve.problems import Problem
from clinfit.serve.routes.asking import Classifies, Serving, find_model, problems
from clinfit.serve.routes.classify import Asked, provenance, said
from clinfit.serve.schemas import (
    ChatChoice,
    ChatCompletion,
    ChatMessage,
    ChatRequest,
    Completion,
    CompletionRequest,
    ItemOut,
    RecordIn,
    TextChoice,
    WrittenAs,
)
from clinfit.study.tasks import Writing

router = APIRouter(tags=["write"])

STREAM = "text/event-stream"
DECLARED = {
    200: {"content": {STREAM: {"schema": {"type": "string"}}}},
    **problems("unknown-model", "rate", "queue-full", "late"),
}


@router.post("/v1/chat/completions", response_model=ChatCompletion, responses=DECLARED, summary="As OpenAI's chat")
async def chat(body: ChatRequest, request: HttpRequest, service: Serving, key: Classifies) -> Any:
    """The text for the record in the user message, exactly as `clinfit predict` writes it.

    A task with several inputs takes them as one JSON object. A stream has the text in one piece: records are written
    many at a time.
    """
    model = find_model(service, body.model)
    _check_written(model, body)
    items = [_item(model, body.messages[0].text())]
    _, (item,) = await said(Asked(TEXTS.route, items, model.name), request, service, key)
    _check_answered(item, several=False)
    answer = ChatCompletion(
        id=f"chatcmpl-{uuid4().hex}",
        created=int(time.time()),
        model=model.name,
        choices=[ChatChoice(index=0, message=ChatMessage(content=item.text or ""), finish_reason=item.finish_reason)],
        clinfit=[_written_as(model, item)],
    )
    return _stream(_chat_pieces(answer)) if body.stream else answer


@router.post("/v1/completions", response_model=Completion, responses=DECLARED, summary="As OpenAI's completions")
async def complete(body: CompletionRequest, request: HttpRequest, service: Serving, key: Classifies) -> Any:
    """A text for each prompt, which is a record and not a prompt of your own: the pack brings that."""
    model = find_model(service, body.model)
    _check_written(model, body)
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    _, data = await said(
        Asked(TEXTS.route, [_item(model, prompt) for prompt in prompts], model.name), request, service, key
    )
    for item in data:
        _check_answered(item, several=len(data) > 1)
    answer = Completion(
        id=f"cmpl-{uuid4().hex}",
        created=int(time.time()),
        model=model.name,
        choices=[
            TextChoice(index=k, text=item.text or "", finish_reason=item.finish_reason) for k, item in enumerate(data)
        ],
        clinfit=[_written_as(model, item) for item in data],
    )
    return _stream(_text_pieces(answer)) if body.stream else answer


def _check_written(model: ServedModel, body: ChatRequest | CompletionRequest) -> None:
    """Raises Problem where the model does not write, or would have to stop before its own limit."""
    task = model.task
    if not isinstance(task, Writing):
        raise Problem("invalid", "this model has labels and writes no text: ask it at /v1/classify")
    limit = body.most_tokens()
    if limit is not None and limit < task.max_new_tokens:
        raise Problem(
            "invalid", f"the pack writes at most {task.max_new_tokens} tokens: ask for as many, or leave the limit out"
        )


def _item(model: ServedModel, text: str) -> str | RecordIn:
    """A text as a record: of a task with one input the text itself, else a JSON object with its inputs."""
    names = list(model.task.data.columns)
    if len(names) == 1:
        return text
    pairs = object_pairs(text) or []
    try:
        if len(inputs := dict(pairs)) == len(pairs) > 0:
            return RecordIn(inputs=inputs)
    except ValueError:
        pass
    raise Problem("invalid-record", f"the task reads several inputs: send one JSON object with {', '.join(names)}")


def _check_answered(item: ItemOut, several: bool) -> None:
    """OpenAI's answers have no place for what is wrong with one of several prompts."""
    if item.error is not None:
        which = f"prompt {item.index + 1}: " if several else ""
        raise Problem(item.error.code, which + item.error.detail)


def _written_as(model: ServedModel, item: ItemOut) -> WrittenAs:
    """What OpenAI's answers have no place for."""
    return WrittenAs(status=item.status or "ok", notes=item.notes or [], truncated=item.truncated, **provenance(model))


def _stream(pieces: Iterator[Mapping[str, Any]]) -> StreamingResponse:
    lines = (f"data: {json.dumps(piece, ensure_ascii=False)}\n\n" for piece in pieces)
    return StreamingResponse(_ended(lines), media_type=STREAM, headers={"X-Accel-Buffering": "no"})


def _ended(lines: Iterator[str]) -> Iterator[str]:
    yield from lines
    yield "data: [DONE]\n\n"


def _chat_pieces(answer: ChatCompletion) -> Iterator[Mapping[str, Any]]:
    (choice,) = answer.choices
    deltas: list[tuple[dict[str, str], Literal["stop", "length"] | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"content": choice.message.content}, None),
        ({}, choice.finish_reason),
    ]
    for delta, reason in deltas:
        yield {
            **_head(answer),
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}],
        }


def _text_pieces(answer: Completion) -> Iterator[Mapping[str, Any]]:
    for choice in answer.choices:
        yield {**_head(answer), "object": "text_completion", "choices": [choice.model_dump()]}


def _head(answer: ChatCompletion | Completion) -> dict[str, Any]:
    return answer.model_dump(include={"id", "created", "model", "clinfit"})
