"""OpenAI's addresses: the texts of /v1/write in OpenAI's form, and nothing that was not evaluated."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rich.console import Console
from starlette.testclient import TestClient

import clinfit
from clinfit.data.records import Record
from clinfit.runs.execute import run
from clinfit.serve.app import create_app
from clinfit.serve.models import Models
from clinfit.serve.service import Service

from .services import Program, free_port, wait_until_ready

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
NOTE, ANSWER = "lead-seed42/note", "lead-seed42/answer"
TEXT = "Fell at night. No fracture."
CHAT, TEXTS = "/v1/chat/completions", "/v1/completions"


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a rule that writes: of notes, and of questions with a text beside them."""
    folder = tmp_path_factory.mktemp("completes")
    rows = [
        {"id": f"r{k}", "text": f"Case {k} fell. Seen {k} times.", "question": f"Who is case {k}?", "note": f"Fell {k}"}
        for k in range(60)
    ]
    pd.DataFrame(rows).to_csv(folder / "data.csv", index=False)
    data = {"path": "data.csv", "id": "id", "inputs": {"text": "text"}, "label": "note"}
    both = data | {"inputs": {"question": "question", "text": "text"}}
    content = {
        "name": "notes",
        "tasks": {
            "note": {"kind": "generation", "data": data, "max_new_tokens": 32},
            "answer": {"kind": "generation", "data": both, "source": ["text"]},
        },
        "models": [{"name": "lead", "family": "baseline", "kind": "lead", "sentences": 1}],
        "evaluation": {"bootstrap": 100},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    result = run(folder / "study.yaml", out=folder / "run", console=Console(quiet=True))
    return result.packs["lead-seed42"]


@pytest.fixture(scope="module")
def models(pack: Path) -> Models:
    return Models([clinfit.load_pack(pack)])


def ask(client: TestClient, content: Any, **more: Any) -> Any:
    return client.post(CHAT, json={"model": NOTE, "messages": [{"role": "user", "content": content}], **more})


def test_a_user_message_is_a_record(client: TestClient) -> None:
    found = ask(client, TEXT, temperature=0, top_p=1.0, seed=7, user="ward", max_tokens=32).json()
    expected = client.post("/v1/write", json={"model": NOTE, "input": TEXT}).json()
    (choice,), (item,) = found["choices"], expected["data"]
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": item["text"]},
        "finish_reason": item["finish_reason"],
        "logprobs": None,
    }
    assert found["object"] == "chat.completion" and found["model"] == NOTE
    assert found["clinfit"][0]["pack"] == expected["pack"] and found["clinfit"][0]["status"] == "ok"
    parts = ask(client, [{"type": "text", "text": "Fell at night. "}, {"type": "text", "text": "No fracture."}])
    assert parts.json()["choices"] == found["choices"]


def test_several_inputs_are_one_json_object(client: TestClient) -> None:
    inputs = {"question": "Who fell?", "text": TEXT}
    found = ask(client, json.dumps(inputs), model=ANSWER).json()
    assert found["choices"][0]["message"]["content"] == "Fell at night."
    twice, endless = '{"question": "a", "question": "b", "text": "c"}', '{"question": "a", "text": NaN}'
    wrong = ("Who fell?", "[1]", '{"question": {"a": 1}}', json.dumps({"question": "Who fell?"}), twice, endless)
    for content in (*wrong, "[" * 100_000, '{"question": {}, "text": "c"}'):
        answer = ask(client, content, model=ANSWER)
        assert answer.status_code == 422 and answer.json()["code"] == "invalid-record", content


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.7},
        {"top_p": 0.5},
        {"n": 2},
        {"max_tokens": 31},
        {"max_completion_tokens": 1},
        {"tools": [{"type": "function", "function": {"name": "Fell"}}]},
        {"response_format": {"type": "json_object"}},
        {"stop": "Fell"},
        {"logprobs": True},
        {"logit_bias": {"50256": -100}},
        {"store": True},
        {"tool_choice": "required"},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TEXT}]},
        {"messages": [{"role": "assistant", "content": TEXT}]},
        {"messages": []},
    ],
)
def test_what_was_not_evaluated_is_refused(client: TestClient, changes: dict[str, Any]) -> None:
    answer = ask(client, TEXT, **changes)
    assert answer.status_code == 422 and answer.json()["code"] == "invalid"
    assert "Fell" not in answer.text and "brief" not in answer.text
    (field,) = changes
    assert {found["pointer"].split("/")[1] for found in answer.json()["errors"]} == {field}
    assert f"#/{field}" in answer.json()["error"]["message"]


