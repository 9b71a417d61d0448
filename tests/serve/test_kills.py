"""The storm: a job of abstracts whose workers, services and store are killed while it runs. Every record is answered
once, and as `predict` does, bit for bit."""

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
from .services import HTTP, SOURCE, Program, RedisServer, free_port, needs_redis, wait_until_ready

pytestmark = pytest.mark.slow

Start = Callable[..., Program]
RECORDS, CHUNK = 240, 8
#: Records that are allowed at a time.
PART = 40
#: Of workers on Redis, and of a service with its jobs in SQLite; fewer than a record may be begun.
WORKER_KILLS, SERVICE_KILLS = 4, 3
LEASE = 1
PUBLIC = Path(os.environ.get("CLINFIT_DATA", "absent"))
MODEL = {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic", "c_grid": [100.0]}
WORDS = "patients with were after seen in the of lung breast cancer no evidence treated cough lump years risk".split()


#: A module that Python imports when it starts. Whoever answers takes its time, and waits before the first record that
#: is not to be answered yet: so a job never ends before the last kill, however quick a machine is.
SLOWLY = """
import os, time
from pathlib import Path
from clinfit.packs.read import Pack
allowed, answer = Path(os.environ["CLINFIT_TEST_ALLOWED"]), Pack.answer
def slowly(self, task, records, **more):
    for record in records:
        time.sleep(0.01)
        while record.id.startswith("storm-") and int(record.id[6:]) >= int(allowed.read_text()):
            time.sleep(0.02)
    return answer(self, task, records, **more)
Pack.answer = slowly
"""


@dataclass(frozen=True)
class Storm:
    """A pack, records, and what `clinfit predict` writes of them. site: holds SLOWLY, and how many may be answered."""

    pack: Path
    data: Path
    expected: str
    site: Path

    def allow(self, records: int) -> None:
        new = self.site / "new"
        new.write_text(str(records))
        new.replace(self.site / "allowed")

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.site), str(SOURCE)])
        allowed = str(self.site / "allowed")
        return {"PYTHONPATH": path, "CLINFIT_TEST_ALLOWED": allowed, "CLINFIT_SERVE_CHUNK": str(CHUNK)}


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
    rows = pd.DataFrame({"id": [f"storm-{k}" for k in range(RECORDS)], "abstract": texts})
    rows.to_csv(folder / "many.csv", index=False)
    learned = rows.assign(types=["|".join(sorted(labels)) for labels in named])
    learned = pd.concat([learned[learned["types"] != ""][:60], learned[learned["types"] == ""][:60]])
    learned.to_csv(folder / "types.csv", index=False)
    task = TYPES | {"data": TYPES["data"] | {"clean": {"mask_lexicon": True}}}
    study = write_study(folder, tasks={"types": task}, models=[MODEL], evaluation={"bootstrap": 100})
    pack = clinfit.run(study, out=folder / "run", console=Console(quiet=True)).packs["tfidf-seed42"]
    answers = clinfit.load_pack(pack).predict(folder / "many.csv")
    assert len(set(answers["p_lung cancer"])) > 50, "wrong answers could be told from right ones"
    write_table(answers, folder / "expected.csv")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(SLOWLY)
    return Storm(pack, folder / "many.csv", (folder / "expected.csv").read_text(), folder / "site")


def send(url: str, data: Path) -> str:
    headers = {"Content-Type": "text/csv", "Idempotency-Key": "the one"}
    response = HTTP.post(f"{url}/v1/jobs", content=data.read_bytes(), headers=headers)
    assert response.status_code == 202, response.text
    return response.json()["id"]


def job(url: str, name: str) -> dict[str, object]:
    """How far it is; a service that is being started again is waited for."""
    for _ in range(3000):
        try:
            response = HTTP.get(f"{url}/v1/jobs/{name}", timeout=10)
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


def done(url: str, name: str, records: int) -> bool:
    """Whether so many records of a job are done."""
    return int(str(job(url, name)["done"])) >= records


def under_way(storm: Storm, url: str, name: str, part: int) -> None:
    """Allow one more part of the job, and wait until those who held its first records have gone on, and a little: what
    kills them then finds them anywhere."""
    storm.allow((part + 1) * PART)
    until(partial(done, url, name, part * PART + 2 * CHUNK))
    assert job(url, name)["ended"] is None
    time.sleep(0.1 * random.random())


def check(url: str, name: str, storm: Storm) -> None:
    """All results, each once, in order, equal to the bytes that `clinfit predict` writes."""
    found = HTTP.get(f"{url}/v1/jobs/{name}/results?format=csv").text
    rows = list(csv.DictReader(found.splitlines()))
    assert [row["id"] for row in rows] == pd.read_csv(storm.data)["id"].tolist()
    assert found == storm.expected
    counts = job(url, name)
    assert (counts["state"], counts["done"], counts["failed"]) == ("succeeded", RECORDS, 0)


def test_sqlite_and_a_service_that_is_killed(storm: Storm, tmp_path: Path, programs: Start) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = ("serve", storm.pack, "--port", port, "--jobs", tmp_path / "jobs.sqlite", "--lease", LEASE)
    service = programs(*words, **storm.environment)
    wait_until_ready(service, url)
    storm.allow(0)
    name = send(url, storm.data)
    for kill in range(SERVICE_KILLS):
        under_way(storm, url, name, kill)
        service.kill()
        service = programs(*words, **storm.environment)
        wait_until_ready(service, url)
    assert send(url, storm.data) == name, "a request that is sent again makes no second job"
    storm.allow(RECORDS)
    until(lambda: job(url, name)["ended"] is not None)
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
    service = programs(*serving, **storm.environment)
    workers = [programs(*working, **storm.environment) for _ in range(2)]
    try:
        wait_until_ready(service, url)
        storm.allow(0)
        name = send(url, storm.data)
        for kill in range(WORKER_KILLS):
            at = kill % 2
            works(workers[at])
            under_way(storm, url, name, kill if kill < 3 else 4)
            workers[at].kill()
            workers[at] = programs(*working, **storm.environment)
            if kill == 1:
                server.kill()
                server.start()
            if kill == 2:
                works(workers[1])
                workers[1].signal(signal.SIGSTOP)
                time.sleep(2 * LEASE)
                under_way(storm, url, name, 3)  # the other one does what the silent one held
                workers[1].signal(signal.SIGCONT)
            if kill == 3:
                service.kill()
                service = programs(*serving, **storm.environment)
                wait_until_ready(service, url)
        storm.allow(RECORDS)
        until(lambda: job(url, name)["ended"] is not None)
        check(url, name, storm)
        assert workers[0].stop() == 0 and service.stop() == 0
    finally:
        server.kill()
