import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clinfit.data.audit import LONG_WORDS, audit
from clinfit.data.load import TaskData, load_task
from clinfit.data.notes import DataNotes
from clinfit.data.records import Record, Split
from clinfit.data.support import LEAST_EVENTS
from clinfit.errors import ClinfitError
from clinfit.findings import Finding
from clinfit.study.tasks import Task, task_from

MakeRecord = Callable[..., Record]


@pytest.fixture
def task() -> Task:
    return task_from(
        {"labels": ["well", "ill"], "data": {"path": "x.csv", "inputs": {"text": "text"}, "label": "outcome"}}
    )


@pytest.fixture
def sound(make_record: MakeRecord) -> list[Record]:
    """Records in which there is nothing to find: all different, balanced, and enough for testing."""
    sizes: dict[Split, int] = {"train": 300, "validation": 100, "test": 2 * LEAST_EVENTS}
    return [
        make_record(f"{split}{at}", f"visit {at} of {split}", split, "ill" if at % 2 else "well")
        for split, size in sizes.items()
        for at in range(size)
    ]


def findings(task: Task, records: Sequence[Record], **notes: Any) -> dict[str, Finding]:
    data = TaskData(task, list(records), "", "", DataNotes(len(records), **notes))
    return {finding.code: finding for finding in audit(task, data)}


def test_nothing_is_found_where_nothing_is_wrong(task: Task, sound: list[Record]) -> None:
    assert findings(task, sound) == {}


def test_a_group_in_two_splits_is_an_error(task: Task, sound: list[Record], make_record: MakeRecord) -> None:
    more = [make_record("v1", "first visit", "train", group="p"), make_record("v2", "second visit", "test", group="p")]
    found = findings(task, [*sound, *more])
    assert found["group-leakage"].level == "error"
    assert "v1, v2" in found["group-leakage"].evidence


def test_duplicates_across_and_within_splits(task: Task, sound: list[Record], make_record: MakeRecord) -> None:
    copy = sound[0].inputs["text"]
    found = findings(task, [*sound, make_record("a", copy, "test"), make_record("b", copy, "train")])
    assert found["duplicates-across-splits"].level == "warn"
    assert "1 between train and test" in found["duplicates-across-splits"].evidence
    assert "1 of 201 test records repeat a training record" in found["duplicates-across-splits"].evidence
    assert "train0, b" in found["duplicates"].evidence
    assert "conflicting-labels" not in found


def test_near_duplicates_across_splits(task: Task, sound: list[Record], make_record: MakeRecord) -> None:
    body = " ".join(f"word{at}" for at in range(100))
    found = findings(task, [*sound, make_record("a", body, "train"), make_record("b", f"{body} more", "test")])
    assert "a, b" in found["near-duplicates-across-splits"].evidence
    assert "duplicates-across-splits" not in found


def test_one_text_with_two_labels(task: Task, sound: list[Record], make_record: MakeRecord) -> None:
    found = findings(task, [*sound, make_record("a", sound[0].inputs["text"], "train", "ill")])
    assert found["conflicting-labels"].level == "warn"
    assert "records train0, a" in found["conflicting-labels"].evidence


def test_one_class_in_the_test_split_is_an_error(task: Task, sound: list[Record]) -> None:
    records = [record for record in sound if record.split != "test" or record.target == "ill"]
    assert findings(task, records)["one-class-test"].level == "error"


def test_a_label_without_test_records_of_three(make_record: MakeRecord, sound: list[Record]) -> None:
    task = task_from(
        {"labels": ["well", "ill", "dead"], "data": {"path": "x", "inputs": {"text": "text"}, "label": "outcome"}}
    )
    more = [make_record(f"d{at}", f"last visit {at}", "train", "dead") for at in range(100)]
    found = findings(task, [*sound, *more])
    assert found["label-missing-in-test"].level == "warn"
    assert "'dead' has none of 200" in found["label-missing-in-test"].evidence


