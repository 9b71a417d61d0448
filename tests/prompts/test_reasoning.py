"""Reasoning that a model writes before its answer is no part of that."""

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinfit.data.records import Record
from clinfit.models.base import Likelihood, TextOutputs, WrittenText
from clinfit.models.texts.long_input import Reading
from clinfit.packs.decide import said
from clinfit.predictions import Source, predictions_table
from clinfit.prompts.reasoning import MARKS, answer_in, reasons, without_reasoning
from clinfit.runs.steps.abstention import abstention_table
from clinfit.runs.steps.written import WrittenTexts
from clinfit.study.evaluation import Abstention
from clinfit.study.tasks import Generation, task_from

TASK = task_from({"kind": "generation", "data": {"path": "x.csv", "inputs": {"text": "text"}, "label": "note"}})
TEXTS = ["The dose is 5 mg. ", "<think>40 or 80 mg?</think>\n\nThe dose is 5 mg.", "<think>40 or 80 mg? Let me"]
ANSWERS = ["The dose is 5 mg. ", "The dose is 5 mg.", ""]
OUTPUTS = TextOutputs([*TEXTS], ["stop", "stop", "length"], np.ones(3, dtype=np.int64), np.zeros(3))
RECORDS = [Record(str(k), str(k), {"text": "5 mg"}, target="5 mg") for k in range(3)]


@pytest.mark.parametrize("begin", MARKS)
def test_what_stands_around_it_is_the_answer(begin: str) -> None:
    end = MARKS[begin]
    assert answer_in(f"{begin}why{end}\n\nThe answer. ") == "The answer."
    assert answer_in(f"why{end.upper()} The answer.") == "The answer.", "the template began it"
    assert answer_in(f"{begin}a{end}{begin.upper()}b{end} The answer.") == "The answer."
    assert answer_in(f"The {begin}a{end}answer.") == "The  answer."
    assert without_reasoning(f"The answer. {begin}but") is None and answer_in(f"The answer. {begin}but") == ""
    assert reasons(begin) and reasons(end)


@given(st.text())
def test_a_text_without_marks_stays_as_it_is(text: str) -> None:
    assert not reasons(text) and answer_in(text) == text


def test_what_a_person_writes_in_brackets_is_no_mark() -> None:
    assert answer_in("At night I [think] it hurts.") == "At night I [think] it hurts."


def test_marks_without_an_end_are_read_in_one_pass() -> None:
    begun = time.perf_counter()
    assert answer_in("<thinking>" * 100_000) == ""
    assert time.perf_counter() - begun < 5


def test_the_answer_is_predicted_and_handed_out_and_the_whole_is_kept() -> None:
    table = predictions_table(Source("m-seed1", "m", 1, 1), "note", TASK, "test", RECORDS, OUTPUTS)
    assert table["predicted"].tolist() == ANSWERS and table["raw"].tolist() == TEXTS
    assert table["finish_reason"].tolist() == ["stop", "stop", "length"]
    served: Any = None  # texts are decided by nothing of a task
    decisions = said(served, OUTPUTS, 3)
    assert decisions.decided == decisions.predicted == ANSWERS


class Halves:
    """Renders a record as itself, which is too long as long as it holds a bar, and divides it there."""

    task = TASK

    def encode(self, record: Record) -> Any:
        return SimpleNamespace(prompt_ids=[1], dropped=int("|" in str(record.inputs["text"])))

    def encode_all(self, records: list[Record]) -> list[Any]:
        return [self.encode(record) for record in records]

    def divided(self, record: Record) -> tuple[str, list[dict[str, str]]]:
        return "text", [{"text": part} for part in str(record.inputs["text"]).split("|")]


def test_pieces_of_a_long_record_are_put_together_without_it() -> None:
    renderer: Any = Halves()
    record = Record("r", "r", {"text": "5 mg were given | and nobody knows why"})
    reading = Reading(0, record, renderer.encode(record), True)
    prompts = reading.prompts(renderer)
    for k, (_, read) in enumerate(prompts):
        assert reading.take(k, TEXTS[1 + k], "stop", 1, 0.0, read) is None
    reading.put_together(renderer)
    assert len(prompts) == 2 and reading.record.inputs["text"] == "The dose is 5 mg."


class Writes:
    """A model that writes one text to every record, and finds every reference as likely."""

    def generate(self, task: str, records: list[Record], limit: int, *, done: Any) -> None:
        for index, _ in enumerate(records):
            done(index, WrittenText("<think>There is none.</think> I cannot answer.", "stop", 9, 0.1))

    def likelihood(self, task: str, records: list[Record]) -> Likelihood:
        n = len(records)
        return Likelihood(np.full(n, 3.0), np.full(n, 2, dtype=np.int64), np.full(n, 5, dtype=np.int64))


def test_texts_behind_another_prompt_than_the_record_s_are_not_ranked(tmp_path: Any) -> None:
    """Read in pieces, or behind a reasoning: how likely they are is not known behind the prompt alone."""
    assert isinstance(TASK, Generation)
    outputs = replace(OUTPUTS, pieces=np.array([0, 0, 3]), rounds=np.array([0, 0, 1]), texts=["A.", TEXTS[1], "B."])
    answers = predictions_table(Source("m-seed1", "m", 1, 1), "note", TASK, "test", RECORDS, outputs)
    kept = WrittenTexts(tmp_path / "note.parquet", "k" * 64)
    asked = Abstention(inputs=["text"], items=2)
    model: Any = Writes()
    table = abstention_table(model, "note", TASK, asked, RECORDS, answers, kept, lambda *told: None)
    rows = table.to_dict(orient="records")
    for column in ("nats", "tokens"):
        found = [np.isnan(row[column]) for row in rows if row["condition"] == "given"]
        assert found == [False, True, True]
    assert [row["declined"] for row in rows if row["condition"] == "removed"] == [True]