NEUTRAL: dict[str, Any] = {
    "stop": [],
    "stream": None,
    "stream_options": {"include_usage": True},
    "n": 1,
    "temperature": 0.0,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0.0,
    "logit_bias": {},
    "store": False,
    "metadata": {},
    "seed": 7,
    "user": "ward",
    "service_tier": "auto",
    "max_tokens": None,
}
OF_CHAT: dict[str, Any] = {
    "logprobs": False,
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "response_format": {"type": "text"},
    "modalities": ["text"],
}
OF_TEXTS: dict[str, Any] = {"echo": False, "best_of": 1, "suffix": "", "logprobs": False}


def test_values_that_change_nothing_are_taken(client: TestClient) -> None:
    """Libraries send what nobody set: as null, as an empty list, as OpenAI's own default."""
    expected = ask(client, TEXT).json()["choices"]
    for sent in (NEUTRAL | OF_CHAT, dict.fromkeys(NEUTRAL | OF_CHAT)):
        answer = ask(client, TEXT, **sent)
        assert answer.status_code == 200 and answer.json()["choices"] == expected, answer.text
    for sent in (NEUTRAL | OF_TEXTS, dict.fromkeys(NEUTRAL | OF_TEXTS)):
        answer = client.post(TEXTS, json={"model": NOTE, "prompt": TEXT, **sent})
        assert answer.status_code == 200 and answer.json()["usage"] is None, "a rule has no tokens"


def test_a_refused_field_is_named_and_a_key_of_the_senders_own_is_not(client: TestClient) -> None:
    places = ask(client, TEXT, Fell=1, stop=["x"], stream_options={"Fell": 1}, tools=[{}]).json()["errors"]
    assert {place["pointer"] for place in places} == {"#/*", "#/stop", "#/stream_options/*", "#/tools"}
    (place,) = client.post(TEXTS, json={"model": NOTE, "prompt": TEXT, "tools": []}).json()["errors"]
    assert place == {"pointer": "#/tools", "code": "extra_forbidden"}


def test_a_record_that_is_refused_is_counted_streamed_or_not(client: TestClient) -> None:
    before = client.get("/metrics").text
    for stream in (False, True):
        assert ask(client, "", stream=stream).status_code == 422
    line = f'clinfit_items_total{{model="{NOTE}",status="error"}}'
    assert line not in before and f"{line} 2\n" in client.get("/metrics").text


def test_what_is_refused_is_an_error_of_openais_form_too(client: TestClient) -> None:
    for path in (CHAT, TEXTS):
        json_type = {"content-type": "application/json"}
        unread = client.post(path, content=b"{", headers=json_type)
        elsewhere = client.post(path, content=b"{", headers=json_type | {"host": "evil.example"})
        assert unread.json()["error"]["type"] == "/problems/malformed" and unread.json()["title"]
        assert elsewhere.json()["error"]["code"] == "wrong-host"
    unknown = ask(client, TEXT, model="gpt").json()
    named = f"There is no such model: {unknown['detail']}"
    assert unknown["error"] == {"message": named, "type": "/problems/unknown-model", "code": "unknown-model"}
    assert "error" not in client.post("/v1/write", json={"model": "gpt", "input": TEXT}).json()


