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


def pair(one: str, other: str) -> list[Record]:
    return [Record("a", "a", {"text": one}, "x", "train"), Record("b", "b", {"text": other}, "x", "test")]


def test_words_are_divided_by_any_white_space() -> None:
    for space in (" ", "\n", "\u00a0", "\t"):
        assert leaked_test_ids(pair(text(0).replace(" ", space), altered(text(0), 2).replace(" ", space))) == {"b"}
        assert not leaked_test_ids(pair(text(0).replace(" ", space), text(1).replace(" ", space)))


def test_scripts_without_spaces() -> None:
    for first in (0x4E00, 0x3041, 0x0E01):  # Chinese, Japanese, Thai
        rng = random.Random(first)
        letters = [chr(first + rng.randrange(40)) for _ in range(200)]
        other = [chr(first + rng.randrange(40)) for _ in range(200)]
        edited = [*letters[:100], letters[3], *letters[101:]]
        assert leaked_test_ids(pair("".join(letters), "".join(edited))) == {"b"}
        assert not leaked_test_ids(pair("".join(letters), "".join(other)))
        pauses = "\uff0c".join("".join(letters[at : at + 8]) for at in range(0, 200, 8))
        assert leaked_test_ids(pair("".join(letters), pauses)) == {"b"}


def people(*columns: str) -> list[Record]:
    """Different people of an ordinary table: age, sex, kind of pain, and measurements where they are asked for."""
    rng = random.Random(0)
    kinds = {
        "age": lambda: float(round(rng.gauss(55, 9))),
        "sex": lambda: rng.choice("fm"),
        "pain": lambda: rng.choice(["none", "typical", "atypical", "other"]),
        "pressure": lambda: float(rng.randint(90, 180)),
        "cholesterol": lambda: float(rng.randint(120, 400)),
        "rate": lambda: float(rng.randint(60, 200)),
    }
    splits = ("train", "train", "validation", "test")
    return [
        Record(str(at), str(at), {name: kinds[name]() for name in columns}, "x", splits[at % 4])  # type: ignore[arg-type]
        for at in range(900)
    ]


def test_different_people_who_are_alike_are_no_leak() -> None:
    found = find_duplicates(people("age", "sex", "pain"))
    assert found.exact == [] and found.combinations is not None


def test_a_copied_person_of_a_finer_table_is_one() -> None:
    records = people("age", "sex", "pain", "pressure", "cholesterol", "rate")
    assert find_duplicates(records).exact == []
    copy = Record("copy", "copy", records[0].inputs, "x", "test")
    assert find_duplicates([*records, copy]).exact == [[0, 900]]
