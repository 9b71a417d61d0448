"""Who may ask and how much, what a browser may do, and that no text is left behind anywhere."""

import json
import logging
import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from clinfit.cli import app
from clinfit.errors import ClinfitError
from clinfit.serve.guard import HEADERS
from clinfit.serve.jobs import StoreDown
from clinfit.serve.run import Place, _hosts
from clinfit.serve.security import Keys, Rates, check_binding, is_own_host, keys_of, new_key, read_keys
from clinfit.serve.stores.sqlite import SqliteStore
from small_study import CANARY

from .conftest import Served
from .services import RedisServer, ended, needs_redis, refused, soon

TFIDF = "tfidf-seed42/cancer"
RECORD = {"inputs": {"text": "A tumour was seen.", "age": 61}}


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, str, str]:
    file = tmp_path / "keys.json"
    return file, new_key(file, "ward", ["classify", "jobs"]), new_key(file, "watch", ["metrics"])


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_keys_are_kept_as_hashes(keys: tuple[Path, str, str]) -> None:
    file, first, second = keys
    text = file.read_text()
    assert first not in text and first.rpartition("_")[2] not in text and first != second
    assert file.stat().st_mode & 0o777 == 0o600
    assert [key.name for key in read_keys(file)] == ["ward", "watch"]
    file.write_text('[{"id": 1}]')
    with pytest.raises(ClinfitError, match="no file of API keys"):
        read_keys(file)


def test_without_keys_only_this_machine_may_ask(keys: tuple[Path, str, str]) -> None:
    check_binding("127.0.0.1", Keys([]))
    check_binding("0.0.0.0", Keys(read_keys(keys[0])))
    with pytest.raises(ClinfitError, match="there are no API keys"):
        check_binding("0.0.0.0", Keys([]))