def test_a_small_test_split_names_the_counts(task: Task, sound: list[Record]) -> None:
    found = findings(task, [record for record in sound if record.id != "test1"])
    assert found["small-test"].evidence == f"ill {LEAST_EVENTS - 1}"


def test_a_split_of_twelve_gets_other_words_than_one_of_eighty_two(task: Task, sound: list[Record]) -> None:
    tests = [record for record in sound if record.split == "test"]
    rest = [record for record in sound if record.split != "test"]
    twelve, more = (findings(task, [*rest, *tests[:n]])["small-test"] for n in (12, 82))
    assert "6 records" in twelve.title and "too few to tell" in twelve.title and "40 points" in twelve.advice
    assert "too few to tell" not in more.title and "15 points" in more.advice


@pytest.mark.parametrize(("kept", "level"), [(20, "info"), (5, "warn")])
def test_imbalance(task: Task, sound: list[Record], kept: int, level: str) -> None:
    ill = [record for record in sound if record.split == "train" and record.target == "ill"]
    found = findings(task, [record for record in sound if record not in ill[kept:]])
    assert found["imbalance"].level == level
    assert f"ill {kept} (" in found["imbalance"].evidence


@pytest.mark.parametrize(
    ("missing", "level", "told"),
    [(9, "info", "age fewer than 10"), (10, "info", "age 10 ("), (250, "warn", "age 250 (")],
)
def test_missing_values(task: Task, sound: list[Record], missing: int, level: str, told: str) -> None:
    records = [
        Record(r.id, r.group, {"text": r.inputs["text"], "age": None if at < missing else 1.0}, r.target, r.split)
        for at, r in enumerate(sound)
    ]
    block = {"path": "x", "label": "outcome", "inputs": {"text": "text", "age": {"column": "age", "type": "number"}}}
    task = task.model_validate({"labels": task.labels, "data": block})
    found = findings(task, records)
    assert found["missing-values"].level == level
    assert found["missing-values"].evidence.startswith(told)
    assert "empty-records" not in found


def test_empty_and_absurdly_long_texts(task: Task, sound: list[Record], make_record: MakeRecord) -> None:
    long = " ".join(f"w{at}" for at in range(LONG_WORDS + 1))
    empty = Record("empty", "empty", {"text": None}, "well", "train")
    found = findings(task, [*sound, make_record("long", long), empty])
    assert found["very-long-texts"].evidence.endswith("record long")
    assert found["empty-records"].evidence == "record empty"


def test_a_label_that_the_text_gives_away(task: Task, sound: list[Record]) -> None:
    records = [
        Record(
            r.id,
            r.group,
            {"text": f"{r.inputs['text']} {'ILL' if r.target == 'ill' else 'illness'}"},
            r.target,
            r.split,
        )
        for r in sound
    ]
    found = findings(task, records)
    assert found["label-in-text"].level == "info"
    assert "300 of 300 records; in other records 0 of 300" in found["label-in-text"].evidence


def test_a_repeated_patient_column_asks_for_a_group(task: Task, sound: list[Record]) -> None:
    found = findings(task, sound, repeated_columns={"patient": 200})
    assert "group: patient" in found["group-not-declared"].advice


def test_coarse_inputs_are_told_and_their_repeats_are_not(task: Task, sound: list[Record]) -> None:
    records = [
        Record(r.id, r.group, {"text": "cough" if at % 3 else "fever"}, r.target, r.split) for at, r in enumerate(sound)
    ]
    assert "only 2 records" in findings(task, records)["coarse-inputs"].title
    assert "duplicates" not in findings(task, records)


