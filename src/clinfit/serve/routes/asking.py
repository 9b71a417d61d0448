"""What routes share: the service, the holder of the key, the model that is asked, and asking it."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.packs.answer import Answer
from clinfit.runs.steps.failures import failure_of
from clinfit.serve.batcher import Busy
from clinfit.serve.models import ServedModel
from clinfit.serve.problems import MEDIA_TYPE, PROBLEMS, Problem, no_key
from clinfit.serve.schemas import ProblemOut
from clinfit.serve.security import Key, Scope
from clinfit.serve.service import Service
from clinfit.study.tasks import lexicon_of

log = logging.getLogger("clinfit.serve")


#: How OpenAPI says what `holder` reads; of those who ask wrongly it says nothing itself.
BEARER = HTTPBearer(
    bearerFormat="clinfit_<id>_<secret>",
    scheme_name="key",
    description="An API key of `clinfit key`, with the scope that the operation names.",
    auto_error=False,
)


async def service_of(request: Request) -> Service:
    return request.app.state.service


Serving = Annotated[Service, Depends(service_of)]


def needs(scope: Scope) -> Callable[..., Awaitable[Key]]:
    """A dependency: the holder of the request's key, which must have this scope. It waits for nothing, and so needs no
    thread."""

    async def holder(request: Request, _: Annotated[Any, Security(BEARER, scopes=[scope])]) -> Key:
        key = request.app.state.service.keys.holder(request.headers.get("authorization"))
        if key is None:
            raise no_key()
        request.state.key = key.id
        if scope not in key.scopes:
            raise Problem("scope", f"it needs the scope {scope}")
        return key

    return holder


Classifies = Annotated[Key, Depends(needs("classify"))]
KeepsJobs = Annotated[Key, Depends(needs("jobs"))]
ReadsMetrics = Annotated[Key, Depends(needs("metrics"))]


async def only_declared(request: Request) -> None:
    """A dependency of routers: a parameter of the address that its route does not know is refused, since what was meant
    by it (`?modle=`) would be passed over in silence. Its name is the sender's own word, unless it is one of ours."""
    declared = [field.alias for field in request.scope["route"].dependant.query_params]
    odd = [name for name in request.query_params if name not in declared]
    if "model" in odd and request.method == "POST":  # of a table, which has no other place for it
        named, detail = "model", "name the model in the body, not in the address"
    else:
        named, detail = "*", f"the address takes {', '.join(declared) or 'no parameters'}"
    if odd:
        raise Problem("invalid", detail, errors=[{"parameter": named, "code": "extra_forbidden"}])


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """What a route declares of its problems, for OpenAPI."""
    declared: dict[int | str, dict[str, Any]] = {}
    always = ("malformed", "no-key", "scope", "slow", "too-large", "invalid", "failed", "not-ready")
    for code in (*always, *codes):
        status, title = PROBLEMS[code]
        words = declared[status]["description"] + "; " + title if status in declared else title
        declared[status] = {
            "description": words,
            "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemOut.__name__}"}}},
        }
    return declared


def find_model(service: Service, asked: str | None) -> ServedModel:
    """Raises Problem where there is no such model; never takes another instead."""
    model = service.models.find(asked)
    if model is None:
        names = ", ".join(service.models.by_name)
        raise Problem("unknown-model", f"name one of {names}")
    return model


def find_types_model(service: Service, asked: str | None) -> ServedModel:
    """The model of this name, else the first, whose labels a lexicon names. Raises Problem where there is none."""
    fits = [model for model in service.models.all() if lexicon_of(model.task) is not None]
    if not fits:
        raise Problem("unknown-model", "no task with a lexicon is served: serve a pack of studies/cancer-types.yaml")
    if asked is None:
        return fits[0]
    model = find_model(service, asked)
    if model not in fits:
        raise Problem("unknown-model", f"its task has no lexicon; name one of {', '.join(fit.name for fit in fits)}")
    return model


def tell(request: Request, model: str, pack: str, items: int) -> None:
    """For log and audit. model: its name; pack: its hash."""
    request.state.model, request.state.pack, request.state.items = model, pack, items


def take(service: Service, payer: str, items: int) -> None:
    """Raises Problem where too much was asked for lately on the account of `payer`."""
    if seconds := service.rates.take(payer, items):
        service.metrics.count("clinfit_refused_total", reason="rate")
        raise Problem("rate", "", math.ceil(seconds))


def ready(service: Service) -> None:
    """Raises Problem while the service is being stopped."""
    if service.draining.is_set():
        raise Problem("not-ready", "it is being stopped", 5)


async def answered(service: Service, model: ServedModel, records: Sequence[Record]) -> list[Answer | Problem]:
    """An answer for each record, or what is wrong with it. Raises Problem where the line is full or slow."""
    try:
        futures = service.batcher.submit(model, records)
    except Busy as busy:
        service.metrics.count("clinfit_refused_total", reason="queue-full")
        raise Problem("queue-full", "", math.ceil(max(1.0, busy.seconds))) from None
    waiting = asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
    try:
        found = await asyncio.wait_for(waiting, service.settings.seconds)
    except TimeoutError:
        raise Problem("late", "send fewer records at once, or a job") from None
    return [outcome if isinstance(outcome, Answer) else problem_of(outcome) for outcome in found]


def problem_of(error: BaseException) -> Problem:
    """What is told of a record that could not be answered."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, CancelledError | asyncio.CancelledError):
        return Problem("not-ready", "it is being stopped")
    if isinstance(error, ClinfitError):
        return Problem("invalid-record", "the record is not what the task asks for")
    log.error("a record was not answered: %s", failure_of(error).reason)
    return Problem("unanswered", "the model failed on it; the log tells more")
