"""/v1/jobs: many records, answered while nobody waits. 202 and an address; progress as a stream of events. What they
gave is in results.py."""

import asyncio
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from typing import Annotated, Any, TypeVar
from uuid import uuid4

from fastapi import APIRouter, Header, Path, Query
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ValidationError

from clinfit.data.records import Record
from clinfit.serve.jobs import Item, Job, KeyReused, QueueFull, StoreDown, Submission
from clinfit.serve.models import ServedModel
from clinfit.serve.problems import Problem, media_type, no_json, no_utf8, other_type, too_deep
from clinfit.serve.records import (
    TABLES,
    as_item,
    charset_of,
    check_holds,
    check_ids,
    in_utf8,
    item_ids,
    record_of,
    table_records,
)
from clinfit.serve.routes.asking import KeepsJobs, Serving, find_model, problems, ready, take, tell
from clinfit.serve.routes.classify import as_item as plain_item
from clinfit.serve.schemas import JobList, JobOut, JobRequest
from clinfit.serve.security import Key
from clinfit.serve.service import Service

router = APIRouter(tags=["jobs"])

#: Seconds between two looks at a job whose events are read, and between two signs of life of a quiet stream.
LOOK, PING = 0.3, 15.0
JOB_ID = r"^[0-9a-f]{32}$"
#: Codecs of a table whose bytes are read as without any.
UTF8 = (None, "utf_8", "utf_8_sig")
#: A place in the list of jobs: when the last one of a page was sent, and its id.
PLACE = r"^[0-9]{1,12}(\.[0-9]{1,12})?-[0-9a-f]{32}$"

JobId = Annotated[str, Path(pattern=JOB_ID, examples=["0" * 32])]
T = TypeVar("T")

TABLE_BODY = {"schema": {"type": "string", "format": "binary"}}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/JobRequest"}},
            "text/csv": TABLE_BODY,
            "text/tab-separated-values": TABLE_BODY,
            "application/x-ndjson": TABLE_BODY,
        },
    }
}


async def stored(service: Service, work: Callable[..., T], *values: Any) -> T:
    """Ask the store. Raises Problem where it is down."""
    try:
        return await service.stored(work, *values)
    except StoreDown:
        raise Problem("not-ready", "the store of jobs does not answer", 5) from None


async def own_job(service: Service, job_id: str, key: Key) -> Job:
    """A job of this key; those of others are not told from jobs that do not exist."""
    job = await stored(service, service.store.get, job_id)
    if job is None or job.owner != key.id:
        raise Problem("unknown-job", "it does not exist, or has been erased")
    return job


def job_out(job: Job) -> JobOut:
    return JobOut.model_validate({name: getattr(job, name) for name in JobOut.model_fields if name != "object"})


