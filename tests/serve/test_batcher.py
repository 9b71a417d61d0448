"""The one line in front of the models: requests before jobs, bounds, and neighbours that cannot be hurt."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from clinfit.data.records import Record
from clinfit.serve.batcher import EVERY, MOST, OTHERS, Batcher, Busy, Pace


class Model:
    """Stands in for a served model: writes down what it is asked, waits at a gate, fails on `bad`."""

    def __init__(self, name: str = "m", seconds: float = 0.0) -> None:
        self.name, self.seconds = name, seconds
        self.asked: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()

    def answer(self, records: Sequence[Record], heard: object = None) -> list[Any]:
        self.gate.wait(10)
        time.sleep(self.seconds * len(records))
        ids = [record.id for record in records]
        self.asked.append(ids)
        if "bad" in ids:
            raise ValueError("no")
        return [f"{self.name}:{name}" for name in ids]


def ask(batcher: Batcher, model: Model, names: Sequence[str], priority: Any = "request") -> list[Any]:
    return batcher.submit(model, [Record(name, name, {}) for name in names], priority)  # type: ignore[arg-type]


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    made = Batcher(10)
    yield made
    made.stop()


def held(batcher: Batcher, model: Model) -> Any:
    """A first record that keeps the model busy until its gate is opened."""
    model.gate.clear()
    (first,) = ask(batcher, model, ["first"])
    while batcher.waiting("request"):
        time.sleep(0.005)
    return first


def test_what_waits_for_a_busy_model_is_asked_together(batcher: Batcher) -> None:
    model = Model()
    held(batcher, model)
    futures = ask(batcher, model, ["a"]) + ask(batcher, model, ["b"])
    model.gate.set()
    assert [future.result(5) for future in futures] == ["m:a", "m:b"]
    assert model.asked == [["first"], ["a", "b"]]


def test_nothing_waits_for_company(batcher: Batcher) -> None:
    began = time.perf_counter()
    assert ask(batcher, Model(), ["a"])[0].result(5) == "m:a"
    assert time.perf_counter() - began < 1


def test_requests_go_before_jobs_and_jobs_are_not_forgotten(batcher: Batcher) -> None:
    model = Model(seconds=0.3)  # so slow that a turn is one record
    held(batcher, model)
    model.seconds = 0.0
    jobs = ask(batcher, model, ["j1", "j2"], "job")
    requests = ask(batcher, model, ["r1", "r2"])
    model.gate.set()
    for future in [*jobs, *requests]:
        future.result(5)
    order = [name for turn in model.asked for name in turn]
    assert order == ["first", "r1", "r2", "j1", "j2"]


def test_a_job_has_a_turn_although_requests_never_end() -> None:
    batcher, model = Batcher(1000), Model(seconds=0.3)
    held(batcher, model)
    model.seconds = 0.251
    (job,) = ask(batcher, model, ["job"], "job")
    ask(batcher, model, [f"r{k}" for k in range(3 * EVERY)])
    model.gate.set()
    job.result(30)
    turns = list(model.asked)  # a turn of a quick machine may be several records
    assert 1 <= next(k for k, turn in enumerate(turns) if "job" in turn) <= EVERY + 1
    batcher.stop()


def test_other_work_has_every_other_turn_and_an_end(batcher: Batcher) -> None:
    model = Model()
    held(batcher, model)
    done = [batcher.alone(lambda k=k: model.asked.append([f"other {k}"])) for k in range(2)]
    fails = batcher.alone(lambda: 1 / 0)
    requests = ask(batcher, model, ["r1", "r2"])
    left = [batcher.alone(lambda: None) for _ in range(OTHERS - 3)]
    with pytest.raises(Busy):
        batcher.alone(lambda: None)
    model.gate.set()
    for future in [*done, *requests, *left]:
        future.result(5)
    assert [turn[0] for turn in model.asked[:3]] == ["first", "other 0", "r1"]
    with pytest.raises(ZeroDivisionError):
        fails.result(5)


def test_one_bad_record_fails_alone(batcher: Batcher) -> None:
    model = Model()
    held(batcher, model)
    good, bad, fine = ask(batcher, model, ["good", "bad", "fine"])
    model.gate.set()
    assert (good.result(5), fine.result(5)) == ("m:good", "m:fine")
    with pytest.raises(ValueError):
        bad.result(5)
    assert batcher.alive and ask(batcher, model, ["next"])[0].result(5) == "m:next"


def test_models_are_not_mixed_and_keep_their_order(batcher: Batcher) -> None:
    one, other = Model("one"), Model("other")
    held(batcher, one)
    futures = [
        future
        for model, name in ((one, "a"), (other, "b"), (one, "c"), (other, "d"))
        for future in ask(batcher, model, [name])
    ]
    one.gate.set()
    assert [future.result(5) for future in futures] == ["one:a", "other:b", "one:c", "other:d"]
    assert one.asked == [["first"], ["a", "c"]] and other.asked in ([["b", "d"]], [["b"], ["d"]])


def test_the_line_has_an_end(batcher: Batcher) -> None:
    model = Model()
    held(batcher, model)
    ask(batcher, model, [f"r{k}" for k in range(10)])
    with pytest.raises(Busy) as busy:
        ask(batcher, model, ["one more"])
    assert busy.value.seconds > 0
    ask(batcher, model, ["job"], "job")
    model.gate.set()


def test_who_has_gone_is_not_asked_for(batcher: Batcher) -> None:
    model = Model()
    held(batcher, model)
    stays, goes = ask(batcher, model, ["stays", "goes"])
    assert goes.cancel()
    model.gate.set()
    assert stays.result(5) == "m:stays" and model.asked[1] == ["stays"]


def test_a_turn_takes_no_longer_than_a_request_may_wait(batcher: Batcher) -> None:
    model = Model(seconds=0.1)
    futures = ask(batcher, model, [f"j{k}" for k in range(12)], "job")
    for future in futures:
        future.result(30)
    assert max(map(len, model.asked)) <= 4
    fast = Model("fast")
    for future in ask(batcher, fast, [f"j{k}" for k in range(200)], "job"):
        future.result(30)
    assert MOST / 2 < max(map(len, fast.asked)) <= MOST


def test_a_turn_grows_where_asking_costs_more_than_the_records() -> None:
    """On a busy machine a forest of trees takes half a second for one record, and hardly more for sixty."""
    pace = Pace()
    sizes = []
    for _ in range(10):
        sizes.append(pace.size())
        pace.took(sizes[-1], 0.5 + 0.001 * sizes[-1])
    assert sizes == [1, 2, 4, 8, 16, 32, 64, 64, 64, 64]
    assert pace.each() < 0.01


def test_a_turn_stays_small_where_every_record_costs_the_same_and_forgives_a_busy_moment() -> None:
    pace = Pace()
    sizes = []
    for _ in range(20):
        sizes.append(pace.size())
        pace.took(sizes[-1], 1.0 * sizes[-1])
    assert set(sizes) == {1, 2} and sizes.count(2) == 1
    for _ in range(300):
        pace.took(pace.size(), 0.01 * pace.size())
    assert pace.size() == 16


def test_what_waits_at_the_end_is_cancelled() -> None:
    batcher, model = Batcher(10), Model()
    held(batcher, model)
    (late,) = ask(batcher, model, ["late"])
    threading.Timer(0.1, model.gate.set).start()
    batcher.stop()
    assert late.cancelled() and not batcher.alive
    with pytest.raises(Busy):
        ask(batcher, model, ["later"])
