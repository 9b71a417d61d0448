import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinfit.data.records import SPLITS
from clinfit.data.splits import (
    assign_splits,
    carve_validation,
    check_splits,
    groups_that_straddle,
    splits_by_time,
    splits_from_column,
)
from clinfit.errors import ClinfitError
from clinfit.study.data import SplitRule

LABELS = ["a", "b", "c"]
RATIOS = st.sampled_from([(0.6, 0.2, 0.2), (0.7, 0.15, 0.15), (0.8, 0.0, 0.2), (0.34, 0.33, 0.33), (0.05, 0.05, 0.9)])


def rule(ratios: tuple[float, float, float] = (0.6, 0.2, 0.2), seed: int = 1, stratify: bool = True) -> SplitRule:
    return SplitRule(train=ratios[0], validation=ratios[1], test=ratios[2], seed=seed, stratify=stratify)


def ungrouped(targets: list[str]) -> list[str]:
    return [str(at) for at in range(len(targets))]


@given(
    counts=st.lists(st.integers(20, 80), min_size=3, max_size=3),
    ratios=RATIOS,
    seed=st.integers(0, 5),
    stratify=st.booleans(),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_sizes_are_within_one_record_and_labels_within_two(
    counts: list[int], ratios: tuple[float, float, float], seed: int, stratify: bool, data: st.DataObject
) -> None:
    targets = data.draw(st.permutations([label for label, n in zip(LABELS, counts, strict=True) for _ in range(n)]))
    splits = assign_splits(targets, ungrouped(targets), LABELS, rule(ratios, seed, stratify))
    sizes, cells = Counter(splits), Counter(zip(targets, splits, strict=True))
    assert len(splits) == len(targets)
    for split, ratio in zip(SPLITS, ratios, strict=True):
        assert abs(sizes[split] - ratio * len(targets)) <= 1
        for label, count in zip(LABELS, counts, strict=True):
            assert not stratify or abs(cells[label, split] - ratio * count) <= 2
            assert not stratify or ratio == 0 or cells[label, split] >= 1


@given(rare=st.integers(3, 6), common=st.integers(30, 60), seed=st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_a_rare_label_is_in_every_split(rare: int, common: int, seed: int) -> None:
    targets = ["a"] * rare + ["b"] * common
    splits = assign_splits(targets, ungrouped(targets), ["a", "b"], rule(seed=seed))
    assert {split for split, target in zip(splits, targets, strict=True) if target == "a"} == set(SPLITS)


@given(
    rows=st.lists(st.tuples(st.integers(0, 40), st.sampled_from(LABELS)), min_size=60, max_size=200),
    ratios=RATIOS,
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_groups_never_straddle_and_nothing_is_lost(
    rows: list[tuple[int, str]], ratios: tuple[float, float, float], seed: int
) -> None:
    groups, targets = [str(group) for group, _ in rows], [target for _, target in rows]
    try:
        splits = assign_splits(targets, groups, LABELS, rule(ratios, seed))
    except ClinfitError:
        return
    assert len(splits) == len(rows)
    assert groups_that_straddle(groups, splits) == []
    assert ratios[1] > 0 or "validation" not in splits
    assert splits == assign_splits(targets, groups, LABELS, rule(ratios, seed))


@given(sizes=st.lists(st.integers(1, 5), min_size=100, max_size=160), seed=st.integers(0, 3), ratios=RATIOS)
@settings(max_examples=25, deadline=None)
def test_grouped_sizes_and_labels_are_near_their_shares(
    sizes: list[int], seed: int, ratios: tuple[float, float, float]
) -> None:
    groups = [str(group) for group, size in enumerate(sizes) for _ in range(size)]
    targets = [LABELS[0 if group % 3 else 1] for group, size in enumerate(sizes) for _ in range(size)]
    splits = assign_splits(targets, groups, LABELS, rule(ratios, seed))
    counts, cells = Counter(splits), Counter(zip(targets, splits, strict=True))
    for split, ratio in zip(SPLITS, ratios, strict=True):
        assert abs(counts[split] - ratio * len(groups)) <= max(sizes) + 1
        for label, count in Counter(targets).items():
            assert abs(cells[label, split] - ratio * count) <= 2 * max(sizes) + 1


@pytest.mark.parametrize("holders", [3, 4])
def test_a_label_of_as_many_groups_as_splits_is_in_every_split(holders: int) -> None:
    rng = random.Random(0)
    for seed in range(120):
        sizes = [rng.choice([1, 1, 2, 3, 6]) for _ in range(60)]
        groups = [f"g{at}" for at, size in enumerate(sizes) for _ in range(size)]
        seen: set[str] = set()
        targets = []
        for group in groups:
            targets.append("rare" if group not in seen and int(group[1:]) < holders else "common")
            seen.add(group)
        splits = assign_splits(targets, groups, ["common", "rare"], SplitRule(seed=seed))
        assert {split for split, target in zip(splits, targets, strict=True) if target == "rare"} == set(SPLITS)
        assert not groups_that_straddle(groups, splits)


def test_large_groups_do_not_all_land_in_training() -> None:
    groups = [f"large{at}" for at in range(10) for _ in range(20)] + [f"small{at}" for at in range(200)]
    targets = ["a" if at % 2 else "b" for at in range(len(groups))]
    splits = assign_splits(targets, groups, ["a", "b"], rule())
    assert {split for split, group in zip(splits, groups, strict=True) if group.startswith("large")} == set(SPLITS)


def test_another_seed_divides_otherwise() -> None:
    targets = ["a", "b"] * 50
    assert assign_splits(targets, ungrouped(targets), ["a", "b"], rule(seed=1)) != assign_splits(
        targets, ungrouped(targets), ["a", "b"], rule(seed=2)
    )


@given(
    sets=st.lists(st.lists(st.sampled_from("abcdef"), max_size=4, unique=True), min_size=60, max_size=150),
    ratios=RATIOS,
    seed=st.integers(0, 5),
    grouped=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_records_with_several_labels_are_spread_by_their_rarest(
    sets: list[list[str]], ratios: tuple[float, float, float], seed: int, grouped: bool
) -> None:
    targets = [tuple(sorted(held)) for held in sets]
    counts = Counter(label for held in targets for label in held)
    groups = [str(at // 2) for at in range(len(targets))] if grouped else ungrouped([""] * len(targets))
    labels = [label for label in "abcdef" if counts[label] > 8]
    splits = assign_splits(targets, groups, labels, rule(ratios, seed))
    assert groups_that_straddle(groups, splits) == []
    order = {label: at for at, label in enumerate(dict.fromkeys([*labels, *sorted(counts)]))}
    rarest = [min(held, key=lambda label: (counts[label], order[label]), default="none") for held in targets]
    cells = Counter(zip(rarest, splits, strict=True))
    small = sum(count < 20 for count in Counter(rarest).values())  # what these are given, the commonest lacks
    slack = (4 if grouped else 2) + 2 * small
    for split, ratio in zip(SPLITS, ratios, strict=True):
        assert abs(Counter(splits)[split] - ratio * len(targets)) <= slack
        for label, count in Counter(rarest).items():
            assert abs(cells[label, split] - ratio * count) <= slack


def test_of_several_labels_the_rarest_is_spread_evenly() -> None:
    """Twelve records have a rare label beside a common one: by the common one alone, some split could get none."""
    targets = [("common", "rare")] * 12 + [("common",)] * 188
    splits = assign_splits(targets, ungrouped([""] * 200), ["common", "rare"], rule((0.5, 0.25, 0.25)))
    assert Counter(splits[:12]) == {"train": 6, "validation": 3, "test": 3}


# ---------------------------------------------------------------- errors


def test_one_row() -> None:
    with pytest.raises(ClinfitError) as error:
        assign_splits(["a"], ["1"], ["a", "b"], rule())
    assert "1 record, too few for 3 splits" in error.value.found


def test_a_label_that_appears_once_is_named_with_its_count() -> None:
    targets = ["a"] * 20 + ["b"]
    with pytest.raises(ClinfitError) as error:
        assign_splits(targets, ungrouped(targets), ["a", "b"], rule())
    assert "'b' 1 time(s)" in error.value.found
    assert "stratify: false" in error.value.fix


def test_a_label_of_one_patient_cannot_be_in_three_splits() -> None:
    targets = ["a"] * 20 + ["b"] * 10
    groups = [str(at // 2) for at in range(20)] + ["one"] * 10
    with pytest.raises(ClinfitError, match=r"'b' 10 time\(s\) in 1 group"):
        assign_splits(targets, groups, ["a", "b"], rule())


def test_nothing_to_test_is_an_error() -> None:
    with pytest.raises(ClinfitError, match="nothing to test"):
        assign_splits(["a", "b"] * 5, ungrouped(["a"] * 10), ["a", "b"], rule((0.8, 0.2, 0.0)))


def test_an_empty_split_and_a_label_that_training_never_sees() -> None:
    with pytest.raises(ClinfitError, match="the test split has no records"):
        check_splits(["train"], ["a"], ["a"], ["train", "test"])
    with pytest.raises(ClinfitError, match="no record of the train split has the label 'b'"):
        check_splits(["train", "test"], ["a", "b"], ["a", "b"], ["train", "test"])


# ---------------------------------------------------------------- by column


def test_splits_by_column() -> None:
    assert splits_from_column(["train", "Test", "validation"], SplitRule(column="part")) == [
        "train",
        "test",
        "validation",
    ]
    mapped = SplitRule(column="part", map={"dev": "validation", "1": "train"})
    assert splits_from_column(["dev", 1, 1.0], mapped) == ["validation", "train", "train"]


def test_an_unknown_split_name_shows_the_map() -> None:
    with pytest.raises(ClinfitError) as error:
        splits_from_column(["train", "dev", None], SplitRule(column="part"))
    assert "dev (1 x)" in error.value.found and "missing (1 x)" in error.value.found
    assert "map: {dev: validation" in error.value.fix


def test_a_split_column_of_free_text_is_not_shown() -> None:
    with pytest.raises(ClinfitError) as error:
        splits_from_column(["train", "Mrs Jones came with chest pain"], SplitRule(column="part"))
    told = " ".join(error.value.lines())
    assert "1 of 2 rows" in told and "row 2" in told
    assert "Jones" not in told


# ---------------------------------------------------------------- by time, by site, from training


def test_by_time_the_latest_are_the_test_and_groups_stay_together() -> None:
    dates = [f"2026-{1 + at % 12:02}-{1 + at // 12:02}" for at in range(120)]
    rule = SplitRule(by="date")
    splits = splits_by_time(dates, ungrouped(dates), rule)
    assert Counter(splits) == {"train": 72, "validation": 24, "test": 24}
    by = {split: [date for date, s in zip(dates, splits, strict=True) if s == split] for split in SPLITS}
    assert max(by["train"]) < min(by["validation"]) and max(by["validation"]) < min(by["test"])
    groups = [f"p{at % 40}" for at in range(120)]
    assert not groups_that_straddle(groups, splits_by_time(dates, groups, rule))
    assert splits_by_time([2020, 2021.0, "2022", 2023, 2024], list("abcde"), rule)[-1] == "test"


def test_what_is_no_time_is_named_by_its_row() -> None:
    with pytest.raises(ClinfitError, match="1 of 2 values cannot be read, in record row 2"):
        splits_by_time(["2026-01-05", "5.1.26"], ["a", "b"], SplitRule(by="date"))


def test_a_site_is_held_out() -> None:
    rule = SplitRule(column="site", held_out=["VA  Long Beach"])
    assert splits_from_column(["Cleveland", "VA Long Beach ", "x"], rule) == ["train", "test", "train"]
    with pytest.raises(ClinfitError, match="has no value 'VA Long Beach'") as caught:
        splits_from_column(["Cleveland", "VA long beach"], rule)
    assert caught.value.fix == "did you mean 'VA long beach'?"


def test_a_record_without_a_site_may_be_of_the_one_held_out() -> None:
    rule = SplitRule(column="site", held_out=["North"])
    with pytest.raises(ClinfitError) as caught:
        splits_from_column(["South", None, "North", " "], rule)
    assert caught.value.found == "split column 'site' is empty in 2 of 4 rows, records row 2, row 4"
    assert "held out" in caught.value.expected and "take these rows out" in caught.value.fix


def test_validation_is_taken_from_training_by_label_and_group() -> None:
    targets = ["a", "b"] * 50
    groups = [f"g{at // 4}" for at in range(100)]
    splits = ["train"] * 80 + ["test"] * 20
    rule = SplitRule(column="part", validation_of_train=0.25)
    carved = carve_validation(splits, targets, groups, ["a", "b"], rule)  # type: ignore[arg-type]
    assert Counter(carved) == {"train": 60, "validation": 20, "test": 20} and carved[80:] == ["test"] * 20
    assert not groups_that_straddle(groups, carved)
    with pytest.raises(ClinfitError, match="names validation records"):
        carve_validation(["train", "validation"], ["a", "b"], ["x", "y"], [], rule)