@router.post(
    "/v1/jobs",
    status_code=202,
    response_model=JobOut,
    openapi_extra=BODY,
    responses={
        202: {"headers": {"Location": {"schema": {"type": "string"}, "description": "the job"}}},
        **problems("unknown-model", "media-type", "rate", "queue-full"),
    },
    summary="Send a job",
)
async def create(
    request: HttpRequest,
    service: Serving,
    key: KeepsJobs,
    model: Annotated[
        str | None, Query(max_length=200, description="a name of /v1/models; JSON may name it in the body instead")
    ] = None,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> JSONResponse:
    """JSON with records, or a table (CSV, TSV, JSON lines) with the task's columns, read as `clinfit predict` reads it,
    in the `charset` that its Content-Type names; without one in UTF-8, or as the study's file was.

    With an `Idempotency-Key` a request that is sent again makes no second job.
    """
    ready(service)
    content = await request.body()
    content_type = request.headers.get("content-type", "")
    kind = told = media_type(content_type)
    # Reading many records takes a while, in which the loop answers others.
    if kind not in TABLES and kind != "application/json":
        raise other_type(content_type, "application/json", *TABLES)
    codec = charset_of(content_type) if kind in TABLES else None
    told = kind if codec in UTF8 else f"{kind}; charset={codec}"  # the same bytes are another table
    digest = await _received(service, _digest, idempotency_key, told, model or "", content)
    known = None if idempotency_key is None else await _known(service, key, idempotency_key, digest)
    if known is not None:
        tell(request, known.model, known.pack, known.total)
        return _accepted(request, known, replayed=True)
    if kind in TABLES:
        asked = find_model(service, model)
        items = await _received(service, _table_items, service, asked, content, TABLES[kind], codec)
    else:
        asked, items = await _received(service, _json_items, service, content, model)
    tell(request, asked.name, asked.sha256, len(items))
    if not 1 <= len(items) <= service.settings.job_items:
        raise Problem("invalid", f"a job has 1 to {service.settings.job_items} records")
    job, replayed = await submit(service, asked, key, items, idempotency_key, digest)
    return _accepted(request, job, replayed=replayed)


async def _known(service: Service, key: Key, idempotency_key: str, digest: str) -> Job | None:
    """The job that a request made when it came before. It is looked for before anything of the request is read: what
    was accepted stays so, whichever packs are served by now. Raises Problem where the key was another request's."""
    try:
        return await stored(service, service.store.known, key.id, idempotency_key, digest)
    except KeyReused:
        raise _reused() from None


def _reused() -> Problem:
    return Problem("key-reused", "take a new one")


def _accepted(request: HttpRequest, job: Job, *, replayed: bool) -> JSONResponse:
    request.state.job = job.id
    headers = {"Location": f"/v1/jobs/{job.id}", "Retry-After": "1"}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return JSONResponse(job_out(job).model_dump(), 202, headers)


async def _received(service: Service, work: Callable[..., T], *values: Any) -> T:
    """Read what was sent, in threads of its own: a request of one record does not wait for tables."""
    return await asyncio.get_running_loop().run_in_executor(service.receiving, work, *values)


def _table_items(service: Service, model: ServedModel, content: bytes, suffix: str, codec: str | None) -> list[Item]:
    task, content = (model.task, content) if codec is None else in_utf8(model.task, content, codec)
    records = table_records(model.task_name, task, content, suffix, service.settings)
    return [table_item(record) for record in records]


def table_item(record: Record) -> Item:
    """A row as it waits; one without any value waits with its error."""
    try:
        check_holds(record)
    except Problem as problem:
        return failed_item(record.id, problem)
    return as_item(record)


def _json_items(service: Service, content: bytes, model: str | None) -> tuple[ServedModel, list[Item]]:
    body = _json_body(content)
    asked = _named_model(service, body.model, model)
    plain = [plain_item(item) for item in body.input]
    check_ids(plain)
    names = item_ids(plain)
    return asked, [job_item(asked, service, item, name) for item, name in zip(plain, names, strict=True)]


def _named_model(service: Service, body: str | None, address: str | None) -> ServedModel:
    """The model that a job's body or its address names. Raises Problem where they name two."""
    asked = find_model(service, body or address)
    if body and address and find_model(service, address) is not asked:
        places = [{"parameter": "model", "code": "differs"}, {"pointer": "#/model", "code": "differs"}]
        raise Problem("invalid", "the address and the body name two models: name one", errors=places)
    return asked


def _json_body(content: bytes) -> JobRequest:
    try:
        return JobRequest.model_validate_json(content)
    except ValidationError as error:
        places = error.errors(include_url=False, include_input=False)
        if places[0]["type"] == "json_invalid":
            raise _no_json(content, places[0]["msg"]) from None
        raise RequestValidationError([{**place, "loc": ("body", *place["loc"])} for place in places]) from None


def _no_json(content: bytes, said: str) -> Exception:
    """What is told of a body that is no JSON, as at every other address. said: by pydantic."""
    if not content:
        return RequestValidationError([{"type": "missing", "loc": ("body",), "msg": "Field required"}])
    if "recursion limit" in said:
        return too_deep()
    try:
        content.decode()
    except UnicodeDecodeError:
        return no_utf8()
    return no_json(*re.findall(r"\d+", said)[-2:])  # ... at line 1 column 11


def _digest(key: str | None, *parts: str | bytes) -> str:
    """Of a request as it was sent, under its idempotency key, so that no text can be guessed from what is kept."""
    digest = hmac.new((key or "").encode(), digestmod=hashlib.sha256)
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()


def job_item(model: ServedModel, service: Service, item: Any, record_id: str) -> Item:
    """A record as it waits; one that cannot be read waits with its error."""
    try:
        return as_item(record_of(model.task_name, model.task, item, record_id, service.settings))
    except Problem as problem:
        return failed_item(record_id, problem)


def failed_item(record_id: str, problem: Problem) -> Item:
    return {"id": record_id, "error": {"code": problem.code, "detail": problem.detail}}


async def submit(
    service: Service, model: ServedModel, key: Key, items: Sequence[Item], idempotency_key: str | None, digest: str
) -> tuple[Job, bool]:
    """Keep a job. Raises Problem where too much waits, or the idempotency key was used for something else."""
    settings = service.settings
    payer = f"{key.id}, jobs"  # an account of their own: a night's job leaves room for questions
    take(service, payer, len(items))
    job = Job(
        id=uuid4().hex,
        owner=key.id,
        model=model.name,
        pack=model.sha256,
        task=model.task_name,
        queue=model.queue,
        state="queued",
        total=len(items),
        created=time.time(),
    )
    chunks = [items[at : at + settings.chunk] for at in range(0, len(items), settings.chunk)]
    new = Submission(job, chunks, idempotency_key, digest)
    is_new = False
    try:
        kept, replayed = await stored(service, service.store.submit, new, settings.queued, settings.queued_by_owner)
        is_new = not replayed
    except QueueFull:
        service.metrics.count("clinfit_refused_total", reason="queue-full")
        raise Problem("queue-full", "wait until other jobs are done", 30) from None
    except KeyReused:
        raise _reused() from None
    finally:
        if not is_new:
            service.rates.charge(payer, -len(items))  # nothing was taken for it
    if is_new:
        service.metrics.count("clinfit_jobs_total", model=model.name)
    return kept, replayed


@router.get("/v1/jobs", responses=problems(), summary="The newest jobs of the key")
async def jobs(
    service: Serving,
    key: KeepsJobs,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    before: Annotated[str | None, Query(pattern=PLACE, description="`next` of the page before")] = None,
) -> JobList:
    created, _, last = (before or "").partition("-")
    place = (float(created), last) if before else None
    found = await stored(service, service.store.list, key.id, limit + 1, place)
    here = found[:limit]
    following = f"{here[-1].created!r}-{here[-1].id}" if len(found) > limit else None
    return JobList(data=[job_out(job) for job in here], next=following)


@router.get("/v1/jobs/{job_id}", responses=problems("unknown-job"), summary="How far a job is")
async def one(job_id: JobId, service: Serving, key: KeepsJobs) -> JobOut:
    return job_out(await own_job(service, job_id, key))


@router.post("/v1/jobs/{job_id}/cancel", responses=problems("unknown-job", "ended"), summary="Answer no more of it")
async def cancel(job_id: JobId, request: HttpRequest, service: Serving, key: KeepsJobs) -> JobOut:
    """What is done stays. The chunk under way is thrown away."""
    job = await own_job(service, job_id, key)
    request.state.job = job_id
    if job.has_ended:
        raise Problem("ended", f"it has {job.state}" if job.state in ("succeeded", "failed") else f"it is {job.state}")
    cancelled = await stored(service, service.store.cancel, job_id)
    if cancelled is None:
        raise Problem("unknown-job", "it has been erased")
    return job_out(cancelled)


@router.delete("/v1/jobs/{job_id}", status_code=204, responses=problems("unknown-job"), summary="Erase it")
async def erase(job_id: JobId, request: HttpRequest, service: Serving, key: KeepsJobs) -> Response:
    """Records, results and all that is known of it; a job that has not ended is cancelled by this."""
    await own_job(service, job_id, key)
    request.state.job = job_id
    await stored(service, service.store.erase, job_id)
    return Response(status_code=204)


# ---------------------------------------------------------------- progress


@router.get(
    "/v1/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **problems("unknown-job")},
    summary="Its progress, as server-sent events",
)
async def events(
    job_id: JobId,
    request: HttpRequest,
    service: Serving,
    key: KeepsJobs,
    last_event_id: Annotated[str | None, Header(max_length=40)] = None,
) -> StreamingResponse:
    """`progress` events with the job as data, and one `end`. The id is the job's revision: with `Last-Event-ID` a
    stream that broke goes on behind it."""
    job = await own_job(service, job_id, key)
    request.state.job = job_id
    seen = int(last_event_id[:18]) if last_event_id is not None and last_event_id[:18].isdecimal() else -1
    return StreamingResponse(
        _events(service, job, seen), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


async def _events(service: Service, job: Job, seen: int) -> AsyncIterator[str]:
    quiet = time.monotonic()
    current: Job | None = job
    while current is not None:
        if current.has_ended:
            yield _event("end", current)
            return
        if current.revision > seen:
            yield _event("progress", current)
            seen, quiet = current.revision, time.monotonic()
        elif time.monotonic() - quiet > PING:
            yield ": still here\n\n"
            quiet = time.monotonic()
        if service.draining.is_set():
            return
        await asyncio.sleep(LOOK)
        current = await stored(service, service.store.get, job.id)
    yield 'event: end\ndata: {"state": "erased"}\n\n'


def _event(name: str, job: Job) -> str:
    values = {field: value for field, value in asdict(job).items() if field not in ("owner", "queue")}
    return f"id: {job.revision}\nevent: {name}\ndata: {json.dumps(values)}\n\n"
