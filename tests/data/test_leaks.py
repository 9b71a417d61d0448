"""Leaks injected into clean records are found, each of its kind, and nothing else is."""

from collections.abc import Callable

from clinfit.data.duplicates import find_duplicates
from clinfit.data.leaks import leaking_tests
from clinfit.data.records import Record, Split

MakeRecord = Callable[..., Record]
BODY = " ".join(f"word{at}" for at in range(100))


def test_each_kind_of_leak(make_record: MakeRecord) -> None:
    sizes: dict[Split, int] = {"train": 30, "validation": 10, "test": 10}
    clean = [make_record(f"{s}{at}", f"visit {at} of {s}", s) for s, size in sizes.items() for at in range(size)]
    injected = [
        make_record("copy", clean[0].inputs["text"], "test"),
        make_record("validated", clean[30].inputs["text"], "test"),
        make_record("near", f"{BODY} more", "test"),
        make_record("source", BODY, "train"),
        make_record("first", "first visit of a patient", "train", group="p"),
        make_record("second", "second visit of a patient", "test", group="p"),
        make_record("twin1", "the same twice within the test split", "test"),
        make_record("twin2", "the same twice within the test split", "test"),
    ]
    records = [*clean, *injected]
    found = leaking_tests(records, find_duplicates(records))
    assert found == {"group": ["second"], "exact": ["copy", "validated"], "near": ["near"]}


def test_an_exact_copy_is_not_a_near_one_too(make_record: MakeRecord) -> None:
    records = [
        make_record("a", BODY, "train"),
        make_record("b", BODY, "test"),
        make_record("c", f"{BODY} more", "validation"),
    ]
    assert leaking_tests(records, find_duplicates(records)) == {"exact": ["b"]}


def test_clean_records_leak_nothing(make_record: MakeRecord) -> None:
    records = [make_record("a", "one text", "train"), make_record("b", "another text", "test")]
    assert leaking_tests(records, find_duplicates(records)) == {}
