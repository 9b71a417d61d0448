"""A table gives the same records whatever program had it in hand: types are guessed, values are written back."""

import csv
import tempfile
from pathlib import Path

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from clinfit.data.load import inputs_from_rows, read_inputs
from clinfit.study.tasks import Task, task_from
from copies import copies

TASK: Task = task_from(
    {
        "labels": ["no", "yes"],
        "data": {
            "path": "unused.csv",
            "id": "id",
            "group": "group",
            "inputs": {
                "class": {"column": "class", "type": "category"},
                "number": {"column": "number", "type": "number"},
                "text": "text",
            },
        },
    }
)
FLAGS = ["TRUE", "FALSE", "True", "false", ""]
WHOLE = ["1", "2", "1.0", "+2", "-3", ""]
DECIMALS = ["0.5", "2.50", "7", ".25", "-1.125", "1.5e+3", "NA"]
DATES = ["2026-01-05", "2026-11-30", ""]
WORDS = [
    "male",
    "Female",
    "  typical  angina ",
    "ER+",
    "ER-",
    "a,b;c",
    'say "no"',
    "line\nbreak",
    "männlich",
    "?",
    "NA",
]
WRITTEN = st.text(st.characters(categories=["L", "P", "Zs"], exclude_characters="="), max_size=20)
POOLS = [st.sampled_from(pool) for pool in (FLAGS, WHOLE, DECIMALS, DATES, WORDS)]
VALUES = st.one_of(*POOLS, WRITTEN)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """Rows of id, group, class, number, text; a column is of one pool, or of all, since programs guess by column."""
    count = draw(st.integers(1, 6))
    columns = [
        draw(st.sampled_from([[str(at) for at in range(count)], [f"p{at}.0" for at in range(count)]])),
        draw(st.lists(st.sampled_from(["1", "2.0", "3"]), min_size=count, max_size=count)),
        draw(st.lists(draw(st.sampled_from([*POOLS, VALUES])), min_size=count, max_size=count)),
        draw(
            st.lists(st.sampled_from(draw(st.sampled_from([FLAGS, WHOLE, DECIMALS]))), min_size=count, max_size=count)
        ),
        draw(st.lists(draw(st.sampled_from([*POOLS, VALUES])), min_size=count, max_size=count)),
    ]
    return [list(row) for row in zip(*columns, strict=True)]


@settings(max_examples=40, deadline=None)
@given(tables())
def test_every_copy_gives_the_same_records(rows: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "original.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["id", "group", "class", "number", "text"], *rows])
        original = read_inputs("t", TASK, path)
        for how, copy in copies(path):
            records = (
                inputs_from_rows("t", TASK, copy) if isinstance(copy, pd.DataFrame) else read_inputs("t", TASK, copy)
            )
            assert records == original, how
