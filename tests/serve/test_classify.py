"""What is answered at once: exactly what `predict` writes, and problems that never repeat what was sent."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient

import clinfit
from clinfit.packs.answer import answers_table
from clinfit.serve.kinds import answer_from
from clinfit.serve.models import Models
from small_study import CANARY
from three_tasks import QUESTION, records

from .conftest import Served
from .services import soon

TFIDF = "tfidf-seed42/cancer"
RECORD = {"id": "a", "inputs": {"text": "Case 3: a tumour was seen in the lung.", "age": 61}}


def ask(client: TestClient, body: Any) -> Any:
    return client.post("/v1/classify", json=body)


def rows(small: Served) -> list[dict[str, Any]]:
    table = pd.read_csv(small.data)
    return [{"id": row["id"], "inputs": {"text": row["text"], "age": row["age"]}} for row in table.to_dict("records")]


def test_answers_are_those_of_predict_bit_for_bit(client: TestClient, small: Served) -> None:
    items = rows(small)
    data = ask(client, {"model": TFIDF, "input": items}).json()["data"]
    expected = clinfit.load_pack(small.pack).predict(small.data)
    assert [item["id"] for item in data] == expected["id"].tolist()
    for label in ("no", "yes"):
        assert [item["probabilities"][label] for item in data] == expected[f"p_{label}"].tolist()
    for name in ("decision", "predicted", "status"):
        assert [item[name] for item in data] == expected[name].tolist()
    assert ["; ".join(item["notes"]) for item in data] == expected["notes"].tolist()
    assert {item["threshold"]["yes"] for item in data} == set(expected["threshold"])
    one_by_one = [ask(client, {"model": TFIDF, "input": item}).json()["data"][0] for item in items[:5]]
    assert [item["probs"] for item in one_by_one] == [item["probs"] for item in data[:5]]


@pytest.mark.parametrize("task", ["cancer", "organs", "next"])
def test_every_kind_is_answered_as_its_pack_does(client: TestClient, models: Models, task: str) -> None:
    model = models.by_name[f"words-seed42/{task}"]
    asked = records(task, 6)
    body = {"model": model.name, "input": [{"id": one.id, "inputs": one.inputs} for one in asked]}
    found = ask(client, body).json()
    expected = model.pack.answer(task, asked)
    assert found["kind"] == model.task.kind and found["labels"] == model.task.labels
    assert found["pack"] == model.pack.content.sha256 and found["engine"] == "torch, one record at a time"
    for item, answer in zip(found["data"], expected, strict=True):
        assert item["probabilities"] == answer.probabilities and item["engine"] == answer.engine
        assert item["decision"] == (list(answer.decision) if isinstance(answer.decision, tuple) else answer.decision)
    table = answers_table(
        [answer_from(json.loads(json.dumps(vars(one)))) for one in expected], model.task.labels, sets=False
    )
    pd.testing.assert_frame_equal(table, answers_table(expected, model.task.labels, sets=False))


def test_a_text_alone_is_put_into_the_text_input(client: TestClient) -> None:
    text = RECORD["inputs"]["text"]
    alone = ask(client, {"model": TFIDF, "input": text}).json()["data"][0]
    whole = ask(client, {"model": TFIDF, "input": {"inputs": {"text": text, "age": None}}}).json()["data"][0]
    assert alone == whole and alone["id"] == "1"
    several = ask(client, {"model": "words-seed42/next", "input": text})
    assert several.status_code == 200, "an input called question is what a question is put into"


def test_a_bad_item_leaves_its_neighbours_alone(client: TestClient) -> None:
    bad = [
        {"id": "b", "inputs": {"text": "x"}},
        {"id": "c", "inputs": {"text": "x", "age": "old"}},
        {"id": "d", "inputs": {"text": "x", "age": 1, "more": 2}},
        {"id": "e", "inputs": {"text": None, "age": None}},
        {"id": "f", "inputs": {"text": "y" * 200_000, "age": 1}},
        {"id": "g", "inputs": {"text": "x", "age": 10**400}},
    ]
    response = ask(client, {"model": TFIDF, "input": [RECORD, *bad, RECORD | {"id": "z"}]})
    assert response.status_code == 200, response.text
    data = response.json()["data"]
    alone = ask(client, {"model": TFIDF, "input": RECORD}).json()["data"][0]
    assert data[0] == alone and data[-1] == alone | {"index": 7, "id": "z"}
    details = [item["error"]["detail"] for item in data[1:-1]]
    assert details == [
        "inputs lack age; null stands for a missing value",
        "input age is not a number",
        "there are inputs that the task does not read; it reads text, age",
        "every input is missing",
        "input text has more than 100000 characters",
        "input age is not a number",
    ]
    assert all(item["probs"] is None for item in data[1:-1])


def test_what_moved_the_answer_has_its_place_in_the_text_as_it_was_sent(client: TestClient) -> None:
    text = "  We report 40 patients.  A tumour was seen. Nobody fell. It was well tolerated.\r\nThe end came.  "
    item = ask(client, {"model": TFIDF, "input": {"inputs": {"text": text, "age": 61}}, "explain": True}).json()[
        "data"
    ][0]
    explanation = item["explanation"]
    spans = [effect for effect in explanation["effects"] if effect["input"] == "text"]
    found = sorted(text[span["start"] : span["end"]] for span in spans)
    assert found == sorted(
        ["We report 40 patients.", "A tumour was seen.", "Nobody fell.", "It was well tolerated.", "The end came."]
    )
    assert explanation["label"] == "yes" and explanation["probability"] == item["probabilities"]["yes"]
    sizes = [abs(effect["effect"]) for effect in explanation["effects"]]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 0
    assert "not the disease" in explanation["meaning"]
    check = explanation["faithfulness"]
    assert check["taken"] == 2 and check["raise_it"] == (explanation["effects"][0]["effect"] > 0) and check["draws"] > 0
    assert check["named"] > check["drawn"], "a linear model adds its words up"


def test_what_a_language_model_looked_at_has_its_place_too(client: TestClient) -> None:
    text = "  We report 40 patients.  A tumour was seen. Nobody fell.\r\nThe end came.  "
    asked = {"input": {"inputs": {"text": text, "age": 61}}, "explain": True, "explain_by": "gradient"}
    (item,) = ask(client, {"model": "words-seed42/cancer", **asked}).json()["data"]
    explanation = item["explanation"]
    found = sorted(text[span["start"] : span["end"]] for span in explanation["effects"])
    assert found == sorted(["We report 40 patients.", "A tumour was seen.", "Nobody fell.", "The end came."])
    assert explanation["method"] == "gradient" and {span["probability"] for span in explanation["effects"]} == {None}
    assert explanation["probability"] == pytest.approx(item["probabilities"][explanation["label"]], abs=1e-4)
    refused = ask(client, {"model": TFIDF, **asked})
    assert refused.status_code == 422 and "no gradient" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "nobody", "input": "x"}, 404, "unknown-model"),
        ({"model": "cancer", "input": "x"}, 404, "unknown-model"),  # three of them have it
        ({"input": "x"}, 404, "unknown-model"),
        ({"model": TFIDF + "@00000000", "input": "x"}, 404, "unknown-model"),
        ({"model": TFIDF}, 422, "invalid"),
        ({"model": TFIDF, "input": "x", CANARY: 1}, 422, "invalid"),
        ({"model": TFIDF, "input": {"inputs": {CANARY: {"a": CANARY}}}}, 422, "invalid"),
        ({"model": TFIDF, "input": {"inputs": {CANARY: CANARY}}}, 422, "invalid-record"),
        ({"model": TFIDF, "input": {"inputs": {"text": CANARY, "age": CANARY}}}, 422, "invalid-record"),
        ({"model": TFIDF, "input": {"id": CANARY * 50, "inputs": {"text": CANARY, "age": 1}}}, 422, "invalid"),
        ({"model": TFIDF, "input": []}, 422, "invalid"),
        ({"model": TFIDF, "input": [CANARY] * 65}, 422, "invalid"),
        ({"model": TFIDF, "input": [CANARY] * 5, "explain": True}, 422, "invalid"),
        ([CANARY], 422, "invalid"),
    ],
)
def test_problems_name_places_and_never_what_was_sent(client: TestClient, body: Any, status: int, code: str) -> None:
    response = ask(client, body)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert CANARY not in response.text


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"input": "' + CANARY.encode(), 400),
        (CANARY.encode(), 400),
        (b"\xff\xfe" + CANARY.encode(), 400),
        (b"[" * 100_000, 400),
        (b'{"model": "' + TFIDF.encode() + b'", "input": "' + CANARY.encode() + b'\\ud800"}', 422),
        (b'{"input": ' + b"9" * 5000 + b"}", 400),
        (b"", 422),
    ],
)
def test_hostile_bodies_get_a_problem(client: TestClient, content: bytes, status: int) -> None:
    response = client.post("/v1/classify", content=content, headers={"content-type": "application/json"})
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json" and CANARY not in response.text


ONES = "1," * 60_000 + "1"
KEYS = ",".join(f'"{CANARY}{k}": {{}}' for k in range(8_000))


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/v1/classify", f'{{"input": [{ONES}]}}'),
        ("/v1/classify", f'{{"input": {{"inputs": {{"text": [{ONES}]}}}}}}'),
        ("/v1/classify", f'{{"input": {{"inputs": {{{KEYS}}}}}}}'),
        ("/v1/classify", f'{{"input": "x", {KEYS}}}'),
        ("/v1/jobs", f'{{"input": [{ONES}]}}'),
        ("/v1/qa", f'{{"input": [{ONES}]}}'),
        ("/v1/chat/completions", f'{{"messages": [{ONES}]}}'),
        ("/v1/chat/completions", f'{{"messages": [{{"role": "user", "content": [{ONES}]}}]}}'),
        ("/v1/completions", f'{{"prompt": [{ONES}]}}'),
    ],
)
def test_a_body_that_is_wrong_in_very_many_places_is_refused_at_the_first(
    client: TestClient, route: str, body: str
) -> None:
    """An error made of each would take minutes, in which nobody else is answered."""
    began = time.process_time()
    response = client.post(route, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422 and response.json()["code"] == "invalid" and CANARY not in response.text
    assert time.process_time() - began < 2


def test_a_body_may_be_so_long_and_no_longer_whatever_its_header_says(make_client: Callable[..., TestClient]) -> None:
    client = make_client(body_bytes=1000)
    body = json.dumps({"input": CANARY * 100}).encode()
    headers = {"content-type": "application/json"}
    declared = client.post("/v1/classify", content=body, headers=headers)
    chunked = client.post("/v1/classify", content=iter([body[:600], body[600:]]), headers=headers)
    for response in (declared, chunked):
        assert (response.status_code, response.json()["code"]) == (413, "too-large")


def test_a_model_may_be_called_by_what_only_it_has(client: TestClient, models: Models) -> None:
    assert ask(client, {"model": "organs", "input": {"inputs": {"text": "lung", "age": 1}}}).status_code == 200
    assert ask(client, {"model": "tfidf-seed42", "input": "x"}).json()["model"] == TFIDF
    digest = models.by_name[TFIDF].sha256
    assert ask(client, {"model": f"{TFIDF}@{digest[:12]}", "input": "x"}).json()["pack"] == digest


def test_what_a_model_cannot_answer_is_told_and_the_rest_is_answered(
    make_client: Callable[..., TestClient], models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client()
    model = models.by_name[TFIDF].pack.model
    real = type(model).predict

    def fragile(self: Any, task: str, given: Any) -> Any:
        if any("poison" in str(record.inputs["text"]) for record in given):
            raise RuntimeError(f"cannot read {CANARY}")
        return real(self, task, given)

    monkeypatch.setattr(type(model), "predict", fragile)
    body = {"model": TFIDF, "input": ["fine", f"poison {CANARY}", "fine too"]}
    data = ask(client, body).json()["data"]
    assert [item["error"] and item["error"]["code"] for item in data] == [None, "unanswered", None]
    alone = ask(client, {"model": TFIDF, "input": "poison"})
    assert alone.status_code == 500 and CANARY not in alone.text


def test_a_service_that_is_stopped_takes_nothing_more(make_client: Callable[..., TestClient]) -> None:
    client = make_client()
    service = client.app.state.service  # type: ignore[attr-defined]
    assert client.get("/ready").status_code == 200
    service.draining.set()
    assert client.get("/ready").status_code == 503 and client.get("/live").status_code == 200
    assert ask(client, {"model": TFIDF, "input": "x"}).status_code == 503
    service.close()


def test_closing_waits_for_the_loop(make_client: Callable[..., TestClient]) -> None:
    with make_client() as client:
        assert client.get("/health").json() == {"status": "ok", "reason": None}
        service = client.app.state.service  # type: ignore[attr-defined]
    assert service.draining.is_set() and not service.batcher.alive
    assert asyncio.run(asyncio.sleep(0)) is None


def test_the_models_tell_what_they_are(client: TestClient) -> None:
    found = client.get("/v1/models").json()
    one = next(model for model in found["data"] if model["id"] == TFIDF)
    assert [given["name"] for given in one["inputs"]] == ["text", "age"]
    age = one["inputs"][1]
    assert (age["type"], age["unit"], age["low"], age["high"]) == ("number", "years", 40.0, 80.0)
    assert one["inputs"][0]["main"] and one["positive"] == "yes" and one["n"] == 12
    assert one["metrics"]["accuracy"]["value"] == 1.0 and one["route"] == "/v1/classify"
    question = client.get("/v1/models/words-seed42/next").json()
    assert question["options"] == list(QUESTION)[1:] and question["labels"] == ["A", "B", "C"]
    assert client.get("/v1/models/nobody").status_code == 404


def test_an_explanation_is_charged_and_ends_with_its_time(
    make_client: Callable[..., TestClient], models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.by_name[TFIDF].pack.model
    real = type(model).predict

    def slow(self: Any, task: str, given: Any) -> Any:
        time.sleep(0.05 * len(given))
        return real(self, task, given)

    monkeypatch.setattr(type(model), "predict", slow)
    client = make_client(seconds=0.5, per_minute=1, burst=20)
    batcher = client.app.state.service.batcher  # type: ignore[attr-defined]
    text = " ".join(f"Sentence {k} tells of a tumour." for k in range(45))
    late = client.post("/v1/classify", json={"model": TFIDF, "input": text, "explain": True})
    assert late.json()["code"] == "late"
    assert soon(lambda: batcher.waiting("request") == 0, 2) and batcher.asked < 40, "nobody waits for the others"
    assert client.post("/v1/classify", json={"model": TFIDF, "input": "x"}).json()["code"] == "rate"
