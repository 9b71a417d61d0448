"""The first table."""

from clinfit.report.cohort import input_table


def test_small_cells_of_categories_are_not_counted() -> None:
    split = {"n": 22, "missing": 0, "distinct": 3, "counts": {"north": 10, "south": None, "west": None}}
    table = input_table({"site": {"type": "category", "unit": None, "splits": {"train": split}}})
    assert table.rows[0][1] == "north 10, south not counted, west not counted"