def test_errors_come_first_and_evidence_holds_no_text(task: Task, sound: list[Record], make_record: MakeRecord) -> None:
    texts = ["secret story one", "secret story two"]
    records = [
        *[record for record in sound if record.split != "test"],
        *[make_record(f"x{at}", texts[at % 2], split, group="p") for at, split in enumerate(["train", "test", "test"])],
    ]
    data = TaskData(task, records, "", "", DataNotes(len(records)))
    found = audit(task, data)
    levels = [finding.level for finding in found]
    assert levels == sorted(levels, key=("error", "warn", "info").index)
    assert not any("secret" in str(finding) for finding in found)


# ---------------------------------------------------------------- other kinds of task


@pytest.fixture
def organs() -> Task:
    block = {"path": "x.csv", "inputs": {"text": "text"}, "label": "organs"}
    return task_from({"kind": "multilabel", "labels": ["heart", "lung"], "data": block})


@pytest.fixture
def exam() -> Task:
    block = {"path": "x.csv", "inputs": {"text": "text", "a": "a", "b": "b"}, "label": "answer"}
    return task_from({"kind": "multiple-choice", "options": ["a", "b"], "data": block})


def with_targets(records: Sequence[Record], *targets: Any) -> list[Record]:
    """The records with these targets in turn."""
    return [replace(record, target=targets[at % len(targets)]) for at, record in enumerate(records)]


def test_sound_records_with_several_labels(organs: Task, sound: list[Record]) -> None:
    assert findings(organs, with_targets(sound, ("heart", "lung"), ())) == {}
    assert findings(organs, with_targets(sound, ("heart", "lung"), ("lung",), ("heart",), ())) == {}


def test_labels_of_which_there_are_few_or_nearly_always(organs: Task, sound: list[Record]) -> None:
    found = findings(organs, with_targets(sound, ("heart", "lung"), *[("lung",)] * 24))
    assert found["imbalance"].level == "info"
    assert found["imbalance"].evidence == "heart 12 (4.0%), lung 300 (100.0%)"
    assert found["small-test"].evidence == "heart 8, lung 0 without it"
    assert "always answering" not in found["imbalance"].title


def test_the_same_text_with_other_labels(organs: Task, sound: list[Record], make_record: MakeRecord) -> None:
    records = with_targets(sound, ("heart", "lung"), ())
    twins = [replace(make_record(name, "one text", "train"), target=("heart",) * (name == "x")) for name in "xyz"]
    found = findings(organs, [*records, *twins])
    assert found["conflicting-labels"].evidence == "3 records; records x, y, z"
    assert "multilabel" not in found["conflicting-labels"].advice


def test_a_label_of_several_that_the_text_gives_away(organs: Task, sound: list[Record]) -> None:
    records = [
        replace(
            record, inputs={"text": f"{record.inputs['text']} {'a heart' if 'heart' in (record.target or ()) else ''}"}
        )
        for record in with_targets(sound, ("heart", "lung"), (), ("heart",), ("lung",))
    ]
    found = findings(organs, records)
    assert "'heart' stands literally in 100% of the texts that have it" in found["label-in-text"].title
    assert found["label-in-text"].evidence == "300 of 300 records; in other records 0 of 300"


def with_options(records: Sequence[Record], a: str | None = "one", b: str | None = "two") -> list[Record]:
    return [replace(record, inputs={**record.inputs, "a": a, "b": b}) for record in records]


def test_sound_questions(exam: Task, sound: list[Record]) -> None:
    assert findings(exam, with_options(with_targets(sound, "A", "B"))) == {}


def test_questions_that_have_no_right_option_or_two(exam: Task, sound: list[Record]) -> None:
    records = with_options(with_targets(sound, "A", "B"))
    empty = findings(exam, [*with_options(records[:2], b=None), *records[2:]])
    assert empty["unclear-options"].title == "the right option is empty in 1 of 600 records"
    assert empty["unclear-options"].evidence == "record train1"
    same = findings(exam, [*with_options(records[:2], "Both", "both"), *records[2:]])
    assert same["unclear-options"].title.startswith("the right option reads the same as another one in 2 of")


