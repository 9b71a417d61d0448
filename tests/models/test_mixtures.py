"""Several tasks in one model, and stages: what one task or stage may change in another, and what it may not."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clinfit.errors import ClinfitError
from clinfit.models.base import Lesson, Workspace
from clinfit.models.families import create_model, load_model
from clinfit.study.models import Encoder, Lora
from kinds import dataset
from two_layer import bert_base
from two_tasks import ONE, OTHER, SPECS, TASKS, TRAIN, answers, each, each_neural, fitted, lesson, log, records

# ---------------------------------------------------------------- mixtures


@each
def test_one_task_alone_is_that_task_in_a_mixture_in_which_the_others_weigh_nothing(model: str, tmp_path: Path) -> None:
    alone, _ = fitted(model, lesson({ONE: 1.0}, ONE), tmp_path / "alone")
    mixed, summary = fitted(model, lesson({ONE: 1.0, OTHER: 0.0}), tmp_path / "mixed")
    np.testing.assert_array_equal(answers(mixed, ONE), answers(alone, ONE))
    assert list(summary.details["tasks"]) == [ONE]
    made_for_one, _ = fitted(model, lesson({ONE: 1.0}, ONE), tmp_path / "made", {ONE: TASKS[ONE]})
    if model.startswith("encoder"):  # another head, of which the same outputs are drawn and trained
        np.testing.assert_allclose(answers(made_for_one, ONE), answers(alone, ONE), atol=1e-4)
    else:
        np.testing.assert_array_equal(answers(made_for_one, ONE), answers(alone, ONE))


@each
def test_all_tasks_of_a_mixture_are_learnt_and_saved(model: str, tmp_path: Path) -> None:
    mixed, summary = fitted(model, lesson({ONE: 1.0, OTHER: 1.0}), tmp_path / "fit")
    assert list(summary.details["tasks"]) == [ONE, OTHER]
    mixed.save(tmp_path / "saved")
    again = load_model(SPECS[model].family, tmp_path / "saved")
    for task in TASKS:
        np.testing.assert_array_equal(answers(again, task), answers(mixed, task))


@each_neural
def test_weights_of_tasks_reach_the_loss(model: str, tmp_path: Path) -> None:
    """The first loss, over all records in one step: a weight of 3 counts each record of the task three times."""
    plain = {"train": TRAIN.model_copy(update={"batch_size": 64, "epochs": 1}), "lora": Lora(rank=2)}
    spec = SPECS[model].model_copy(update=plain)
    losses, validation = {}, {}
    for name, weights in {"a": {ONE: 1.0}, "b": {OTHER: 1.0}, "1:3": {ONE: 1.0, OTHER: 3.0}}.items():
        (tmp_path / name).mkdir()
        create_model(spec, TASKS, 3).fit(lesson(weights), Workspace(tmp_path / name))
        (row,) = log(tmp_path / name)
        losses[name] = row["loss"]
        validation[name] = row
    n = [len(records("train", task)) for task in (ONE, OTHER)]
    expected = (n[0] * losses["a"] + 3 * n[1] * losses["b"]) / sum(n)
    assert losses["1:3"] == pytest.approx(expected, rel=1e-5 if model == "causal" else 0.1)  # BERT has dropout
    assert expected > 1.4 * (n[0] * losses["a"] + n[1] * losses["b"]) / sum(n)
    tasks = validation["1:3"]["validation_tasks"]
    seen = [len(records("validation", task)) for task in (ONE, OTHER)]
    mean = (seen[0] * tasks[ONE]["loss"] + 3 * seen[1] * tasks[OTHER]["loss"]) / (seen[0] + 3 * seen[1])
    assert validation["1:3"]["validation_loss"] == pytest.approx(mean)


@each_neural
def test_the_primary_metric_of_a_mixture_is_the_mean_of_its_tasks(model: str, tmp_path: Path) -> None:
    shapes = {}

    def primary(task: str, gold: np.ndarray, probabilities: np.ndarray) -> float | None:
        shapes[task] = (gold.shape, gold.dtype, probabilities.shape)
        return {ONE: 0.5, OTHER: 0.75}[task]

    fitted(model, lesson({ONE: 1.0, OTHER: 1.0}), tmp_path, primary=primary)
    row = next(row for row in log(tmp_path) if "validation_primary" in row)
    assert row["validation_primary"] == 0.625
    assert {name: found["primary"] for name, found in row["validation_tasks"].items()} == {ONE: 0.5, OTHER: 0.75}
    n, k, m = len(records("validation", ONE)), len(TASKS[ONE].labels), len(TASKS[OTHER].labels)
    assert shapes[ONE] == ((n,), np.int64, (n, k)) and shapes[OTHER] == ((n, m), bool, (n, m))


@each_neural
def test_class_weights_and_sampling_act_within_each_task_of_one_label(model: str, tmp_path: Path) -> None:
    changed = {"class_weights": {"tumör": 2.0}, "sampling": "oversample"}
    spec = SPECS[model].model_copy(update=changed)
    made = create_model(spec, TASKS, 3)
    details = made.fit(lesson({ONE: 1.0, OTHER: 1.0}), Workspace(tmp_path)).details
    counts = np.unique([str(record.target) for record in records("train", ONE)], return_counts=True)[1]
    shown = len(counts) * counts.max() + len(records("train", OTHER))
    assert details["steps"] == -(-shown // 8)
    unknown = create_model(spec.model_copy(update={"class_weights": {"tumor": 2.0}}), TASKS, 3)
    with pytest.raises(ClinfitError, match="not a label"):
        unknown.fit(lesson({ONE: 1.0}), Workspace(tmp_path / "unknown"))


# ---------------------------------------------------------------- stages


@pytest.fixture(scope="module")
def first_stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models that were taught one of two tasks."""
    saved = {}
    for name in SPECS:
        folder = tmp_path_factory.mktemp(name)
        model, _ = fitted(name, lesson({ONE: 1.0}), folder / "fit")
        model.save(folder / "saved")
        saved[name] = folder / "saved"
    return saved


