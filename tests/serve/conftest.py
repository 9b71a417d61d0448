"""Packs to be served, a real Redis server, and services in this process and in others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rich.console import Console

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from starlette.testclient import TestClient

import clinfit
from clinfit.packs.write import write_packs
from clinfit.serve.app import create_app
from clinfit.serve.jobs import JobStore
from clinfit.serve.models import Models
from clinfit.serve.security import Keys
from clinfit.serve.service import Service
from clinfit.serve.settings import Settings
from clinfit.serve.stores.sqlite import SqliteStore
from small_study import write_study
from three_tasks import described, results_of, study_of, train
from two_layer import llama_base

from .services import Program, RedisServer

# ---------------------------------------------------------------- packs


@dataclass(frozen=True)
class Served:
    """A study that was run: its data, and a pack with a threshold for a text and a number."""

    data: Path
    pack: Path
    majority: Path


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("served")
    study = write_study(folder / "study")
    result = clinfit.run(study, out=folder / "run", console=Console(quiet=True))
    return Served(study.with_name("data.csv"), result.packs["tfidf-seed42"], result.packs["majority-seed42"])


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of a language model of two layers, with a task of each kind that has labels."""
    training = {"epochs": 0.5, "learning_rate": 1e-2, "batch_size": 8, "max_length": 200, "precision": "fp32"}
    model = {"name": "words", "family": "causal", "base": str(llama_base()), "lora": {"rank": 2}, "train": training}
    study = study_of(model)
    trained, _ = train(study, tmp_path_factory.mktemp("three"))
    return write_packs(trained, study, results_of(study), described(study))["words-seed42"]


@pytest.fixture(scope="session")
def writes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of a language model of two layers: what it writes makes no sense, and runs to the limit."""
    folder = tmp_path_factory.mktemp("follows")
    rows = [{"id": f"r{k}", "text": f"Case {k} fell. Seen {k} times.", "note": f"Fell {k}"} for k in range(60)]
    pd.DataFrame(rows).to_csv(folder / "data.csv", index=False)
    data = {"path": "data.csv", "id": "id", "inputs": {"text": "text"}, "label": "note"}
    train = {"epochs": 0.2, "learning_rate": 1e-4, "batch_size": 8, "max_length": 160, "precision": "fp32"}
    model = {"name": "words", "family": "causal", "base": str(llama_base()), "lora": {"rank": 2}, "train": train}
    content = {
        "name": "notes",
        "tasks": {"note": {"kind": "generation", "data": data, "max_new_tokens": 40}},
        "models": [model | {"compare_base": False}],
        "evaluation": {"bootstrap": 100},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    result = clinfit.run(folder / "study.yaml", out=folder / "run", console=Console(quiet=True))
    return result.packs["words-seed42"]


#: A task whose labels are of a lexicon.
TYPES: dict[str, Any] = {
    "kind": "multilabel",
    "labels": ["lung cancer", "breast cancer"],
    "lexicon": "cancer-types",
    "data": {"path": "types.csv", "id": "id", "inputs": {"abstract": "abstract"}, "label": {"column": "types"}},
}


def typed_rows(n: int = 60) -> pd.DataFrame:
    texts = {
        "lung cancer": "Case {}: lung cancer, a cough",
        "breast cancer": "Case {}: breast cancer, a lump",
        "": "Case {}: a fall",
    }
    made = [(k, list(texts)[k % 3]) for k in range(n)]
    return pd.DataFrame([{"id": f"r{k}", "abstract": texts[types].format(k), "types": types} for k, types in made])


@pytest.fixture(scope="session")
def typed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packs of a rule and a model, each of two tasks: texts as they are, and with the names of types masked."""
    folder = tmp_path_factory.mktemp("types")
    typed_rows().to_csv(folder / "types.csv", index=False)
    cleaned = {
        name: {**TYPES, "data": {**TYPES["data"], "clean": {"normalise_whitespace": True, "mask_lexicon": masked}}}
        for name, masked in (("types", False), ("masked", True))
    }
    models = [
        {"name": "lexicon", "family": "baseline", "kind": "lexicon"},
        {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic", "c_grid": [100.0]},
    ]
    study = write_study(folder, tasks=cleaned, models=models, evaluation={"bootstrap": 100})
    return clinfit.run(study, out=folder / "run", console=Console(quiet=True)).packs


@pytest.fixture(scope="session")
def models(small: Served, three: Path) -> Models:
    return Models([clinfit.load_pack(small.pack), clinfit.load_pack(small.majority), clinfit.load_pack(three)])


# ---------------------------------------------------------------- services in this process


@pytest.fixture
def make_service(models: Models, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def make(
        *, store: JobStore | None = None, keys: Keys | None = None, works: bool = True, **settings: Any
    ) -> Service:
        store = store or SqliteStore(tmp_path / f"jobs-{len(made)}.sqlite")
        hosts = ("testserver", "127.0.0.1", "localhost")
        service = Service(models, store, keys or Keys([]), Settings(**settings), works=works, hosts=hosts)
        made.append(service)
        return service

    yield make
    for service in made:
        if not service.draining.is_set():
            service.close()


@pytest.fixture
def make_client(make_service: Callable[..., Service]) -> Callable[..., TestClient]:
    """A client of a service; one that fails without our noticing is a fault of its own."""
    return lambda **settings: TestClient(create_app(make_service(**settings)), raise_server_exceptions=True)


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> TestClient:
    return make_client()


# ---------------------------------------------------------------- servers


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts `clinfit ...`; what still runs at the end is killed."""
    started: list[Program] = []

    def start(*words: object, **environment: str) -> Program:
        program = Program([str(word) for word in words], tmp_path / f"program-{len(started)}.log", environment)
        started.append(program)
        return program

    yield start
    for program in started:
        if program.process.poll() is None:
            program.kill()