@pytest.mark.parametrize("content", ["[]", "{}", '""', "null", "1"])
def test_a_file_without_a_key_lets_nobody_in(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(content)
    with pytest.raises(ClinfitError, match=r"holds no API key|no file of API keys"):
        keys_of(file)
    file.unlink()
    file.mkdir()
    with pytest.raises(ClinfitError, match="cannot be read"):
        keys_of(file)
    assert not keys_of(None)


def test_every_address_asks_for_a_key_of_its_scope(
    make_client: Callable[..., TestClient], keys: tuple[Path, str, str]
) -> None:
    file, ward, watch = keys
    client = make_client(keys=Keys(read_keys(file)))
    open_paths = {"/live", "/ready", "/health"}
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        address = path.replace("{job_id}", "0" * 32).replace("{model}", TFIDF)
        for method in methods:
            answer = client.request(method, address, json={"text": "x", "input": "x"})
            assert answer.status_code == (200 if path in open_paths else 401), (method, path)
    ask = {"model": TFIDF, "input": "x"}
    assert client.post("/v1/classify", json=ask, headers=bearer(ward)).status_code == 200
    assert client.post("/v1/classify", json=ask, headers=bearer(watch)).json()["code"] == "scope"
    assert client.get("/metrics", headers=bearer(watch)).status_code == 200
    assert client.get("/metrics", headers=bearer(ward)).status_code == 403
    for wrong in (ward[:-1], ward + "x", "", "é"):
        headers = [(b"authorization", f"Bearer {wrong}".encode("latin-1"))]
        assert client.post("/v1/classify", json=ask, headers=headers).status_code == 401
    assert client.get("/").status_code == 200, "the page asks for the key"


def test_the_body_of_a_stranger_is_not_read(
    make_client: Callable[..., TestClient], keys: tuple[Path, str, str]
) -> None:
    client = make_client(keys=Keys(read_keys(keys[0])))
    answers = [client.post("/v1/classify", content=b'{"model": '), client.post("/v1/jobs", content=b"x")]
    assert [answer.json()["code"] for answer in answers] == ["no-key", "no-key"], "malformed only to those who may ask"
    assert answers[0].headers["www-authenticate"] == "Bearer"


def test_a_key_ends_with_its_last_day(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    old, new = new_key(file, "old", ["classify"], "2998-01-31"), new_key(file, "new", ["classify"], "2999-01-31")
    file.write_text(file.read_text().replace("2998-01-31", "2020-01-31"))  # time has passed
    keys = Keys(read_keys(file))
    assert keys.holder(f"Bearer {old}") is None and keys.holder(f"Bearer {new}") is not None
    with pytest.raises(ClinfitError, match="no date"):
        new_key(file, "x", ["classify"], "31.1.2027")
    new_key(file, "short", ["classify"], "2999-2-5")
    assert read_keys(file)[-1].expires == "2999-02-05"
    file.write_text(file.read_text().replace("2999-02-05", "2999-2-6"))
    assert read_keys(file)[-1].expires == "2999-02-06", "a date that somebody wrote into the file"
    file.write_text(file.read_text().replace("2999-2-6", "soon"))
    with pytest.raises(ClinfitError, match="no file of API keys"):
        read_keys(file)


def test_a_key_that_would_never_be_valid_is_not_made(tmp_path: Path) -> None:
    file, today = tmp_path / "keys.json", datetime.now(UTC).date()
    with pytest.raises(ClinfitError, match="in the past") as error:
        new_key(file, "ward", ["classify"], (today - timedelta(days=1)).isoformat())
    assert str(today) in error.value.expected and error.value.fix.startswith(
        f"clinfit key ward --keys {file} --scopes classify --expires "
    )
    assert not file.exists()
    new_key(file, "ward", ["classify"], error.value.fix.rpartition(" ")[2])
    new_key(file, "ward", ["classify"], today.isoformat())
    assert len(read_keys(file)) == 2, "what it says to type is taken; a key may end today"


def test_a_key_without_a_scope_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    for scopes in ("", " ", ","):
        said = refused("key", "ward", "--keys", file, "--scopes", scopes)
        assert "--scopes names no scope" in said and "classify, jobs, metrics" in said and "--scopes classify" in said
    assert not file.exists()
    assert CliRunner().invoke(app, ["key", "ward", "--keys", str(file), "--scopes", "classify, jobs"]).exit_code == 0
    assert read_keys(file)[0].scopes == ("classify", "jobs")


def test_what_is_to_be_typed_again_loses_nothing(tmp_path: Path) -> None:
    """Rights above all: without its scopes the key would open more."""
    file = tmp_path / "the keys.json"
    words = ("key", "ward 7; rm", "--keys", file)
    for scopes, expires in (("metrics", "2020-01-01"), ("", "2999-01-01")):
        said = refused(*words, "--scopes", scopes, "--expires", expires)
        typed = shlex.split(said.partition("to fix: clinfit ")[2])
        assert typed[:4] == [str(word) for word in words]
        assert CliRunner().invoke(app, typed).exit_code == 0
    first, second = read_keys(file)
    assert (first.name, first.scopes, second.scopes, second.expires) == (
        "ward 7; rm", ("metrics",), ("classify",), "2999-01-01",
    )  # fmt: skip


def test_jobs_are_their_senders(make_client: Callable[..., TestClient], tmp_path: Path, small: Served) -> None:
    file = tmp_path / "keys.json"
    one, other = (new_key(file, name, ["classify", "jobs"]) for name in "ab")
    client = make_client(keys=Keys(read_keys(file)), works=False)
    headers = bearer(one) | {"content-type": "text/csv"}
    job = client.post(f"/v1/jobs?model={TFIDF}", content=small.data.read_bytes(), headers=headers).json()["id"]
    assert client.get(f"/v1/jobs/{job}", headers=bearer(one)).status_code == 200
    assert client.get(f"/v1/jobs/{job}", headers=bearer(other)).status_code == 404
    assert client.get("/v1/jobs", headers=bearer(other)).json()["data"] == []


def test_a_key_has_its_rate(make_client: Callable[..., TestClient]) -> None:
    client = make_client(per_minute=60, burst=5)
    ask = {"model": TFIDF, "input": ["x"] * 4}
    assert client.post("/v1/classify", json=ask).status_code == 200
    refused = client.post("/v1/classify", json=ask)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate")
    assert 1 <= int(refused.headers["retry-after"]) <= 3


def test_a_large_job_leaves_room_for_questions_and_one_that_is_not_kept_costs_nothing(
    make_client: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(per_minute=60)
    job = {"model": TFIDF, "input": [RECORD] * 200}
    service = client.app.state.service  # type: ignore[attr-defined]
    with monkeypatch.context() as down:
        down.setattr(service.store, "submit", MagicMock(side_effect=StoreDown("no disk")))
        assert [client.post("/v1/jobs", json=job).status_code for _ in range(2)] == [503, 503]
    assert client.post("/v1/jobs", json=job).status_code == 202
    assert client.post("/v1/jobs", json=job).status_code == 429
    assert client.post("/v1/classify", json={"model": TFIDF, "input": RECORD}).status_code == 200


def test_a_bucket_fills_again_and_lets_a_large_job_through_once() -> None:
    rates = Rates(600, 10)
    assert rates.take("a", 1000) == 0 and rates.take("a", 1) > 60
    assert rates.take("b", 1) == 0
    rates.charge("c", 60)
    assert 4 < rates.take("c", 1) <= 6, "what was charged is owed"
    assert Rates(None, 1).take("a", 10**9) == 0


def test_browsers_are_told_what_they_may_do(client: TestClient) -> None:
    for path in ("/", "/v1/models", "/nowhere", "/web/page.js"):
        response = client.get(path)
        assert {name: response.headers[name] for name in HEADERS} == HEADERS
        assert "access-control-allow-origin" not in response.headers and "server" not in response.headers
    assert "'unsafe" not in HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 400),
        ({"host": "evil.example:8000"}, 400),
        ({"host": "127.0.0.1:8000"}, 200),
        ({"host": "["}, 400),
        ({"host": ""}, 400),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://testserver"}, 200),
    ],
)
def test_names_and_origins_of_others_are_refused(client: TestClient, headers: dict[str, str], status: int) -> None:
    response = client.post("/v1/classify", json={"model": TFIDF, "input": "x"}, headers=headers)
    assert response.status_code == status


