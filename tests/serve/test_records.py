"""Records of requests: what waits in a job, and where spans stand in the text that was sent."""

import json
import time
import tracemalloc
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinfit.data.clean import normalise_whitespace
from clinfit.packs.explain import spans as spans_of
from clinfit.serve.problems import Problem
from clinfit.serve.records import MOST_COLUMNS, as_item, positions, record_of, table_records
from clinfit.serve.settings import Settings
from clinfit.study.data import Cleaning, Data
from clinfit.study.tasks import Classification

TEXT = "Seen by Dr. Smith on 12/03/2020, phone 555-123-4567."


WORDS = st.sampled_from(["fell", "the", "No", "no.", "Fell.", "e\u0301clat", "\U0001f600", "x"])
GAPS = st.sampled_from([" ", "  ", "\r\n", "\n\n", "\t"])


@given(st.lists(st.tuples(WORDS, GAPS), min_size=1, max_size=40))
def test_every_span_has_its_own_place_where_white_space_alone_was_changed(parts: list[tuple[str, str]]) -> None:
    sent = "".join(word + gap for word, gap in parts)
    read, at = normalise_whitespace(sent), 0
    spans = [span for span in spans_of(read, None) if read[slice(*span)].strip()]
    for span, place in zip(spans, positions(read, sent, spans), strict=True):
        assert place is not None and place[0] >= at, "in order, so that none is another occurrence"
        assert sent[slice(*place)].split() == read[slice(*span)].split()
        assert sent[at : place[0]].isspace() or place[0] == at, "and nothing between two of them"
        at = place[1]


def test_what_waits_in_a_job_is_cleaned() -> None:
    """An input that is de-identified is so from the first moment that it is kept."""
    data = Data(path="none.csv", inputs={"text": "text"}, clean=Cleaning(deidentify=True))  # type: ignore[arg-type]
    task = Classification(labels=["no", "yes"], data=data)
    kept = str(as_item(record_of("fall", task, TEXT, "1", Settings())))
    assert "Smith" not in kept and "555" not in kept and "[NAME-1]" in kept


@pytest.mark.parametrize(
    ("read", "sent", "spans", "found"),
    [
        ("a b", "a b", [(0, 1), (2, 3)], [(0, 1), (2, 3)]),
        ("a b", "  a b", [(2, 3)], [(4, 5)]),
        ("[TYPE] in 40 a", "Breast cancer in 40 a", [(0, 12), (13, 14)], [(0, 19), (20, 21)]),
        ("[TYPE] in 40 a", "Breast cancer in 40 a", [(0, 6), (13, 14)], [None, (20, 21)]),
        ("A [TYPE]. Well.", "A lung cancer.  Well.", [(0, 9), (10, 15)], [(0, 14), (16, 21)]),
    ],
)
def test_spans_are_found_in_the_text_as_it_was_sent(read, sent, spans, found) -> None:
    assert positions(read, sent, spans) == found


def test_places_behind_masks_are_found_in_little_time() -> None:
    """Whatever a text holds: a search that tries every length of every mask would not end."""
    piece = " or ".join(["[TYPE]"] * 30) + " no."
    began = time.process_time()
    assert positions(piece, "x or " * 20_000, [(0, len(piece))]) == [None]
    assert time.process_time() - began < 1


TASK = Classification(labels=["no", "yes"], data=Data(path="none.csv", inputs={"text": "text"}))  # type: ignore[arg-type]


def lines(rows: Sequence[Mapping[str, object]]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


@pytest.mark.parametrize(
    ("content", "suffix", "said"),
    [
        (
            lines([{"text": "a"} | {f"k{n}-{m}": 1 for m in range(50)} for n in range(25)]),
            ".jsonl",
            "columns",
        ),
        (
            ("text," + ",".join(f"k{n}" for n in range(MOST_COLUMNS))).encode() + b"\na" + b",1" * MOST_COLUMNS,
            ".csv",
            "columns",
        ),
        (("text;" + ";".join(f"k{n}" for n in range(MOST_COLUMNS))).encode() + b"\na", ".csv", "columns"),
        (("text\t" + "\t".join(f"k{n}" for n in range(MOST_COLUMNS))).encode() + b"\na", ".tsv", "columns"),
        (b"text\n" + b"a\n" * 31, ".csv", "1 to 30 records"),
        (lines([{"text": "a"}] * 31), ".jsonl", "1 to 30 records"),
        (lines([{"text": "a", "more": "x" * 20_000}]), ".jsonl", "longer than any record"),
    ],
)
def test_a_table_with_too_much_of_anything_is_refused_before_it_is_read(
    content: bytes, suffix: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clinfit.serve.records.read_inputs", lambda *_: pytest.fail("it was read"))
    with pytest.raises(Problem, match=said):
        table_records("t", TASK, content, suffix, Settings(job_items=30, characters=1000))


def test_a_table_within_the_limits_is_read() -> None:
    settings = Settings(job_items=3, characters=1000)
    found = table_records("t", TASK, b'text,other\n"a\nb",1\n\nc,2\nd;e,3\n', ".csv", settings)
    assert [record.inputs["text"] for record in found] == ["a\nb", "c", "d;e"]
    found = table_records("t", TASK, lines([{"text": "a"}, {"text": "b", "x": 1}]), ".jsonl", settings)
    assert [record.inputs["text"] for record in found] == ["a", "b"]


def test_rows_without_a_group_are_named_by_their_position() -> None:
    """Whatever else is right: ids that are there are not told as missing."""
    data = TASK.data.model_copy(update={"id": "id", "group": "patient"})
    content = b"id,text,patient\na,x,p\nb,x,\nc,x,?\n"
    with pytest.raises(Problem) as refused:
        table_records("t", TASK.model_copy(update={"data": data}), content, ".csv", Settings())
    assert refused.value.detail == "the table cannot be read: no group in 2 rows, first in row 2"


def test_many_columns_take_no_memory() -> None:
    content = lines([{"text": "a", f"k{n}": 1} for n in range(3000)])
    tracemalloc.start()
    with pytest.raises(Problem):
        table_records("t", TASK, content, ".jsonl", Settings())
    assert tracemalloc.get_traced_memory()[1] < 20 * len(content)
    tracemalloc.stop()
