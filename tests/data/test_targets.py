"""Answers by kind of task: whatever way a table writes them, the same answers are read, and nothing is guessed."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinfit.data.load import fingerprint, inputs_from_rows, load_task, read_inputs
from clinfit.data.records import Target, in_split
from clinfit.data.targets import TARGETS, known_targets, read_targets
from clinfit.errors import ClinfitError
from clinfit.study.load import load_study
from clinfit.study.tasks import Task, task_from

ROOT = Path(__file__).parents[2]
LABELS = ["heart", "lung", "brain", "kidney stones"]


def several(label: Any, labels: Sequence[str] = LABELS, **data: Any) -> Task:
    block = {"path": "t.csv", "id": "id", "inputs": {"text": "text"}, "label": label} | data
    return task_from({"kind": "multilabel", "labels": list(labels), "data": block})


def choice(label: Any, **data: Any) -> Task:
    inputs = {"question": "question", "a": "a", "b": "b", "c": "c"}
    block = {"path": "q.csv", "id": "id", "inputs": inputs, "label": label} | data
    return task_from({"kind": "multiple-choice", "options": ["a", "b", "c"], "data": block})


def read(task: Task, rows: pd.DataFrame) -> list[Target]:
    return read_targets(task, rows, [f"r{at}" for at in range(len(rows))])


def cells(values: Sequence[Any], column: str = "labels") -> pd.DataFrame:
    return pd.DataFrame({column: pd.Series(list(values), dtype=object)})


def error_of(task: Task, rows: pd.DataFrame) -> ClinfitError:
    with pytest.raises(ClinfitError) as error:
        read(task, rows)
    return error.value


def test_there_is_one_way_for_every_kind_of_task() -> None:
    kinds = {get_args(part)[1].tag for part in get_args(get_args(Task)[0])}
    assert kinds == TARGETS.keys()


# ---------------------------------------------------------------- several labels

sets_of_labels = st.lists(st.lists(st.sampled_from(LABELS), max_size=6), min_size=1, max_size=12)
YES, NO = ["1", "true", "True", "yes", "Yes", 1, 1.0, True], ["0", "false", "FALSE", "no", 0, 0.0, False]


@settings(max_examples=80, deadline=None)
@given(sets=sets_of_labels, separator=st.sampled_from(["|", ";", ", ", " / ", "||"]), data=st.data())
def test_joined_cells_lists_and_indicator_columns_read_to_the_same_targets(
    sets: list[list[str]], separator: str, data: st.DataObject
) -> None:
    """Labels may stand in any order, twice, in another case, with spaces around; none is an empty cell."""
    wanted = [tuple(label for label in LABELS if label in held) for held in sets]
    pad = st.sampled_from(["", " ", "\t"])
    spell = st.sampled_from([str, str.upper, str.title])
    joined = [separator.join(data.draw(pad) + data.draw(spell)(label) for label in held) for held in sets]
    block = {"column": "labels", "separator": separator}
    assert read(several(block), cells(joined)) == wanted
    assert read(several(block), cells(sets)) == wanted
    codes = {label: at for at, label in enumerate(LABELS)}
    numbered = [separator.join(str(codes[label]) for label in held) for held in sets]
    mapped = block | {"map": {at: label for label, at in codes.items()}}
    assert read(several(mapped), cells(numbered)) == wanted
    table = pd.DataFrame(
        {
            f"has {label}": pd.Series(
                [data.draw(st.sampled_from(YES if label in held else NO)) for held in sets], dtype=object
            )
            for label in LABELS
        }
    )
    columns = {label: f"has {label}" for label in LABELS}
    assert read(several({"columns": columns}), table) == wanted


def test_an_empty_joined_cell_is_no_label() -> None:
    assert read(several("labels"), cells(["", "NA", None, " | ", "heart|", "heart|heart"])) == [
        *[()] * 4,
        *[("heart",)] * 2,
    ]


def test_an_unknown_label_stops_with_its_count() -> None:
    error = error_of(several("labels"), cells(["heart|lnug", "lnug", "brain", "lung|NA"]))
    assert "column 'labels': 3 of 6 labels are not known: lnug (2 x), missing (1 x)" in error.found
    assert "one of heart, lung, brain, 'kidney stones'" in error.expected
    assert "lnug: lung" in error.fix


def test_cells_of_free_text_are_not_shown() -> None:
    error = error_of(several("labels"), cells(["heart", "Mrs Jones came with chest pain", "lung"]))
    assert "in record r1" in error.found
    assert "Jones" not in str(error)


@pytest.mark.parametrize("empty", ["", None, "maybe", "2", float("nan")])
def test_an_empty_indicator_is_no_answer(empty: Any) -> None:
    table = pd.DataFrame({"a": pd.Series([1, 0, empty], dtype=object), "b": [0, 1, 1]})
    error = error_of(several({"columns": {"x": "a", "y": "b"}}, ["x", "y"]), table)
    assert "column 'a': 1 of 3 cells say neither yes nor no, in record r2" in error.found
    assert "what is missing need not be absent" in error.expected
    assert "write 0 where 'x' does not hold" in error.fix


def test_a_label_that_is_spelt_like_a_missing_value_is_refused() -> None:
    assert "'NA' is how files write that there is none" in error_of(several("labels", ["a", "NA"]), cells(["a"])).found


def test_new_data_have_answers_where_they_are_known() -> None:
    task = several("labels")
    assert known_targets(task, cells(["heart", "", "lnug|heart"])) == [("heart",), (), None]
    assert known_targets(task, cells(["", None])) == [None, None]
    assert known_targets(task, cells(["heart"], "other")) == [None]
    flags = several({"columns": {"x": "a", "y": "b"}}, ["x", "y"])
    assert known_targets(flags, pd.DataFrame({"a": ["1", "", "0"], "b": ["1", "1", "0"]})) == [("x", "y"), None, ()]
    assert known_targets(flags, pd.DataFrame({"a": ["1"]})) == [None]


# ---------------------------------------------------------------- one option out of several


def test_letters_come_from_numbers_or_as_they_are() -> None:
    assert read(choice("answer"), cells(["A", "c", " B "], "answer")) == ["A", "C", "B"]
    mapped = {"column": "answer", "map": {1: "A", 2: "B", 3: "C"}}
    assert read(choice(mapped), cells([1, "2", 3.0], "answer")) == ["A", "B", "C"]
    assert "0 (1 x)" in error_of(choice(mapped), cells([0, 1], "answer")).found


# ---------------------------------------------------------------- from files to records


def table(rows: int = 60) -> pd.DataFrame:
    held = [[LABELS[at % 4], *([LABELS[0]] if at % 3 == 0 else [])] if at % 5 else [] for at in range(rows)]
    return pd.DataFrame(
        {
            "id": [f"r{at}" for at in range(rows)],
            "text": [f"a text of its own, number {at * 7919}" for at in range(rows)],
            "labels": ["|".join(labels) for labels in held],
        }
        | {label: [int(label in labels) for labels in held] for label in LABELS}
    )


def test_a_multilabel_task_from_file_to_description(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    data = load_task("organs", several("labels"), tmp_path)
    assert {record.task for record in data.records} == {"organs"}
    assert [record.target for record in data.records][:4] == [(), ("lung",), ("brain",), ("heart", "kidney stones")]
    assert {len(in_split(data.records, split)) for split in ("validation", "test")} == {12}
    description = data.describe()
    assert description["kind"] == "multilabel"
    train = description["splits"]["train"]
    assert list(train["labels"]) == LABELS
    assert sum(train["labels"].values()) == sum(
        int(number) * count for number, count in train["labels_per_record"].items()
    )
    assert sum(train["labels_per_record"].values()) == train["records"] == 36
    json.dumps(description)
    flags = load_task("organs", several({"columns": {label: label for label in LABELS}}), tmp_path)
    assert flags.records == data.records
    assert flags.fingerprint == data.fingerprint


def test_indicator_columns_must_be_there_and_may_not_be_inputs(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    columns = {label: label for label in LABELS} | {"heart": "hart"}
    with pytest.raises(ClinfitError, match="no column 'hart'") as error:
        load_task("organs", several({"columns": columns}), tmp_path)
    assert "write heart for hart" in error.value.fix
    with pytest.raises(ClinfitError, match="input 'x' reads the label column 'lung'"):
        load_task("organs", several({"columns": {label: label for label in LABELS}}, inputs={"x": "lung"}), tmp_path)


def test_lists_in_a_jsonl_file_are_sets_of_labels(tmp_path: Path) -> None:
    rows = [{"id": str(at), "text": f"text {at}", "labels": [LABELS[at % 4]] if at % 5 else []} for at in range(40)]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    records = load_task("organs", several("labels", path="t.jsonl"), tmp_path).records
    assert Counter(record.target for record in records)[()] == 8


def test_a_multiple_choice_task_from_file_to_description(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "id": range(40),
            "question": [f"question {at}?" for at in range(40)],
            "a": "yes",
            "b": "no",
            "c": "both",
            "answer": [at % 2 + 1 for at in range(40)],
        }
    )
    rows.to_csv(tmp_path / "q.csv", index=False)
    data = load_task("exam", choice({"column": "answer", "map": {1: "A", 2: "B", 3: "C"}}), tmp_path)
    assert Counter(record.target for record in data.records) == {"A": 20, "B": 20}, "no question needs to have C"
    assert data.describe()["splits"]["test"]["labels"] == {"A": 4, "B": 4, "C": 0}
    assert data.records[0].inputs == {"question": "question 0?", "a": "yes", "b": "no", "c": "both"}


def test_new_data_of_any_kind_need_no_answers(tmp_path: Path) -> None:
    new = table(3)[["id", "text"]]
    new.to_csv(tmp_path / "new.csv", index=False)
    for label in ("labels", {"columns": {label: label for label in LABELS}}):
        records = read_inputs("organs", several(label), tmp_path / "new.csv")
        assert [(record.id, record.target, record.split, record.task) for record in records] == [
            (f"r{at}", None, None, "organs") for at in range(3)
        ]
    asked = inputs_from_rows("exam", choice("answer"), pd.DataFrame({"question": ["?"], "a": [1], "b": [2], "c": [""]}))
    assert [(record.target, record.inputs["c"]) for record in asked] == [(None, None)]


# ---------------------------------------------------------------- what must stay


def test_the_fingerprint_of_a_classification_is_what_it_was() -> None:
    """Runs are recognised by it: a change here trains everything again."""
    study = load_study(ROOT / "studies" / "quickstart.yaml")
    data = load_task("diagnosis", study.tasks["diagnosis"], study.folder)
    assert data.fingerprint == "116ece74817519ae37d054d67d09a443ebd927147445c108c72bc18217805af6"
    assert fingerprint(data.records) == data.fingerprint