def test_tokens_are_those_of_the_models_tokenizer(
    writes: Path, tmp_path: Path, make_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = clinfit.load_pack(writes)
    service = make_service()
    monkeypatch.setattr(service, "models", Models([pack]))
    client, name = TestClient(create_app(service)), "words-seed42/note"
    texts = ["Case 1 fell. Seen once.", "Case 2 fell."]
    limit = pack.tasks["note"].task.max_new_tokens  # type: ignore[union-attr]
    outputs = [
        pack.model.generate("note", [Record(str(k), str(k), {"text": text}, task="note")], limit)  # type: ignore[union-attr]
        for k, text in enumerate(texts)
    ]
    read, written = (sum(int(getattr(one, of)[0]) for one in outputs) for of in ("prompt_tokens", "tokens"))
    usage = client.post(TEXTS, json={"model": name, "prompt": texts}).json()["usage"]
    assert usage == {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    assert read > sum(len(text.split()) for text in texts) and 0 < written <= 2 * limit
    sent = {"model": name, "prompt": texts, "stream": True, "stream_options": {"include_usage": True}}
    *pieces, last, done = client.post(TEXTS, json=sent).text.strip().split("\n\n")
    assert json.loads(last.removeprefix("data: "))["usage"] == usage and done == "data: [DONE]"
    assert json.loads(last.removeprefix("data: "))["choices"] == []
    assert {json.loads(piece.removeprefix("data: "))["usage"] for piece in pieces} == {None}
    alone = ask(client, texts[0], model=name).json()["usage"]
    chat = ask(client, texts[0], model=name, stream=True, stream_options={"include_usage": True}).text
    assert json.loads(chat.strip().split("\n\n")[-2].removeprefix("data: "))["usage"] == alone
    plain = ask(client, texts[0], model=name, stream=True).text.strip().split("\n\n")
    assert all("usage" not in json.loads(piece.removeprefix("data: ")) for piece in plain[:-1])


def test_several_prompts_have_a_choice_each(client: TestClient) -> None:
    found = client.post(TEXTS, json={"model": NOTE, "prompt": [TEXT, "Slept well. Ate."]}).json()
    assert [choice["text"] for choice in found["choices"]] == ["Fell at night.", "Slept well."]
    assert [choice["index"] for choice in found["choices"]] == [0, 1] and len(found["clinfit"]) == 2
    assert client.post(TEXTS, json={"model": NOTE, "prompt": TEXT}).json()["choices"] == found["choices"][:1]
    refused = client.post(TEXTS, json={"model": NOTE, "prompt": [TEXT, ""]}).json()
    assert refused["code"] == "invalid-record" and refused["detail"].startswith("prompt 2: ")


def test_a_stream_ends_with_the_whole_text(client: TestClient) -> None:
    answer = ask(client, TEXT, stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *lines, last = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    pieces = [json.loads(line) for line in lines]
    assert last == "[DONE]" and {piece["object"] for piece in pieces} == {"chat.completion.chunk"}
    deltas = [piece["choices"][0]["delta"] for piece in pieces]
    assert (
        deltas[0]["role"] == "assistant" and "".join(delta.get("content", "") for delta in deltas) == "Fell at night."
    )
    assert pieces[-1]["choices"][0]["finish_reason"] == "stop"
    texts = client.post(TEXTS, json={"model": NOTE, "prompt": [TEXT, TEXT], "stream": True}).text.split("\n\n")
    assert [json.loads(line.removeprefix("data: "))["choices"][0]["index"] for line in texts[:2]] == [0, 1]


def test_unknown_models_and_models_with_labels_are_told(client: TestClient) -> None:
    assert ask(client, TEXT, model="gpt").status_code == 404
    assert {model["object"] for model in client.get("/v1/models").json()["data"]} == {"model"}


@pytest.mark.slow
def test_openais_client_works_as_the_page_says(pack: Path, tmp_path: Path) -> None:
    (block,) = (code for code in re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S) if "openai" in code)
    port = free_port()
    service = Program(["serve", str(pack), "--port", str(port), "--jobs", str(tmp_path / "jobs")], tmp_path / "log")
    try:
        wait_until_ready(service, f"http://127.0.0.1:{port}")
        asked = block.replace("127.0.0.1:8000", f"127.0.0.1:{port}").replace("tiny-seed42/note", NOTE)
        streamed = asked.partition("answer = ")[0] + STREAMED
        said = [
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
            for code in (asked, streamed)
        ]
        assert [done.stdout.strip() for done in said] == ["Fell at night.", "Fell at night."], said
    finally:
        service.stop()


STREAMED = f"""
messages = [{{"role": "user", "content": "{TEXT}"}}]
pieces = client.chat.completions.create(model="{NOTE}", messages=messages, stream=True)
print("".join(piece.choices[0].delta.content or "" for piece in pieces))
"""
