"""Two addresses for one text, and one for its result: `{text}` becomes a job of one record."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse

from clinfit.serve.models import ServedModel
from clinfit.serve.problems import Problem
from clinfit.serve.records import main_text
from clinfit.serve.routes.asking import (
    KeepsJobs,
    Serving,
    find_model,
    find_types_model,
    problems,
    ready,
    tell,
)
from clinfit.serve.routes.jobs import JobId, job_item, own_job, stored, submit
from clinfit.serve.routes.results import result_out, shown_by
from clinfit.serve.schemas import Prediction, PredictionResult, TextRequest
from clinfit.serve.security import Key
from clinfit.serve.service import Service

router = APIRouter(tags=["predictions"])

Model = Annotated[str | None, Query(max_length=200, description="a name of /v1/models; default: the first that fits")]
DECLARED: dict[str, Any] = {
    "status_code": 202,
    "response_model": Prediction,
    "responses": problems("unknown-model", "media-type", "rate", "queue-full"),
}


@router.post("/classify_abstract", summary="Does it hold? One text, two labels", **DECLARED)
async def classify_abstract(
    body: TextRequest, request: HttpRequest, service: Serving, key: KeepsJobs, model: Model = None
) -> JSONResponse:
    return await _predict(service, request, key, _chosen(service, model), body.text)


@router.post("/predict_cancer_type", summary="Which types of disease? One text, labels of a lexicon", **DECLARED)
async def predict_cancer_type(
    body: TextRequest, request: HttpRequest, service: Serving, key: KeepsJobs, model: Model = None
) -> JSONResponse:
    return await _predict(service, request, key, find_types_model(service, model), body.text)


@router.get("/predictions/{job_id}", responses=problems("unknown-job"), summary="What came of it")
async def prediction(job_id: JobId, request: HttpRequest, service: Serving, key: KeepsJobs) -> PredictionResult:
    await own_job(service, job_id, key)
    request.state.job = job_id
    found = await stored(service, service.store.results, job_id, 0, 1)
    job = await own_job(service, job_id, key)  # as it is now that the result has been looked for
    result = result_out(await shown_by(service, job), found[0]) if found else None
    return PredictionResult(prediction_id=job_id, status=job.state, result=result)


def _chosen(service: Service, asked: str | None) -> ServedModel:
    """The model of this name, else the first of two labels."""
    if asked is not None:
        return find_model(service, asked)
    fits = [model for model in service.models.all() if _takes_text(model) and model.task.binary]
    if not fits:
        raise Problem("unknown-model", "no task with two labels is served")
    return fits[0]


def _takes_text(model: ServedModel) -> bool:
    return model.task.kind in ("classification", "multilabel") and main_text(model.task) is not None


async def _predict(service: Service, request: HttpRequest, key: Key, model: ServedModel, text: str) -> JSONResponse:
    ready(service)
    tell(request, model.name, model.sha256, 1)
    item = job_item(model, service, text, "1")
    if "error" in item:
        raise Problem(item["error"]["code"], item["error"]["detail"])
    job, _ = await submit(service, model, key, [item], None, "")
    request.state.job = job.id
    told = Prediction(prediction_id=job.id, message=f"Accepted; the result will be at /predictions/{job.id}")
    return JSONResponse(told.model_dump(), 202, {"Location": f"/predictions/{job.id}"})