@each_neural
def test_a_stage_that_continues_is_not_one_from_the_base(
    model: str, first_stages: Mapping[str, Path], tmp_path: Path
) -> None:
    second = {OTHER: 1.0}
    continued, summary = fitted(model, lesson(second, start=first_stages[model]), tmp_path / "continued")
    from_base, _ = fitted(model, lesson(second), tmp_path / "base")
    assert not np.array_equal(answers(continued, OTHER), answers(from_base, OTHER))
    assert answers(continued, ONE).shape == (len(records("test", ONE)), 3), "what was taught before is still known"
    assert [row["step"] for row in log(tmp_path / "continued")] == [1, 2]  # a new schedule, optimizer and log
    assert summary.details["peak_learning_rate"] == 1e-2
    rates = [[row["learning_rate"] for row in log(tmp_path / name)] for name in ("continued", "base")]
    assert rates[0] == rates[1]


@each_neural
def test_a_stage_begins_with_the_weights_of_the_one_before(
    model: str, first_stages: Mapping[str, Path], tmp_path: Path
) -> None:
    """With a learning rate of nearly nothing it also ends with them."""
    still = SPECS[model].model_copy(update={"train": TRAIN.model_copy(update={"learning_rate": 1e-12})})
    made = create_model(still, TASKS, 3)
    made.fit(lesson({OTHER: 1.0}, start=first_stages[model]), Workspace(tmp_path))
    before = load_model(still.family, first_stages[model])
    np.testing.assert_allclose(answers(made, ONE), answers(before, ONE), atol=1e-6)


@each_neural
@pytest.mark.parametrize("stop_at", [1, 2])
def test_a_second_stage_that_was_killed_ends_as_an_undisturbed_one(
    model: str, stop_at: int, first_stages: Mapping[str, Path], tmp_path: Path
) -> None:
    second = lesson({ONE: 0.5, OTHER: 1.0}, start=first_stages[model])
    whole, _ = fitted(model, second, tmp_path / "whole")

    def stop(done: int, total: int, text: str) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(model, second, tmp_path / "killed", progress=stop)
    resumed, _ = fitted(model, second, tmp_path / "killed")
    for task in TASKS:
        np.testing.assert_array_equal(answers(resumed, task), answers(whole, task))


