import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from clinfit.data.audit import audit
from clinfit.data.load import fingerprint, inputs_from_rows, load_task, read_inputs
from clinfit.data.records import in_split
from clinfit.errors import ClinfitError
from clinfit.study.data import Data
from clinfit.study.tasks import Task, task_from

Rows = list[dict[str, Any]]
MakeTask = Callable[..., Task]
WriteCsv = Callable[..., Path]


def error_of(task: Task, folder: Path) -> ClinfitError:
    with pytest.raises(ClinfitError) as error:
        load_task("outcome", task, folder)
    return error.value


def test_rows_become_records(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv(rows)
    data = load_task("outcome", make_task(path.name), path.parent)
    records = {record.id: record for record in data.records}
    assert list(records) == [row["patient"] for row in rows]
    assert records["p3"].inputs == {"age": None, "note": "note number 3 of a visit, with findings 21"}
    assert records["p5"].inputs == {"age": 45.0, "note": None}
    assert [records["p0"].target, records["p1"].target] == ["well", "ill"]
    assert records["p0"].group == "p0"
    assert Counter(record.split for record in data.records) == {"train": 7, "validation": 3, "test": 2}


def test_the_description_has_counts_and_ids_and_no_text(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv(rows)
    description = load_task("outcome", make_task(path.name), path.parent).describe()
    assert "of a visit" not in json.dumps(description)
    assert sum(len(ids) for ids in description["split_ids"].values()) == 12
    assert description["splits"]["test"]["labels"] == {"well": 1, "ill": 1}
    (age, _) = description["characteristics"]["rows"]
    assert age["missing"][0] is None and age["values"][0]["median"] == 46.0, "one value is missing, a small count"


def test_the_fingerprint_changes_with_anything(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv(rows)
    task = make_task(path.name)
    data = load_task("outcome", task, path.parent)
    assert data.fingerprint == load_task("outcome", task, path.parent).fingerprint
    first, rest = data.records[0], data.records[1:]
    changes: list[dict[str, Any]] = [
        {"id": "x"},
        {"group": "x"},
        {"target": None},
        {"split": None},
        {"inputs": first.inputs | {"age": 0.5}},
    ]
    changed = [fingerprint([replace(first, **change), *rest]) for change in changes]
    assert len({data.fingerprint, fingerprint([*rest, first]), *changed}) == len(changes) + 2


def test_row_numbers_are_ids_without_an_id_column(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv(rows)
    assert [record.id for record in load_task("outcome", make_task(path.name, id=None), path.parent).records][:3] == [
        "1",
        "2",
        "3",
    ]


def test_one_file_a_split(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    train, test = write_csv(rows[:8], "train.csv"), write_csv(rows[8:], "test.csv")
    data = load_task("outcome", make_task(None, files={"test": test.name, "train": train.name}, id=None), train.parent)
    assert [record.id for record in in_split(data.records, "test")] == ["test-1", "test-2", "test-3", "test-4"]
    assert len(in_split(data.records, "train")) == 8
    assert data.source == "train.csv + test.csv"


def test_splits_by_a_column(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    for at, row in enumerate(rows):
        row["part"] = "dev" if at < 4 else "train"
    path = write_csv(rows)
    rule = {"column": "part", "map": {"dev": "test", "train": "train"}}
    data = load_task("outcome", make_task(path.name, split=rule), path.parent)
    assert [record.id for record in in_split(data.records, "test")] == ["p0", "p1", "p2", "p3"]


def test_groups_stay_together(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    visits = [row | {"visit": f"{row['patient']}-{at}"} for row in rows for at in range(2)]
    path = write_csv(visits)
    records = load_task("outcome", make_task(path.name, id="visit", group="patient"), path.parent).records
    assert len({(record.group, record.split) for record in records}) == 12


def test_limit_takes_the_first_rows(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv(rows)
    data = load_task("outcome", make_task(path.name, limit=8), path.parent)
    assert [record.id for record in data.records] == [f"p{at}" for at in range(8)]
    assert data.notes.rows == 8


def test_limit_takes_the_first_rows_of_each_official_split(
    rows: Rows, make_task: MakeTask, write_csv: WriteCsv
) -> None:
    """Files are often in the order of their splits: the first rows alone would test nothing."""
    path = write_csv([row | {"fold": "test" if at >= 8 else "train"} for at, row in enumerate(rows)])
    split = {"column": "fold", "validation_of_train": 0.25}
    data = load_task("outcome", make_task(path.name, limit=9, split=split), path.parent)
    assert [record.id for record in data.records] == [f"p{at}" for at in (0, 1, 2, 3, 4, 5, 8, 9, 10)]
    assert {record.id for record in data.records if record.split == "test"} == {"p8", "p9", "p10"}
    few = load_task("outcome", make_task(path.name, limit=5, split={"column": "fold"}), path.parent)
    assert [record.split for record in few.records].count("test") == 2


def test_what_cleaning_drops_is_counted(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    copies = [row | {"patient": f"{row['patient']}-copy"} for row in rows[:2]]
    path = write_csv([*rows, *copies])
    clean = {"drop_missing": ["note"], "drop_duplicates": True, "normalise_whitespace": True}
    data = load_task("outcome", make_task(path.name, clean=clean), path.parent)
    assert data.notes.dropped == {"missing note": 1, "duplicate": 2}
    assert len(data.records) == 11
    assert data.describe()["rows"] == 14


def test_a_patient_column_that_repeats_is_noticed(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv([row | {"visit": f"{row['patient']}-{at}"} for row in rows for at in range(2)])
    assert load_task("outcome", make_task(path.name, id="visit"), path.parent).notes.repeated_columns == {"patient": 12}


# ---------------------------------------------------------------- bad input


def test_all_absent_columns_are_named_at_once(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv(rows)
    error = error_of(make_task(path.name, id="patients", label="outcom"), path.parent)
    assert "'patients', 'outcom'" in error.found
    assert "write patient for patients; write outcome for outcom" in error.fix


def test_duplicate_ids(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv([*rows, *rows[:7]])
    error = error_of(make_task(path.name), path.parent)
    assert "7 ids" in error.found and "p0, p1, p2, p3, p4 and 2 more" in error.found
    assert "group: patient" in error.fix


def test_one_id_that_stands_twice(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv([*rows, rows[0]])
    assert ": 1 id stands in more than one row, record p0" in error_of(make_task(path.name), path.parent).found


def test_missing_ids(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    rows[4]["patient"] = ""
    path = write_csv(rows)
    assert "row 5" in error_of(make_task(path.name), path.parent).found


def test_missing_and_unmapped_labels(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    rows[1]["outcome"], rows[2]["outcome"] = "", "dead"
    path = write_csv(rows)
    error = error_of(make_task(path.name), path.parent)
    assert "missing (1 x)" in error.found and "dead (1 x)" in error.found


def test_a_value_that_is_no_number_is_named_by_column_and_record(
    rows: Rows, make_task: MakeTask, write_csv: WriteCsv
) -> None:
    rows[6]["age"] = "secret"
    path = write_csv(rows)
    error = error_of(make_task(path.name), path.parent)
    assert "'age'" in error.found and "p6" in error.found
    assert "secret" not in str(error)


def test_the_label_may_not_be_an_input(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv(rows)
    assert "answer" in error_of(make_task(path.name, inputs={"x": "outcome"}), path.parent).found


def test_no_inputs(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv(rows)
    assert "data.inputs is empty" in error_of(make_task(path.name, inputs={}), path.parent).found


def test_one_row(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv(rows[:1])
    assert "1 record, too few" in error_of(make_task(path.name), path.parent).found


def test_cleaning_that_leaves_nothing(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv([row | {"note": ""} for row in rows])
    error = error_of(make_task(path.name, clean={"drop_missing": ["note"]}), path.parent)
    assert "drops all 12 records" in error.found


def test_a_label_map_from_text_on_booleans_stops(rows: Rows, make_task: MakeTask, tmp_path: Path) -> None:
    lines = [json.dumps(row | {"outcome": row["outcome"] == "ill"}) for row in rows]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    quoted = {"column": "outcome", "map": {"True": "ill", "False": "well"}}
    assert "map: {false: " in error_of(make_task("t.jsonl", label=quoted), tmp_path).fix
    right = {"column": "outcome", "map": {True: "ill", False: "well"}}
    targets = [record.target for record in load_task("outcome", make_task("t.jsonl", label=right), tmp_path).records]
    assert targets == [row["outcome"] for row in rows]


# ---------------------------------------------------------------- new data


def test_new_data_need_neither_labels_nor_ids(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    new = write_csv([{"age": "50", "note": "a  b [1]"}, {"age": "", "note": ""}], "new.csv")
    clean = {"strip_citations": True, "normalise_whitespace": True, "drop_missing": ["note"], "drop_duplicates": True}
    records = read_inputs("outcome", make_task("data.csv", clean=clean), new)
    assert [record.inputs for record in records] == [{"age": 50.0, "note": "a b"}, {"age": None, "note": None}]
    assert [(r.id, r.group, r.target, r.split) for r in records] == [("1", "1", None, None), ("2", "2", None, None)]


def test_a_table_in_memory_reads_as_its_file(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    task = make_task("data.csv")
    assert inputs_from_rows("outcome", task, pd.DataFrame(rows)) == read_inputs("outcome", task, write_csv(rows))


def test_labels_of_new_data_are_kept_where_they_are_known(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    rows[0]["outcome"] = "dead"
    records = read_inputs("outcome", make_task("data.csv"), write_csv(rows, "new.csv"))
    assert [record.target for record in records][:3] == [None, "ill", "well"]


def test_the_same_file_gives_the_same_inputs_to_training_and_prediction(
    rows: Rows, make_task: MakeTask, write_csv: WriteCsv
) -> None:
    path = write_csv(rows)
    task = make_task(path.name, clean={"normalise_whitespace": True})
    loaded, new = load_task("outcome", task, path.parent).records, read_inputs("outcome", task, path)
    assert [(r.id, r.inputs, r.target) for r in loaded] == [(r.id, r.inputs, r.target) for r in new]


def test_an_absent_input_column_of_new_data_is_an_error(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    new = write_csv([{"Age": "50", "notes": "a"}], "new.csv")
    with pytest.raises(ClinfitError, match="'age', 'note'"):
        read_inputs("outcome", make_task("data.csv"), new)


@pytest.mark.parametrize(
    ("cells", "hint"),
    [
        ({"ages": "50", "notes": "a"}, "rename ages to age; rename notes to note"),
        ({"x": "50", "y": "a"}, "give new.csv these columns"),
        ({"age": "50,5", "note": "a"}, "1 of them have a decimal comma: write a decimal point"),
        ({"age": "old", "note": "a"}, "correct these cells, or leave them empty"),
        ({"age": "50", "note": "a", "patient": ""}, "leave the column out to use row numbers"),
    ],
)
def test_hints_about_new_data_speak_of_the_file_and_not_of_a_study(
    cells: dict[str, str], hint: str, make_task: MakeTask, write_csv: WriteCsv
) -> None:
    with pytest.raises(ClinfitError) as caught:
        read_inputs("outcome", make_task("data.csv"), write_csv([cells], "new.csv"))
    assert hint in caught.value.fix and "study" not in str(caught.value) and "data block" not in str(caught.value)


def test_a_table_in_memory_may_have_numbers_as_names(make_task: Callable[..., Task]) -> None:
    task = make_task("x.csv", id=None, inputs={"text": "0"}, label="1")
    records = inputs_from_rows("outcome", task, pd.DataFrame([["a", "ill"], ["b", "well"]]))
    assert [(record.inputs["text"], record.target) for record in records] == [("a", "ill"), ("b", "well")]


def test_a_table_in_memory_with_a_name_twice(make_task: Callable[..., Task]) -> None:
    table = pd.DataFrame([["a", "b", "ill"]], columns=["note", "note", "outcome"])
    with pytest.raises(ClinfitError, match="several columns are called note"):
        inputs_from_rows("outcome", make_task("x.csv", inputs={"note": "note"}), table)


def test_a_decimal_comma_is_told_and_read_when_the_study_says_so(
    tmp_path: Path, make_task: Callable[..., Task]
) -> None:
    lines = [f"{at};{at},5;{('well', 'ill')[at % 2]}" for at in range(20)]
    (tmp_path / "t.csv").write_text("\n".join(["patient;age;outcome", *lines]))
    inputs = {"age": {"column": "age", "type": "number"}}
    with pytest.raises(ClinfitError) as caught:
        load_task("t", make_task("t.csv", inputs=inputs), tmp_path)
    assert caught.value.fix == "20 of them have a decimal comma: write `decimal: ','` in the data block"
    records = load_task("t", make_task("t.csv", inputs=inputs, decimal=","), tmp_path).records
    assert [record.inputs["age"] for record in records] == [at + 0.5 for at in range(20)]


def test_validation_from_the_training_file(rows: Rows, write_csv: Callable[..., Path], make_task: MakeTask) -> None:
    others = [row | {"patient": f"t{row['patient']}"} for row in rows]
    train, test = write_csv(rows, "train.csv"), write_csv(others, "test.csv")
    files = {"train": train.name, "test": test.name}
    data = load_task("t", make_task(None, files=files, split={"validation_of_train": 0.25}), train.parent)
    assert Counter(record.split for record in data.records) == {"train": 9, "validation": 3, "test": 12}
    plain = load_task("t", make_task(None, files=files), train.parent)
    assert "no-validation" in {finding.code for finding in audit(plain.task, plain)}
    assert "no-validation" not in {finding.code for finding in audit(data.task, data)}


def test_by_time_through_a_study(rows: Rows, write_csv: Callable[..., Path], make_task: MakeTask) -> None:
    path = write_csv([row | {"seen": f"2026-01-{31 - at:02}"} for at, row in enumerate(rows)])
    records = load_task("t", make_task(path.name, split={"by": "seen"}), path.parent).records
    assert [record.id for record in records if record.split == "test"] == ["p0", "p1"]


@pytest.mark.parametrize(
    "block",
    [
        {"split": {"column": "part", "train": 0.8, "test": 0.0}},
        {"split": {"column": "part", "stratify": False}},
        {"split": {"map": {"a": "train"}}},
        {"split": {"held_out": ["a"]}},
        {"split": {"validation_of_train": 0.2}},
        {"path": None, "files": {"train": "a", "test": "b"}, "split": {"train": 0.5, "test": 0.3}},
        {"path": None, "files": {"train": "a", "validation": "c", "test": "b"}, "split": {"validation_of_train": 0.2}},
    ],
)
def test_settings_that_would_say_nothing_are_refused(block: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Data.model_validate({"path": "x.csv", **block})


@pytest.mark.parametrize(
    ("split", "fix"),
    [
        ({"by": "site", "test": ["North"]}, "split: {column: site, held_out: [North]}"),
        (
            {"by": "site", "test": ["North", "East"], "train": ["South"]},
            "map: {North: test, East: test, South: train}}",
        ),
        (
            {"by": "site", "test": ["North"], "validation": ["South"]},
            "split: {column: site, map: {North: test, South: validation, ...: train}}",
        ),
        ({"column": "site", "train": ["x, y"]}, 'split: {column: site, map: {"x, y": train, ...: test}}'),
        ({"train": [1]}, 'split: {column: COLUMN, map: {"1": train, ...: test}}'),
    ],
)
def test_lists_of_sites_are_answered_with_the_form_that_takes_them(split: dict[str, Any], fix: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Data.model_validate({"path": "x.csv", "split": split})
    (error,) = caught.value.errors()
    assert error["loc"] == ("split",) and fix in error["msg"]


def test_what_is_wrong_with_records_names_the_task_once(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv(rows)
    for task in (
        make_task(path.name, labels=["well", "poorly"]),
        make_task(path.name, split={"column": "outcome", "map": {"ill": "train", "well": "validation"}}),
        make_task("absent.csv"),
    ):
        error = error_of(task, path.parent)
        assert error.found.startswith("task outcome: ") and error.found.count("task outcome") == 1
        assert error.expected or error.fix


def test_a_name_is_the_same_placeholder_in_inputs_and_reference(tmp_path: Path) -> None:
    note = "Patient name: John Smith. Mr. Smith was seen. Smith has chest pain."
    rows = [
        {
            "id": f"r{k}",
            "note": note if k == 0 else f"Case {k}.",
            "answer": f"Smith has chest pain; John to return {k}.",
        }
        for k in range(20)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "data.csv", index=False)
    data = {"path": "data.csv", "id": "id", "inputs": {"note": "note"}, "label": "answer"}
    task = task_from({"kind": "generation", "data": data | {"clean": {"deidentify": True}}})
    loaded = load_task("t", task, tmp_path)
    (record,) = (one for one in loaded.records if one.id == "r0")
    text = str(record.inputs["note"])
    surname = re.findall(r"\[NAME-\d\](?= has chest pain)", text)
    assert "Smith" not in text and surname and str(record.target).startswith(f"{surname[0]} has chest pain; [NAME-")
    assert "John" not in str(record.target) and loaded.notes.changed["deidentify"] == 20
    new = read_inputs("t", task, tmp_path / "data.csv")
    assert (new[0].inputs, new[0].target) == (record.inputs, record.target)
    assert inputs_from_rows("t", task, pd.DataFrame(rows).drop(columns="answer"))[0].inputs == record.inputs


def test_a_name_of_the_reference_alone_changes_no_input(tmp_path: Path) -> None:
    rows = [
        {"id": f"r{k}", "note": f"Adebayo took aspirin {k} mg.", "answer": f"Mr. Adebayo takes {k}."} for k in range(20)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "data.csv", index=False)
    pd.DataFrame(rows).drop(columns="answer").to_csv(tmp_path / "new.csv", index=False)
    data = {"path": "data.csv", "id": "id", "inputs": {"note": "note"}, "label": "answer"}
    task = task_from({"kind": "generation", "data": data | {"clean": {"deidentify": True}}})
    learnt = {record.id: record for record in load_task("t", task, tmp_path).records}
    for known, new in zip(
        read_inputs("t", task, tmp_path / "data.csv"), read_inputs("t", task, tmp_path / "new.csv"), strict=True
    ):
        assert known.inputs == new.inputs == learnt[known.id].inputs
        assert "Adebayo" not in str(known.target) and known.target == learnt[known.id].target


def test_half_characters_of_inputs_and_references_can_be_written(tmp_path: Path) -> None:
    lines = [json.dumps({"id": k, "note": f"Cough {k} \ud83d", "answer": f"A cold {k} \ud83d"}) for k in range(20)]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    data = {"path": "data.jsonl", "id": "id", "inputs": {"note": "note"}, "label": "answer"}
    task = task_from({"kind": "generation", "data": data})
    for record in [*load_task("t", task, tmp_path).records, *read_inputs("t", task, tmp_path / "data.jsonl")]:
        assert f"{record.inputs['note']} {record.target}".encode().count("\ufffd".encode()) == 2
