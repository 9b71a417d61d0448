"""A pack and the one that follows it: served together under one name, and results that outlive the old one."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import clinfit
from clinfit.packs.answer import Answer
from clinfit.packs.read import Pack
from clinfit.serve.app import create_app
from clinfit.serve.kinds import kind_of, past
from clinfit.serve.models import Models
from clinfit.serve.security import Keys
from clinfit.serve.service import Service
from clinfit.serve.settings import Settings
from clinfit.serve.stores.sqlite import SqliteStore

from .conftest import Served
from .services import ended

NAME = "tfidf-seed42/cancer"
Serves = Callable[..., TestClient]


@pytest.fixture
def old(small: Served) -> Pack:
    return clinfit.load_pack(small.pack)


@pytest.fixture
def new(old: Pack) -> Pack:
    """Of the same study and run, with another threshold, say."""
    return replace(old, content=replace(old.content, sha256="f" * 64))


@pytest.fixture
def serves(tmp_path: Path) -> Iterator[Serves]:
    """Services that follow each other on one file of jobs."""
    running: list[Service] = []

    def serve(*packs: Pack, works: bool = True) -> TestClient:
        for service in running:
            service.close()
        store = SqliteStore(tmp_path / "jobs.sqlite")
        running[:] = [Service(Models(packs), store, Keys([]), Settings(), works=works, hosts=("testserver",))]
        return TestClient(create_app(running[0]))

    yield serve
    for service in running:
        service.close()


def test_the_pack_that_is_named_first_has_the_name(serves: Serves, old: Pack, new: Pack) -> None:
    client, digest = serves(new, old), old.content.sha256
    listed = [model["id"] for model in client.get("/v1/models").json()["data"]]
    assert listed == [NAME, f"{NAME}@{digest[:8]}"]
    meant = {
        NAME: new, "cancer": new, "tfidf-seed42": new, f"{NAME}@ffff": new,
        listed[1]: old, f"{NAME}@{digest[:4]}": old, f"cancer@{digest}": old, f"tfidf-seed42@{digest[:12]}": old,
    }  # fmt: skip
    for name, pack in meant.items():
        answer = client.post("/v1/classify", json={"model": name, "input": "A tumour."}).json()
        assert answer["pack"] == pack.content.sha256, name
    alone = client.post("/v1/classify", json={"input": "A tumour."}).json()
    assert alone["pack"] == new.content.sha256, "the old one is not asked by who does not name it"
    assert client.get(f"/v1/models/{NAME}@0000").status_code == 404


def test_jobs_of_the_old_pack_end_beside_the_new_one_and_are_read_without_it(
    serves: Serves, old: Pack, new: Pack, small: Served
) -> None:
    client = serves(old, works=False)
    items = [*("A tumour was seen." for _ in range(3)), {"id": "x", "inputs": {"text": "A fall.", "age": "old"}}]
    job = client.post("/v1/jobs", json={"model": NAME, "input": items}).json()["id"]
    client = serves(new, old)
    assert ended(client, job)["state"] == "succeeded"
    forms = ("json", "ndjson", "csv")
    beside = [client.get(f"/v1/jobs/{job}/results?format={form}").text for form in forms]
    one = client.get(f"/predictions/{job}").json()
    client = serves(new)
    assert [client.get(f"/v1/jobs/{job}/results?format={form}").text for form in forms] == beside
    assert client.get(f"/predictions/{job}").json() == one and one["result"]["id"] == "1"


def test_a_request_of_before_is_known_beside_the_new_pack_and_without_the_old_one(
    serves: Serves, old: Pack, new: Pack
) -> None:
    sent = {"json": {"model": NAME, "input": ["A tumour."]}, "headers": {"idempotency-key": "night 7"}}
    first = serves(old, works=False).post("/v1/jobs", **sent).json()
    for packs in ((new, old), (new,)):
        again = serves(*packs, works=False).post("/v1/jobs", **sent)
        assert again.status_code == 202 and again.headers["idempotent-replayed"] == "true"
        assert again.json()["id"] == first["id"]


def test_fields_are_told_by_the_first_object() -> None:
    invalid = Answer("facts", "a", "extraction", "no", "no", {}, {}, "invalid", (), None, 0, "p", "torch", "stop")
    model = past([invalid, replace(invalid, id="b", status="ok", extracted={"dose": 5, "drug": None})])
    table = kind_of(model).table(model, [invalid])
    assert list(table.columns[:3]) == ["id", "field_dose", "field_drug"]
    assert list(past([]).labels) == []
