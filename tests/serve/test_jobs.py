"""Jobs over HTTP: sent, followed, read in every form, cancelled, erased; and the two short addresses."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

import clinfit
from clinfit.packs.output import write_table
from clinfit.serve.jobs import Result
from clinfit.serve.models import Models
from clinfit.serve.routes import results
from clinfit.serve.stores.sqlite import SqliteStore
from small_study import CANARY

from .conftest import Served
from .services import answering, ended, soon

TFIDF = "tfidf-seed42/cancer"
CSV = {"content-type": "text/csv"}


def send(client: TestClient, content: bytes, **headers: str) -> Any:
    return client.post("/v1/jobs", params={"model": TFIDF}, content=content, headers=CSV | headers)


def test_a_table_comes_back_as_predict_writes_it(client: TestClient, small: Served, tmp_path: Path) -> None:
    sent = send(client, small.data.read_bytes())
    job = sent.json()
    assert sent.status_code == 202 and sent.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["total"], job["state"]) == (60, "queued")
    last = ended(client, job["id"])
    assert (last["state"], last["done"], last["failed"]) == ("succeeded", 60, 0)
    write_table(clinfit.load_pack(small.pack).predict(small.data), tmp_path / "expected.csv")
    found = client.get(f"/v1/jobs/{job['id']}/results", headers={"accept": "text/csv"})
    assert found.content == (tmp_path / "expected.csv").read_bytes()
    assert found.headers["content-disposition"] == f'attachment; filename="{job["id"]}.csv"'


@pytest.mark.parametrize("form", ["tsv", "jsonl"])
def test_tables_of_other_types(client: TestClient, small: Served, tmp_path: Path, form: str) -> None:
    import pandas as pd

    table = pd.read_csv(small.data).drop(columns="label")
    if form == "tsv":
        content, kind = table.to_csv(sep="\t", index=False), "text/tab-separated-values"
    else:
        content, kind = table.to_json(orient="records", lines=True), "application/x-ndjson"
    sent = client.post(f"/v1/jobs?model={TFIDF}", content=content, headers={"content-type": kind})
    assert sent.status_code == 202, sent.text
    ended(client, sent.json()["id"])
    write_table(clinfit.load_pack(small.pack).predict(small.data), tmp_path / "expected.csv")
    found = client.get(f"/v1/jobs/{sent.json()['id']}/results?format=csv")
    assert found.content == (tmp_path / "expected.csv").read_bytes()


def test_results_in_pages_and_lines(client: TestClient, small: Served) -> None:
    job = send(client, small.data.read_bytes()).json()["id"]
    ended(client, job)
    pages, after = [], 0
    while after is not None:
        page = client.get(f"/v1/jobs/{job}/results", params={"after": after, "limit": 25}).json()
        pages.append(len(page["data"]))
        after = page["next"]
    assert pages == [25, 25, 10]
    lines = client.get(f"/v1/jobs/{job}/results?format=ndjson").text.splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(60))
    assert client.get(f"/v1/jobs/{job}/results", headers={"accept": "image/png"}).status_code == 406


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("text/csv;q=0.5, application/x-ndjson", "application/x-ndjson"),
        ("application/json;q=0.1, text/csv;q=0.9, application/x-ndjson; q=0.8", "text/csv"),
        ("text/csv, application/json;q=0.9, */*;q=0.1", "text/csv"),
        ("text/csv, application/x-ndjson, application/json", "application/json"),
        ("application/*;q=0.5, application/json;q=0.2", "application/x-ndjson"),
        ("*/*;q=0.1, application/json;q=0", "application/x-ndjson"),
        ("application/*, application/json;q=0, application/x-ndjson;q=0, text/*;q=0.1", "text/csv"),
        ("TEXT/CSV;header=present;Q=1.000", "text/csv"),
        ("image/png, */*;q=0.001", "application/json"),
        ("text/html", None),
        ("text/csv;q=0", None),
        ("*/*;q=0", None),
        ("text/csv;q=2", "text/csv"),
        ("text/csv;q=2, application/json", "application/json"),
        ("text/csv;q=-1", None),
        ("text/csv;q=abc", None),
        ("text/csv;q=1e-1, application/json;q=0.1", "application/json"),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "application/json"),
        ("*/*; q=.2", "application/json"),
        ("application/json;q=1.0000", "application/json"),
        ("application/json;q=0.3334, text/csv;q=0.3335", "text/csv"),
        ('text/csv;q="0.5"', "text/csv"),
        ('text/csv;q="0"', None),
        ("*", "application/json"),
        ("*, application/json;q=0", "application/x-ndjson"),
        (",", "application/json"),
        ("", "application/json"),
        ("text/csv,, ,", "text/csv"),
    ],
)
def test_results_come_in_the_form_that_is_liked_best(client: TestClient, accept: str, form: str | None) -> None:
    job = client.post("/v1/jobs", json={"model": TFIDF, "input": ["A tumour."]}).json()["id"]
    ended(client, job)
    found = client.get(f"/v1/jobs/{job}/results", headers={"accept": accept})
    assert found.status_code == (406 if form is None else 200)
    assert form is None or found.headers["content-type"].partition(";")[0] == form


def test_an_accept_in_several_lines_is_one(client: TestClient) -> None:
    job = client.post("/v1/jobs", json={"model": TFIDF, "input": ["A tumour."]}).json()["id"]
    ended(client, job)
    lines = [("accept", "application/json;q=0.1"), ("accept", "text/csv")]
    assert client.get(f"/v1/jobs/{job}/results", headers=lines).headers["content-type"].startswith("text/csv")


def test_records_that_cannot_be_read_have_an_error_and_the_others_an_answer(client: TestClient) -> None:
    items = [
        "A tumour.",
        {"id": "b", "inputs": {"text": CANARY, "age": CANARY}},
        {"id": "c", "inputs": {"text": "x", "age": 4}},
    ]
    job = client.post("/v1/jobs", json={"model": TFIDF, "input": items}).json()["id"]
    last = ended(client, job)
    assert (last["state"], last["done"], last["failed"]) == ("succeeded", 3, 1)
    rows = client.get(f"/v1/jobs/{job}/results?format=csv").text.splitlines()
    assert len(rows) == 4 and rows[2] == "b,,,,,,error,input age is not a number"


def test_rows_without_any_value_have_an_error_as_records_have_and_as_predict_writes(
    client: TestClient, small: Served, tmp_path: Path
) -> None:
    content = b"id,text,age\na,A tumour.,61\nb,,\nc, ,NA\nd,,50\n"
    job = send(client, content).json()["id"]
    assert ended(client, job)["failed"] == 2
    found = client.get(f"/v1/jobs/{job}/results").json()["data"]
    told = {item["id"]: item["error"] and item["error"]["detail"] for item in found}
    assert told == {"a": None, "b": "every input is missing", "c": "every input is missing", "d": None}
    items = [{"id": "c", "inputs": {"text": " ", "age": "NA"}}, {"id": "d", "inputs": {"text": None, "age": 50}}]
    asked = client.post("/v1/classify", json={"model": TFIDF, "input": items}).json()["data"]
    assert [item["error"] and item["error"]["detail"] for item in asked] == ["every input is missing", None]
    (tmp_path / "new.csv").write_bytes(content)
    write_table(clinfit.load_pack(small.pack).predict(tmp_path / "new.csv"), tmp_path / "expected.csv")
    served = client.get(f"/v1/jobs/{job}/results?format=csv").content
    assert served == (tmp_path / "expected.csv").read_bytes()


def test_ids_that_nobody_gave_are_nobodys(client: TestClient) -> None:
    record = {"inputs": {"text": "x", "age": 4}}
    items = ["A tumour.", record | {"id": "3"}, record, record | {"id": "1"}, {"inputs": {}}, record | {"id": "1-2"}]
    expected = ["1-3", "3", "3-2", "1", "5", "1-2"]
    asked = client.post("/v1/classify", json={"model": TFIDF, "input": items}).json()["data"]
    assert [item["id"] for item in asked] == expected
    job = client.post("/v1/jobs", json={"model": TFIDF, "input": items}).json()["id"]
    ended(client, job)
    assert [item["id"] for item in client.get(f"/v1/jobs/{job}/results").json()["data"]] == expected


def test_files_are_of_jobs_that_have_ended(make_client: Callable[..., TestClient], small: Served) -> None:
    """A file has no place to say that there will be more of it; a page has."""
    client = make_client(works=False)
    job = send(client, small.data.read_bytes()).json()["id"]
    for form in ("csv", "ndjson"):
        early = client.get(f"/v1/jobs/{job}/results", params={"format": form})
        assert (early.status_code, early.json()["code"]) == (409, "unfinished")
        assert early.json()["detail"].startswith("0 of 60 records are done")
    page = client.get(f"/v1/jobs/{job}/results")
    assert page.status_code == 200 and page.json()["job"]["ended"] is None
    client.post(f"/v1/jobs/{job}/cancel")
    assert client.get(f"/v1/jobs/{job}/results?format=csv").status_code == 200, "there will be no more"


def test_events_go_on_behind_the_last_one_that_was_seen(client: TestClient, small: Served) -> None:
    job = send(client, small.data.read_bytes()).json()["id"]
    last = ended(client, job)
    text = client.get(f"/v1/jobs/{job}/events").text
    assert text.startswith(f"id: {last['revision']}\nevent: end\n") and '"done": 60' in text
    again = client.get(f"/v1/jobs/{job}/events", headers={"last-event-id": str(last["revision"])}).text
    assert "event: end" in again, "what has ended says so to everybody"


def test_progress_is_told_while_it_is_made(
    make_client: Callable[..., TestClient], small: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(works=False)
    job = send(client, small.data.read_bytes()).json()["id"]
    store = client.app.state.service.store  # type: ignore[attr-defined]
    # Cancelled once its first event has been told, however long that takes.
    looks = iter(range(1000))
    real = store.get

    def look(name: str) -> Any:
        if next(looks) == 2:
            store.cancel(name)
        return real(name)

    monkeypatch.setattr(store, "get", look)
    text = client.get(f"/v1/jobs/{job}/events").text
    monkeypatch.undo()
    assert [line for line in text.splitlines() if line.startswith("event")] == ["event: progress", "event: end"]
    resumed = client.get(f"/v1/jobs/{job}/events", headers={"last-event-id": "0"}).text
    assert "progress" not in resumed


def test_a_job_is_cancelled_and_erased(make_client: Callable[..., TestClient], small: Served) -> None:
    client = make_client(works=False)
    job = send(client, small.data.read_bytes()).json()["id"]
    assert client.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/v1/jobs/{job}/cancel").status_code == 409
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert client.get(f"/v1/jobs/{job}").status_code == client.delete(f"/v1/jobs/{job}").status_code == 404


def test_a_request_that_is_sent_again_makes_no_second_job(client: TestClient, small: Served) -> None:
    content = small.data.read_bytes()
    first = send(client, content, **{"idempotency-key": "k"})
    again = send(client, content, **{"idempotency-key": "k"})
    assert first.json()["id"] == again.json()["id"] and again.headers["idempotent-replayed"] == "true"
    for charset in ("utf-8", "UTF8", "utf-8-sig"):
        same = send(client, content, **{"content-type": f"text/csv; charset={charset}", "idempotency-key": "k"})
        assert same.json()["id"] == first.json()["id"], "which is what it is without"
    other = send(client, content + b"r99,more,1,1\n", **{"idempotency-key": "k"})
    assert (other.status_code, other.json()["code"]) == (422, "key-reused")
    assert len(client.get("/v1/jobs").json()["data"]) == 1


def test_the_same_bytes_in_another_charset_are_another_request(make_client: Callable[..., TestClient]) -> None:
    client = make_client(works=False)
    content, key = "id,text,age\na,Größe 3 cm.,61\n".encode(), {"idempotency-key": "k"}
    first = send(client, content, **key, **{"content-type": "text/csv; charset=windows-1252"})
    again = send(client, content, **key, **{"content-type": 'text/csv; charset="CP1252"'})
    assert first.status_code == 202 and again.json()["id"] == first.json()["id"]
    other = send(client, content, **key, **{"content-type": "text/csv; charset=utf-8"})
    assert (other.status_code, other.json()["code"]) == (422, "key-reused")


@pytest.mark.parametrize(("form", "begun"), [("csv", False), ("csv", True), ("ndjson", True)])
def test_results_of_a_job_that_is_erased_meanwhile_are_no_shorter_file(
    small: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, begun: bool
) -> None:
    monkeypatch.setattr(results, "PAGE", 2)
    read, starts = SqliteStore.results, list[int]()

    def erased_behind(store: SqliteStore, job: str, start: int, limit: int) -> Sequence[Result]:
        page = read(store, job, start, limit)
        if (start > 0) == begun:
            store.erase(job)
        starts.append(start)
        return page

    with answering(tmp_path, small.pack) as url, clinfit.Client(url) as client:
        job = client.submit(["A tumour."] * 6)["id"]
        client.wait(job)
        monkeypatch.setattr(SqliteStore, "results", erased_behind)
        asked = httpx2.Client(base_url=url).stream("GET", f"/v1/jobs/{job}/results?format={form}")
        with asked as answer:
            assert answer.status_code == (200 if begun else 404)
            if begun:
                with pytest.raises(httpx2.RemoteProtocolError):
                    answer.read()
        assert starts == ([0, 2] if begun else [0])


def test_too_many_waiting_records_are_refused(make_client: Callable[..., TestClient], small: Served) -> None:
    client = make_client(works=False, queued=100)
    assert send(client, small.data.read_bytes()).status_code == 202
    full = send(client, small.data.read_bytes())
    assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (429, "queue-full", "30")


def test_a_line_that_is_nested_too_deep_is_told(client: TestClient) -> None:
    content = '{"text": "a", "age": 1}\n{"text": "a", "age": 1, "x": ' + "[" * 5000 + "]" * 5000 + "}"
    deep = send(client, content.encode(), **{"content-type": "application/x-ndjson"})
    assert (deep.status_code, deep.json()["code"]) == (422, "invalid-record")
    assert deep.json()["detail"] == "the table cannot be read: line 2 is nested too deep"


@pytest.mark.parametrize(
    ("content", "kind", "status", "detail"),
    [
        (f"{CANARY},61\n{CANARY},62\n", "text/csv", 422, "the table has no column text, age"),
        (f"text,age\n{CANARY},{CANARY}\n", "text/csv", 422, "column age: no number in 1 rows, first in row 1"),
        (f"id,text,age\n1,{CANARY},1\n1,{CANARY},2\n", "text/csv", 422, "the table cannot be read: rows 1 and 2"),
        (f"id,text,age\n1,x,1\n2,x,1\n1.0,{CANARY},2\n", "text/csv", 422, "the table cannot be read: rows 1 and 3"),
        (
            f"id,text,age\n,x,1\n,{CANARY},2\n",
            "text/csv",
            422,
            "the table cannot be read: no id in 2 rows, first in row 1",
        ),
        (
            f"id,text,age\n7,x,1\nNA,{CANARY},2\n7,x,3\n",
            "text/csv",
            422,
            "the table cannot be read: no id in 1 rows, first in row 2; rows 1 and 3 have one id",
        ),
        (
            f'{{"id": "1", "text": "a", "age": 1}}\n{{"id": ["{CANARY}"], "text": "a", "age": 1}}',
            "application/x-ndjson",
            422,
            "the table cannot be read: no id in 1 rows, first in row 2",
        ),
        (
            f'{{"text": {{"{CANARY}": 1}}, "age": 1}}',
            "application/x-ndjson",
            422,
            "column text: no text in 1 rows, first in row 1",
        ),
        (
            f'{{"text": "a", "age": 1, " text": "{CANARY}"}}',
            "application/x-ndjson",
            422,
            "the table cannot be read: several columns have one name",
        ),
        (f"{CANARY} {{", "application/x-ndjson", 422, "the table cannot be read: line 1 is no JSON object"),
        (f'{{"text": "{CANARY}"}}\n\n["{CANARY}"]', "application/x-ndjson", 422, "the table cannot be read: line 3 is"),
        ("text,age\n", "text/csv", 422, "the table cannot be read: no rows"),
        ("", "text/csv", 422, "the table cannot be read: no rows"),
        (
            f"text,age\na,1\n{CANARY},2,3\n",
            "text/csv",
            422,
            "the table cannot be read: row 2 has 3 cells, the head has 2",
        ),
        (f'text,age\n"{CANARY},2\n', "text/csv", 422, "the table cannot be read: line 2: the quotes do not match"),
        (
            f"text,{CANARY},{CANARY}\na,1,2\n",
            "text/csv",
            422,
            "the table cannot be read: several columns have one name",
        ),
        (f"text,age,,\na,1,{CANARY},2\n", "text/csv", 422, "the table cannot be read: columns 3, 4 hold values"),
        (f"text,age\n{CANARY},1\n", f"text/csv; charset={CANARY}", 415, "the charset is none of ascii"),
        (f"text,age\n{CANARY},1\n", "text/csv; charset=base64", 415, "the charset is none of ascii"),
        (
            f"text,age\n{CANARY}\u00e9,1\n",
            "text/csv; charset=ascii",
            422,
            "the table is not text in ascii, which the Con",
        ),
        (CANARY, "text/plain", 415, ""),
        (CANARY, "application/json", 400, ""),
        (f'{{"input": ["{CANARY}", {{"{CANARY}": 1}}]}}', "application/json", 422, ""),
    ],
)
def test_tables_with_faults_are_refused_without_their_words(
    client: TestClient, content: str, kind: str, status: int, detail: str
) -> None:
    response = client.post(f"/v1/jobs?model={TFIDF}", content=content.encode(), headers={"content-type": kind})
    assert response.status_code == status, response.text
    assert response.json().get("detail", "").startswith(detail) and CANARY not in response.text


@pytest.mark.parametrize(
    "charset", ["cp1252", "Windows-1252", '"ISO-8859-1"', "utf-16", "UTF-8", "utf-8-sig", "utf_16_le"]
)
def test_a_table_is_read_in_the_charset_that_its_type_names(client: TestClient, charset: str) -> None:
    content = "id;text;age\nÅ;Größe 3 cm.;61\n".encode(charset.strip('"'))
    kind = {"content-type": f"text/csv; header=present; Charset={charset}"}
    job = client.post(f"/v1/jobs?model={TFIDF}", content=content, headers=kind).json()["id"]
    ended(client, job)
    (item,) = client.get(f"/v1/jobs/{job}/results").json()["data"]
    record = {"id": "Å", "inputs": {"text": "Größe 3 cm.", "age": 61}}
    assert [item] == client.post("/v1/classify", json={"model": TFIDF, "input": [record]}).json()["data"]


def test_a_table_in_no_charset_that_is_known_is_told_how_to_name_it(client: TestClient) -> None:
    content = "text,age\nGröße,61\n"
    for encoding in ("latin-1", "utf-16"):
        refused = send(client, content.encode(encoding))
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith("the table cannot be read: not text in UTF-8; name its charset")


@pytest.mark.parametrize(
    ("rows", "detail"),
    [
        ([{"id": "a" * 201, "text": "x", "age": 1}], "the id in row 1 has more than 200 characters"),
        ([{"id": "a", "text": "x" * 41, "age": 1}], "column text, row 1: more than 40 characters"),
        ([{"id": str(k), "text": "x", "age": 1} for k in range(4)], "a job has 1 to 3 records"),
    ],
)
def test_tables_keep_to_the_limits_of_requests(
    make_client: Callable[..., TestClient], rows: list[dict[str, Any]], detail: str
) -> None:
    client = make_client(works=False, characters=40, job_items=3)
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    sent = client.post(f"/v1/jobs?model={TFIDF}", content=content, headers={"content-type": "application/x-ndjson"})
    assert sent.status_code == 422 and sent.json()["detail"].startswith(detail), sent.text


def test_half_characters_of_a_table_spoil_no_result(client: TestClient) -> None:
    """They are replaced where tables are read; a result that could not be written would take all others with it."""
    content = json.dumps({"id": "\ud800", "text": "A tumour \ud800.", "age": 50}) + "\n"
    kind = {"content-type": "application/x-ndjson"}
    job = client.post(f"/v1/jobs?model={TFIDF}", content=content.encode(), headers=kind).json()["id"]
    assert ended(client, job)["failed"] == 0
    assert client.get(f"/v1/jobs/{job}/results?format=csv").text.splitlines()[1].startswith("\ufffd,")


def test_a_record_that_kills_its_chunk_is_alone_in_the_end(
    make_client: Callable[..., TestClient], models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(tries=2, back_off=0.01, chunk=4)
    model = models.by_name[TFIDF].pack.model
    real = type(model).predict

    def fragile(self: Any, task: str, given: Any) -> Any:
        if any("poison" in str(record.inputs["text"]) for record in given):
            raise RuntimeError(f"cannot read {CANARY}")
        return real(self, task, given)

    monkeypatch.setattr(type(model), "predict", fragile)
    items = [f"fine {k}" if k != 5 else f"poison {CANARY}" for k in range(8)]
    job = client.post("/v1/jobs", json={"model": TFIDF, "input": items}).json()["id"]
    last = ended(client, job)
    assert (last["state"], last["done"], last["failed"]) == ("succeeded", 8, 1)
    data = client.get(f"/v1/jobs/{job}/results").json()["data"]
    assert [item["index"] for item in data if item["error"]] == [5]
    page = client.get(f"/v1/jobs/{job}/failures")
    (failure,) = page.json()["data"]
    assert (failure["index"], failure["id"], failure["code"]) == (5, "6", "unanswered")
    assert failure["detail"].startswith("RuntimeError") and CANARY not in page.text
    assert page.json()["next"] is None and page.json()["job"]["failed"] == 1


def test_failures_come_in_pages_without_a_word_of_the_records(client: TestClient) -> None:
    wrong = [{"id": f"w{k}", "inputs": {"text": CANARY, "age": CANARY}} for k in range(5)]
    items = [item for pair in zip(["A tumour."] * 5, wrong, strict=True) for item in pair]
    job = client.post("/v1/jobs", json={"model": TFIDF, "input": items}).json()["id"]
    assert ended(client, job)["failed"] == 5
    pages, details, after = [], [], 0
    while after is not None:
        page = client.get(f"/v1/jobs/{job}/failures", params={"after": after, "limit": 2})
        assert page.status_code == 200 and CANARY not in page.text
        pages.append([(failure["index"], failure["id"]) for failure in page.json()["data"]])
        details += [failure["detail"] for failure in page.json()["data"]]
        after = page.json()["next"]
    assert pages == [[(1, "w0"), (3, "w1")], [(5, "w2"), (7, "w3")], [(9, "w4")]]
    assert details == ["input age is not a number"] * 5


def test_one_text_one_prediction(client: TestClient) -> None:
    sent = client.post("/classify_abstract", json={"text": "A tumour was seen."}, params={"model": TFIDF})
    body = sent.json()
    assert sent.status_code == 202 and set(body) == {"prediction_id", "message"}
    ended(client, body["prediction_id"])
    found = client.get(f"/predictions/{body['prediction_id']}").json()
    at_once = client.post("/v1/classify", json={"model": TFIDF, "input": "A tumour was seen."}).json()
    assert found["status"] == "succeeded" and found["result"] == at_once["data"][0]
    page = client.get(f"/v1/jobs/{body['prediction_id']}/results").json()
    assert found["disclaimer"] == page["disclaimer"] == at_once["disclaimer"], "whatever brings them"
    first = client.post("/classify_abstract", json={"text": "A tumour was seen."})
    assert client.get(f"/v1/jobs/{first.json()['prediction_id']}").json()["model"] == TFIDF, "the first that fits"
    assert client.post("/classify_abstract", json={"text": ""}).status_code == 422
    assert client.get("/predictions/" + "0" * 32).status_code == 404


def test_jobs_of_others_are_not_told_from_none(make_client: Callable[..., TestClient], small: Served) -> None:
    client = make_client(works=False)
    service = client.app.state.service  # type: ignore[attr-defined]
    job = send(client, small.data.read_bytes()).json()["id"]
    from dataclasses import replace

    from clinfit.serve.jobs import Submission

    mine = service.store.get(job)
    theirs = replace(mine, id="f" * 32, owner="somebody")
    service.store.submit(Submission(theirs, []), 10**6, 10**6)
    for path in ("", "/results", "/failures", "/events"):
        assert client.get(f"/v1/jobs/{theirs.id}{path}").status_code == 404
    assert client.post(f"/v1/jobs/{theirs.id}/cancel").status_code == 404
    assert client.delete(f"/v1/jobs/{theirs.id}").status_code == 404
    assert [one["id"] for one in client.get("/v1/jobs").json()["data"]] == [job]


def test_who_works_on_no_jobs_erases_old_ones(
    make_client: Callable[..., TestClient], small: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clinfit.serve.worker.SWEEP", 0.05)
    client = make_client(works=False, keep_days=1 / 86_400)
    job = send(client, small.data.read_bytes()).json()["id"]
    assert soon(lambda: client.get(f"/v1/jobs/{job}").status_code == 404, 10)
