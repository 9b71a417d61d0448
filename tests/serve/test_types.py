"""Tasks whose labels are of a lexicon: /v1/cancer-types, the places of names, and /predict_cancer_type."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient

import clinfit
from clinfit.serve.app import create_app
from clinfit.serve.models import Models
from clinfit.serve.security import Keys
from clinfit.serve.service import Service
from clinfit.serve.settings import Settings
from clinfit.serve.stores.sqlite import SqliteStore

from .conftest import Served
from .services import ended

LABELS = ["lung cancer", "breast cancer"]
#: Code points of two bytes and four, white space that cleaning squeezes, a denied name, a name of no declared type.
TEXT = "  \U0001f9ec Größe:  lung\n\n cancer,   no evidence of  breast cancer; a glioma."


@pytest.fixture
def served(typed: dict[str, Path], small: Served, tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    made: list[Service] = []

    def serve(*names: str) -> TestClient:
        models = Models([clinfit.load_pack(typed[name]) for name in names] or [clinfit.load_pack(small.pack)])
        store = SqliteStore(tmp_path / f"{len(made)}.sqlite")
        made.append(Service(models, store, Keys([]), Settings(), hosts=("testserver",)))
        return TestClient(create_app(made[-1]))

    yield serve
    for service in made:
        service.close()


def test_types_with_scores_and_places_in_the_text_as_it_was_sent(served: Callable[..., TestClient]) -> None:
    client = served("lexicon-seed42", "tfidf-seed42")
    answered = client.post("/v1/cancer-types", json={"input": TEXT})
    assert answered.status_code == 200 and answered.json()["model"] == "lexicon-seed42/types", "the first that fits"
    (item,) = answered.json()["data"]
    check_places(item)
    lung, breast = item["types"]
    assert (lung["type"], lung["decided"], lung["mentioned"]) == ("lung cancer", True, True)
    assert (breast["type"], breast["decided"], breast["mentioned"]) == ("breast cancer", False, False)
    assert lung["score"] == item["probabilities"]["lung cancer"] >= lung["threshold"]
    assert item["decision"] == ["lung cancer"]
    several = client.post("/v1/cancer-types", json={"input": [TEXT, ""], "model": "tfidf-seed42/types"}).json()["data"]
    check_places(several[0])
    assert several[1]["error"]["code"] == "invalid-record" and several[1]["types"] is None


def check_places(item: dict[str, Any], text: str = TEXT) -> None:
    found = item["extracted_diseases"]
    assert [text[one["start"] : one["end"]] for one in found] == [one["text"] for one in found]
    assert [(one["type"], one["input"], one["negated"]) for one in found] == [
        ("lung cancer", "abstract", False),
        ("breast cancer", "abstract", True),
        ("brain tumour", "abstract", False),
    ]
    assert found[0]["text"] == "lung\n\n cancer"


def test_a_model_that_sees_masked_text_still_says_where_names_are(served: Callable[..., TestClient]) -> None:
    client = served("tfidf-seed42")
    ask = {"model": "tfidf-seed42/masked", "input": TEXT}
    (item,) = client.post("/v1/cancer-types", json=ask).json()["data"]
    check_places(item)
    (lump,) = client.post("/v1/cancer-types", json={**ask, "input": "Case 3: a lump"}).json()["data"]
    breast = lump["types"][1]
    assert breast["decided"] and not breast["mentioned"] and lump["extracted_diseases"] == []
    named = client.post("/v1/cancer-types", json={**ask, "input": "Case 3: lung cancer"}).json()["data"][0]
    other = client.post("/v1/cancer-types", json={**ask, "input": "Case 3: breast cancer"}).json()["data"][0]
    assert named["probabilities"] == other["probabilities"], "the word is all that differs"


def test_one_text_to_the_job_of_one_record(served: Callable[..., TestClient]) -> None:
    client = served("tfidf-seed42")
    sent = client.post("/predict_cancer_type", json={"text": TEXT})
    assert sent.status_code == 202 and set(sent.json()) == {"prediction_id", "message"}
    ended(client, sent.json()["prediction_id"])
    result = client.get(f"/predictions/{sent.json()['prediction_id']}").json()["result"]
    assert result == client.post("/v1/cancer-types", json={"input": TEXT}).json()["data"][0]
    check_places(result)


def test_a_cell_of_a_table_is_read_without_the_white_space_around_it(
    served: Callable[..., TestClient], tmp_path: Path
) -> None:
    client = served("tfidf-seed42")
    pd.DataFrame({"abstract": [TEXT]}).to_csv(tmp_path / "new.csv", index=False)
    job = client.post(
        "/v1/jobs",
        params={"model": "tfidf-seed42/masked"},
        content=(tmp_path / "new.csv").read_bytes(),
        headers={"Content-Type": "text/csv"},
    ).json()["id"]
    ended(client, job)
    check_places(client.get(f"/v1/jobs/{job}/results").json()["data"][0], TEXT.strip())


def test_an_explanation_is_of_the_text_that_the_model_reads(served: Callable[..., TestClient]) -> None:
    ask = {"model": "tfidf-seed42/types", "input": TEXT, "explain": True}
    (item,) = served("tfidf-seed42").post("/v1/cancer-types", json=ask).json()["data"]
    assert item["explanation"]["label"] in LABELS
    check_places(item)


def test_without_such_a_task_there_is_no_model(served: Callable[..., TestClient]) -> None:
    client = served()
    for path, body in (("/v1/cancer-types", {"input": TEXT}), ("/predict_cancer_type", {"text": TEXT})):
        refused = client.post(path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (404, "unknown-model")
        assert "cancer-types.yaml" in refused.json()["detail"]


def test_a_task_without_a_lexicon_is_not_asked_for_types(served: Callable[..., TestClient]) -> None:
    refused = served("tfidf-seed42").post("/v1/cancer-types", json={"input": TEXT, "model": "nobody"})
    assert (refused.status_code, refused.json()["code"]) == (404, "unknown-model")


def test_the_service_says_which_models_have_a_lexicon(served: Callable[..., TestClient]) -> None:
    listed = served("tfidf-seed42").get("/v1/models").json()["data"]
    assert [model["lexicon"] for model in listed] == ["cancer-types"] * 2
