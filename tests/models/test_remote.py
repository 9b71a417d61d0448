"""Remote models: each way of scoring against our own, what is bounded, and servers that fail in every known manner."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clinfit.errors import ClinfitError
from clinfit.models.base import LabelOutputs, Workspace
from clinfit.models.families import create_model, load_model
from clinfit.models.remote.asking import Told, Usage, found_way
from clinfit.models.remote.model import RemoteModel, logs_of
from clinfit.models.remote.server import Server
from clinfit.predictions import Source, predictions_table
from clinfit.study.models import Causal, Train
from clinfit.study.remote import Remote, Requests
from kinds import dataset
from lessons import TASK, lesson
from remote_server import MODEL, Fault, Offers, RemoteServer, engine, refused, serving
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
        (Offers(continued="flagged"), "chat", "prompt-logprobs", None),
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
    if data == "options":  # of the others most rests on bounds, since this base is noise
        np.testing.assert_allclose(found.probabilities, by_hand(tmp_path, data), atol=0.02)


def by_hand(folder: Path, data: str) -> Any:
    """Shares of labels of one token each, by all next tokens that spell one, with white space before it or not."""
    task, rows = dataset(data, TASK).task, []
    texts = [engine().tokenizer.decode([one]).strip() for one in range(len(engine().tokenizer))]
    with serving() as server:
        model = fitted(server, folder / "by-hand", data)
    for record in test_set(data):
        ((messages, _),) = model._questions(TASK, record)
        shares = engine().logs(engine().chat(messages, ""))[-1].exp().tolist()
        found = [sum(s for s, text in zip(shares, texts, strict=False) if text == label) for label in task.labels]
        rows.append(np.array(found) / sum(found))
    return np.array(rows)


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
    body = {"model": MODEL, "choices": [choice], "usage": {"prompt_tokens": 5}}
    return Fault(body=json.dumps(body).encode(), path="/completions")


def test_what_a_longer_label_takes_is_not_the_shorter_ones() -> None:
    cancer, free = Told(-math.log(0.8), ["can", "cer"]), Told(-math.log(0.3), ["can", "cer", " free"])
    of_it = Told(-math.log(0.1), ["can", "cer", " free", " of it"])
    np.testing.assert_allclose(np.exp(logs_of([cancer, free])), [0.5, 0.3])
    np.testing.assert_allclose(np.exp(logs_of([of_it, cancer, free])), [0.1, 0.5, 0.2])
    one, two = Told(-math.log(0.4), ["Stage", " I"]), Told(-math.log(0.5), ["Stage", " II"])
    np.testing.assert_allclose(np.exp(logs_of([one, two])), [0.4, 0.5])  # " II" is no end of " I"


def test_labels_of_which_one_begins_another_are_divided(tmp_path: Path) -> None:
    record = replace(test_set()[0], target=None)
    labels = ["cancer", "cancer free"]
    with serving(Offers(continued="flagged")) as server:
        task = dataset("text", TASK).task.model_copy(update={"labels": labels})
        model = RemoteModel(spec(server), {TASK: task}, 3)
        (found,) = model.answer_each(TASK, [record])
        asked = model._ready()
        ((messages, _),) = model._questions(TASK, record)
        short, long = (asked.answer_nats(messages, label, Usage()) for label in labels)
    assert short is not None and long is not None and found.log_likelihood is not None
    taken = math.exp(-short.nats) - math.exp(-long.nats)
    np.testing.assert_allclose(np.exp(found.log_likelihood[0]), [taken, math.exp(-long.nats)], rtol=1e-5)


def test_labels_that_begin_alike_are_written_where_the_server_cannot_go_on(tmp_path: Path) -> None:
    task = dataset("text", TASK).task.model_copy(update={"labels": ["Stage I", "Stage II"]})
    records = test_set()[:2]
    with serving(Offers(prompt_logprobs=False, continued=None)) as server:
        auto, asked = (RemoteModel(spec(server, **more), {TASK: task}, 3) for more in ({}, {"labels": "top-logprobs"}))
        auto._ready()
        server.faults = [written("Stage II")] * 2
        outputs = auto.predict(TASK, records)
        assert outputs.rung == "generation" and [outputs.read[k] for k in range(2)] == ["Stage II"] * 2
        assert asked.predict(TASK, records).rung == "top-logprobs"


def test_a_server_that_tells_no_first_token_of_a_record_leaves_it_unparsed(tmp_path: Path) -> None:
    with serving(Offers(prompt_logprobs=False)) as server:
        model = fitted(server, tmp_path, requests=Requests(concurrent=1))
        server.faults = [written("")]
        assert tabled(model.predict(TASK, test_set()[:2]), 2)["status"].tolist()[0] == "unparsed"


def test_the_empty_text_is_certain_and_not_asked_for(tmp_path: Path) -> None:
    with serving(Offers(continued="flagged")) as server:
        model = fitted(server, tmp_path, "texts")
        server.asked.clear()
        found = model.likelihood(TASK, [replace(test_set("texts")[0], target="")])
        assert found is not None and (found.nats.tolist(), found.tokens.tolist()) == ([0.0], [0])
        assert not [path for path, _ in server.asked if path.endswith("completions")]


# ---------------------------------------------------------------- what is tried out


def test_no_more_is_tried_than_the_study_wants(server: RemoteServer) -> None:
    found_way(Server(spec(server, labels="generation")))
    assert len(server.asked) == 2  # a question, and which models there are


@pytest.mark.parametrize("answer", [Fault(404), Fault(403), Fault(body=b"[1]"), Fault(body=b"<html>")], ids=str)
def test_a_server_without_a_list_of_its_models_has_none(server: RemoteServer, answer: Fault) -> None:
    server.faults = [replace(answer, path="/models")] * 9
    assert found_way(Server(spec(server, labels="generation"), lambda seconds: None)).listed == []


def test_a_list_that_cannot_be_had_now_is_asked_for_again_and_then_an_error(server: RemoteServer) -> None:
    """It would count as no list, and which model answers would be looked at no more."""
    server.faults = [Fault(503, path="/models")]
    assert found_way(Server(spec(server, labels="generation"), lambda seconds: None)).listed == [MODEL]
    server.faults = [Fault(503, path="/models")] * 9
    with pytest.raises(ClinfitError, match="answered 503"):
        found_way(Server(spec(server, labels="generation"), lambda seconds: None))


@pytest.mark.parametrize("labels", ["auto", "top-logprobs"])
def test_more_next_tokens_than_a_server_tells_are_an_error(labels: str) -> None:
    with serving(Offers(prompt_logprobs=False, most=20)) as server:
        with pytest.raises(ClinfitError, match="refuses `top: 400`"):
            found_way(Server(spec(server, labels=labels)))
        assert found_way(Server(spec(server, labels=labels, top=20))).rung == "top-logprobs"


# ---------------------------------------------------------------- what is sent


def test_settings_that_change_no_answer_are_those_of_the_run_and_not_of_the_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEW_KEY", SECRET)
    monkeypatch.setenv("OLD_KEY", "old")
    with serving(Offers(key="old")) as server:
        fitted(server, tmp_path, api_key_env="OLD_KEY").save(tmp_path / "saved")
        monkeypatch.delenv("OLD_KEY")
        server.offers.key = SECRET
        model = load_model("remote", tmp_path / "saved")
        assert isinstance(model, RemoteModel)
        model.ask_as({"api_key_env": "NEW_KEY", "requests": Requests(per_minute=7)})
        model._ready()
        assert model._begun().server.spec.requests.per_minute == 7
        assert server.headers[-1]["Authorization"] == f"Bearer {SECRET}"


def test_examples_are_turns_before_the_question_and_markup_is_taken_apart(tmp_path: Path, server: RemoteServer) -> None:
    model = fitted(server, tmp_path, shots=2)
    server.asked.clear()
    model.predict(TASK, test_set()[:1])
    chat = next(body["messages"] for _, body in server.asked if body)
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
        load_model("remote", tmp_path / "saved").predict(TASK, test_set()[:1])


def test_a_record_that_is_refused_is_named(tmp_path: Path, server: RemoteServer) -> None:
    model = fitted(server, tmp_path)
    server.faults = [refused(400, "context_length_exceeded")]
    with pytest.raises(ClinfitError, match=f"record {test_set()[0].id}: "):
        model.predict(TASK, test_set()[:1])


def test_another_model_behind_the_same_address_is_an_error(tmp_path: Path, server: RemoteServer) -> None:
    model = fitted(server, tmp_path)
    server.offers.listed = (MODEL, "another")
    model.predict(TASK, test_set()[:1])
    server.offers.listed = ("another",)
    with pytest.raises(ClinfitError, match="now has another, and had two-layer"):
        model.predict(TASK, test_set()[:1])
    server.offers.listed, server.offers.served = (MODEL,), "another"
    with pytest.raises(ClinfitError, match="now answers with model 'another'"):
        model.predict(TASK, test_set()[:1])


def test_another_model_is_an_error_too_where_requests_wait_for_their_turn(tmp_path: Path, server: RemoteServer) -> None:
    """Which models there are is asked before each step, after the requests of an earlier one have ended."""
    model = fitted(server, tmp_path, labels="generation", requests=Requests(per_minute=60))
    model.predict(TASK, test_set()[:1])
    server.offers.listed = ("another",)
    with pytest.raises(ClinfitError, match="now has another, and had two-layer"):
        model.predict(TASK, test_set()[:1])