@pytest.mark.parametrize(
    "path", ["/web/..%2f..%2frun.py", "/web/../app.py", "/%2e%2e/etc/passwd", "/web/", "/web/index"]
)
def test_no_path_leads_out(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_names_are_compared_in_lower_case() -> None:
    hosts = _hosts(Place(host="0.0.0.0", hosts=("Models.Hospital.example",)))
    assert is_own_host("MODELS.hospital.example:443", hosts) and not is_own_host("elsewhere.example", hosts)


def test_request_ids_are_ours_unless_they_are_plain(client: TestClient) -> None:
    assert client.get("/live", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert len(client.get("/live", headers={"x-request-id": "a b\tc" * 99}).headers["x-request-id"]) == 32


# ---------------------------------------------------------------- the canary


def in_files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def audited(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def everything(client: TestClient, small: Served) -> list[str]:
    """Ask in every way, rightly and wrongly, with the canary in every text; job ids."""
    text = f"A tumour was seen, {CANARY}."
    asked = [text, {"id": "a", "inputs": {"text": text, "age": CANARY}}, {"inputs": {CANARY: text}}]
    client.post("/v1/classify", json={"model": TFIDF, "input": asked, "explain": True})
    client.post("/v1/classify", json={"model": CANARY, "input": text})
    client.post("/v1/classify", json={"model": TFIDF, "input": text, CANARY: CANARY})
    client.post("/v1/classify", content=CANARY.encode())
    client.get(f"/{CANARY}?{CANARY}={CANARY}", headers={"x-request-id": f"{CANARY} {CANARY}"})
    client.request(CANARY.upper(), "/live")
    client.post(f"/v1/jobs?model={TFIDF}", content=f"{CANARY}\n1", headers={"content-type": "text/csv"})
    client.post("/v1/jobs", json={"model": TFIDF, "input": [text, {"inputs": {"text": CANARY, "age": CANARY}}]})
    client.post("/classify_abstract", json={"text": text}, params={"model": TFIDF})
    headers = {"content-type": "text/csv", "idempotency-key": "once"}
    client.post(f"/v1/jobs?model={TFIDF}", content=small.data.read_bytes(), headers=headers)
    jobs = [job["id"] for job in client.get("/v1/jobs").json()["data"]]
    for job in jobs:
        ended(client, job)
        client.get(f"/v1/jobs/{job}/results?format=csv")
        client.get(f"/v1/jobs/{job}/events")
    return jobs


def test_no_text_is_left_behind(
    make_client: Callable[..., TestClient], small: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    logging.getLogger("clinfit.serve").propagate = True
    caplog.set_level(logging.DEBUG)
    assert CANARY in small.data.read_text()
    audit, file = tmp_path / "audit.jsonl", tmp_path / "own" / "jobs.sqlite"
    client = make_client(store=SqliteStore(file), audit=audit)
    jobs = everything(client, small)
    assert len(jobs) == 3
    metrics = client.get("/metrics").text
    assert soon(lambda: CANARY.encode() not in in_files(file.parent)), (
        "the records of a job that has ended are gone, from the log of writes too"
    )
    for job in jobs:
        client.delete(f"/v1/jobs/{job}")
    assert client.get("/v1/jobs").json()["data"] == []
    kept = in_files(file.parent)
    assert not any(job.encode() in kept for job in jobs)
    routes = {"/v1/classify", "/v1/jobs", "/v1/jobs/{job_id}"}
    assert soon(lambda: {line["route"] for line in audited(audit)} >= routes), "a line is written after its answer"
    lines = audited(audit)
    assert {"time", "request", "key", "status", "ms", "model", "pack", "items"} <= set().union(*lines)
    out, err = capfd.readouterr()
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx")]  # the asker's
    for text in (metrics, audit.read_text(), "\n".join(logged), out, err):
        assert CANARY not in text.lower()
    assert any("/v1/classify 422" in line for line in logged), "the log is there"


def test_who_reads_results_is_audited_and_a_full_disk_breaks_no_answer(
    make_client: Callable[..., TestClient], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("clinfit.serve").propagate = True
    audit = tmp_path / "audit.jsonl"
    client = make_client(audit=audit)
    job = client.post("/v1/jobs", json={"model": TFIDF, "input": ["A tumour."]}).json()["id"]
    ended(client, job)
    read = ["/v1/jobs/{job_id}/results", "/v1/jobs/{job_id}/events", "/predictions/{job_id}"]
    for path in read:
        assert client.get(path.replace("{job_id}", job)).status_code == 200
    assert soon(lambda: len(audited(audit)) == 4)
    assert {line["route"] for line in audited(audit) if line["method"] == "GET" and line["job"] == job} == set(read)
    client.app.state.service.audit.close()  # type: ignore[attr-defined]
    assert client.get(f"/v1/jobs/{job}/results").status_code == 200
    assert any("was not audited" in record.getMessage() for record in caplog.records)


@needs_redis
def test_no_text_is_left_in_redis(
    make_client: Callable[..., TestClient], small: Served, redis_server: RedisServer
) -> None:
    from clinfit.serve.stores.redis import RedisStore

    store = RedisStore(redis_server.url, keep=60)
    store._redis.flushall()
    client = make_client(store=store)
    jobs = everything(client, small)
    for job in jobs:
        client.delete(f"/v1/jobs/{job}")
    left = {str(key): str(store._redis.dump(key)) for key in store._redis.scan_iter()}
    assert left and not any(job in f"{key}{value}" for job in jobs for key, value in left.items())
    assert CANARY not in str(left)
