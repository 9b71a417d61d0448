import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from clinfit.data.duplicates import COMPARED, SIMILARITY, find_duplicates, jaccard, leaked_test_ids, shingles
from clinfit.data.records import Record

WORDS = random.Random(0).sample([f"{a}{b}{c}" for a in "bdfglm" for b in "aeiou" for c in "nprst"], 100)


def text(seed: int, words: int = 120) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def altered(original: str, words: int) -> str:
    """The text with its first words replaced."""
    return " ".join(["changed"] * words + original.split()[words:])


def test_equal_up_to_case_punctuation_and_spaces(make_record: Callable[..., Record]) -> None:
    one, other = "Fever and cough, since two days.", "fever and COUGH -- since\ntwo days"
    found = find_duplicates([make_record("1", one), make_record("2", text(1)), make_record("3", other)])
    assert found.exact == [[0, 2]]
    assert found.near == []


def test_near_duplicates_are_found_and_verified(make_record: Callable[..., Record]) -> None:
    original = text(1)
    near, far = altered(original, 8), altered(original, 40)
    assert jaccard(frozenset(shingles(original)), frozenset(shingles(near))) >= SIMILARITY
    assert jaccard(frozenset(shingles(original)), frozenset(shingles(far))) < SIMILARITY
    records = [make_record("1", original), make_record("2", near), make_record("3", far), make_record("4", text(2))]
    assert find_duplicates(records).near == [([0], [1])]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=2, max_size=12))
@settings(max_examples=30, deadline=None)
def test_no_pair_is_missed_or_made_up(seeds: list[tuple[int, int]]) -> None:
    texts = list(dict.fromkeys(altered(text(seed, 60), words) for seed, words in seeds))
    sets = [frozenset(shingles(each)) for each in texts]
    alike = {(i, j) for j in range(len(texts)) for i in range(j) if jaccard(sets[i], sets[j]) >= SIMILARITY}
    found = find_duplicates([Record(str(at), str(at), {"text": each}) for at, each in enumerate(texts)])
    assert {tuple(sorted((a[0], b[0]))) for a, b in found.near} == alike


def test_the_same_long_text_with_another_number_is_another_record(make_record: Callable[..., Record]) -> None:
    records = [make_record("1", text(1), age=50.0), make_record("2", altered(text(1), 2), age=60.0)]
    assert find_duplicates(records).near == []


def test_tables_of_numbers_and_categories_are_compared_exactly(make_record: Callable[..., Record]) -> None:
    yes = {f"sign{at}": "yes" for at in range(30)}
    rows = [
        make_record("1", age=1.0, **yes),
        make_record("2", age=1.0, **yes),
        make_record("3", age=1.0, **yes | {"sign0": "no"}),
    ]
    found = find_duplicates(rows)
    assert found.exact == [[0, 1]]
    assert found.near == []


def test_a_coarse_table_repeats_by_necessity(make_record: Callable[..., Record]) -> None:
    records = [make_record(str(at), sex="f" if at % 2 else "m", smoker=bool(at % 3)) for at in range(40)]
    found = find_duplicates(records)
    assert (found.exact, found.near, found.combinations) == ([], [], 4)


def test_leaked_are_test_records_that_repeat_training(make_record: Callable[..., Record]) -> None:
    records = [
        make_record("train", text(1)),
        make_record("exact", text(1).upper(), "test"),
        make_record("near", altered(text(1), 5), "test"),
        make_record("new", text(2), "test"),
        make_record("again", text(2), "test"),
        make_record("validation", text(3), "validation"),
        make_record("like validation", text(3), "test"),
    ]
    assert leaked_test_ids(records) == {"exact", "near"}


def test_many_texts_of_one_template_still_show_every_leak(make_record: Callable[..., Record]) -> None:
    body = text(1)
    records = [make_record(str(at), f"{body} case {at}", "test" if at % 2 else "train") for at in range(4 * COMPARED)]
    assert leaked_test_ids(records) == {record.id for record in records if record.split == "test"}


def test_no_records() -> None:
    assert leaked_test_ids([]) == set()
