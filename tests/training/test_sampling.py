"""Class weights and sampling: counts are exact, everything follows from seed and epoch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from clinfit.errors import ClinfitError
from clinfit.training.imbalance import Part, Sampling, epoch_indices, label_weights, mixed_epoch, mixed_weights

LABELS = ["no", "yes", "maybe"]
TARGETS = np.array([0] * 13 + [1] * 5 + [2] * 2)

targets_of_any_kind = st.lists(st.integers(0, 2), min_size=1, max_size=60).map(np.array)
samplings = st.sampled_from(["none", "balanced", "oversample"])


def test_no_weights_are_ones() -> None:
    np.testing.assert_array_equal(label_weights("none", LABELS, TARGETS), [1, 1, 1])


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=TARGETS)
    np.testing.assert_allclose(label_weights("balanced", LABELS, TARGETS), expected)


@given(targets_of_any_kind)
def test_balanced_weights_sum_to_the_records_and_are_equal_in_sum_for_each_label(targets: np.ndarray) -> None:
    of_records = label_weights("balanced", LABELS, targets)[targets]
    assert of_records.sum() == pytest.approx(len(targets))
    sums = [of_records[targets == k].sum() for k in np.unique(targets)]
    assert sums == pytest.approx([sums[0]] * len(sums))


def test_label_that_training_does_not_hold_weighs_one() -> None:
    np.testing.assert_allclose(label_weights("balanced", LABELS, np.array([0, 0, 0, 2])), [4 / 6, 1, 2])


def test_weights_by_name_are_used_as_they_are() -> None:
    np.testing.assert_array_equal(label_weights({"yes": 3.5, "no": 0}, LABELS, TARGETS), [0, 3.5, 1])


def test_unknown_label_in_weights_names_the_nearest() -> None:
    with pytest.raises(ClinfitError, match="mabye") as refused:
        label_weights({"mabye": 2.0}, LABELS, TARGETS)
    assert "maybe" in refused.value.fix


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_impossible_weight_is_refused(weight: float) -> None:
    with pytest.raises(ClinfitError):
        label_weights({"yes": weight}, LABELS, TARGETS)


def test_none_is_a_permutation() -> None:
    order = epoch_indices("none", TARGETS, epoch=0, seed=42)
    assert sorted(order) == list(range(20))
    assert list(order) != list(range(20))


def test_oversample_makes_counts_equal_and_repeats_evenly() -> None:
    order = epoch_indices("oversample", TARGETS, epoch=3, seed=42)
    np.testing.assert_array_equal(np.bincount(TARGETS[order]), [13, 13, 13])
    times = np.bincount(order, minlength=20)
    assert set(times[:13]) == {1}
    assert set(times[13:18]) == {2, 3}
    assert set(times[18:]) == {6, 7}


def test_balanced_draws_every_label_equally_often() -> None:
    targets = np.repeat([0, 1, 2], [5000, 900, 100])
    order = epoch_indices("balanced", targets, epoch=0, seed=1)
    assert len(order) == 6000
    np.testing.assert_allclose(np.bincount(targets[order]) / 6000, 1 / 3, atol=0.03)  # 5 standard errors


@given(targets_of_any_kind, samplings, st.integers(0, 50), st.integers(0, 2**32 - 1))
def test_order_follows_from_seed_and_epoch_alone(
    targets: np.ndarray, sampling: Sampling, epoch: int, seed: int
) -> None:
    first = epoch_indices(sampling, targets, epoch, seed)
    np.random.default_rng().random(3)
    np.testing.assert_array_equal(epoch_indices(sampling, targets, epoch, seed), first)
    assert first.min() >= 0
    assert first.max() < len(targets)
    assert set(targets[first]) <= set(targets)


@pytest.mark.parametrize("sampling", ["none", "balanced", "oversample"])
def test_epochs_and_seeds_differ(sampling: Sampling) -> None:
    orders = {tuple(epoch_indices(sampling, TARGETS, epoch, seed)) for epoch in range(3) for seed in range(3)}
    assert len(orders) == 9


# ---------------------------------------------------------------- several tasks

FIRST = Part(np.arange(0, 40, 2), LABELS, TARGETS)
SECOND = Part(np.arange(1, 17, 2), ["a", "b"], None)  # any number of labels a record


def test_one_task_is_ordered_as_if_there_were_no_others() -> None:
    order = mixed_epoch([FIRST], "oversample", 3, seed=42)
    np.testing.assert_array_equal(order, FIRST.members[epoch_indices("oversample", TARGETS, 3, 42)])


@pytest.mark.parametrize("sampling", ["none", "balanced", "oversample"])
def test_sampling_acts_within_each_task_and_leaves_several_labels_alone(sampling: Sampling) -> None:
    order = mixed_epoch([FIRST, SECOND], sampling, 0, seed=1)
    first = order[order % 2 == 0]
    np.testing.assert_array_equal(np.sort(order[order % 2 == 1]), SECOND.members)
    np.testing.assert_array_equal(np.sort(first), np.sort(mixed_epoch([FIRST], sampling, 0, seed=1)))
    assert list(order[: len(first)]) != list(first), "the tasks are mixed"
    np.testing.assert_array_equal(order, mixed_epoch([FIRST, SECOND], sampling, 0, seed=1))
    assert list(order) != list(mixed_epoch([FIRST, SECOND], sampling, 1, seed=1))


def test_a_record_weighs_what_its_task_and_its_label_weigh() -> None:
    parts = [Part(np.array([0, 2]), LABELS, np.array([1, 0])), Part(np.array([1, 3]), ["a", "b"], None)]
    weights = mixed_weights(parts, [0.5, 3.0], {"yes": 4.0, "b": 9.0}, "none", 1)
    np.testing.assert_array_equal(weights, [2.0, 3.0, 0.5, 3.0])
