"""POST /v1/cancer-types: what /v1/classify says, asked of the model whose labels are those of a lexicon."""

from fastapi import APIRouter
from fastapi import Request as HttpRequest

from clinfit.serve.kinds import LABELS
from clinfit.serve.routes.asking import Classifies, Serving, find_types_model, problems
from clinfit.serve.routes.classify import Asked, respond
from clinfit.serve.schemas import ClassifyRequest, ClassifyResponse

router = APIRouter(tags=["classify"])


@router.post(
    "/v1/cancer-types",
    responses=problems("unknown-model", "media-type", "rate", "queue-full", "late"),
    summary="Which types, and where the text names them",
)
async def cancer_types(
    body: ClassifyRequest, request: HttpRequest, service: Serving, key: Classifies
) -> ClassifyResponse:
    """Each declared type with its score, whether it is decided for and whether the text names it (`types`), and every
    name of a type in the text with its place (`extracted_diseases`).

    A type that is decided for without being mentioned is the model's inference, not a finding in the text.
    """
    model = find_types_model(service, body.model)
    return await respond(Asked(LABELS.route, body.input, model.name, body.explained), request, service, key)
