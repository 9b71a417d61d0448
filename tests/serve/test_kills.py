"""The storm: a job of 1,000 abstracts whose workers, services and store are killed while it runs. Every record is
answered once, and as `predict` does, bit for bit."""

import csv
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2
import pandas as pd
import pytest
from rich.console import Console

import clinfit
from clinfit.data.catalog.cancer_types import title_types
from clinfit.packs.output import write_table
from small_study import write_study

from .conftest import TYPES
from .services import Program, RedisServer, free_port, needs_redis, wait_until_ready

pytestmark = pytest.mark.slow

Start = Callable[..., Program]
RECORDS = 1000
#: Of workers on Redis, and of a service with its jobs in SQLite.
WORKER_KILLS, SERVICE_KILLS = 20, 10
LEASE = 1
PUBLIC = Path(os.environ.get("CLINFIT_DATA", "absent"))
FOREST = {"name": "forest", "family": "classical", "kind": "random-forest", "trees": 100}
WORDS = "patients with were after seen in the of lung breast cancer no evidence treated cough lump years risk".split()


@dataclass(frozen=True)
class Storm:
    """A pack that takes its time (some 10 ms a record), 1,000 records, and what `clinfit predict` writes of them."""

    pack: Path
    data: Path
    expected: str


def abstracts() -> list[str]:
    """Public ones where the folder of CLINFIT_DATA holds them, else made up; no two are alike."""
    files = {
        "cancer_abstracts/abstracts.csv": "abstract",
        "mirna_cancer_abstracts/ColorectalMiRNAs_tbl_df.csv": "Abstract",
    }
    if all((PUBLIC / file).is_file() for file in files):
        found = [text for file, column in files.items() for text in pd.read_csv(PUBLIC / file)[column].dropna()]
    else:
        rng = random.Random(0)
        found = [f"Case {k}. {' '.join(rng.choices(WORDS, k=200))}." for k in range(RECORDS)]
    return list(dict.fromkeys(found))[:RECORDS]


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Storm:
    folder = tmp_path_factory.mktemp("storm")
    texts = abstracts()
    named = [{*types.split("|")} & {*TYPES["labels"]} for types in title_types(texts)]
    rows = pd.DataFrame({"id": [f"r{k}" for k in range(RECORDS)], "abstract": texts})
    rows.to_csv(folder / "many.csv", index=False)
    learned = rows.assign(types=["|".join(sorted(labels)) for labels in named])
    learned = pd.concat([learned[learned["types"] != ""][:100], learned[learned["types"] == ""][:100]])
    learned.to_csv(folder / "types.csv", index=False)
    task = TYPES | {"data": TYPES["data"] | {"clean": {"mask_lexicon": True}}}
    study = write_study(folder, tasks={"types": task}, models=[FOREST], evaluation={"bootstrap": 100})
    pack = clinfit.run(study, out=folder / "run", console=Console(quiet=True)).packs["forest-seed42"]
    answers = clinfit.load_pack(pack).predict(folder / "many.csv")
    assert answers["p_lung cancer"].nunique() > 50, "wrong answers could be told from right ones"
    write_table(answers, folder / "expected.csv")
    return Storm(pack, folder / "many.csv", (folder / "expected.csv").read_text())


def send(url: str, data: Path) -> str:
    headers = {"Content-Type": "text/csv", "Idempotency-Key": "the one"}
    response = httpx2.post(f"{url}/v1/jobs", content=data.read_bytes(), headers=headers, timeout=120)
    assert response.status_code == 202, response.text
    return response.json()["id"]


def job(url: str, name: str) -> dict[str, object]:
    """How far it is; a service that is being started again is waited for."""
    for _ in range(3000):
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
    for _ in range(3000):
        if "works on jobs" in worker.log.read_text():
            return
        time.sleep(0.1)
    raise AssertionError(worker.log.read_text())


def until(holds: Callable[[], bool], seconds: float = 1800) -> None:
    """Wait until it holds, and not for ever."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


def done(url: str, name: str, share: float) -> bool:
    """Whether so much of a job is done, or it has ended: kills follow what is done and not the clock, so that a quick
    machine has as many."""
    found = job(url, name)
    return found["ended"] is not None or float(str(found["done"])) >= share * RECORDS


def check(url: str, name: str, storm: Storm) -> None:
    """All results, each once, in order, equal to the bytes that `clinfit predict` writes."""
    found = httpx2.get(f"{url}/v1/jobs/{name}/results?format=csv", timeout=120).text
    rows = list(csv.DictReader(found.splitlines()))
    assert [row["id"] for row in rows] == pd.read_csv(storm.data)["id"].tolist()
    assert found == storm.expected
    counts = job(url, name)
    assert (counts["state"], counts["done"], counts["failed"]) == ("succeeded", RECORDS, 0)


def test_sqlite_and_a_service_that_is_killed(storm: Storm, tmp_path: Path, programs: Start) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = ("serve", storm.pack, "--port", port, "--jobs", tmp_path / "jobs.sqlite", "--lease", LEASE)
    service = programs(*words)
    wait_until_ready(service, url)
    name = send(url, storm.data)
    for kill in range(SERVICE_KILLS):
        until(partial(done, url, name, kill / (SERVICE_KILLS + 1)))
        assert job(url, name)["ended"] is None, f"the job ended before kill {kill}"
        time.sleep(0.1 * random.random())
        service.kill()
        service = programs(*words)
        wait_until_ready(service, url)
    assert send(url, storm.data) == name, "a request that is sent again makes no second job"
    until(partial(done, url, name, 2))
    check(url, name, storm)
    assert service.stop() == 0


@needs_redis
def test_redis_and_everybody_is_killed(storm: Storm, programs: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    server = RedisServer(tmp_path_factory.mktemp("redis-kills"))
    server.start()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    serving = ("serve", storm.pack, "--port", port, "--redis", server.url, "--no-worker", "--lease", LEASE)
    working = ("worker", storm.pack, "--redis", server.url, "--lease", LEASE)
    service = programs(*serving)
    workers = [programs(*working) for _ in range(3)]
    try:
        wait_until_ready(service, url)
        for worker in workers:
            works(worker)
        name = send(url, storm.data)
        for kill in range(WORKER_KILLS):
            until(partial(done, url, name, kill / (WORKER_KILLS + 1)))
            at = kill % 3
            works(workers[at])
            assert job(url, name)["ended"] is None, f"the job ended before kill {kill}"
            time.sleep(0.1 * random.random())
            workers[at].kill()
            workers[at] = programs(*working)
            if kill in (5, 13):
                server.kill()
                server.start()
            if kill == 8:  # the next in turn, while the others are being started
                silent(workers[0], until_works=workers[1])
            if kill == 10:
                service.kill()
                service = programs(*serving)
                wait_until_ready(service, url)
        until(partial(done, url, name, 2))
        check(url, name, storm)
        assert workers[0].stop() == 0 and service.stop() == 0
    finally:
        server.kill()


def silent(worker: Program, until_works: Program) -> None:
    """Stop a worker for longer than its lease, and let it go on when another has begun to take what it holds."""
    works(worker)
    worker.signal(signal.SIGSTOP)
    time.sleep(2 * LEASE)
    works(until_works)
    time.sleep(0.5)
    worker.signal(signal.SIGCONT)
