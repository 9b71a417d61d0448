"""The columns by which results are shown: read, binned, refused, and never part of what a model is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clinfit.data.load import load_task
from clinfit.data.subgroups import MOST_GROUPS, bin_names, in_order
from clinfit.errors import ClinfitError
from clinfit.study.evaluation import Subgroup
from clinfit.study.tasks import Task

Rows = list[dict[str, Any]]
WriteCsv = Callable[..., Path]
MakeTask = Callable[..., Task]


@pytest.fixture
def rows(rows: Rows) -> Rows:
    return [row | {"sex": "f" if at % 3 else "m", "years": str(30 + 5 * at)} for at, row in enumerate(rows)]


def groups(task: Task, path: Path, *subgroups: Subgroup) -> dict[str, dict[str, str]]:
    """Column -> id -> group."""
    table = load_task("outcome", task, path.parent, subgroups).subgroups.set_index("id")
    return {str(column): table[column].to_dict() for column in table.columns}


def test_a_text_column_and_a_binned_number(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    rows[2]["sex"] = ""
    path = write_csv(rows)
    found = groups(make_task(path.name), path, Subgroup(column="sex"), Subgroup(column="years", bins=[40, 65]))
    assert found["sex"]["p0"] == "m" and found["sex"]["p1"] == "f" and found["sex"]["p2"] == "missing"
    # An edge belongs to the group above it: p2 is 40, p7 is 65.
    assert [found["years"][f"p{at}"] for at in (1, 2, 6, 7)] == ["below 40", "40 to 65", "40 to 65", "65 and above"]


def test_only_records_that_cleaning_keeps(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv(rows)
    task = make_task(path.name, clean={"drop_missing": ["note"]})
    assert "p5" not in groups(task, path, Subgroup(column="sex"))["sex"]


def test_subgroups_change_neither_fingerprint_nor_records(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv(rows)
    plain, named = (load_task("outcome", make_task(path.name), path.parent, s) for s in ((), (Subgroup(column="sex"),)))
    assert plain == named and plain.fingerprint == named.fingerprint
    assert list(named.subgroups.columns) == ["id", "sex"]


@pytest.mark.parametrize(
    ("subgroups", "found"),
    [
        ([Subgroup(column="sexx")], "no column 'sexx'"),
        ([Subgroup(column="sex"), Subgroup(column="sex")], "named twice"),
        ([Subgroup(column="patient")], "tells every record apart"),
        ([Subgroup(column="years", bins=[65, 40])], "has the bins [65.0, 40.0]"),
        ([Subgroup(column="sex", bins=[1])], "12 of 12 values cannot be read"),
    ],
)
def test_what_is_refused(
    rows: Rows, make_task: MakeTask, write_csv: WriteCsv, subgroups: list[Subgroup], found: str
) -> None:
    path = write_csv(rows)
    with pytest.raises(ClinfitError) as error:
        load_task("outcome", make_task(path.name), path.parent, subgroups)
    assert found in error.value.found


def test_the_nearest_column_is_named(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    path = write_csv(rows)
    with pytest.raises(ClinfitError) as error:
        load_task("outcome", make_task(path.name), path.parent, [Subgroup(column="sexx")])
    assert "write sex for sexx" in error.value.fix


def test_too_many_groups_ask_for_bins_and_show_no_value(make_task: MakeTask, write_csv: WriteCsv) -> None:
    rows = [
        {
            "patient": f"p{at}",
            "age": at,
            "note": f"n {at}",
            "outcome": "ill" if at % 2 else "well",
            "code": f"secret{at}",
        }
        for at in range(MOST_GROUPS + 1)
    ]
    path = write_csv(rows)
    with pytest.raises(ClinfitError) as error:
        load_task("outcome", make_task(path.name), path.parent, [Subgroup(column="code")])
    assert "bins" in error.value.fix
    assert "secret" not in str(error.value.lines())


def test_running_text_is_no_group(rows: Rows, make_task: MakeTask, write_csv: WriteCsv) -> None:
    text = "Mrs Doe came in with pain in the chest and a cough that had lasted for weeks"
    path = write_csv([row | {"story": text} for row in rows])
    with pytest.raises(ClinfitError) as error:
        load_task("outcome", make_task(path.name), path.parent, [Subgroup(column="story")])
    assert "Doe" not in str(error.value.lines())


def test_order_of_groups() -> None:
    assert bin_names([40, 65.5]) == ["below 40", "40 to 65.5", "65.5 and above"]
    ages = Subgroup(column="age", bins=[100])
    assert in_order(ages, ["missing", "100 and above", "below 100"]) == ["below 100", "100 and above", "missing"]
    assert in_order(Subgroup(column="sex"), ["z", "missing", "a"]) == ["a", "z", "missing"]
