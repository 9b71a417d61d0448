"""A job whose workers, services and store are killed while it runs: every record answered once, and as `predict` does.

CLINFIT_KILLS: how many kills; more of them take a larger job.
"""

import csv
import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx2
import pandas as pd
import pytest
from rich.console import Console

import clinfit
from clinfit.packs.output import write_table
from small_study import records, write_study

from .services import Program, RedisServer, free_port, needs_redis, wait_until_ready

pytestmark = pytest.mark.slow

Start = Callable[..., Program]
KILLS = int(os.environ.get("CLINFIT_KILLS", "3"))
FOREST = {"name": "forest", "family": "classical", "kind": "random-forest", "trees": 300}


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack that takes its time: some 30 ms a turn."""
    folder = tmp_path_factory.mktemp("forest")
    study = write_study(folder / "study", models=[FOREST])
    return clinfit.run(study, out=folder / "run", console=Console(quiet=True)).packs["forest-seed42"]


def table(folder: Path, n: int) -> Path:
    path = folder / "many.csv"
    rows = records(n).drop(columns="label")
    rows["age"] = rows["age"] + rows.index / n  # no two records are alike
    rows.to_csv(path, index=False)
    return path


def send(url: str, data: Path) -> str:
    headers = {"Content-Type": "text/csv", "Idempotency-Key": "the one"}
    response = httpx2.post(f"{url}/v1/jobs", content=data.read_bytes(), headers=headers, timeout=60)
    assert response.status_code == 202, response.text
    return response.json()["id"]


def job(url: str, name: str) -> dict[str, object]:
    """How far it is; a service that is being started again is waited for."""
    for _ in range(300):
        try:
            response = httpx2.get(f"{url}/v1/jobs/{name}", timeout=10)
            if response.status_code == 200:
                return response.json()
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("the service does not answer")


def works(worker: Program) -> None:
    """Wait until a worker has loaded its pack: to kill it before would be no test."""
    for _ in range(600):
        if "works on jobs" in worker.log.read_text():
            return
        time.sleep(0.1)
    raise AssertionError(worker.log.read_text())


def until(holds: Callable[[], bool], seconds: float = 900) -> None:
    """Wait until it holds, and not for ever."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.1)


def done(url: str, name: str, share: float) -> bool:
    """Whether so much of a job is done, or it has ended: kills follow what is done and not the clock, so that a quick
    machine has as many."""
    found = job(url, name)
    return found["ended"] is not None or float(str(found["done"])) >= share * float(str(found["total"]))


def check(url: str, name: str, pack: Path, data: Path) -> None:
    """All results, each once, in order, equal to the bytes that `clinfit predict` writes."""
    found = httpx2.get(f"{url}/v1/jobs/{name}/results?format=csv", timeout=60).text
    expected = data.with_name("expected.csv")
    write_table(clinfit.load_pack(pack).predict(data), expected)
    rows = list(csv.DictReader(found.splitlines()))
    assert [row["id"] for row in rows] == pd.read_csv(data)["id"].tolist()
    assert found == expected.read_text()
    counts = job(url, name)
    assert (counts["state"], counts["done"], counts["failed"]) == ("succeeded", counts["total"], 0)


def test_sqlite_and_a_service_that_is_killed(forest: Path, tmp_path: Path, programs: Start) -> None:
    data, port = table(tmp_path, 1200 * KILLS), free_port()
    url = f"http://127.0.0.1:{port}"
    words = ("serve", forest, "--port", port, "--jobs", tmp_path / "jobs.sqlite", "--lease", 1)
    service = programs(*words)
    wait_until_ready(service, url)
    name = send(url, data)
    kills = 0
    for kill in range(KILLS):
        until(partial(done, url, name, kill / (KILLS + 1)))
        kills += job(url, name)["ended"] is None
        time.sleep(0.1 * random.random())
        service.kill()
        service = programs(*words)
        wait_until_ready(service, url)
        assert send(url, data) == name, "a request that is sent again makes no second job"
    until(partial(done, url, name, 2))
    assert kills >= min(2, KILLS)
    check(url, name, forest, data)
    assert service.stop() == 0


@needs_redis
def test_redis_and_everybody_is_killed(
    forest: Path, tmp_path: Path, programs: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = RedisServer(tmp_path_factory.mktemp("redis-kills"))
    server.start()
    data, port = table(tmp_path, 1600 * (KILLS + 1)), free_port()
    url = f"http://127.0.0.1:{port}"
    serving = ("serve", forest, "--port", port, "--redis", server.url, "--no-worker", "--lease", 1)
    working = ("worker", forest, "--redis", server.url, "--lease", 1)
    service = programs(*serving)
    workers = [programs(*working) for _ in range(2)]
    try:
        wait_until_ready(service, url)
        for worker in workers:
            works(worker)
        name = send(url, data)
        kills = restarts = 0
        for kill in range(KILLS + 1):
            until(partial(done, url, name, kill / (KILLS + 2)))
            kills += job(url, name)["ended"] is None
            at = kill % 2
            works(workers[at])
            workers[at].kill()
            workers[at] = programs(*working)
            if kill in (1, KILLS - 1) and restarts < 2:
                server.kill()
                server.start()
                restarts += 1
            if kill == 2:
                works(workers[0])
                workers[0].signal(signal.SIGSTOP)
                time.sleep(2.5)
                workers[0].signal(signal.SIGCONT)
            if kill == 3:
                service.kill()
                service = programs(*serving)
                wait_until_ready(service, url)
        until(partial(done, url, name, 2))
        assert kills >= min(3, KILLS) and restarts
        check(url, name, forest, data)
        assert workers[0].stop() == 0 and service.stop() == 0
    finally:
        server.kill()
