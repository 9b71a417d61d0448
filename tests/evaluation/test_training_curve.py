"""What a curve of validation losses says, on made-up ones."""

from collections.abc import Sequence
from typing import Any

import pytest

from clinfit.evaluation.training_curve import curve_verdict


def log(losses: Sequence[float | None], every: int = 10) -> list[dict[str, Any]]:
    """A row a step, with a validation every few of them."""
    rows: list[dict[str, Any]] = []
    for number, loss in enumerate(losses, 1):
        rows += [{"step": (number - 1) * every + k, "loss": 1.0} for k in range(1, every)]
        rows.append({"step": number * every, "loss": 1.0} | ({} if loss is None else {"validation_loss": loss}))
    return rows


def test_a_falling_curve_may_want_more_epochs() -> None:
    found = curve_verdict(log([2.0, 1.5, 1.2, 1.0]), 40)
    assert (found.shape, found.since) == ("falling", None)
    assert found.sentence == (
        "Validation loss fell to its end (1.200 at step 30, 1.000 at step 40): more epochs may help."
    )


def test_a_flat_curve_tells_since_when() -> None:
    found = curve_verdict(log([2.0, 1.005, 1.0, 1.003, 1.001]), 30)
    assert (found.shape, found.since) == ("flat", 20)
    assert "flat since step 20 (change within 1 %)" in found.sentence


def test_a_u_tells_by_how_much_it_rose_and_what_was_kept() -> None:
    losses = [2.0, 1.0, 1.1, 1.25]
    found = curve_verdict(log(losses), 20)
    assert (found.shape, found.since) == ("rose", 20)
    assert found.sentence == (
        "Validation loss rose since step 20 by 0.250 (25.0 %); the best checkpoint was kept: step 20."
    )
    assert "best primary metric, was kept: step 30" in curve_verdict(log(losses), 30).sentence
    assert "kept" not in curve_verdict(log(losses), None).sentence


def test_losses_that_fall_by_little_in_each_of_many_validations_are_not_flat() -> None:
    """Neighbours are alike; those of the last quarter are not."""
    assert curve_verdict(log([2.0 * 0.996**k for k in range(100)]), 1000).shape == "falling"


def test_two_alike_at_the_very_end_are_not_flat() -> None:
    assert curve_verdict(log([2.0, 1.8, 1.6, 1.4, 1.2, 1.0, 0.999]), 70).shape == "falling"


@pytest.mark.parametrize("losses", [[1.0, 0.995], [2.0, 1.0, 0.995]])
def test_few_validations_that_are_alike_at_their_end_tell_nothing(losses: list[float]) -> None:
    """Two alike would be called flat of every training whose learning rate ends at 0."""
    found = curve_verdict(log(losses), None)
    assert (found.shape, found.since) == ("unknown", None)
    assert f"{len(losses)} values" in found.sentence and "train.evaluate_every" in found.sentence


def test_few_validations_tell_a_clear_fall_or_rise() -> None:
    assert curve_verdict(log([2.0, 1.0]), None).shape == "falling"
    assert curve_verdict(log([1.0, 2.0]), None).shape == "rose"


def test_a_curve_that_falls_at_its_own_pace_is_not_flat() -> None:
    """All of it lies within 1 %, and each validation found less than the one before."""
    assert curve_verdict(log([1.0, 0.9985, 0.997, 0.9955, 0.994]), None).shape == "falling"


def test_a_fall_that_nobody_would_see_is_flat() -> None:
    assert curve_verdict(log([1.0, 0.9999, 0.9998, 0.9997]), None).shape == "flat"


def test_a_curve_that_goes_up_and_down_within_little_is_flat() -> None:
    found = curve_verdict(log([1.002, 1.0, 1.0015, 1.0005, 1.0012]), None)
    assert (found.shape, found.since) == ("flat", 10)


def test_a_curve_that_settles_is_flat_though_each_loss_is_a_little_lower() -> None:
    """The last quarter of the steps brought less than a tenth of the whole fall."""
    assert curve_verdict(log([3.0, 2.0, 1.5, 1.2, 1.01, 1.004, 1.002, 1.001]), None).shape == "flat"


@pytest.mark.parametrize(("losses", "told"), [([], "no validation loss"), ([None, 1.0, None], "one validation")])
def test_no_curve_is_no_verdict(losses: list[float | None], told: str) -> None:
    found = curve_verdict(log(losses), None)
    assert found.shape == "unknown" and told in found.sentence


def test_losses_that_are_no_number_are_left_out() -> None:
    assert curve_verdict(log([float("nan"), 2.0, 1.0, float("inf")]), 30).shape == "falling"
