"""Texts that are sent on while they are written: the same as at once, to the letter, and nothing for nobody."""

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.testclient import TestClient

import clinfit
from clinfit.data.records import Record
from clinfit.models.causal import settled
from clinfit.packs.answer import Answer
from clinfit.serve.app import create_app
from clinfit.serve.models import Models, ServedModel
from clinfit.serve.problems import Problem
from clinfit.serve.routes.following import Piece, pieces
from clinfit.serve.service import Service
from two_layer import train_tokenizer

from .services import free_port, soon

NAME = "words-seed42/note"
CHAT, TEXTS = "/v1/chat/completions", "/v1/completions"
NOTES = ["Fell at night. No fracture.", "Slept well.", "Wound of 3 cm, dressed. " * 3]


@pytest.fixture(scope="module")
def models(writes: Path) -> Models:
    return Models([clinfit.load_pack(writes)])


def events(text: str) -> list[dict[str, Any]]:
    *lines, last = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert last == "[DONE]"
    return [json.loads(line) for line in lines]


def chat(note: str, **more: Any) -> dict[str, Any]:
    return {"model": NAME, "messages": [{"role": "user", "content": note}], **more}


@pytest.mark.parametrize("note", NOTES)
def test_a_streamed_chat_is_the_unstreamed_one(client: TestClient, note: str) -> None:
    expected = client.post(CHAT, json=chat(note)).json()
    first, *found, last = events(client.post(CHAT, json=chat(note, stream=True)).text)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    words = [piece["choices"][0]["delta"]["content"] for piece in found]
    assert len(words) > 3 and "".join(words) == expected["choices"][0]["message"]["content"]
    assert last["choices"][0]["finish_reason"] == expected["choices"][0]["finish_reason"]
    assert last["clinfit"] == expected["clinfit"]


def test_streamed_completions_are_the_unstreamed_ones(client: TestClient) -> None:
    asked = {"model": NAME, "prompt": NOTES}
    expected = client.post(TEXTS, json=asked).json()
    found = events(client.post(TEXTS, json=asked | {"stream": True}).text)
    texts, reasons = ["", "", ""], ["", "", ""]
    for piece in found:
        (choice,) = piece["choices"]
        texts[choice["index"]] += choice["text"]
        reasons[choice["index"]] = choice["finish_reason"]
    assert texts == [choice["text"] for choice in expected["choices"]]
    assert reasons == [choice["finish_reason"] for choice in expected["choices"]]
    assert len(found) > 12


def test_what_is_wrong_before_the_first_word_is_a_plain_problem(client: TestClient) -> None:
    answer = client.post(TEXTS, json={"model": NAME, "prompt": ["Fell.", ""], "stream": True})
    assert answer.status_code == 422 and answer.json()["detail"].startswith("prompt 2: ")


TOKENIZER = train_tokenizer()


@pytest.mark.parametrize("seed", range(50))
def test_what_is_settled_stays(seed: int) -> None:
    """Tokens of single bytes are among these: halves of characters, and bytes of none."""
    ids = random.Random(seed).choices(range(6, len(TOKENIZER)), k=60)
    whole = str(TOKENIZER.decode(ids, skip_special_tokens=True))
    beginnings = [settled(str(TOKENIZER.decode(ids[:n], skip_special_tokens=True))) for n in range(len(ids) + 1)]
    assert all(whole.startswith(beginning) for beginning in beginnings)


def test_little_is_held_back() -> None:
    assert settled("Fell at night. No frac") == "Fell at night. No"
    assert settled("夜間に転倒した。骨折なし。") == "" and settled("転倒" * 20) == "転倒" * 12


# ---------------------------------------------------------------- what writes, in the place of a model


Write = Callable[[Sequence[Record], Callable[[int, str], bool]], Sequence[str]]


class Writing:
    name = NAME

    def __init__(self, write: Write) -> None:
        self.write = write

    def answer(self, records: Sequence[Record], heard: Callable[[int, str], bool]) -> list[Answer]:
        texts = self.write(records, heard)
        return [
            Answer("note", "1", "generation", text, text, {}, {}, "ok", (), None, 0, "pack", "torch", "stop")
            for text in texts
        ]


def read(service: Service, model: Any, n: int = 1, most: int = 1000) -> list[Piece]:
    """The first pieces of the texts for n records."""

    async def go() -> list[Piece]:
        found: list[Piece] = []
        records = [Record(str(k), str(k), {"text": "x"}) for k in range(n)]
        async with aclosing(pieces(service, model, records)) as parts:
            async for piece in parts:
                found.append(piece)
                if len(found) == most:
                    break
        return found

    return asyncio.run(go())


def test_a_text_that_is_begun_again_goes_on_where_it_was(make_service: Callable[..., Service]) -> None:
    """Two that fail together are asked alone."""

    def write(records: Sequence[Record], heard: Callable[[int, str], bool]) -> list[str]:
        for index in range(len(records)):
            assert heard(index, "Fell") and heard(index, "Fell at")
        if len(records) > 1:
            raise RuntimeError
        assert heard(0, "Fell at night,")
        return ["Fell at night, twice."]

    service = make_service(works=False)
    service.batcher._paces[NAME]._seconds = {1: 0.001, 2: 0.001}  # so that two are asked in one turn
    found = read(service, Writing(write), n=2)
    for index in range(2):
        assert "".join(piece.text for piece in found if piece.index == index) == "Fell at night, twice."
    assert sum(piece.answer is not None for piece in found) == 2


def test_a_text_that_went_on_otherwise_is_not_sent_as_whole(make_service: Callable[..., Service]) -> None:
    def write(records: Sequence[Record], heard: Callable[[int, str], bool]) -> list[str]:
        heard(0, "Fell by day")
        return ["Fell at night."]

    with pytest.raises(Problem, match="not how the text went on"):
        read(make_service(works=False), Writing(write))


class Endless:
    """Writes a word each 20 ms, until nobody wants more."""

    def __init__(self) -> None:
        self.words, self.ended = 0, threading.Event()

    def __call__(self, records: Sequence[Record], heard: Callable[[int, str], bool]) -> list[str]:
        text = ""
        for _ in range(1000):
            self.words += 1
            text += "word "
            time.sleep(0.02)
            if not heard(0, text):
                self.ended.set()
                break
        return [text]


def test_who_stops_reading_ends_the_work(make_service: Callable[..., Service]) -> None:
    service, endless = make_service(works=False), Endless()
    assert [piece.text for piece in read(service, Writing(endless), most=2)] == ["word ", "word "]
    assert endless.ended.wait(10) and endless.words < 500
    assert read(service, Writing(lambda records, heard: ["next"]))[0].text == "next", "and the next one is asked"


@pytest.fixture
def listening(make_service: Callable[..., Service]) -> Iterator[str]:
    port = free_port()
    config = uvicorn.Config(create_app(make_service(works=False)), port=port, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert soon(lambda: server.started, 30)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def test_a_client_that_hangs_up_ends_the_work(listening: str, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = Endless()
    answer = Writing(endless).answer
    monkeypatch.setattr(ServedModel, "answer", lambda self, records, heard: answer(records, heard))
    with httpx2.stream("POST", listening + CHAT, json=chat(NOTES[0], stream=True), timeout=60) as response:
        lines = response.iter_lines()
        assert [next(lines) for _ in range(3)][2].startswith("data: ") and not endless.ended.is_set()
    assert endless.ended.wait(10) and endless.words < 500