@each_neural
def test_a_checkpoint_of_a_stage_with_another_beginning_is_refused(
    model: str, first_stages: Mapping[str, Path], tmp_path: Path
) -> None:
    fitted(model, lesson({OTHER: 1.0}, start=first_stages[model]), tmp_path)
    with pytest.raises(ClinfitError, match="other data or settings"):
        fitted(model, lesson({OTHER: 1.0}), tmp_path)


def test_a_stage_that_begins_with_a_model_of_other_tasks_is_refused(
    first_stages: Mapping[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ClinfitError, match="other tasks"):
        fitted("causal", lesson({ONE: 1.0}, ONE, start=first_stages["causal"]), tmp_path, {ONE: TASKS[ONE]})


@pytest.mark.parametrize("model", ["majority", "lasso"])
def test_what_a_stage_does_not_teach_stays_as_it_was(
    model: str, first_stages: Mapping[str, Path], tmp_path: Path
) -> None:
    before = load_model(SPECS[model].family, first_stages[model])
    both, _ = fitted(model, lesson({OTHER: 1.0}, start=first_stages[model]), tmp_path / "both")
    alone, _ = fitted(model, lesson({OTHER: 1.0}), tmp_path / "alone")
    np.testing.assert_array_equal(answers(both, ONE), answers(before, ONE))
    np.testing.assert_array_equal(answers(both, OTHER), answers(alone, OTHER))
    again = lesson({ONE: 1.0}, start=first_stages[model])
    swapped = replace(
        again, train=[replace(r, target=TASKS[ONE].labels[i % 3]) for i, r in enumerate(again.train) if r.task == ONE]
    )
    refitted, _ = fitted(model, swapped, tmp_path / "refitted")
    assert not np.array_equal(answers(refitted, ONE), answers(before, ONE))


def test_rules_answer_what_they_were_not_taught(first_stages: Mapping[str, Path]) -> None:
    """Each answer is as likely as the others, or as not."""
    np.testing.assert_array_equal(answers(load_model("baseline", first_stages["majority"]), OTHER), 0.5)


@pytest.mark.parametrize("model", ["lasso", "encoder-lora"])
def test_others_have_no_answer_to_what_they_were_not_taught(model: str, first_stages: Mapping[str, Path]) -> None:
    with pytest.raises(ClinfitError, match="never taught"):
        answers(load_model(SPECS[model].family, first_stages[model]), OTHER)


# ---------------------------------------------------------------- rare labels


def test_a_head_of_several_labels_begins_at_how_often_each_holds(tmp_path: Path) -> None:
    """From even odds the features would be spent on saying no, and say nothing else (OHSUMED: AUROC 0.53, not 0.86)."""
    still = TRAIN.model_copy(update={"learning_rate": 1e-9, "max_steps": 1})
    spec = Encoder(name="m", family="encoder", base=str(bert_base()), lora=Lora(rank=2), train=still)
    records = dataset("several", "organs").records
    train = [record for record in records if record.split == "train"]
    model = create_model(spec, {"organs": dataset("several", "organs").task}, 42)
    model.fit(Lesson(train, [], {"organs": 1.0}), Workspace(tmp_path / "first"))
    labels = dataset("several", "organs").task.labels
    shares = np.array([[label in (record.target or ()) for label in labels] for record in train]).mean(axis=0)
    begun = model.predict("organs", records).probabilities.mean(axis=0)
    assert np.abs(begun - shares).max() < 0.2, "but for what untrained features add"
    model.save(tmp_path / "saved")
    model.fit(Lesson(train[:5], [], {"organs": 1.0}, tmp_path / "saved"), Workspace(tmp_path / "second"))
    again = model.predict("organs", records).probabilities.mean(axis=0)
    np.testing.assert_allclose(again, begun, atol=1e-6, err_msg="a stage that goes on does not begin anew")
