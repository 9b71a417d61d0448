"""What a refused request is told: where it is wrong, what was found and what is expected, and nothing that it sent."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from clinfit.serve.metrics import Metrics
from small_study import CANARY

TFIDF, MAJORITY = "tfidf-seed42/cancer", "majority-seed42/cancer"
RECORD = {"inputs": {"text": "A tumour was seen.", "age": 61}}
BODY = b'{"model": "tfidf-seed42/cancer", "input": ["A tumour."]}'


def places(response: Any) -> list[tuple[str, str]]:
    """Where it is wrong: kind of place, and place."""
    found = [(kind, name) for place in response.json()["errors"] for kind, name in place.items() if kind != "code"]
    return list(dict.fromkeys(found))


# ---------------------------------------------------------------- type of the content


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/write", "/v1/chat/completions", "/classify_abstract"])
@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (None, "there is no Content-Type"),
        ("text/plain; charset=utf-8", "the Content-Type is text/plain"),
        ("application/x-www-form-urlencoded", "the Content-Type is application/x-www-form-urlencoded"),
        (f"text/{CANARY}", "the Content-Type is another"),
    ],
)
def test_a_body_that_is_not_said_to_be_json_is_told_so(
    client: TestClient, path: str, kind: str | None, found: str
) -> None:
    response = client.post(path, content=BODY, headers={} if kind is None else {"content-type": kind})
    assert (response.status_code, response.json()["code"]) == (415, "media-type")
    assert response.json()["detail"] == f"{found}: send application/json" and CANARY not in response.text


def test_a_job_of_no_known_type_is_told_what_it_was_and_what_it_may_be(client: TestClient) -> None:
    for kind, found in ((None, "there is no Content-Type"), ("text/plain", "the Content-Type is text/plain")):
        response = client.post("/v1/jobs", content=BODY, headers={} if kind is None else {"content-type": kind})
        assert response.status_code == 415
        assert response.json()["detail"].startswith(f"{found}: send application/json, text/csv, ")


def test_other_names_of_json_are_read(client: TestClient) -> None:
    for kind in ("application/json; charset=utf-8", "Application/JSON"):
        for path, status in (("/v1/classify", 200), ("/v1/jobs", 202)):
            assert client.post(path, content=BODY, headers={"content-type": kind}).status_code == status


def test_the_description_says_that_other_types_are_refused(client: TestClient) -> None:
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        takes_body = "requestBody" in methods.get("post", {})
        assert takes_body == ("415" in methods.get("post", {}).get("responses", {})), path


# ---------------------------------------------------------------- places


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("/v1/jobs?before=zzz", [("parameter", "before")]),
        (f"/v1/jobs?limit={CANARY}", [("parameter", "limit")]),
        (f"/v1/jobs/{CANARY}", [("parameter", "job_id")]),
        (f"/v1/jobs/{'0' * 32}/results?after=-1&format={CANARY}", [("parameter", "after"), ("parameter", "format")]),
    ],
)
def test_a_parameter_that_is_wrong_is_named(client: TestClient, address: str, found: list[tuple[str, str]]) -> None:
    response = client.get(address)
    assert response.status_code == 422 and places(response) == found and CANARY not in response.text


def test_a_header_that_is_wrong_is_named(client: TestClient) -> None:
    response = client.post("/v1/jobs", json={"input": ["x"]}, headers={"idempotency-key": CANARY * 99})
    assert places(response) == [("parameter", "idempotency-key")] and CANARY not in response.text


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/jobs"])
@pytest.mark.parametrize(
    ("item", "pointer"),
    [
        (3, "#/input/9"),
        ({"inputs": {"text": {CANARY: 1}, "age": 1}}, "#/input/9/inputs/text"),
        ({"inputs": {"text": "x", "age": [CANARY, {}]}}, "#/input/9/inputs/age/1"),
        ({"inputs": {CANARY: {"text": 1}}}, "#/input/9/inputs/*"),
        ({"inputs": {"text": "x", "age": 1}, CANARY: 1}, "#/input/9/*"),
        ({"id": "", "inputs": {"text": "x", "age": 1}}, "#/input/9/id"),
    ],
)
def test_a_place_in_the_body_is_named_down_to_its_end(client: TestClient, path: str, item: Any, pointer: str) -> None:
    response = client.post(path, json={"model": TFIDF, "input": ["x"] * 9 + [item]})
    assert response.status_code == 422 and CANARY not in response.text
    assert places(response) == [("pointer", pointer)]


def test_a_body_that_is_wrong_as_a_whole_has_the_pointer_of_the_whole(client: TestClient) -> None:
    for path in ("/v1/classify", "/v1/jobs"):
        assert places(client.post(path, json=[CANARY])) == [("pointer", "#")]


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/jobs"])
def test_where_a_body_ends_to_be_json_is_told(client: TestClient, path: str) -> None:
    response = client.post(
        path, content=b'{"input": %s}' % CANARY.encode(), headers={"content-type": "application/json"}
    )
    assert response.status_code == 400 and CANARY not in response.text
    assert "no JSON from line 1, column 11 on" in response.json()["detail"]
    assert places(response) == [("pointer", "#")]


@pytest.mark.parametrize(
    ("content", "status", "code", "detail"),
    [
        (b"", 422, "invalid", "send JSON as /openapi.json describes it"),
        (b'{"input": "\xff"}', 400, "malformed", "the body is not text in UTF-8; send it as /openapi.json describes"),
        (
            b'{"input": ' + b"[" * 100_000,
            400,
            "malformed",
            "the body is nested too deep; send it as /openapi.json describes",
        ),
    ],
)
def test_a_body_that_nobody_can_read_is_told_in_one_way(
    client: TestClient, content: bytes, status: int, code: str, detail: str
) -> None:
    for path in ("/v1/classify", "/v1/jobs", "/v1/write"):
        response = client.post(path, content=content, headers={"content-type": "application/json"})
        assert (response.status_code, response.json()["code"], response.json()["detail"]) == (status, code, detail)
        assert places(response) == [("pointer", "#")]


# ---------------------------------------------------------------- what contradicts itself


def test_a_model_in_the_address_is_not_passed_over(client: TestClient) -> None:
    for path in ("/v1/classify", "/v1/write"):
        response = client.post(path, params={"model": CANARY}, json={"input": "A tumour."})
        assert (response.status_code, response.json()["code"]) == (422, "invalid")
        assert places(response) == [("parameter", "model")] and CANARY not in response.text


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/v1/jobs?limti=5", "limit, before"), (f"/v1/jobs/{'0' * 32}?x={CANARY}", "no parameters"),
        (f"/v1/jobs/{'0' * 32}/results?limit=5&{CANARY}=2", "after, limit, format"),
        (f"/predictions/{'0' * 32}?model=a", None),
    ],
)  # fmt: skip
def test_a_parameter_that_an_address_does_not_take_is_not_passed_over(
    client: TestClient, path: str, known: str | None
) -> None:
    response = client.get(path)
    assert (response.status_code, response.json()["code"]) == (422, "invalid") and CANARY not in response.text
    if known is not None:
        assert places(response) == [("parameter", "*")] and response.json()["detail"] == f"the address takes {known}"


def test_other_names_for_a_model_in_the_address_are_refused(client: TestClient) -> None:
    for path in ("/v1/classify", "/v1/cancer-types", "/v1/write", "/v1/jobs", "/classify_abstract"):
        response = client.post(f"{path}?modle={TFIDF}", json={"input": ["A tumour."]})
        assert (response.status_code, places(response)) == (422, [("parameter", "*")])


def test_a_model_that_is_named_twice_is_named_the_same(client: TestClient) -> None:
    body = {"model": TFIDF, "input": ["A tumour."]}
    other = client.post("/v1/jobs", params={"model": MAJORITY}, json=body)
    assert (other.status_code, other.json()["code"]) == (422, "invalid")
    assert "two models" in other.json()["detail"]
    assert places(other) == [("parameter", "model"), ("pointer", "#/model")]
    for same in (TFIDF, "tfidf-seed42"):
        assert client.post("/v1/jobs", params={"model": same}, json=body).json()["model"] == TFIDF
    alone = client.post("/v1/jobs", params={"model": MAJORITY}, json={"input": ["A tumour."]})
    assert alone.json()["model"] == MAJORITY


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/jobs"])
def test_records_of_one_id_are_refused_as_in_a_table(client: TestClient, path: str) -> None:
    """Who asks by ids would take the answer to one record for that to the other."""
    twice = [RECORD | {"id": CANARY}, RECORD, "A tumour.", RECORD | {"id": CANARY}]
    response = client.post(path, json={"model": TFIDF, "input": twice})
    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert "an id of its own" in response.json()["detail"] and CANARY not in response.text
    assert places(response) == [("pointer", "#/input/0/id"), ("pointer", "#/input/3/id")]


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/jobs"])
@pytest.mark.parametrize(("one", "other"), [("a", " a"), ("1", "1.0"), ("a\u0301", "\u00e1")])
def test_ids_of_json_are_compared_as_those_of_a_table(client: TestClient, path: str, one: str, other: str) -> None:
    sent = [RECORD | {"id": one}, RECORD | {"id": other}]
    response = client.post(path, json={"model": TFIDF, "input": sent})
    assert response.status_code == 422
    assert places(response) == [("pointer", "#/input/0/id"), ("pointer", "#/input/1/id")]


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/jobs"])
@pytest.mark.parametrize("blank", [" ", "\u00a0\t", "NA"])
def test_a_blank_id_is_none_in_json_too(client: TestClient, path: str, blank: str) -> None:
    response = client.post(path, json={"model": TFIDF, "input": ["A tumour.", RECORD | {"id": blank}]})
    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert "an id is blank" in response.json()["detail"] and places(response) == [("pointer", "#/input/1/id")]


def test_an_id_comes_back_as_it_was_sent(client: TestClient) -> None:
    sent = [RECORD | {"id": " a"}, RECORD, RECORD | {"id": "2.0"}]
    data = client.post("/v1/classify", json={"model": TFIDF, "input": sent}).json()["data"]
    assert [item["id"] for item in data] == [" a", "2-2", "2.0"], "and a number that nobody gave is nobody's"


def test_rows_of_one_id_are_named_by_their_position(client: TestClient) -> None:
    content = f"id,text,age\n{CANARY},x,1\nb,x,2\n{CANARY},x,3\n"
    response = client.post("/v1/jobs", params={"model": TFIDF}, content=content, headers={"content-type": "text/csv"})
    assert response.status_code == 422 and CANARY not in response.text
    assert response.json()["detail"] == "the table cannot be read: rows 1 and 3 have one id"


# ---------------------------------------------------------------- what is counted


def counted(client: TestClient, name: str) -> dict[str, float]:
    """The values of a metric by its labels."""
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
    return {line.removeprefix(name).partition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_a_record_that_came_alone_is_counted_as_one_of_several(make_client: Callable[..., TestClient]) -> None:
    client, wrong = make_client(), {"inputs": {"text": "x", "age": "old"}}
    for items in (wrong, [wrong], "A tumour."):
        client.post("/v1/classify", json={"model": TFIDF, "input": items})
    found = counted(client, "clinfit_items_total")
    assert found[f'{{model="{TFIDF}",status="error"}}'] == 2
    assert sum(found.values()) == 3


def test_a_counter_tells_every_record() -> None:
    metrics = Metrics()
    metrics.count("clinfit_items_total", 12_345_678, model="m", status="ok")
    assert 'clinfit_items_total{model="m",status="ok"} 12345678\n' in metrics.text({"clinfit_turns_total": 12_345_679})
    assert "\nclinfit_turns_total 12345679\n" in metrics.text({"clinfit_turns_total": 12_345_679})


def test_what_only_rises_is_a_counter(client: TestClient) -> None:
    client.post("/v1/classify", json={"model": TFIDF, "input": ["A tumour."] * 3})
    text = client.get("/metrics").text
    types = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    assert {name.endswith("_total") for name, kind in types.items() if kind == "counter"} == {True}
    assert {name for name, kind in types.items() if kind == "gauge"} == {
        "clinfit_ready", "clinfit_requests_waiting", "clinfit_job_records_waiting",
    }  # fmt: skip
    assert counted(client, "clinfit_asked_total") == {"": 3.0}
    assert {"clinfit_turns_total", "clinfit_chunks_done_total"} <= types.keys()


@pytest.mark.parametrize("path", ["/v1/classify/", "/v1/jobs/", "/v1/types/", "/classify_abstract/"])
def test_an_address_with_a_slash_behind_it_sends_nothing_on(client: TestClient, path: str) -> None:
    """A redirect would name the scheme that the service sees: plain HTTP behind a proxy that ends TLS."""
    response = client.post(path, content=BODY, headers={"content-type": "application/json"}, follow_redirects=False)
    assert response.status_code == 404 and "location" not in response.headers
