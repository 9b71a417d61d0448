"""/v1/jobs: many records, answered while nobody waits. 202 and an address; progress as a stream of events; results in
pages, as lines or as the table that `clinfit predict` writes."""

import asyncio
import hashlib
import hmac
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal, TypeVar
from uuid import uuid4

import pandas as pd
from fastapi import APIRouter, Header, Path, Query
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ValidationError

from clinfit.serve.jobs import Item, Job, KeyReused, QueueFull, Result, StoreDown, Submission
from clinfit.serve.kinds import answer_from, kind_of
from clinfit.serve.models import ServedModel
from clinfit.serve.problems import Problem
from clinfit.serve.records import TABLES, as_item, record_of, table_records
from clinfit.serve.routes.asking import KeepsJobs, Serving, find_model, problems, ready, take, tell
from clinfit.serve.routes.classify import answer_out
from clinfit.serve.routes.classify import as_item as plain_item
from clinfit.serve.schemas import ItemOut, JobList, JobOut, JobRequest, ResultPage
from clinfit.serve.security import Key
from clinfit.serve.service import Service

router = APIRouter(tags=["jobs"])

#: Seconds between two looks at a job whose events are read, and between two signs of life of a quiet stream.
LOOK, PING = 0.3, 15.0
#: Results that are fetched at a time for a file.
PAGE = 1000
JOB_ID = r"^[0-9a-f]{32}$"
FORMATS = {"application/json": "json", "application/x-ndjson": "ndjson", "text/csv": "csv"}

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


async def stored(work: Callable[..., T], *values: Any) -> T:
    """Ask the store in another thread. Raises Problem where it is down."""
    try:
        return await asyncio.to_thread(work, *values)
    except StoreDown:
        raise Problem("not-ready", "the store of jobs does not answer", 5) from None


async def own_job(service: Service, job_id: str, key: Key) -> Job:
    """A job of this key; those of others are not told from jobs that do not exist."""
    job = await stored(service.store.get, job_id)
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
    model: Annotated[str | None, Query(max_length=200, description="of a table: a name of /v1/models")] = None,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> JSONResponse:
    """JSON with records, or a table (CSV, TSV, JSON lines) with the task's columns, read as `clinfit predict` reads it.

    With an `Idempotency-Key` a request that is sent again makes no second job.
    """
    ready(service)
    content = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Reading many records takes a while, in which the loop answers others.
    if kind in TABLES:
        asked = find_model(service, model)
        items = await asyncio.to_thread(_table_items, service, asked, content, TABLES[kind])
    elif kind == "application/json":
        asked, items = await asyncio.to_thread(_json_items, service, content, model)
    else:
        raise Problem("media-type", f"send application/json, {', '.join(TABLES)}")
    tell(request, asked, len(items))
    if not 1 <= len(items) <= service.settings.job_items:
        raise Problem("invalid", f"a job has 1 to {service.settings.job_items} records")
    digest = await asyncio.to_thread(_digest, idempotency_key, kind, asked.sha256, asked.task_name, content)
    job, replayed = await submit(service, asked, key, items, idempotency_key, digest)
    request.state.job = job.id
    headers = {"Location": f"/v1/jobs/{job.id}", "Retry-After": "1"}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return JSONResponse(job_out(job).model_dump(), 202, headers)


def _table_items(service: Service, model: ServedModel, content: bytes, suffix: str) -> list[Item]:
    records = table_records(model.task_name, model.task, content, suffix, service.settings)
    return [as_item(record) for record in records]


def _json_items(service: Service, content: bytes, model: str | None) -> tuple[ServedModel, list[Item]]:
    body = _json_body(content)
    asked = find_model(service, body.model or model)
    return asked, [job_item(asked, service, plain_item(item), k) for k, item in enumerate(body.input)]


def _json_body(content: bytes) -> JobRequest:
    try:
        return JobRequest.model_validate_json(content)
    except ValidationError as error:
        places = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError([{**place, "loc": ("body", *place["loc"])} for place in places]) from None


def _digest(key: str | None, *parts: str | bytes) -> str:
    """Of a request, under its idempotency key, so that no text can be guessed from what is kept."""
    digest = hmac.new((key or "").encode(), digestmod=hashlib.sha256)
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()


def job_item(model: ServedModel, service: Service, item: Any, position: int) -> Item:
    """A record as it waits; one that cannot be read waits with its error."""
    try:
        return as_item(record_of(model.task_name, model.task, item, position, service.settings))
    except Problem as problem:
        named = None if isinstance(item, str) else item.get("id")
        return {"id": named or str(position + 1), "error": {"code": problem.code, "detail": problem.detail}}


async def submit(
    service: Service, model: ServedModel, key: Key, items: Sequence[Item], idempotency_key: str | None, digest: str
) -> tuple[Job, bool]:
    """Keep a job. Raises Problem where too much waits, or the idempotency key was used for something else."""
    take(service, key, len(items))
    settings = service.settings
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
    try:
        kept, replayed = await stored(service.store.submit, new, settings.queued, settings.queued_by_owner)
    except QueueFull:
        service.metrics.count("clinfit_refused_total", reason="queue-full")
        raise Problem("queue-full", "wait until other jobs are done", 30) from None
    except KeyReused:
        raise Problem("key-reused", "take a new one") from None
    if not replayed:
        service.metrics.count("clinfit_jobs_total", model=model.name)
    return kept, replayed


