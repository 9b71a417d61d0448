"""POST /v1/classify: one record or several, answered at once. Nothing of them is kept."""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any
from uuid import uuid4

from fastapi import APIRouter
from fastapi import Request as HttpRequest

from clinfit.data.load import canonical_records
from clinfit.data.records import Record
from clinfit.packs.answer import Answer
from clinfit.packs.decide import Served
from clinfit.packs.explain import explain
from clinfit.packs.explanation import Explanation, Method
from clinfit.packs.faithfulness import DRAWS, Ask
from clinfit.packs.gradient import STEPS, has_gradient
from clinfit.serve.batcher import Busy
from clinfit.serve.kinds import Shown, kind_of
from clinfit.serve.models import ServedModel
from clinfit.serve.problems import Problem
from clinfit.serve.records import Item, check_ids, item_ids, positions, record_of, submitted_texts
from clinfit.serve.routes.asking import (
    Classifies,
    Serving,
    answered,
    find_model,
    problem_of,
    problems,
    ready,
    take,
    tell,
)
from clinfit.serve.schemas import ClassifyRequest, ClassifyResponse, ItemOut, RecordIn
from clinfit.serve.security import Key
from clinfit.serve.service import Service

router = APIRouter(tags=["classify"])


@router.post(
    "/v1/classify",
    responses=problems("unknown-model", "media-type", "rate", "queue-full", "late"),
    summary="Answer records at once",
)
async def classify(body: ClassifyRequest, request: HttpRequest, service: Serving, key: Classifies) -> ClassifyResponse:
    """Probabilities, decision and referral for each record, exactly as `clinfit predict` writes them.

    In a list, a record that cannot be answered has an `error` and leaves the others as they are; alone it is a problem.
    """
    return await respond(Asked("/v1/classify", body.input, body.model, body.explained), request, service, key)


@dataclass(frozen=True)
class Asked:
    """What a request asks. route: its address, which must be that of the model's kind. explain: by what, if at all."""

    route: str
    input: str | RecordIn | list[str | RecordIn]
    model: str | None
    explain: Method | None = None


async def respond(asked: Asked, request: HttpRequest, service: Service, key: Key) -> ClassifyResponse:
    """The answers to a request; raises Problem."""
    model, data = await said(asked, request, service, key)
    return ClassifyResponse(id=f"answer-{uuid4().hex}", created=int(time.time()), data=data, **provenance(model))


def taken(asked: Asked, request: HttpRequest, service: Service, key: Key) -> tuple[ServedModel, list[Item]]:
    """The model that is asked, and the items that it may be asked; raises Problem."""
    ready(service)
    model = find_model(service, asked.model)
    items = [as_item(item) for item in (asked.input if isinstance(asked.input, list) else [asked.input])]
    tell(request, model.name, model.sha256, len(items))
    check_ids(items)
    if not items or len(items) > service.settings.items:
        raise Problem("invalid", f"1 to {service.settings.items} records at once; more of them are a job")
    if asked.explain and len(items) > service.settings.explained:
        raise Problem("invalid", f"at most {service.settings.explained} records are explained at once")
    if asked.explain == "gradient" and not has_gradient(model.pack.model):
        family, engine = model.pack.content.model.family, model.pack.engine
        raise Problem("invalid", f"a model of family {family}, computed by {engine}, has no gradient: use occlusion")
    if kind_of(model).route != asked.route:
        raise Problem("invalid", f"a task of this kind is asked at {kind_of(model).route}")
    take(service, key.id, len(items))
    return model, items


async def said(asked: Asked, request: HttpRequest, service: Service, key: Key) -> tuple[ServedModel, list[ItemOut]]:
    """The model that is asked, and what it says of each item; raises Problem, also for an item that came alone."""
    model, items = taken(asked, request, service, key)
    explains = None if asked.explain is None else Explains(asked.explain, key)
    data = await outcomes(service, model, items, explains)
    for item in data:
        counted(service, model, item)
    if not isinstance(asked.input, list) and (error := data[0].error) is not None:
        raise Problem(error.code, error.detail)
    return model, data


def counted(service: Service, model: ServedModel, item: ItemOut | None) -> None:
    """For the metrics. item: None of a record that was refused."""
    status = "error" if item is None or item.error else item.status or "ok"
    service.metrics.count("clinfit_items_total", model=model.name, status=status)


def as_item(item: str | RecordIn) -> Item:
    return item if isinstance(item, str) else item.model_dump()


def provenance(model: ServedModel) -> dict[str, Any]:
    task = model.task
    return {
        "model": model.name,
        "task": model.task_name,
        "kind": task.kind,
        "labels": task.labels,
        "pack": model.sha256,
        "engine": model.pack.engine,
    }


@dataclass(frozen=True)
class Explains:
    """How answers are explained, and who pays for what that takes."""

    method: Method
    payer: Key


async def outcomes(
    service: Service, model: ServedModel, items: Sequence[Item], explains: Explains | None = None
) -> list[ItemOut]:
    """What is said of each item, in order. explains: None: nothing is explained."""
    found = await read_items(service, model, items)
    records = {k: record for k, record in found.items() if isinstance(record, Record)}
    said = dict(zip(records, await answered(service, model, list(records.values())), strict=True))
    data = []
    for k, (item, name) in enumerate(zip(items, item_ids(items), strict=True)):
        outcome = said.get(k, found[k])
        if isinstance(outcome, Answer):
            out = answer_out(model, k, outcome)
            if explains is not None:
                out = await _with_explanation(service, model, explains, item, records[k], out)
        else:
            problem = outcome if isinstance(outcome, Problem) else Problem("unanswered")
            out = ItemOut.model_validate(
                {"index": k, "id": name, "error": {"code": problem.code, "detail": problem.detail}}
            )
        data.append(out)
    return data


