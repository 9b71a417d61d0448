"""`clinfit serve` as a program: what it says, what it refuses, how it ends; and the clients against it."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import httpx2
import pytest

import clinfit
from clinfit.files import hash_json, read_json, write_json
from clinfit.packs.output import write_table
from clinfit.serve.client import ServiceError
from clinfit.serve.run import Place, serve
from clinfit.serve.settings import Settings
from clinfit.serve.stores import place_of

from .conftest import Served
from .services import HTTP, Program, RedisServer, free_port, needs_redis, refused, wait_until_ready

TFIDF = "tfidf-seed42/cancer"


@pytest.fixture(scope="module")
def running(small: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service in a process of its own."""
    folder, port = tmp_path_factory.mktemp("running"), free_port()
    words = ["serve", str(small.pack), str(small.majority), "--port", str(port), "--jobs", str(folder / "jobs.sqlite")]
    program = Program(words, folder / "log")
    url = f"http://127.0.0.1:{port}"
    wait_until_ready(program, url)
    yield url
    assert program.stop() == 0, program.log.read_text()


def test_the_client_does_all_of_it(running: str, small: Served, tmp_path: Path) -> None:
    expected = clinfit.load_pack(small.pack).predict(small.data)
    write_table(expected, tmp_path / "expected.csv")
    with clinfit.Client(running) as client:
        assert [model["id"] for model in client.models()] == [TFIDF, "majority-seed42/cancer"]
        (answer,) = client.classify("A tumour was seen.", TFIDF, explain=True)
        assert answer["decision"] in ("no", "yes") and answer["explanation"]["effects"]
        job = client.submit_table(small.data, TFIDF)["id"]
        events = list(client.events(job))
        assert events[-1]["event"] == "end" and events[-1]["done"] == 60
        assert client.wait(job)["state"] == "succeeded"
        client.save_results(job, tmp_path / "found.csv")
        assert (tmp_path / "found.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()
        found = [result["probabilities"]["yes"] for result in client.results(job)]
        assert found == expected["p_yes"].tolist()
        with pytest.raises(ServiceError) as error:
            client.cancel(job)
        assert (error.value.status, error.value.code) == (409, "ended")
        client.erase(job)
        with pytest.raises(ServiceError, match="404"):
            client.job(job)
        assert client.submit(["A tumour."], TFIDF)["total"] == 1 and len(client.jobs()) == 1
        unreadable = {"id": "b", "inputs": {"text": "A fall.", "age": "old"}}
        job = client.submit(["A tumour.", unreadable], TFIDF, idempotency_key="night 7")["id"]
        assert client.submit(["A tumour.", unreadable], TFIDF, idempotency_key="night 7")["id"] == job
        with pytest.raises(ServiceError) as reused:
            client.submit(["Another."], TFIDF, idempotency_key="night 7")
        assert reused.value.code == "key-reused"
        assert client.wait(job)["failed"] == 1
        (failure,) = client.failures(job)
        assert (failure["id"], failure["code"]) == ("b", "invalid-record")


def test_the_awaited_client_does_the_same(running: str, small: Served, tmp_path: Path) -> None:
    async def go() -> None:
        async with clinfit.AsyncClient(running) as client:
            several = await asyncio.gather(*(client.classify(f"Case {k}: a tumour.", TFIDF) for k in range(20)))
            assert len({answers[0]["probs"][1] for answers in several}) > 1
            job = (await client.submit_table(small.data, TFIDF, idempotency_key="awaited"))["id"]
            assert (await client.submit_table(small.data, TFIDF, idempotency_key="awaited"))["id"] == job
            events = [event async for event in client.events(job)]
            assert events[-1]["event"] == "end" and (await client.wait(job))["state"] == "succeeded"
            assert len([result async for result in client.results(job)]) == 60
            assert [failure async for failure in client.failures(job)] == []
            await client.save_results(job, tmp_path / "found.csv")
            await client.erase(job)
            with pytest.raises(ServiceError):
                await client.job(job)

    asyncio.run(go())


def test_many_askers_get_what_one_gets(running: str) -> None:
    texts = [f"Case {k}: {'tumour' if k % 2 else 'fracture'} seen, {k}" for k in range(40)]
    with clinfit.Client(running) as client:
        alone = [client.classify(text, TFIDF)[0]["probs"] for text in texts]
        found: dict[str, list[float]] = {}

        def ask(own: list[str]) -> None:
            with clinfit.Client(running) as other:
                for text in own:
                    found[text] = other.classify(text, TFIDF)[0]["probs"]

        threads = [threading.Thread(target=ask, args=(texts[k::8],)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [found[text] for text in texts] == alone


def test_a_pack_that_answers_otherwise_is_not_served(
    small: Served, tmp_path: Path, programs: Callable[..., Program]
) -> None:
    """As after an upgrade of a library that computes differently: the files are whole, the answers are not the same."""
    pack = shutil.copytree(small.pack, tmp_path / "pack")
    probes = read_json(pack / "probes.json")
    probes["tasks"]["cancer"][0]["probabilities"] = [0.5, 0.5]
    write_json(pack / "probes.json", probes)
    content = read_json(pack / "pack.json")
    from clinfit.files import hash_file

    content["files"]["probes.json"] = hash_file(pack / "probes.json")
    content["sha256"] = hash_json({key: value for key, value in content.items() if key != "sha256"})
    write_json(pack / "pack.json", content)
    port = free_port()
    program = programs("serve", pack, "--port", port, "--jobs", tmp_path / "jobs.sqlite")
    assert program.process.wait(300) == 2
    assert "does not answer here as where it was written" in program.log.read_text()
    with pytest.raises(httpx2.TransportError):
        HTTP.get(f"http://127.0.0.1:{port}/live")


def test_what_the_user_can_put_right(small: Served, running: str, tmp_path: Path) -> None:
    port = running.rpartition(":")[2]
    assert "is not a pack" in refused("serve", tmp_path, "--port", 0, "--jobs", tmp_path / "none")
    assert "there are no API keys" in refused("serve", small.pack, "--host", "0.0.0.0")
    assert "cannot be listened to" in refused("serve", small.pack, "--port", port)
    assert "is named twice" in refused("serve", small.pack, small.pack, "--port", 0, "--jobs", tmp_path / "j")
    assert "address of the Redis server" in refused("worker", small.pack, "--redis", "somewhere")
    nowhere = ("--jobs", tmp_path / "a", "--audit", tmp_path / "none" / "audit.jsonl")
    assert "audit file" in refused("serve", small.pack, "--port", 0, *nowhere)
    assert "no scope everything" in refused("key", "x", "--keys", tmp_path / "k.json", "--scopes", "everything")
    (tmp_path / "text").write_text("no database " * 1000)
    assert "cannot be used for jobs" in refused("serve", small.pack, "--port", 0, "--jobs", tmp_path / "text")


SECRET = "Zaunkoenig12"


@pytest.mark.parametrize("words", [("serve", "--port", 0), ("worker",), ("worker", "--input-stream", "notes")])
def test_a_store_that_does_not_answer_is_named_before_packs_are_loaded(tmp_path: Path, words: tuple[object]) -> None:
    command, *options = words
    url = f"redis://ward:{SECRET}@127.0.0.1:1/3?socket_timeout=1"
    said = refused(command, tmp_path / "no-pack", *options, "--redis", url)
    assert "Redis at 127.0.0.1:1, database 3, does not answer: ConnectionError" in said
    assert SECRET not in said and "ward" not in said


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://queue", "queue:6379, database 0"),
        (f"rediss://:{SECRET}@queue.example:6380/2", "queue.example:6380, database 2"),
        (f"redis://queue:1?db=4&password={SECRET}", "queue:1, database 4"),
        ("redis://[::1]:7/0", "[::1]:7, database 0"),
        (f"unix://ward:{SECRET}@/run/redis.sock?db=1", "/run/redis.sock, database 1"),
    ],
)
def test_a_redis_server_is_named_by_its_place_alone(url: str, place: str) -> None:
    assert place_of(url) == place


@pytest.mark.parametrize("secret", ["12/Zaun", "12#Zaun", "12?Zaun", "a/b@c"])
def test_a_password_that_breaks_its_address_is_not_taken_for_a_place(tmp_path: Path, secret: str) -> None:
    """Such as one with a slash, which ends the name of the server: what stands before it could be a part of it."""
    said = refused("worker", tmp_path, "--redis", f"redis://bob:{secret}@127.0.0.1:1/0")
    assert "12" not in said.replace("127.0.0.1", "") and "Zaun" not in said and "bob" not in said


def test_nothing_is_made_for_what_is_no_pack(tmp_path: Path) -> None:
    assert "is not a pack" in refused("serve", tmp_path, "--port", 0, "--jobs", tmp_path / "jobs.sqlite")
    assert not (tmp_path / "jobs.sqlite").exists()


def test_why_a_file_cannot_be_used_for_jobs_is_told_in_words(small: Served, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database " * 1000)
    places = {"text": "file is not a database", ".": "Is a directory", "text/jobs": "File exists"}
    for place, why in places.items():
        said = refused("serve", small.majority, "--port", 0, "--jobs", tmp_path / place)
        assert f"{tmp_path / place} cannot be used for jobs: {why}" in said


@pytest.mark.parametrize(
    "option", ["zaunk=3", "ssl_cert_reqs=3", "protocol=5", "retry=3", "retry_on_error=x", "connection_class=x"]
)
def test_an_option_of_redis_that_is_none_is_told(tmp_path: Path, option: str) -> None:
    for words in (("serve", "--port", 0), ("worker",), ("worker", "--input-stream", "notes")):
        said = refused(words[0], tmp_path, *words[1:], "--redis", f"redis://ward:{SECRET}@127.0.0.1:1?{option}")
        assert "has an option (behind the ?) that there is not" in said
        assert SECRET not in said and "ward:" not in said


def test_an_option_of_redis_may_hold_an_at(tmp_path: Path) -> None:
    for address in (f"ward:{SECRET}@127.0.0.1:1/0?client_name=a@b", "127.0.0.1:1/0?client_name=a%40b"):
        said = refused("worker", tmp_path, "--redis", f"redis://{address}&socket_timeout=1")
        assert "Redis at 127.0.0.1:1, database 0, does not answer" in said and SECRET not in said
    said = refused("worker", tmp_path, "--redis", f"redis://ward:{SECRET}?client_name=st@127.0.0.1/0")
    assert "the address of the Redis server cannot be read" in said and SECRET not in said


@needs_redis
def test_a_database_that_redis_does_not_have_is_told(tmp_path: Path, redis_server: RedisServer) -> None:
    for words in ((), ("--input-stream", "notes")):
        said = refused("worker", tmp_path, *words, "--redis", redis_server.url.replace("/0", "/99"))
        assert f"there is no such database: Redis at 127.0.0.1:{redis_server.port}, database 99" in said
        assert "or newer" not in said


@needs_redis
@pytest.mark.parametrize("several", [False, True])
def test_a_stream_is_made_for_packs_and_a_model_alone(
    small: Served, tmp_path: Path, redis_server: RedisServer, several: bool
) -> None:
    import redis

    server = redis.Redis.from_url(redis_server.url)
    words = (small.pack, "--model", "none") if several else (tmp_path,)
    said = refused("worker", *words, "--redis", redis_server.url, "--input-stream", "unmade")
    assert ("there is no model 'none'" if several else "is not a pack") in said
    assert not server.exists("unmade")


def test_jobs_in_a_file_need_no_redis(small: Served, tmp_path: Path) -> None:
    """The Python package, that is: pretended away, it is asked for where somebody names a server alone."""
    code = "import sys; sys.modules['redis'] = None; import clinfit.cli; clinfit.cli.main()"

    def said(*words: object) -> str:
        done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 2, done.stderr
        return done.stderr

    nowhere = ("--jobs", tmp_path / "jobs.sqlite", "--audit", tmp_path / "none" / "audit.jsonl")
    assert "audit file" in said("serve", small.majority, "--port", 0, *nowhere)
    assert (tmp_path / "jobs.sqlite").exists()
    for command in ("serve", "worker"):
        asked = said(command, tmp_path, "--redis", "redis://127.0.0.1:1/0")
        assert "redis is not installed" in asked and "pip install 'clinfit[serve]'" in asked


def test_who_reads_where_it_answers_may_ask_and_stop_it_at_once(small: Served, tmp_path: Path) -> None:
    """Not refused, and not the end of the process in the middle of a beginning."""
    came: list[str] = []

    def say(line: str) -> None:
        if "answers on" in line:
            port = int(line.partition("http://127.0.0.1:")[2].partition(",")[0])
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            signal.raise_signal(signal.SIGTERM)
            came.append(line)

    def too_early(number: int, frame: FrameType | None) -> None:
        raise AssertionError("the signal would have ended the process")

    before = signal.signal(signal.SIGTERM, too_early)
    try:
        serve([small.majority], Place(port=0, jobs=tmp_path / "jobs.sqlite"), Settings(), say)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(came) == 1


def test_without_the_extra_it_says_what_to_install(small: Served) -> None:
    code = (
        "import sys; from importlib import util; real = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'fastapi' else real(name, *rest)\n"
        "import clinfit.cli; sys.argv = ['clinfit', 'serve', 'x']; clinfit.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and "pip install 'clinfit[serve]'" in done.stderr


@pytest.mark.slow
def test_sigterm_ends_what_is_under_way(small: Served, tmp_path: Path, programs: Callable[..., Program]) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = programs("serve", small.pack, "--port", port, "--jobs", tmp_path / "jobs.sqlite", "--no-worker")
    wait_until_ready(program, url)
    headers = {"Content-Type": "text/csv"}
    job = HTTP.post(f"{url}/v1/jobs", content=small.data.read_bytes(), headers=headers).json()["id"]
    lines: list[str] = []

    def follow() -> None:
        with httpx2.stream("GET", f"{url}/v1/jobs/{job}/events", timeout=60) as response:
            lines.extend(response.iter_lines())

    reader = threading.Thread(target=follow)
    reader.start()
    time.sleep(1)
    began = time.monotonic()
    program.signal(signal.SIGTERM)
    assert program.process.wait(timeout=60) == 0
    reader.join()
    assert time.monotonic() - began < 20 and "event: progress" in lines, "a stream that is open ends by itself"
    again = programs("serve", small.pack, "--port", port, "--jobs", tmp_path / "jobs.sqlite")
    wait_until_ready(again, url)
    with clinfit.Client(url) as client:
        assert client.wait(job)["state"] == "succeeded"
    log = "".join(path.read_text() for path in tmp_path.glob("program-*.log"))
    assert "Traceback" not in log and json.dumps(job) not in log