@router.get("/v1/jobs", responses=problems(), summary="The newest jobs of the key")
async def jobs(service: Serving, key: KeepsJobs, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> JobList:
    return JobList(data=[job_out(job) for job in await stored(service.store.list, key.id, limit)])


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
    cancelled = await stored(service.store.cancel, job_id)
    if cancelled is None:
        raise Problem("unknown-job", "it has been erased")
    return job_out(cancelled)


@router.delete("/v1/jobs/{job_id}", status_code=204, responses=problems("unknown-job"), summary="Erase it")
async def erase(job_id: JobId, request: HttpRequest, service: Serving, key: KeepsJobs) -> Response:
    """Records, results and all that is known of it; a job that has not ended is cancelled by this."""
    await own_job(service, job_id, key)
    request.state.job = job_id
    await stored(service.store.erase, job_id)
    return Response(status_code=204)


# ---------------------------------------------------------------- results


@router.get(
    "/v1/jobs/{job_id}/results",
    response_model=ResultPage,
    responses={
        200: {"content": {"application/x-ndjson": {}, "text/csv": {}}},
        **problems("unknown-job", "unknown-model", "not-acceptable"),
    },
    summary="Its results, as far as they are there",
)
async def results(
    job_id: JobId,
    request: HttpRequest,
    service: Serving,
    key: KeepsJobs,
    after: Annotated[int, Query(ge=0, le=2**31, description="position of the first record of the page")] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = 100,
    format: Annotated[
        Literal["json", "ndjson", "csv"] | None, Query(description="default: what `Accept` asks for, else json")
    ] = None,
) -> Response:
    """JSON comes in pages; NDJSON and CSV are files with all results. CSV is what `clinfit predict` writes."""
    job = await own_job(service, job_id, key)
    request.state.job = job_id  # that somebody read them is audited
    model = _model_of(service, job)
    form = format or _accepted(request.headers.get("accept", "*/*"))
    if form == "json":
        found = await stored(service.store.results, job_id, after, limit)
        page = ResultPage(
            job=job_out(job),
            data=[_result_out(model, result) for result in found],
            next=after + limit if after + limit < job.total else None,
        )
        return JSONResponse(page.model_dump())
    media, lines = (
        ("application/x-ndjson", _ndjson(service, model, job))
        if form == "ndjson"
        else ("text/csv", _csv(service, model, job))
    )
    name = f"{job.id}.{form}"
    return StreamingResponse(lines, media_type=media, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _accepted(accept: str) -> str:
    for part in accept.lower().split(","):
        media = part.partition(";")[0].strip()
        if media in FORMATS:
            return FORMATS[media]
        if media in ("*/*", "application/*", ""):
            return "json"
    raise Problem("not-acceptable", f"accept {', '.join(FORMATS)}")


def _model_of(service: Service, job: Job) -> ServedModel:
    """The model whose answers they are. Raises Problem where it is not served any more."""
    for model in service.models.all():
        if model.sha256 == job.pack and model.task_name == job.task:
            return model
    raise Problem("unknown-model", "the pack that answered is not served any more: serve it again to read the results")


def _result_out(model: ServedModel, result: Result) -> ItemOut:
    if result["answer"] is not None:
        return answer_out(model, result["index"], answer_from(result["answer"]))
    return ItemOut(index=result["index"], id=result["id"], error=result["error"])


async def _pages(service: Service, job: Job) -> AsyncIterator[Sequence[Result]]:
    for start in range(0, job.total, PAGE):
        yield await stored(service.store.results, job.id, start, PAGE)


async def _ndjson(service: Service, model: ServedModel, job: Job) -> AsyncIterator[str]:
    async for page in _pages(service, job):
        yield "".join(_result_out(model, result).model_dump_json() + "\n" for result in page)


async def _csv(service: Service, model: ServedModel, job: Job) -> AsyncIterator[str]:
    header = True
    async for page in _pages(service, job):
        yield csv_page(model, page, header=header)
        header = False


def csv_page(model: ServedModel, page: Sequence[Result], *, header: bool) -> str:
    """Results as rows of the table that `clinfit predict` writes; what has no answer is a row of status `error`, with
    the reason in `notes`."""
    answers = [answer_from(result["answer"]) for result in page if result["answer"] is not None]
    table = kind_of(model).table(model, answers)
    if len(answers) < len(page):
        table = _with_errors(table, page)
    text = io.StringIO()
    table.to_csv(text, index=False, header=header)
    return text.getvalue()


def _with_errors(table: pd.DataFrame, page: Sequence[Result]) -> pd.DataFrame:
    """The table of the answers with rows for what has none, its whole numbers left whole."""
    rows = iter(table.astype(object).to_dict(orient="records"))
    mixed = pd.DataFrame(
        [next(rows) if result["answer"] is not None else _error_row(result) for result in page],
        columns=table.columns,
        dtype=object,
    )
    whole = {name: kind for name, kind in table.dtypes.items() if pd.api.types.is_integer_dtype(kind)}
    return mixed.astype(whole)


def _error_row(result: Result) -> dict[str, Any]:
    return {"id": result["id"], "status": "error", "notes": result["error"]["detail"]}


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
        current = await stored(service.store.get, job.id)
    yield 'event: end\ndata: {"state": "erased"}\n\n'


def _event(name: str, job: Job) -> str:
    values = {field: value for field, value in asdict(job).items() if field not in ("owner", "queue")}
    return f"id: {job.revision}\nevent: {name}\ndata: {json.dumps(values)}\n\n"
