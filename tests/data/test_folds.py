"""Records divided into the folds of a repeated cross-validation."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from clinfit.data.audit import audit
from clinfit.data.load import TaskData, load_task
from clinfit.data.records import in_split
from clinfit.errors import ClinfitError
from clinfit.study.data import Data, Fold, SplitRule
from clinfit.study.load import load_study
from clinfit.study.tasks import task_from
from small_study import records, write_study


def loaded(folder: Path, split: dict[str, Any], **data: Any) -> TaskData:
    study = load_study(write_study(folder))
    task = study.tasks["cancer"]
    changed = task.data.model_copy(update={"split": SplitRule(**split), **data})
    return load_task("cancer", task.model_copy(update={"data": changed}), study.folder)


def test_every_record_is_tested_once_a_repeat_by_a_model_that_has_not_seen_it(tmp_path: Path) -> None:
    data = loaded(tmp_path, {"folds": 5, "repeats": 2})
    assert list(data.folds) == [Fold(repeat, fold) for repeat in (1, 2) for fold in (1, 2, 3, 4, 5)]
    for repeat in (1, 2):
        divided = [data.folds[Fold(repeat, fold)] for fold in range(1, 6)]
        tested = Counter(record.id for records in divided for record in in_split(records, "test"))
        assert tested == Counter(f"r{k}" for k in range(60))
        for one in divided:
            assert {len(in_split(one, split)) for split in ("test",)} == {12}
            assert Counter(record.target for record in in_split(one, "test")) == {"yes": 4, "no": 8}
            # A fifth of the training part, by label.
            assert len(in_split(one, "validation")) == pytest.approx(48 / 5, abs=1)
            assert len(one) == 60
    assert {record.split for record in data.records} == {"test"} and len(data.records) == 60


def test_folds_follow_from_the_seed_and_repeats_divide_anew(tmp_path: Path) -> None:
    def tests(data: TaskData, fold: Fold) -> set[str]:
        return {record.id for record in in_split(data.folds[fold], "test")}

    one, again = (loaded(tmp_path, {"folds": 3, "repeats": 2, "seed": 5}) for _ in range(2))
    other = loaded(tmp_path, {"folds": 3, "repeats": 2, "seed": 6})
    assert one.fingerprint == again.fingerprint != other.fingerprint
    assert tests(one, Fold(1, 1)) not in [tests(one, Fold(2, fold)) for fold in (1, 2, 3)]
    assert len({one.of(fold).fingerprint for fold in one.folds}) == 6
    # The first repeat does not depend on how many follow.
    once = loaded(tmp_path, {"folds": 3, "seed": 5})
    assert tests(once, Fold(1, 2)) == tests(one, Fold(1, 2))


def test_groups_stay_in_one_fold_and_out_of_each_others_splits(tmp_path: Path) -> None:
    table = records(120)
    table["patient"] = [f"p{k // 4}" for k in range(len(table))]
    table.to_csv(tmp_path / "data.csv", index=False)
    data = loaded(tmp_path, {"folds": 4}, group="patient")
    for divided in data.folds.values():
        places: dict[str, set[str | None]] = {}
        for record in divided:
            places.setdefault(record.group, set()).add(record.split)
        assert all(len(splits) == 1 for splits in places.values())
    sizes = [len(in_split(divided, "test")) for divided in data.folds.values()]
    assert sum(sizes) == 120 and max(sizes) - min(sizes) <= 4


def test_records_of_several_labels_are_divided_by_all_of_them(tmp_path: Path) -> None:
    """By the rarest alone, folds have 14 to 27 records of the commonest label, as chance has it."""
    rng = np.random.default_rng(1)
    held = rng.random((200, 6)) < [0.5, 0.3, 0.3, 0.1, 0.05, 0.025]
    table = pd.DataFrame({"text": [f"case {k}" for k in range(200)], "id": [f"r{k}" for k in range(200)]})
    columns = {f"l{k}": f"l{k}" for k in range(6)}
    table.assign(**{name: held[:, k].astype(int) for k, name in enumerate(columns)}).to_csv(tmp_path / "data.csv")
    task = task_from(
        {
            "kind": "multilabel",
            "labels": list(columns),
            "data": {
                "path": "data.csv",
                "id": "id",
                "inputs": {"text": "text"},
                "label": {"columns": columns},
                "split": {"folds": 5, "repeats": 2},
            },
        }
    )
    data = load_task("t", task, tmp_path)
    for divided in data.folds.values():
        tested = in_split(divided, "test")
        counts = Counter(label for record in tested for label in record.target or ())
        assert len(tested) == pytest.approx(40, abs=2)
        for k, label in enumerate(columns):
            assert counts[label] == pytest.approx(held[:, k].sum() / 5, abs=1.01), label
    parts = [tuple(r.id for r in in_split(divided, "test")) for divided in data.folds.values()]
    assert len(set(parts)) == 10
    again = load_task("t", task, tmp_path)
    assert again.fingerprint == data.fingerprint


def test_without_validation_the_whole_training_part_is_learned_from(tmp_path: Path) -> None:
    data = loaded(tmp_path, {"folds": 5, "validation_of_train": 0})
    assert {len(in_split(divided, "train")) for divided in data.folds.values()} == {48}


def test_findings_name_every_input_and_say_in_how_many_folds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.standard_normal(60) for name in ("a", "b", "c")})
    table["label"] = np.arange(60) % 2
    table[["a", "b"]] += 20 * np.arange(60)[:, None] % 40
    table["note"] = [f"seen on day {k} of the {k * 7} in ward {k * 13}" for k in range(60)]
    for k in (52, 54, 56, 58):
        table.loc[k] = table.loc[k - 10]
    table.to_csv(tmp_path / "data.csv", index=False)
    block = {
        "labels": ["0", "1"],
        "data": {
            "path": "data.csv",
            "inputs": {"note": "note", **{name: {"column": name, "type": "number"} for name in ("a", "b", "c")}},
            "label": "label",
            "split": {"folds": 5},
        },
    }
    models = [{"name": "lasso", "family": "classical", "kind": "lasso"}]
    task = load_study(write_study(tmp_path, tasks={"t": block}, models=models)).tasks["t"]
    found = audit(task, load_task("t", task, tmp_path))
    assert {finding.title.split()[2] for finding in found if finding.code == "input-tells-label"} == {"a", "b"}
    (duplicates,) = [finding for finding in found if finding.code == "duplicates-across-splits"]
    assert re.search(r"in \d of 5 folds$", duplicates.evidence)


def test_validation_is_taken_as_the_rule_says_of_labels(tmp_path: Path) -> None:
    """Two folds of a label of three: one of them has a single record left to learn from."""
    table = records(60)
    table["label"] = [int(k < 3) for k in range(60)]
    table.to_csv(tmp_path / "data.csv", index=False)
    assert len(loaded(tmp_path, {"folds": 2, "stratify": False, "seed": 1}).folds) == 2
    said = r"into 2 splits \(training and validation of repeat 1, fold \d\): the label 'yes' 1 time"
    with pytest.raises(ClinfitError, match=said):
        loaded(tmp_path, {"folds": 2})


def test_repeats_that_divide_alike_are_refused(tmp_path: Path) -> None:
    table = records(60)
    table["patient"] = [f"p{k // 12}" for k in range(60)]
    table.to_csv(tmp_path / "data.csv", index=False)
    assert len(loaded(tmp_path, {"folds": 5}, group="patient").folds) == 5
    with pytest.raises(ClinfitError, match="2 of 3 repeats divide the records as another one does"):
        loaded(tmp_path, {"folds": 5, "repeats": 3}, group="patient")


def test_a_label_of_too_few_records_stops_it(tmp_path: Path) -> None:
    table = records(60)
    table["label"] = [int(k < 3) for k in range(60)]
    table.to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(ClinfitError, match=r"division into 5 folds: the label 'yes' 3 time"):
        loaded(tmp_path, {"folds": 5})


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"folds": 5, "train": 0.8, "validation": 0.0, "test": 0.2}, "tests every record once"),
        ({"folds": 5, "column": "hospital"}, "tests every record once"),
        ({"folds": 5, "by": "date"}, "tests every record once"),
        ({"repeats": 3}, "`repeats` goes with `folds`"),
        ({"folds": 1}, "greater than or equal to 2"),
        ({"folds": 5, "repeats": 0}, "greater than or equal to 1"),
    ],
)
def test_what_says_nothing_beside_folds_is_refused(split: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SplitRule(**split)


def test_a_file_a_split_leaves_nothing_to_divide() -> None:
    with pytest.raises(ValidationError, match="names the split of every record"):
        Data(files={"train": "a.csv", "test": "b.csv"}, split=SplitRule(folds=5))
