"""Remote models: each way of scoring against our own, what is bounded, and servers that fail in every known manner."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clinfit.errors import ClinfitError
from clinfit.models.base import LabelOutputs, Workspace
from clinfit.models.families import create_model, load_model
from clinfit.models.remote.asking import found_way
from clinfit.models.remote.model import RemoteModel
from clinfit.models.remote.server import Server
from clinfit.predictions import Source, predictions_table
from clinfit.study.models import Causal, Train
from clinfit.study.remote import Remote, Requests
from kinds import dataset
from lessons import TASK, lesson
from remote_server import MODEL, Fault, Offers, RemoteServer, refused, serving
from two_layer import llama_base

SECRET = "sk-very-secret"


@pytest.fixture
def server() -> Iterator[RemoteServer]:
    with serving() as one:
        yield one


def spec(server: RemoteServer, **more: Any) -> Remote:
    asked: dict[str, Any] = {"name": "m", "family": "remote", "url": server.url, "model": MODEL, "top": 400}
    return Remote(**asked | {"requests": Requests(retries=2)} | more)


def fitted(server: RemoteServer, folder: Path, data: str = "text", **more: Any) -> RemoteModel:
    model = create_model(spec(server, **more), {TASK: dataset(data, TASK).task}, 3)
    assert isinstance(model, RemoteModel)
    model.fit(lesson(dataset(data, TASK).part("train")), Workspace(folder))
    return model


def own(folder: Path, data: str = "text", **more: Any) -> Any:
    """The same base, asked by our own engine."""
    train = Train(max_length=500, precision="fp32")
    asked = Causal(name="m", family="causal", base=str(llama_base()), method="prompt", train=train, **more)
    model = create_model(asked, {TASK: dataset(data, TASK).task}, 3)
    model.fit(lesson(dataset(data, TASK).part("train")), Workspace(folder))
    return model


def test_set(data: str = "text") -> list[Any]:
    return dataset(data, TASK).part("test")


test_set.__test__ = False  # type: ignore[attr-defined]


# ---------------------------------------------------------------- the ladder


@pytest.mark.parametrize(
    ("offers", "prompts", "rung", "continued"),
    [
        (Offers(continued="flagged"), "chat", "prompt-logprobs", "flagged"),
        (Offers(), "plain", "prompt-logprobs", None),
        (Offers(), "chat", "top-logprobs", "as-is"),
        (Offers(prompt_logprobs=False, continued="flagged"), "chat", "top-logprobs", "flagged"),
        (Offers(prompt_logprobs=False, continued=None), "chat", "top-logprobs", None),
        (Offers(prompt_logprobs=False), "plain", "top-logprobs", None),
        (Offers(top=0, prompt_logprobs=False), "chat", "generation", None),
        (Offers(top=0, prompt_logprobs=False), "plain", "generation", None),
    ],
)
def test_the_best_way_that_a_server_offers_is_found(offers: Offers, prompts: Any, rung: str, continued: Any) -> None:
    with serving(offers) as server:
        way = found_way(Server(spec(server, prompts=prompts)))
        assert (way.rung, way.continued, way.served, way.listed) == (rung, continued, MODEL, [MODEL])


def test_less_than_the_study_asks_for_is_an_error() -> None:
    lacks = pytest.raises(ClinfitError, match="does not offer what `labels: top-logprobs` needs")
    with serving(Offers(top=0, prompt_logprobs=False)) as server, lacks:
        found_way(Server(spec(server, labels="top-logprobs")))


@pytest.mark.parametrize("data", ["text", "three", "several", "options"])
def test_whole_labels_are_as_likely_as_our_own_engine_says(data: str, tmp_path: Path) -> None:
    """The same weights in the same precision: nothing but the way there differs."""
    with serving(Offers(continued="flagged")) as server:
        found = fitted(server, tmp_path / "remote", data).predict(TASK, test_set(data))
    expected = own(tmp_path / "own", data).predict(TASK, test_set(data))
    assert found.rung == "prompt-logprobs" and found.bounded is not None and not found.bounded.any()
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=2e-4)
    if data == "text":
        np.testing.assert_allclose(found.label_mass, expected.label_mass, rtol=0.02)


@pytest.mark.parametrize("data", ["text", "three", "options"])
def test_tokens_among_the_next_ones_say_the_same_and_other_spellings_add_to_it(data: str, tmp_path: Path) -> None:
    with serving(Offers(prompt_logprobs=False)) as server:
        found = fitted(server, tmp_path / "remote", data).predict(TASK, test_set(data))
    expected = own(tmp_path / "own", data).predict(TASK, test_set(data))
    assert found.rung == "top-logprobs" and found.label_mass is not None and expected.label_mass is not None
    assert (found.label_mass >= 0.98 * expected.label_mass).all()


@pytest.mark.parametrize("continued", ["as-is", None])
def test_a_label_that_is_not_told_is_bounded_and_its_item_marked(continued: str | None, tmp_path: Path) -> None:
    with serving(Offers(prompt_logprobs=False, continued=continued, top=60)) as server:
        found = fitted(server, tmp_path, top=60).predict(TASK, test_set())
    assert found.bounded is not None and found.bounded.any()
    table = tabled(found)
    assert table["bounded"].tolist() == found.bounded.tolist() and set(table["rung"]) == {"top-logprobs"}
    unread = table[table["status"] == "unparsed"]
    assert unread["predicted"].isna().all() and unread.filter(like="p_").isna().all(axis=None)


def test_without_probabilities_the_strict_parser_reads_what_was_written(tmp_path: Path) -> None:
    case = dataset("text", TASK)
    said = [case.task.labels[1], "It may be anything.", f"Final answer: {case.task.labels[0]}."]
    with serving(Offers(top=0, prompt_logprobs=False)) as server:
        model = fitted(server, tmp_path, requests=Requests(concurrent=1))
        server.faults = [written(text) for text in said]
        table = tabled(model.predict(TASK, test_set()[:3]), 3)
    assert table["predicted"].fillna("").tolist() == [case.task.labels[1], "", case.task.labels[0]]
    assert table["status"].tolist() == ["ok", "unparsed", "ok"]
    assert table["raw"].tolist() == said and table.filter(like="p_").isna().all(axis=None)


def test_texts_have_a_likelihood_where_the_server_tells_it_and_else_none(tmp_path: Path) -> None:
    records = test_set("texts")[:4]
    with serving(Offers(continued="flagged")) as server:
        told = fitted(server, tmp_path / "told", "texts").likelihood(TASK, records)
    expected = own(tmp_path / "own", "texts").likelihood(TASK, records)
    assert told is not None
    assert told.tokens.tolist() == (expected.tokens - 1).tolist()  # without the end of turn
    assert (told.nats < expected.nats).all() and (told.nats > 0).all()
    with serving(Offers(prompt_logprobs=False)) as server:
        assert fitted(server, tmp_path / "untold", "texts").likelihood(TASK, records) is None


def tabled(outputs: LabelOutputs, n: int | None = None) -> Any:
    records = test_set()[:n]
    return predictions_table(Source("m-seed3", "m", 3, 1), TASK, dataset("text", TASK).task, "test", records, outputs)


def written(text: str) -> Fault:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Fault(body=json.dumps({"model": MODEL, "choices": [choice], "usage": {"prompt_tokens": 5}}).encode())


# ---------------------------------------------------------------- what is sent


def test_examples_are_turns_before_the_question_and_markup_is_taken_apart(tmp_path: Path, server: RemoteServer) -> None:
    model = fitted(server, tmp_path, shots=2)
    server.asked.clear()
    model.predict(TASK, test_set()[:1])
    chat = server.asked[0][1]["messages"]
    assert [one["role"] for one in chat] == ["user", "assistant", "user", "assistant", "user"]
    assert {chat[1]["content"], chat[3]["content"]} == set(dataset("text", TASK).task.labels)


def test_a_wrong_key_is_an_error_without_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    with serving(Offers(key="another")) as server:
        with pytest.raises(ClinfitError, match="401") as error:
            fitted(server, tmp_path, api_key_env="SOME_KEY")
        assert "SOME_KEY" in str(error.value) and SECRET not in str(error.value)
        server.offers.key = SECRET
        model = fitted(server, tmp_path, api_key_env="SOME_KEY")
        model.save(tmp_path / "saved")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text()]
    monkeypatch.delenv("SOME_KEY")
    with pytest.raises(ClinfitError, match="SOME_KEY, which is empty"):
        load_model("remote", tmp_path / "saved")


def test_a_record_that_is_refused_is_named(tmp_path: Path, server: RemoteServer) -> None:
    model = fitted(server, tmp_path)
    server.faults = [refused(400, "context_length_exceeded")]
    with pytest.raises(ClinfitError, match=f"record {test_set()[0].id}: "):
        model.predict(TASK, test_set()[:1])


def test_another_model_behind_the_same_address_is_an_error(tmp_path: Path, server: RemoteServer) -> None:
    model = fitted(server, tmp_path)
    server.offers.served = "another"
    with pytest.raises(ClinfitError, match="now answers with model 'another'"):
        model.predict(TASK, test_set()[:1])
