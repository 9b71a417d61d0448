"""Tasks that ask for texts: the seed divides their records, not what the references say."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clinfit.data.load import load_task
from clinfit.study.tasks import task_from

N = 60


def divided(
    folder: Path, kind: str, references: list[str], split: dict[str, Any], **data: Any
) -> dict[str, str | None]:
    """Split of each record by its id. Records hold a question, a patient, a part (train or test) and a reference."""
    table = pd.DataFrame({"id": [f"r{k}" for k in range(len(references))], "answer": references})
    table["question"] = [f"What was seen in case {k}?" for k in range(len(table))]
    table["patient"] = [f"p{k // 2}" for k in range(len(table))]
    table["part"] = ["train" if k % 5 else "test" for k in range(len(table))]
    table.to_csv(folder / "data.csv", index=False)
    label = {"columns": {"finding": "answer"}} if kind == "extraction" else "answer"
    read = {"path": "data.csv", "id": "id", "inputs": {"question": "question"}, "label": label, "split": split} | data
    asked: dict[str, Any] = {"kind": kind, "data": read} | ({"fields": {"finding": {}}} if kind == "extraction" else {})
    return {record.id: record.split for record in load_task("seen", task_from(asked), folder).records}


@pytest.mark.parametrize("kind", ["generation", "extraction"])
@pytest.mark.parametrize(
    ("split", "data"),
    [
        ({}, {}),
        ({}, {"group": "patient"}),
        ({"column": "part", "validation_of_train": 0.25}, {}),
        ({}, {"quick": 40}),
    ],
    ids=["by record", "by group", "validation of train", "quick"],
)
def test_the_seed_divides_texts_and_references_do_not(
    tmp_path: Path, kind: str, split: dict[str, Any], data: dict[str, Any]
) -> None:
    references = [f"finding {k:02}" for k in range(N)]
    one, again, other = (divided(tmp_path, kind, references, split | {"seed": seed}, **data) for seed in (1, 1, 2))
    assert one == again != other
    # The same records with their references in another order of the alphabet.
    assert divided(tmp_path, kind, references[::-1], split | {"seed": 1}, **data) == one
    # Parts as large as asked, and not the first of the alphabet in one of them.
    test = sorted(int(name[1:]) for name, part in one.items() if part == "test")
    if not split and not data:
        assert len(test) == N // 5 and test != list(range(test[0], test[-1] + 1))
