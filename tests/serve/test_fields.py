"""Declared fields over HTTP: the object where the text is one, and the text all the same."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from rich.console import Console
from starlette.testclient import TestClient

import clinfit
from clinfit.packs.output import write_table
from clinfit.runs.execute import run
from clinfit.serve.models import Models

NAME = "majority-seed42/finding"


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fields")
    rows = [{"id": f"r{k}", "text": f"Case {k} fell {k} times.", "fell": "yes", "times": k % 3} for k in range(60)]
    pd.DataFrame(rows).to_csv(folder / "data.csv", index=False)
    label = {"columns": {"fell": "fell", "times": "times"}}
    data = {"path": "data.csv", "id": "id", "inputs": {"text": "text"}, "label": label}
    task = {"kind": "extraction", "fields": {"fell": "boolean", "times": "integer"}, "data": data}
    content = {
        "name": "notes",
        "tasks": {"finding": task},
        "models": [{"name": "majority", "family": "baseline", "kind": "majority"}],
        "evaluation": {"bootstrap": 100},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return run(folder / "study.yaml", out=folder / "run", console=Console(quiet=True)).packs["majority-seed42"]


@pytest.fixture(scope="module")
def models(pack: Path) -> Models:
    return Models([clinfit.load_pack(pack)])


def test_an_object_is_given_beside_its_text(client: TestClient) -> None:
    body = client.post("/v1/write", json={"input": "Fell at night."}).json()
    (item,) = body["data"]
    assert body["kind"] == "extraction" and item["status"] == "ok"
    assert item["extracted"] == json.loads(item["text"]) and item["extracted"]["fell"] is True
    refused = client.post("/v1/classify", json={"input": "Fell at night."})
    assert refused.status_code == 422 and "/v1/write" in refused.json()["detail"]


def test_a_job_is_the_file_of_predict(client: TestClient, pack: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    new.write_text("id,text\na,Fell.\nb,Did not.\n")
    made = client.post(f"/v1/jobs?model={NAME}", content=new.read_bytes(), headers={"content-type": "text/csv"})
    with client.stream("GET", f"/v1/jobs/{made.json()['id']}/events") as events:
        assert any("succeeded" in line for line in events.iter_lines())
    write_table(clinfit.load_pack(pack).predict(new), tmp_path / "expected.csv")
    found = client.get(f"/v1/jobs/{made.json()['id']}/results?format=csv")
    assert found.content == (tmp_path / "expected.csv").read_bytes()