def test_letters_that_are_right_too_often_and_few_questions(exam: Task, sound: list[Record]) -> None:
    found = findings(exam, with_options(with_targets(sound, "A", "A", "A", "B")))
    assert "always answering 'A' is right in 75.0%" in found["imbalance"].title
    assert "one-class-test" not in findings(exam, with_options(with_targets(sound, "A")))
    few = [record for record in with_options(with_targets(sound, "A", "B")) if record.split != "test"]
    few += with_options([replace(sound[-1], target="A")])
    assert findings(exam, few)["small-test"].evidence == "1 records"


# ---------------------------------------------------------------- the real sets

needs_mirror = pytest.mark.skipif("CLINFIT_DATA" not in os.environ, reason="CLINFIT_DATA names no local mirror")
CONDITIONS = ["neoplasms", "digestive", "nervous", "cardiovascular", "general"]


@needs_mirror
def test_the_113_texts_with_two_labels_of_medical_abstracts_are_found() -> None:
    task = task_from(
        {
            "labels": CONDITIONS,
            "data": {
                "path": "catalog:medical-abstracts-tc",
                "inputs": {"abstract": "medical_abstract"},
                "label": {"column": "condition_label", "map": dict(enumerate(CONDITIONS, start=1))},
            },
        }
    )
    found = {finding.code: finding for finding in audit(task, load_task("outcome", task, Path()))}
    assert found["conflicting-labels"].title.startswith("113 inputs")
    assert found["conflicting-labels"].evidence.startswith("231 records")


@needs_mirror
def test_table_and_folder_of_the_cancer_abstracts_hold_the_same_records() -> None:
    block = {"inputs": {"title": "title", "abstract": "abstract"}}
    table = {
        "path": "catalog:cancer-abstracts",
        "id": "pmid",
        "label": {"column": "label", "map": {0: "Non-Cancer", 1: "Cancer"}},
    }
    folder = {"path": "cancer_abstracts/folder_per_class.tar.gz", "id": "id", "parse_abstracts": True}
    contents = []
    for data in (table, folder):
        task = task_from({"labels": ["Non-Cancer", "Cancer"], "data": block | data})
        records = load_task("outcome", task, Path(os.environ["CLINFIT_DATA"])).records
        contents.append({record.id: (record.inputs, record.target) for record in records})
    assert len(contents[0]) == 800
    assert contents[0] == contents[1]


def test_a_workbook_of_several_sheets_is_told(tmp_path: Path, make_task: Callable[..., Task]) -> None:
    rows = pd.DataFrame(
        [{"patient": f"p{at}", "note": f"n{at}", "outcome": ("ill", "well")[at % 2]} for at in range(20)]
    )
    with pd.ExcelWriter(tmp_path / "t.xlsx") as writer:
        rows.to_excel(writer, sheet_name="Patients", index=False)
        rows.to_excel(writer, sheet_name="Visits", index=False)
    task = make_task("t.xlsx", inputs={"note": "note"})
    found = {finding.code: finding for finding in audit(task, load_task("t", task, tmp_path))}
    assert found["other-sheets"].evidence == "it holds 1 more: Visits"
    named = make_task("t.xlsx", inputs={"note": "note"}, sheet="Visits")
    assert "other-sheets" not in {finding.code for finding in audit(named, load_task("t", named, tmp_path))}
    with pytest.raises(ClinfitError, match="in its first sheet; other sheets are 'Visits'"):
        load_task("t", make_task("t.xlsx", inputs={"note": "story"}), tmp_path)


# ---------------------------------------------------------------- values of single inputs


@pytest.fixture
def table() -> Task:
    """A task of a category and a number."""
    inputs = {"sex": {"column": "sex", "type": "category"}, "age": {"column": "age", "type": "number"}}
    return task_from({"labels": ["well", "ill"], "data": {"path": "x.csv", "inputs": inputs, "label": "outcome"}})


