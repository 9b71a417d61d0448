import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from clinfit.data.audit import LEAST_EVENTS, LONG_WORDS, audit
from clinfit.data.load import DataNotes, TaskData, load_task
from clinfit.data.records import Record, Split
from clinfit.findings import Finding
from clinfit.study import Task

MakeRecord = Callable[..., Record]


@pytest.fixture
def task() -> Task:
    return Task.model_validate(
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
    task = Task.model_validate(
        {"labels": ["well", "ill", "dead"], "data": {"path": "x", "inputs": {"text": "text"}, "label": "outcome"}}
    )
    more = [make_record(f"d{at}", f"last visit {at}", "train", "dead") for at in range(100)]
    found = findings(task, [*sound, *more])
    assert found["label-missing-in-test"].level == "warn"
    assert "'dead' has none of 200" in found["label-missing-in-test"].evidence


def test_a_small_test_split_names_the_counts(task: Task, sound: list[Record]) -> None:
    found = findings(task, [record for record in sound if record.id != "test1"])
    assert found["small-test"].evidence == f"ill {LEAST_EVENTS - 1}"


@pytest.mark.parametrize(("kept", "level"), [(20, "info"), (5, "warn")])
def test_imbalance(task: Task, sound: list[Record], kept: int, level: str) -> None:
    ill = [record for record in sound if record.split == "train" and record.target == "ill"]
    found = findings(task, [record for record in sound if record not in ill[kept:]])
    assert found["imbalance"].level == level
    assert f"ill {kept} (" in found["imbalance"].evidence


@pytest.mark.parametrize(("missing", "level"), [(10, "info"), (250, "warn")])
def test_missing_values(task: Task, sound: list[Record], missing: int, level: str) -> None:
    records = [
        Record(r.id, r.group, {"text": r.inputs["text"], "age": None if at < missing else 1.0}, r.target, r.split)
        for at, r in enumerate(sound)
    ]
    block = {"path": "x", "label": "outcome", "inputs": {"text": "text", "age": {"column": "age", "type": "number"}}}
    task = task.model_validate({"labels": task.labels, "data": block})
    found = findings(task, records)
    assert found["missing-values"].level == level
    assert f"age {missing} (" in found["missing-values"].evidence
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


# ---------------------------------------------------------------- the real sets

needs_mirror = pytest.mark.skipif("CLINFIT_DATA" not in os.environ, reason="CLINFIT_DATA names no local mirror")
CONDITIONS = ["neoplasms", "digestive", "nervous", "cardiovascular", "general"]


@needs_mirror
def test_the_113_texts_with_two_labels_of_medical_abstracts_are_found() -> None:
    task = Task.model_validate(
        {
            "labels": CONDITIONS,
            "data": {
                "path": "catalog:medical-abstracts-tc",
                "inputs": {"abstract": "medical_abstract"},
                "label": {"column": "condition_label", "map": dict(enumerate(CONDITIONS, start=1))},
            },
        }
    )
    found = {finding.code: finding for finding in audit(task, load_task(task, Path()))}
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
        task = Task.model_validate({"labels": ["Non-Cancer", "Cancer"], "data": block | data})
        records = load_task(task, Path(os.environ["CLINFIT_DATA"])).records
        contents.append({record.id: (record.inputs, record.target) for record in records})
    assert len(contents[0]) == 800
    assert contents[0] == contents[1]
