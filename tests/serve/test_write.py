"""Texts over HTTP: what `predict` writes, under every address, as a job, and nowhere else."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rich.console import Console
from starlette.testclient import TestClient

import clinfit
from clinfit.packs.answer import Answer
from clinfit.packs.output import write_table
from clinfit.runs.execute import run
from clinfit.serve.models import Models
from clinfit.serve.routes.results import csv_page

NAME = "lead-seed42/note"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Records without references, and the pack of a rule that writes their first sentence."""
    folder = tmp_path_factory.mktemp("writes")
    rows = [{"id": f"r{k}", "text": f"Case {k} fell. Seen {k} times.", "note": f"Fell, case {k}"} for k in range(60)]
    pd.DataFrame(rows).to_csv(folder / "data.csv", index=False)
    pd.DataFrame(rows).drop(columns="note").head(7).to_csv(folder / "new.csv", index=False)
    data = {"path": "data.csv", "id": "id", "inputs": {"text": "text"}, "label": "note"}
    content = {
        "name": "notes",
        "tasks": {"note": {"kind": "generation", "data": data}},
        "models": [{"name": "lead", "family": "baseline", "kind": "lead", "sentences": 1}],
        "evaluation": {"bootstrap": 100},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    result = run(folder / "study.yaml", out=folder / "run", console=Console(quiet=True))
    return folder / "new.csv", result.packs["lead-seed42"]


@pytest.fixture(scope="module")
def models(written: tuple[Path, Path]) -> Models:
    return Models([clinfit.load_pack(written[1])])


def items(path: Path) -> list[dict[str, Any]]:
    return [{"id": row["id"], "inputs": {"text": row["text"]}} for row in pd.read_csv(path).to_dict("records")]


@pytest.mark.parametrize("route", ["/v1/write", "/v1/qa", "/v1/summarize"])
def test_texts_are_those_of_predict(client: TestClient, written: tuple[Path, Path], route: str) -> None:
    new, pack = written
    expected = clinfit.load_pack(pack).predict(new)
    found = client.post(route, json={"input": items(new)}).json()
    assert found["model"] == NAME and found["kind"] == "generation" and found["labels"] == []
    for name in ("text", "finish_reason", "status"):
        assert [item[name] for item in found["data"]] == expected[name].tolist()
    assert found["data"][3]["text"] == "Case 3 fell." and found["data"][3]["probabilities"] is None
    assert client.get("/v1/models").json()["data"][0]["route"] == "/v1/write"


def test_a_text_alone_is_a_record(client: TestClient) -> None:
    (item,) = client.post("/v1/write", json={"input": "Fell at night. No fracture."}).json()["data"]
    assert item["text"] == "Fell at night." and item["notes"] == []


def test_the_clients_write(client: TestClient) -> None:
    with clinfit.Client() as own:
        own._http = client  # type: ignore[assignment]
        assert [answer["text"] for answer in own.write(["Fell at night. No fracture."])] == ["Fell at night."]


def test_each_kind_has_its_own_address(client: TestClient) -> None:
    refused = client.post("/v1/classify", json={"input": "Fell at night."})
    assert refused.status_code == 422 and "/v1/write" in refused.json()["detail"]
    assert client.post("/v1/write", json={"input": "Fell.", "explain": True}).status_code == 422


def test_a_job_of_texts_is_the_file_of_predict(client: TestClient, written: tuple[Path, Path], tmp_path: Path) -> None:
    new, pack = written
    job = client.post(f"/v1/jobs?model={NAME}", content=new.read_bytes(), headers={"content-type": "text/csv"}).json()[
        "id"
    ]
    with client.stream("GET", f"/v1/jobs/{job}/events") as events:
        assert any("succeeded" in line for line in events.iter_lines())
    write_table(clinfit.load_pack(pack).predict(new), tmp_path / "expected.csv")
    found = client.get(f"/v1/jobs/{job}/results?format=csv")
    assert found.content == (tmp_path / "expected.csv").read_bytes()


def test_a_record_without_an_answer_leaves_whole_numbers_whole(models: Models) -> None:
    (model,) = models.all()
    answer = Answer(NAME, "a", "generation", "Fell.", "Fell.", {}, {}, "ok", (), None, 3, "pack", "cpu", "stop")
    page = [
        {"index": 0, "id": "a", "answer": asdict(answer), "error": None},
        {"index": 1, "id": "b", "answer": None, "error": {"code": "unanswered", "detail": "why"}},
    ]
    assert csv_page(model, page, header=False).splitlines() == ["a,Fell.,stop,ok,,3", "b,,,error,why,"]
    assert csv_page(model, page[1:], header=False).splitlines() == ["b,,,error,why,"]