def patients(task: Task, values: Sequence[dict[str, Any]]) -> list[Record]:
    """Half for training, a quarter each for validation and test; every second is ill."""
    splits: list[Split] = ["train", "validation", "train", "test"]
    return [
        Record(f"r{at}", f"r{at}", inputs, task.labels[at % 2], splits[(at // 2) % 4])
        for at, inputs in enumerate(values)
    ]


def test_categories_that_differ_in_case_alone(table: Task) -> None:
    spelt = [{"sex": ("male", "female", "Male")[at % 3], "age": float(at)} for at in range(400)]
    assert findings(table, patients(table, spelt))["category-spellings"].level == "warn"
    short = [{"sex": ("AA", "Aa", "aa")[at % 3], "age": float(at)} for at in range(400)]
    assert findings(table, patients(table, short))["category-spellings"].level == "info"
    sound = [{"sex": ("male", "female")[at % 3 % 2], "age": float(at)} for at in range(400)]
    assert "category-spellings" not in findings(table, patients(table, sound))
    rare = [{"sex": "MALE" if at == 7 else "male", "age": float(at)} for at in range(400)]
    assert findings(table, patients(table, rare))["category-spellings"].evidence == "400 records; 'male'"


def test_codes_that_are_one_number(tmp_path: Path, make_task: Callable[..., Task]) -> None:
    def loaded(codes: Sequence[str]) -> dict[str, int]:
        lines = [f"{codes[at % len(codes)]},{('well', 'ill')[at % 2]}" for at in range(60)]
        (tmp_path / "codes.csv").write_text("\n".join(["code,outcome", *lines]))
        inputs = {"code": {"column": "code", "type": "category"}}
        return load_task("t", make_task("codes.csv", id=None, inputs=inputs), tmp_path).notes.same_numbers

    assert loaded(["1.1", "1.10", "1.2"]) == {"code": 1}
    assert loaded(["1.0", "1", "2.50", "v1.1", "v1.10"]) == {}


def test_a_category_written_as_one_number_is_told(table: Task) -> None:
    rows = patients(table, [{"sex": "male", "age": float(at)} for at in range(400)])
    assert findings(table, rows, same_numbers={"sex": 2})["category-numbers"].level == "warn"
    assert "category-numbers" not in findings(table, rows)


def test_identifiers_are_counted_and_never_quoted(task: Task, sound: list[Record]) -> None:
    assert "identifiers" not in findings(task, sound)
    dated = [replace(sound[0], inputs={"text": "Seen on 3/4/2019."}), *sound[1:]]
    found = findings(task, dated)["identifiers"]
    assert found.level == "info" and "text: date 1" in found.evidence
    named = [replace(record, inputs={"text": f"Mrs Abernathy, visit {record.id}"}) for record in sound]
    found = findings(task, named)["identifiers"]
    assert found.level == "warn" and f"text: name {len(sound)}" in found.evidence
    assert "Abernathy" not in found.title + found.evidence + found.advice


def test_identifiers_in_references_are_counted_too(make_record: MakeRecord) -> None:
    data = {"path": "x.csv", "inputs": {"text": "text"}, "label": "summary"}
    task = task_from({"kind": "generation", "max_new_tokens": 16, "data": data})
    reference = "Mrs Abernathy, MRN 12345678, seen 03/04/2019."
    clean = [make_record(f"{at}", f"visit {at}, the knee hurts", "train", "The knee hurts.") for at in range(50)]
    assert "identifiers" not in findings(task, clean)
    found = findings(task, [replace(record, target=reference) for record in clean])["identifiers"]
    assert found.level == "warn" and "50 of 50 records" in found.title
    assert "the references: name 50, record 50, date 50" in found.evidence and "text:" not in found.evidence
    assert not any(word in str(found) for word in ("Abernathy", "12345678", "03/04/2019"))
    told = findings(task, [replace(record, inputs={"text": "Seen on 3/4/2019."}) for record in clean])["identifiers"]
    assert "references" not in told.evidence
