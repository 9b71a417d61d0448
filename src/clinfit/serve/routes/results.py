"""What a job gave: in pages, as lines, or as the table that `clinfit predict` writes; and what it could not answer."""

import io
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response, StreamingResponse

from clinfit.packs.answer import with_errors
from clinfit.serve.jobs import Job, Result
from clinfit.serve.kinds import Shown, answer_from, kind_of, past
from clinfit.serve.problems import Problem
from clinfit.serve.routes.asking import KeepsJobs, Serving, problems
from clinfit.serve.routes.classify import answer_out
from clinfit.serve.routes.jobs import JobId, job_out, own_job, stored
from clinfit.serve.schemas import FailureOut, FailurePage, ItemOut, ResultPage
from clinfit.serve.service import Service

router = APIRouter(tags=["jobs"])

#: Results that are fetched at a time for a file.
PAGE = 1000
After = Annotated[int, Query(ge=0, le=2**31, description="position of the first record of the page")]
Limit = Annotated[int, Query(ge=1, le=PAGE)]
#: The forms of results by their media types; of several that are liked as much, the first is sent.
FORMATS = {"application/json": "json", "application/x-ndjson": "ndjson", "text/csv": "csv"}
#: How much a media range of an Accept header is liked, as clients write it: .2, 1.0000 and "0.5" among them.
WEIGHT = re.compile(r'q="?(-?(?:\d+(?:\.\d*)?|\.\d+))"?')


@router.get(
    "/v1/jobs/{job_id}/results",
    response_model=ResultPage,
    responses={
        200: {"content": {"application/x-ndjson": {}, "text/csv": {}}},
        **problems("unknown-job", "not-acceptable", "unfinished"),
    },
    summary="Its results, as far as they are there",
)
async def results(
    job_id: JobId,
    request: HttpRequest,
    service: Serving,
    key: KeepsJobs,
    after: After = 0,
    limit: Limit = 100,
    format: Annotated[
        Literal["json", "ndjson", "csv"] | None, Query(description="default: what `Accept` asks for, else json")
    ] = None,
) -> Response:
    """JSON comes in pages, also while the job runs. NDJSON and CSV are files with all results, which a job has that has
    ended; before there are none (409). CSV is what `clinfit predict` writes."""
    job = await own_job(service, job_id, key)
    request.state.job = job_id  # that somebody read them is audited
    model = await shown_by(service, job)
    form = format or _accepted(", ".join(request.headers.getlist("accept")) or "*/*")
    if form == "json":
        found = await stored(service, service.store.results, job_id, after, limit)
        page = ResultPage(
            job=job_out(job),
            data=[result_out(model, result) for result in found],
            next=after + limit if after + limit < job.total else None,
        )
        return JSONResponse(page.model_dump())
    if not job.has_ended:
        raise Problem("unfinished", f"{job.done} of {job.total} records are done: wait, or read pages of JSON")
    media, lines = (
        ("application/x-ndjson", _ndjson(service, model, job))
        if form == "ndjson"
        else ("text/csv", _csv(service, model, job))
    )
    name = f"{job.id}.{form}"
    return StreamingResponse(
        _with_first(await anext(lines), lines),
        media_type=media,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get(
    "/v1/jobs/{job_id}/failures", responses=problems("unknown-job"), summary="Its records without an answer, and why"
)
async def failures(
    job_id: JobId, request: HttpRequest, service: Serving, key: KeepsJobs, after: After = 0, limit: Limit = 100
) -> FailurePage:
    """As far as they are known: `failed` of the job says how many. Reasons are codes, places in the program and the
    task's own words, never anything of the records but their ids."""
    job = await own_job(service, job_id, key)
    request.state.job = job_id
    found = await stored(service, service.store.failures, job_id, after, limit + 1)
    data = [FailureOut.model_validate(asdict(failure)) for failure in found[:limit]]
    return FailurePage(job=job_out(job), data=data, next=found[limit].index if len(found) > limit else None)


def _accepted(accept: str) -> str:
    """The form that an Accept header likes best (RFC 9110, 12.5.1); JSON where it names nothing. Raises Problem where
    it takes none."""
    weights = _weights(accept)
    if not weights:
        return "json"
    liked = {form: _weight(media, weights) for media, form in FORMATS.items()}
    best = max(liked, key=liked.__getitem__)
    if not liked[best]:
        raise Problem("not-acceptable", f"accept {', '.join(FORMATS)}")
    return best


def _weights(accept: str) -> dict[str, float]:
    """How much each media range is liked, from 0 to 1; not at all where its weight is no number. Older clients write *
    for */*."""
    found = {}
    for part in accept.lower().split(","):
        media, *parameters = (word.strip() for word in part.split(";"))
        told = next((word for word in parameters if word.startswith("q=")), "q=1")
        weight = WEIGHT.fullmatch(told)
        if media:
            found["*/*" if media == "*" else media] = 0.0 if weight is None else min(1.0, max(0.0, float(weight[1])))
    return found


def _weight(media: str, weights: Mapping[str, float]) -> float:
    """By the range that says most of a media type."""
    ranges = (media, f"{media.partition('/')[0]}/*", "*/*")
    return next((weights[one] for one in ranges if one in weights), 0.0)


async def shown_by(service: Service, job: Job) -> Shown:
    """The model whose answers they are, or what these tell of it where it is not served any more."""
    for model in service.models.all():
        if model.sha256 == job.pack and model.task_name == job.task:
            return model
    told = past([])
    async for page in _pages(service, job):
        answers = [answer_from(result["answer"]) for result in page if result["answer"] is not None]
        told = past(answers) if answers else told
        if told.fields or (answers and told.kind != "extraction"):
            break
    return told


def result_out(model: Shown, result: Result) -> ItemOut:
    if result["answer"] is not None:
        return answer_out(model, result["index"], answer_from(result["answer"]))
    return ItemOut(index=result["index"], id=result["id"], error=result["error"])


async def _pages(service: Service, job: Job) -> AsyncIterator[Sequence[Result]]:
    """All results, each page known to be whole: raises Problem where the job is erased while it is read. A file is
    broken off then behind what has been sent, so that nobody takes a part for the whole."""
    for start in range(0, job.total, PAGE):
        page = await stored(service, service.store.results, job.id, start, PAGE)
        if await stored(service, service.store.get, job.id) is None:
            raise Problem("unknown-job", "it has been erased")
        yield page


async def _with_first(first: str, lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """What goes wrong before anything is sent is an answer of its own, so that the first page is there before."""
    yield first
    async for page in lines:
        yield page


async def _ndjson(service: Service, model: Shown, job: Job) -> AsyncIterator[str]:
    async for page in _pages(service, job):
        yield "".join(result_out(model, result).model_dump_json() + "\n" for result in page)


async def _csv(service: Service, model: Shown, job: Job) -> AsyncIterator[str]:
    header = True
    async for page in _pages(service, job):
        yield csv_page(model, page, header=header)
        header = False


def csv_page(model: Shown, page: Sequence[Result], *, header: bool) -> str:
    """Results as rows of the table that `clinfit predict` writes; what has no answer is a row of status `error`, with
    the reason in `notes`."""
    answers = [answer_from(result["answer"]) for result in page if result["answer"] is not None]
    table = kind_of(model).table(model, answers)
    errors = {
        at: (result["id"], result["error"]["detail"]) for at, result in enumerate(page) if result["answer"] is None
    }
    if errors:
        table = with_errors(table, errors)
    text = io.StringIO()
    table.to_csv(text, index=False, header=header)
    return text.getvalue()
