"""Records that others write to a Redis Stream: each is answered once, as the pack does, whoever dies meanwhile."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import redis as redis_py
from typer.testing import CliRunner

import clinfit
from clinfit.cli import app
from clinfit.errors import ClinfitError
from clinfit.serve.batcher import Batcher
from clinfit.serve.models import Models, ServedModel
from clinfit.serve.settings import Settings
from clinfit.serve.stores import Names
from clinfit.serve.stores.streams import RedisStream
from clinfit.serve.streaming import StreamWorker

from .conftest import Served
from .services import Program, RedisServer, needs_redis, soon

pytestmark = needs_redis

INPUT, ANSWERS, DEAD = "notes", "notes:answers", "notes:dead"
#: Seconds: long enough that a slow machine renews in time.
LEASE = 2.0
CANARY = "zebrafishcanary"


@pytest.fixture
def server(redis_server: RedisServer) -> Any:
    client = redis_py.Redis.from_url(redis_server.url, decode_responses=True)
    client.flushall()
    return client


@pytest.fixture(scope="module")
def model(small: Served) -> ServedModel:
    return Models([clinfit.load_pack(small.pack)]).all()[0]


@pytest.fixture
def place(redis_server: RedisServer, server: Any) -> Callable[[], RedisStream]:
    def begun() -> RedisStream:
        stream = RedisStream(redis_server.url, Names(INPUT))
        stream.begin()
        return stream

    return begun


@pytest.fixture
def start(place: Callable[[], RedisStream]) -> Iterator[Callable[..., StreamWorker]]:
    """Starts a worker in this process; answered by `ask` in place of the model, where that is given."""
    made: list[tuple[StreamWorker, Batcher]] = []

    def start(model: Any, **settings: Any) -> StreamWorker:
        batcher, told = Batcher(256), Settings(**{"lease": LEASE, **settings})
        made.append((StreamWorker(place(), model, batcher, told), batcher))
        return made[-1][0]

    yield start
    for worker, batcher in made:
        worker.stop(1)
        batcher.stop()


def add(server: Any, k: int, **more: str) -> str:
    inputs = {"text": f"Case {k}: a tumour, {CANARY}", "age": 40.5 + k}
    return server.xadd(INPUT, {"inputs": json.dumps(inputs), **more})


def answers(server: Any, n: int, seconds: float = 60) -> list[dict[str, str]]:
    """The answers once there are n of them, and all that was to be acknowledged is."""
    held = lambda: server.xpending(INPUT, "clinfit")["pending"]  # noqa: E731
    assert soon(lambda: server.xlen(ANSWERS) >= n and not held(), seconds), (server.xlen(ANSWERS), held())
    return [fields for _, fields in server.xrange(ANSWERS)]


def test_each_record_has_the_pack_s_answer(server: Any, model: ServedModel, small: Served, start: Any) -> None:
    entries = [add(server, k, id=f"r{k}") for k in range(40)]  # before there is a worker: the group sees them all
    start(model)
    entries.append(server.xadd(INPUT, {"text": "A fracture."}))
    entries.append(server.xadd(INPUT, {"text": "A fracture.", "id": " "}))
    found = answers(server, 42)
    assert [one["entry"] for one in found] == entries
    assert {one["answer_id"] for one in found} == {f"{entry}/{model.queue}" for entry in entries}
    assert {(one["model"], one["pack"]) for one in found} == {(model.name, model.sha256)}
    rows = pd.DataFrame(
        {"id": [f"r{k}" for k in range(40)], "text": [f"Case {k}: a tumour, {CANARY}" for k in range(40)]}
    ).assign(age=[40.5 + k for k in range(40)])
    expected = clinfit.load_pack(small.pack).predict(rows)
    results = [json.loads(one["result"]) for one in found]
    assert [result["id"] for result in results[:40]] == expected["id"].tolist() == [one["id"] for one in found[:40]]
    assert [result["probabilities"]["yes"] for result in results[:40]] == expected["p_yes"].tolist()
    assert [result["decision"] for result in results[:40]] == expected["decision"].tolist()
    assert [result["id"] for result in results[40:]] == entries[40:], "no id, or a blank one: the entry's own"
    assert results[40]["notes"] is not None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"note": CANARY}, "an entry has the field text"),
        ({"text": CANARY, "inputs": "{}"}, "an entry has the field text"),
        ({"inputs": f'["{CANARY}"]'}, "inputs with a JSON object"),
        ({"inputs": f'{{"text": "{CANARY}", "text": "{CANARY}"}}'}, "inputs with a JSON object"),
        ({"inputs": "[" * 100_000}, "inputs with a JSON object"),
        ({"inputs": json.dumps({"text": CANARY})}, "inputs lack age"),
        ({"inputs": json.dumps({"text": CANARY, "age": CANARY})}, "input age is not a number"),
        ({"text": CANARY * 10_000}, "more than 100000 characters"),
        ({"text": "A text.", "id": CANARY * 20}, "the id has more than 200 characters"),
        ({"text": b"\xff\xfe"}, "no text in UTF-8"),
    ],
)
def test_what_cannot_be_read_is_a_dead_letter_without_its_text(
    server: Any, model: ServedModel, start: Any, fields: dict[str, Any], reason: str
) -> None:
    before, poison, behind = add(server, 1), server.xadd(INPUT, fields), add(server, 2)
    start(model)
    assert [one["entry"] for one in answers(server, 2)] == [before, behind]
    ((_, letter),) = server.xrange(DEAD)
    assert letter["entry"] == poison and letter["code"] == "invalid-record" and reason in letter["reason"]
    assert letter["pack"] == model.sha256 and CANARY not in json.dumps(letter)


class Failing:
    """The model, which fails on a record of this age so many times."""

    def __init__(self, model: ServedModel, age: float, times: int) -> None:
        self._model, self._age, self._left = model, age, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def answer(self, records: Any, heard: Any = None) -> Any:
        if self._left and any(record.inputs["age"] == self._age for record in records):
            self._left -= len(records) == 1
            raise RuntimeError(CANARY)
        return self._model.answer(records, heard)


def test_what_failed_is_tried_again_and_hurts_no_neighbour(server: Any, model: ServedModel, start: Any) -> None:
    entries = [add(server, k) for k in range(4)]
    start(Failing(model, 41.5, times=1), lease=1.0)
    found = [one["entry"] for one in answers(server, 4)]
    assert sorted(found) == entries and found[-1] == entries[1] and not server.xlen(DEAD)


def test_what_fails_for_ever_is_given_up(server: Any, model: ServedModel, start: Any) -> None:
    entries = [add(server, k) for k in range(3)]
    start(Failing(model, 41.5, times=100), lease=1.0, tries=2)
    assert [one["entry"] for one in answers(server, 2)] == [entries[0], entries[2]]
    assert soon(lambda: server.xlen(DEAD) == 1, 30)
    ((_, letter),) = server.xrange(DEAD)
    assert letter["entry"] == entries[1] and letter["code"] == "unanswered"
    assert letter["reason"].startswith("RuntimeError") and CANARY not in letter["reason"]


def test_a_silent_worker_s_entries_go_to_another_one_at_a_time(server: Any, place: Any) -> None:
    first, second = add(server, 1), add(server, 2)
    one, other = place(), place()
    held = one.take(10, LEASE)
    assert [(entry.id, entry.tries) for entry in held] == [(first, 1), (second, 1)]
    assert other.take(10, LEASE) == []
    time.sleep(LEASE / 2)
    assert one.renew(held[1:])
    time.sleep(LEASE / 2 + 0.1)
    (taken,) = other.take(10, LEASE)
    assert (taken.id, taken.tries) == (first, 2)
    assert not one.answer(held[0], {"answer_id": "late"}), "the first worker woke up: the entry is not its own any more"
    assert other.answer(taken, {"answer_id": "a"}) and not other.answer(taken, {"answer_id": "twice"})
    assert one.answer(held[1], {"answer_id": "b"})
    assert [fields["answer_id"] for _, fields in server.xrange(ANSWERS)] == ["a", "b"]
    assert not one.renew(held) and server.xpending(INPUT, "clinfit")["pending"] == 0


def test_what_is_given_back_was_not_tried(server: Any, place: Any) -> None:
    entry = add(server, 1)
    one, other = place(), place()
    one.release(one.take(10, 30))
    (taken,) = other.take(10, 30)
    assert (taken.id, taken.tries) == (entry, 1)


def test_a_stream_that_is_deleted_begins_anew(server: Any, model: ServedModel, start: Any) -> None:
    start(model)
    time.sleep(0.3)
    server.delete(INPUT)
    entry = add(server, 1)
    assert [one["entry"] for one in answers(server, 1)] == [entry]


def test_names_that_are_taken_are_refused(server: Any, redis_server: RedisServer) -> None:
    server.set(ANSWERS, "x")
    with pytest.raises(ClinfitError, match="notes:answers: Redis holds something else"):
        RedisStream(redis_server.url, Names(INPUT))
    with pytest.raises(ClinfitError, match="answers would be read as records"):
        RedisStream(redis_server.url, Names(INPUT, INPUT))


def test_options_of_a_stream_need_one(small: Served) -> None:
    with pytest.raises(ClinfitError, match="are of a stream"):
        words = ["worker", str(small.pack), "--redis", "redis://x", "--model", "m"]
        CliRunner().invoke(app, words, catch_exceptions=False)


def answers_now(worker: Program) -> bool:
    return f"answers {INPUT} in {ANSWERS}" in worker.log.read_text()


def has_more(server: Any, answers: int) -> bool:
    return server.xlen(ANSWERS) > answers


@pytest.mark.slow
def test_workers_and_redis_that_are_killed(
    small: Served, programs: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """120 records come in while workers and the server die: an answer for each, none twice, each the pack's."""
    own = RedisServer(tmp_path_factory.mktemp("redis-stream"))
    own.start()
    server = redis_py.Redis.from_url(own.url, decode_responses=True)
    words = ("worker", small.pack, "--redis", own.url, "--input-stream", INPUT, "--lease", 1)
    try:
        workers = [programs(*words) for _ in range(2)]
        for kill in range(3):
            for k in range(40 * kill, 40 * kill + 40):
                add(server, k, id=f"r{k}")
            assert soon(partial(answers_now, workers[kill % 2]), 300)
            assert soon(partial(has_more, server, 40 * kill), 300)
            workers[kill % 2].kill()
            workers[kill % 2] = programs(*words)
            if kill == 1:
                own.kill()
                own.start()
        found = answers(server, 120, 300)
        assert len(found) == len({one["answer_id"] for one in found}) == 120 and not server.xlen(DEAD)
        pack = clinfit.load_pack(small.pack)
        rows = pd.DataFrame(
            [{"id": f"r{k}", "text": f"Case {k}: a tumour, {CANARY}", "age": 40.5 + k} for k in range(120)]
        )
        expected = dict(zip(rows["id"], pack.predict(rows)["p_yes"], strict=True))
        assert {one["id"]: json.loads(one["result"])["probabilities"]["yes"] for one in found} == expected
        assert soon(partial(answers_now, workers[1]), 300) and workers[1].stop() == 0
        assert CANARY not in "".join(path.read_text() for path in tmp_path.glob("program-*.log"))
    finally:
        own.kill()
