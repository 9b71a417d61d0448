"""Neither a store that hangs nor a long table holds up what is asked at once, nor the other way round."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from clinfit.serve import worker
from clinfit.serve.app import create_app
from clinfit.serve.models import ServedModel
from clinfit.serve.run import Draining
from clinfit.serve.service import Service
from clinfit.serve.stores.sqlite import SqliteStore

from .services import soon

TFIDF = "tfidf-seed42/cancer"
ASKED = {"model": TFIDF, "input": "A tumour was seen."}
#: More than any pool has threads.
MANY = 60


class Blocked:
    """Calls that hang until they are let go."""

    def __init__(self) -> None:
        self.go, self.inside = threading.Event(), 0

    def __call__(self, *values: Any) -> Any:
        self.inside += 1
        self.go.wait(60)
        return None


@pytest.fixture
def blocked() -> Iterator[Blocked]:
    made = Blocked()
    yield made
    made.go.set()


def asking(asks: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=asks) for _ in range(MANY)]
    for thread in threads:
        thread.start()
    return threads


def test_a_store_that_hangs_holds_up_no_answer(
    make_service: Callable[..., Service], blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(works=False)
    for name in ("get", "ping", "waiting"):
        monkeypatch.setattr(service.store, name, blocked)
    with TestClient(create_app(service)) as client:
        paths = iter([f"/v1/jobs/{'0' * 32}", "/ready", "/metrics"] * MANY)
        threads = asking(lambda: client.get(next(paths)))
        assert soon(lambda: blocked.inside > 1, 20)
        found: list[int] = []
        asker = threading.Thread(target=lambda: found.append(client.post("/v1/classify", json=ASKED).status_code))
        asker.start()
        asker.join(timeout=20)
        assert found == [200]
        ready = client.get("/ready")
        assert ready.status_code == 503
        assert ready.json()["reason"] == "the store of jobs does not answer, or cannot be written"
        blocked.go.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    ("reads", "path", "body"),
    [("classify._records", "/v1/classify", ASKED), ("jobs._json_items", "/v1/jobs", {"input": ["A tumour."]})],
)
def test_reading_that_takes_long_holds_up_no_job(
    make_service: Callable[..., Service],
    blocked: Blocked,
    monkeypatch: pytest.MonkeyPatch,
    reads: str,
    path: str,
    body: dict[str, Any],
) -> None:
    monkeypatch.setattr(f"clinfit.serve.routes.{reads}", blocked)
    app = create_app(make_service(works=False))
    with TestClient(app, raise_server_exceptions=False) as client:
        threads = asking(lambda: client.post(path, json=body))
        assert soon(lambda: blocked.inside > 1, 20)
        found: list[int] = []
        asker = threading.Thread(target=lambda: found.append(client.get("/v1/jobs").status_code))
        asker.start()
        asker.join(timeout=20)
        assert found == [200]
        if path == "/v1/jobs":
            assert client.post("/v1/classify", json=ASKED).status_code == 200
        blocked.go.set()
        for thread in threads:
            thread.join()


def test_reading_has_the_seconds_of_an_answer(
    make_service: Callable[..., Service], blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clinfit.serve.routes.classify._records", blocked)
    with TestClient(create_app(make_service(works=False, seconds=0.3))) as client:
        late = client.post("/v1/classify", json=ASKED)
        assert (late.status_code, late.json()["code"]) == (504, "late")
        blocked.go.set()


def test_what_nobody_waits_for_is_not_read_on(
    make_service: Callable[..., Service], blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clinfit.serve.routes.classify.record_of", blocked)
    with TestClient(create_app(make_service(works=False, seconds=0.3))) as client:
        late = client.post("/v1/classify", json=ASKED | {"input": ["A tumour."] * 5})
        assert late.json()["code"] == "late" and blocked.inside == 1
        blocked.go.set()
        time.sleep(0.2)
        assert blocked.inside == 1, "the other four stay unread"


def test_a_stop_takes_no_longer_than_it_says(
    make_service: Callable[..., Service], tmp_path: Path, blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests and jobs have the same seconds from the signal on; a model that is busy is not waited for."""
    monkeypatch.setattr(worker, "REST", 0.5)
    monkeypatch.setattr(ServedModel, "answer", lambda self, records, heard: blocked() or ["late"])
    service = make_service(drain=3.0, store=SqliteStore(tmp_path / "jobs.sqlite"))
    with TestClient(create_app(service)) as client:
        assert client.post("/v1/jobs", json={"model": TFIDF, "input": ["A tumour."]}).status_code == 202
        assert soon(lambda: blocked.inside > 0, 20)
        Draining(uvicorn.Config(client.app), service, lambda: None).handle_exit(signal.SIGTERM, None)
        time.sleep(3.0)  # as long as requests may take
        began = time.monotonic()
    assert time.monotonic() - began < 2.9, "the seconds of the job are over too"
    again = SqliteStore(tmp_path / "jobs.sqlite")
    claim = again.claim([service.models.by_name[TFIDF].queue], "other", 30)
    assert claim is not None and claim.tries == 1, "given back untried"
    again.close()