async def read_items(service: Service, model: ServedModel, items: Sequence[Item]) -> dict[int, Record | Problem]:
    """Position -> the record of an item, or what is wrong with it.

    Cleaning long texts takes its time: threads of its own, in which nothing else waits, and as many seconds as an
    answer may take. Raises Problem where they are over.
    """
    given_up = threading.Event()
    work = partial(_records, service, model, items, given_up)
    try:
        reading = asyncio.get_running_loop().run_in_executor(service.reading, work)
        return await asyncio.wait_for(reading, service.settings.seconds)
    except TimeoutError:
        raise Problem("late", "send fewer or shorter records at once, or a job") from None
    finally:
        given_up.set()


def _records(
    service: Service, model: ServedModel, items: Sequence[Item], given_up: threading.Event
) -> dict[int, Record | Problem]:
    """given_up: nobody waits any more, so that no further record is read."""
    found: dict[int, Record | Problem] = {}
    for k, (item, name) in enumerate(zip(items, item_ids(items), strict=True)):
        if given_up.is_set():
            break
        try:
            found[k] = record_of(model.task_name, model.task, item, name, service.settings)
        except Problem as problem:
            found[k] = problem
    return found


def answer_out(model: Shown, index: int, answer: Answer) -> ItemOut:
    return ItemOut.model_validate({"index": index, "id": answer.id, **kind_of(model).view(model, answer)})


async def _with_explanation(
    service: Service, model: ServedModel, explains: Explains, item: Item, record: Record, out: ItemOut
) -> ItemOut:
    """Threads of its own: dozens of answers are waited for, in which the store's threads are not to stand still. A
    gradient is a turn in front of the model."""
    asked = Variants(service, model, explains.payer)
    (record,) = await asyncio.to_thread(canonical_records, model.task, [record])
    if explains.method == "gradient":
        service.rates.charge(explains.payer.id, 3 * STEPS + 1 + DRAWS)
        work = partial(model.pack.explain, record, task=model.task_name, method="gradient")
        working = asyncio.wrap_future(service.batcher.alone(work))
    else:
        working = asyncio.get_running_loop().run_in_executor(
            service.explaining, _by_occlusion, asked, model.served, record
        )
    try:
        found = await asyncio.wait_for(working, service.settings.seconds)
    except TimeoutError:
        raise Problem("late", "explain one record at a time, or a shorter one") from None
    except Busy:
        raise Problem("queue-full", "", 1) from None
    except Exception as error:
        raise problem_of(error) from None
    finally:
        asked.stop()
    return out.model_copy(update={"explanation": explanation_out(model, found, item, record)})


def _by_occlusion(ask: Ask, served: Served, record: Record) -> Explanation:
    (answer,) = ask([record])
    return explain(ask, answer, served, record)


class Variants:
    """Asks a model about a record and its variants, which the key pays for, until nobody waits any more.

    How many there are is known too late to refuse them, so they are owed.
    """

    def __init__(self, service: Service, model: ServedModel, key: Key) -> None:
        self._service, self._model, self._key = service, model, key
        self._stopped = threading.Event()
        self._futures: list[Future[Answer]] = []

    def __call__(self, records: Sequence[Record]) -> list[Answer]:
        self._service.rates.charge(self._key.id, len(records))
        self._futures = self._service.batcher.submit(self._model, records)
        if self._stopped.is_set():
            self.stop()
        try:
            return [future.result() for future in self._futures]
        except CancelledError:  # not as it is: the loop would take it for the end of the request
            raise Problem("not-ready", "it is being stopped", 5) from None

    def stop(self) -> None:
        """What waits in the line is not asked; what is done stays done."""
        self._stopped.set()
        for future in self._futures:
            future.cancel()


def explanation_out(model: ServedModel, found: Explanation, item: Item, record: Record) -> Any:
    """The effects with their places in the text as it was sent."""
    from clinfit.serve.schemas import Effect, ExplanationOut, FaithfulnessOut

    texts = submitted_texts(model.task, item)
    effects = []
    for name in record.inputs:
        own = [effect for effect in found.effects if effect.input == name]
        spans = sorted((effect for effect in own if effect.start is not None), key=lambda effect: effect.start or 0)
        placed = positions(
            str(record.inputs[name]), texts.get(name, ""), [(effect.start or 0, effect.end or 0) for effect in spans]
        )
        effects += [
            replace(effect, start=place[0] if place else None, end=place[1] if place else None)
            for effect, place in zip(spans, placed, strict=True)
        ]
        effects += [effect for effect in own if effect.start is None]
    return ExplanationOut(
        method=found.method,
        label=found.label,
        probability=found.probability,
        effects=[
            Effect.model_validate({name: getattr(effect, name) for name in Effect.model_fields})
            for effect in sorted(effects, key=lambda effect: -abs(effect.effect))
        ],
        left_out=found.left_out,
        meaning=found.meaning,
        faithfulness=found.faithfulness and FaithfulnessOut.model_validate(asdict(found.faithfulness)),
    )
