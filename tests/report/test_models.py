"""Training and failures as the report tells them."""

from clinfit.report.sections.systems.models import (
    curves_in_brief,
    failures,
    kept_step,
    model_view,
    training_figures,
    trainings,
)

from .conftest import log_rows, model_record


def test_the_kept_step_is_the_one_that_the_trainer_recorded() -> None:
    """Whatever the log's values say."""
    record = model_record("tiny", "causal")
    assert kept_step(record, 1) == 63
    record["stages"]["1"]["details"]["best_step"] = 21
    assert kept_step(record, 1) == 21
    assert [each.kept for each in trainings([record], {("tiny-seed42", 1): log_rows()})] == [21]


def test_nothing_was_kept_of_what_did_not_end() -> None:
    record = model_record("tiny", "causal")
    assert kept_step(record, 2) is None, "the stage did not end"
    assert kept_step(model_record("tiny", "causal", "out of memory"), 1) is None
    assert kept_step({}, 1) is None, "no record of it can be read"


def test_training_figure_marks_the_kept_checkpoint() -> None:
    (figure,) = training_figures(
        [model_record("tiny", "causal")], {("tiny-seed42", 1): log_rows()}, {"finding": "auroc"}
    )
    assert "checkpoint kept from step 63" in figure.figure


def test_losses_are_drawn_with_their_own_sign() -> None:
    rows = [
        {"step": step, "loss": 0.7, "validation_loss": 0.6, "validation_tasks": {"finding": {"primary": value}}}
        for step, value in ((1, -0.25), (2, None), (3, -0.125))
    ]
    record = model_record("tiny", "causal")
    (figure,) = training_figures([record], {("tiny-seed42", 1): rows}, {"finding": "brier"})
    assert "validation Brier score from 0.25 to 0.125" in figure.figure


def test_every_task_of_a_model_has_its_own_curve_in_its_own_sign() -> None:
    tasks = {"first": {"primary": 0.75}, "second": {"primary": -0.5}}
    rows = [{"step": 1, "loss": 0.7, "validation_loss": 0.6, "validation_tasks": tasks}]
    primaries = {"first": "accuracy", "second": "log_loss", "third": "accuracy"}
    (figure,) = training_figures([], {("tiny-seed42", 1): rows}, primaries)
    assert (
        "validation first: Accuracy from 0.75" in figure.figure
        and "validation second: Log loss from 0.5" in figure.figure
    )
    assert "third" not in figure.figure


def test_stages_are_told_apart() -> None:
    logs = {("tiny-seed42", 1): log_rows(), ("tiny-seed42", 2): log_rows()}
    figures = training_figures([], logs, {"finding": "auroc"})
    assert "Training of tiny-seed42, stage 1" in figures[0].figure
    assert "Training of tiny-seed42, stage 2" in figures[1].figure


def test_what_the_curves_show_stands_beside_them_and_in_brief() -> None:
    """The log's validation loss is lowest at step 42; the primary metric chose step 63."""
    record = model_record("tiny", "causal")
    logs = {("tiny-seed42", 1): log_rows(), ("once-seed1", 1): log_rows()[:1]}
    tiny, once = training_figures([record], logs, {"finding": "auroc"})
    assert tiny.said.startswith("Validation loss rose since step 42 by ") and "was kept: step 63" in tiny.said
    assert "no curve to read" in once.said
    assert curves_in_brief([record], logs) == [
        "Validation loss rose again before the end; the best checkpoint was kept: tiny-seed42"
    ]


def test_failures_and_facts() -> None:
    records = [model_record("tiny", "causal", "out of memory"), model_record("lasso", "classical")]
    assert failures(records) == {"tiny-seed42": "out of memory"}
    view = model_view(model_record("tiny", "causal"))
    facts = dict(view.facts)
    assert "4.80" in facts["trained parameters"] and facts["precision"] == "bf16"
    assert "fitted in 3.1 min" in view.summary
