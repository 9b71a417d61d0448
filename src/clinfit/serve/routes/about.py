"""What the service is and how it is: models, health, metrics."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from clinfit import __version__
from clinfit.data.declared import declared_categories
from clinfit.data.seen import SeenCategories, SeenNumbers
from clinfit.packs.gradient import has_gradient
from clinfit.serve.kinds import kind_of
from clinfit.serve.metrics import MEDIA_TYPE
from clinfit.serve.models import ServedModel
from clinfit.serve.problems import Problem
from clinfit.serve.records import main_text
from clinfit.serve.routes.asking import Classifies, ReadsMetrics, Serving, problems
from clinfit.serve.routes.classify import provenance
from clinfit.serve.schemas import Health, InputOut, Method, ModelList, ModelOut
from clinfit.study.tasks import MultipleChoice, Writing, lexicon_of

router = APIRouter(tags=["about"])


@router.get("/v1/models", responses=problems(), summary="What can be asked")
def models(service: Serving, key: Classifies) -> ModelList:
    settings = service.settings
    limits = {
        "items": settings.items,
        "job_items": settings.job_items,
        "characters": settings.characters,
        "explained": settings.explained,
        "table_bytes": settings.table_bytes,
    }
    data = [model_out(model) for model in service.models.all()]
    return ModelList(data=data, limits=limits, keys=bool(service.keys), version=__version__)


@router.get("/v1/models/{model:path}", responses=problems("unknown-model"), summary="One of them")
def one(model: str, service: Serving, key: Classifies) -> ModelOut:
    found = service.models.find(model)
    if found is None:
        raise Problem("unknown-model", "see /v1/models")
    return model_out(found)


def model_out(model: ServedModel) -> ModelOut:
    content = model.pack.content
    entry = content.answered[model.task_name]
    served = model.served
    return ModelOut(
        id=model.name,
        study=content.study.name,
        run=content.run,
        family=content.model.family,
        base=content.model.spec.get("base"),
        route=kind_of(model).route,
        explained_by=_methods(model),
        inputs=_inputs(model),
        options=model.task.options if isinstance(model.task, MultipleChoice) else [],
        positive=model.task.positive_label,
        lexicon=None if (lexicon := lexicon_of(model.task)) is None else lexicon.name,
        threshold=served.used_thresholds,
        label_weights=served.label_weights,
        refers=served.referral is not None,
        n=entry.n,
        metrics=entry.metrics,
        cross_validation=entry.cross_validation,
        recalibrated=entry.recalibrated,
        withheld=content.withheld,
        **provenance(model),
    )


def _methods(model: ServedModel) -> list[Method]:
    if isinstance(model.task, Writing):
        return []
    return ["occlusion", "gradient"] if has_gradient(model.pack.model) else ["occlusion"]


def _inputs(model: ServedModel) -> list[InputOut]:
    task, seen = model.task, model.served.seen
    found = []
    for name, column in task.data.columns.items():
        known = seen.get(name)
        extra: dict[str, Any] = {}
        if declared := declared_categories(column):
            extra = {"values": declared}
        elif isinstance(known, SeenCategories):
            extra = {"values": list(known.values)}
        elif isinstance(known, SeenNumbers):
            extra = {"low": known.low, "high": known.high}
        found.append(
            InputOut(
                name=name,
                title=column.title or name,
                column=column.column,
                type=column.type,
                unit=column.unit,
                main=name == main_text(task),
                **extra,
            )
        )
    return found


@router.get("/live", summary="Whether the process runs")
def live() -> Health:
    return Health(status="ok")


NOT_READY: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "It is not ready"}}


@router.get("/ready", responses=NOT_READY, summary="Whether it can answer: models warm, store reachable")
async def ready(service: Serving) -> Response:
    fault = await service.fault()
    health = Health(status="ok" if fault is None else "unavailable", reason=fault)
    return JSONResponse(health.model_dump(), 200 if fault is None else 503)


@router.get("/health", responses=NOT_READY, summary="As /ready")
async def health(service: Serving) -> Response:
    return await ready(service)


# Watchers ask for the head alone; the server sends no body with it.
for _path, _asked in (("/live", live), ("/ready", ready), ("/health", health)):
    router.add_api_route(_path, _asked, methods=["HEAD"], include_in_schema=False)


@router.get("/metrics", response_class=PlainTextResponse, responses=problems(), summary="Prometheus")
async def metrics(service: Serving, key: ReadsMetrics) -> Response:
    return Response(service.metrics.text(await service.now()), media_type=MEDIA_TYPE)
