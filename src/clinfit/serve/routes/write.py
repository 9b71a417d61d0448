"""POST /v1/write: texts of tasks that ask for them, written at once. Nothing of the records or the texts is kept.

/v1/qa and /v1/summarize are the same under the names of what is mostly asked: what a task asks stands in its prompt.
"""

from fastapi import APIRouter
from fastapi import Request as HttpRequest

from clinfit.serve.kinds import TEXTS
from clinfit.serve.routes.asking import Classifies, Serving, problems
from clinfit.serve.routes.classify import Asked, respond
from clinfit.serve.schemas import ClassifyResponse, WriteRequest

router = APIRouter(tags=["write"])


async def write(body: WriteRequest, request: HttpRequest, service: Serving, key: Classifies) -> ClassifyResponse:
    """A text for each record, exactly as `clinfit predict` writes it; notes name its numbers that the record lacks."""
    return await respond(Asked(TEXTS.route, body.input, body.model), request, service, key)


for path, summary in ((TEXTS.route, "Write a text"), ("/v1/qa", "Answer a question"), ("/v1/summarize", "Summarise")):
    router.add_api_route(
        path,
        write,
        methods=["POST"],
        responses=problems("unknown-model", "media-type", "rate", "queue-full", "late"),
        summary=summary,
        name=f"write {path.rpartition('/')[2]}",
    )
