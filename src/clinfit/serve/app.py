"""The application: routes, problems, and the guard in front of them."""

from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from functools import cache, partial

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import Lifespan

from clinfit import __version__
from clinfit.serve.guard import Guard
from clinfit.serve.openapi import described, known_names
from clinfit.serve.problems import BY_STATUS, Problem, invalid_places, no_json, no_utf8, other_type, too_deep
from clinfit.serve.routes import about, classify, completions, jobs, page, predictions, results, types, write
from clinfit.serve.routes.asking import only_declared
from clinfit.serve.schemas import DISCLAIMER
from clinfit.serve.service import Service


def create_app(service: Service) -> FastAPI:
    """The application of a service, which it closes at its end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        import asyncio

        await asyncio.to_thread(service.close)

    app = routed(lifespan)
    app.state.service = service
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, partial(_invalid, known_names(service.models)))
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(Guard, service=service)
    app.openapi = cache(partial(described, app, keyed=bool(service.keys)))  # type: ignore[method-assign]
    return app


def routed(lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """Every address, without a service behind them."""
    app = FastAPI(
        title="clinfit",
        version=__version__,
        description=f"Answers of packs that were evaluated. {DISCLAIMER}",
        docs_url=None,  # it would fetch its parts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # behind a proxy that ends TLS it would send a text on over plain HTTP
        lifespan=lifespan,
    )
    for part in (classify, types, write, completions, jobs, results, predictions, about, page):
        # Gateways, probes and scrapers put parameters of their own behind these, which decide nothing.
        open_to_others = part in (completions, about, page)
        app.include_router(part.router, dependencies=[] if open_to_others else [Depends(only_declared)])
    return app


def _id(request: Request) -> str:
    return request.scope.get("state", {}).get("request_id", "")


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response(_id(request), request.url.path)


async def _invalid(known: Set[str], request: Request, error: Exception) -> Response:
    """Places and codes; neither the values nor pydantic's words, which may hold them."""
    assert isinstance(error, RequestValidationError)
    return _found(error, request, known).response(_id(request), request.url.path)


def _found(error: RequestValidationError, request: Request, known: Set[str]) -> Problem:
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        text, at = str(error.body), int(found[0]["loc"][1])
        return no_json(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))
    if isinstance(error.body, bytes):  # not read as JSON, since it was not said to be that
        return other_type(request.headers.get("content-type", ""), "application/json")
    absent = any(place["type"] == "missing" and place["loc"] == ("body",) for place in found)
    detail = "send JSON as /openapi.json describes it" if absent else "see /openapi.json"
    return Problem("invalid", detail, errors=invalid_places(found, known))


def _of_status(error: HTTPException) -> Problem:
    """FastAPI tells a body that it could not read by its status alone; what it met is the cause."""
    if error.status_code == 400 and isinstance(error.__cause__, UnicodeDecodeError):
        return no_utf8()
    if error.status_code == 400 and isinstance(error.__cause__, RecursionError):
        return too_deep()
    return Problem(BY_STATUS.get(error.status_code, "malformed"))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = _of_status(error).response(_id(request), request.url.path)
    if error.status_code == 405 and error.headers:
        response.headers.update({name: value for name, value in error.headers.items() if name.lower() == "allow"})
    return response
