"""Recalibration of sets of labels, each label on its own, and of options by a temperature."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from clinfit.evaluation.decisions.recalibration import Recalibration, fit_label_recalibration, fit_recalibration
from clinfit.evaluation.evaluate import evaluate
from clinfit.study.evaluation import Evaluation, settings_of
from clinfit.study.tasks import task_from
from predicted import predictions_of, study_of, task_of

from .test_folds_of_sets import evaluated as folded
from .test_folds_of_sets import system as of_folds
from .test_folds_of_sets import table as folds_of
from .test_multilabel import LABELS, data, evaluated, make_table


def overconfident(n=400, seed=0):
    """Truth, and probabilities that are too extreme and too high."""
    gold, probabilities = data(n=n, seed=seed)
    return gold, 1 / (1 + np.exp(-(3 * logit(probabilities) + 1)))


@pytest.mark.parametrize("kind", ["platt", "intercept"])
def test_each_label_has_the_map_of_a_logistic_regression(kind):
    gold, probabilities = overconfident()
    fitted = fit_label_recalibration(kind, LABELS, gold, probabilities)
    assert fitted.kind == "by-label" and fitted.note is None and fitted.n == len(gold)
    mapped = fitted.apply(probabilities)
    for k in range(3):
        assert mapped[:, k].mean() == pytest.approx(gold[:, k].mean(), abs=1e-9)
        if kind == "platt":
            x = logit(probabilities[:, k])[:, None]
            alone = LogisticRegression(C=np.inf, tol=1e-10).fit(x, gold[:, k])
            assert mapped[:, k] == pytest.approx(alone.predict_proba(x)[:, 1], abs=1e-4)
        else:
            assert np.ptp(logit(mapped[:, k]) - logit(probabilities[:, k])) == pytest.approx(0, abs=1e-6)


def test_rows_survive_json_do_not_depend_on_their_neighbours_and_gaps_stay_gaps():
    gold, probabilities = overconfident()
    probabilities[3] = [0.0, 1.0, 0.5]
    fitted = fit_label_recalibration("platt", LABELS, gold, probabilities)
    again = Recalibration.from_dict(json.loads(json.dumps(fitted.as_dict())))
    mapped = again.apply(probabilities)
    assert np.isfinite(mapped).all() and (mapped >= 0).all() and (mapped <= 1).all()
    np.testing.assert_array_equal(mapped, np.concatenate([fitted.apply(row[None]) for row in probabilities]))
    assert np.isnan(fitted.apply(np.full((1, 3), np.nan))).all()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda gold, p: (gold & (np.arange(len(gold)) < 60)[:, None], p), "items"),
        (lambda gold, p: (gold, np.where(gold, 0.9, 0.2)), "no rising line"),
        (lambda gold, p: (gold, 1 - p), "no rising line"),
        (lambda gold, p: (gold, np.full_like(p, 0.5)), "no rising line"),
    ],
    ids=["few", "separated", "reversed", "constant"],
)
def test_a_label_that_cannot_have_a_map_is_left_as_it_was(change, why):
    gold, probabilities = overconfident()
    other_gold, other = change(gold, probabilities)
    gold[:, 2], probabilities[:, 2] = other_gold[:, 2], other[:, 2]
    fitted = fit_label_recalibration("platt", LABELS, gold, probabilities)
    assert fitted.kind == "by-label" and fitted.note.startswith("as the model gave them: flu: ") and why in fitted.note
    mapped = fitted.apply(probabilities)
    assert (mapped[:, 2] == probabilities[:, 2]).all() and (mapped[:, 0] != probabilities[:, 0]).any()


def test_folds_map_the_labels_that_all_records_map_though_each_has_fewer() -> None:
    """Figures of another map than the one that is given would be of nothing."""
    gold, probabilities = overconfident(n=100)
    gold[:, 2] = np.arange(100) < 44
    whole = fit_label_recalibration("platt", LABELS, gold, probabilities)
    few = slice(4, 84)
    assert int(gold[few, 2].sum()) == 40 and "flu" in whole.mapped_labels(LABELS)
    gold[few, 2] &= np.arange(100)[few] < 40
    alone = fit_label_recalibration("platt", LABELS, gold[few], probabilities[few])
    assert "flu" not in alone.mapped_labels(LABELS)
    mapped = whole.mapped_labels(LABELS)
    told = fit_label_recalibration("platt", LABELS, gold[few], probabilities[few], mapped=mapped)
    assert told.mapped_labels(LABELS) == mapped
    none = fit_label_recalibration("platt", LABELS, gold[few], probabilities[few], mapped=[])
    assert none.kind == "none"


def test_letters_of_options_are_no_classes() -> None:
    """The right answer may stand first throughout."""
    draw = np.random.default_rng(1)
    p = 0.1 + 0.8 * draw.random(200)
    probabilities = np.column_stack([p, 1 - p])
    gold = np.zeros(200, dtype=np.int64)
    assert fit_recalibration("temperature", gold, probabilities, None, classes=False).kind == "temperature"
    assert fit_recalibration("temperature", gold, probabilities, None).kind == "none"


def test_where_no_label_has_a_map_nothing_changes():
    gold, probabilities = overconfident(n=30)
    fitted = fit_label_recalibration("platt", LABELS, gold, probabilities)
    assert fitted.kind == "none" and "no label has a map" in fitted.note
    assert fit_label_recalibration("platt", LABELS, gold[:0], probabilities[:0]).kind == "none"


def test_a_study_recalibrates_before_it_chooses_thresholds_and_shows_what_it_was():
    gold, probabilities = overconfident()
    other, others = overconfident(seed=5)
    tables = [make_table("net", other, others, split="validation"), make_table("net", gold, probabilities)]
    plain, mapped = (
        evaluated(*tables, calibration=kind, threshold={"rule": "f1"})["systems"][0] for kind in ("none", "platt")
    )
    assert "recalibration" not in plain["sections"]
    section = mapped["sections"]["recalibration"]
    assert (section["kind"], section["split"], section["n"]) == ("by-label", "validation", 400)
    fitted = Recalibration.from_dict(section)
    for k, label in enumerate(LABELS):
        raw, now = probabilities[:, k], fitted.apply(probabilities)[:, k]
        assert section["before"][f"brier:{label}"]["value"] == pytest.approx(brier_score_loss(gold[:, k], raw))
        after = mapped["classes"][k]["metrics"]["brier"]["value"]
        assert after == pytest.approx(brier_score_loss(gold[:, k], now))
        assert after < section["before"][f"brier:{label}"]["value"]
        threshold = mapped["sections"]["label_thresholds"][label]["value"]
        assert mapped["classes"][k]["predicted"] == int((now >= threshold).sum())
    assert mapped["metrics"]["macro_auroc"]["value"] == pytest.approx(plain["metrics"]["macro_auroc"]["value"])


def test_without_thresholds_the_labels_are_those_of_the_recalibrated_probabilities():
    gold, probabilities = overconfident()
    tables = [make_table("net", gold, probabilities, split=split) for split in ("validation", "test")]
    found = evaluated(*tables, calibration="intercept")["systems"][0]
    now = Recalibration.from_dict(found["sections"]["recalibration"]).apply(probabilities)
    assert [row["predicted"] for row in found["classes"]] == (now >= 0.5).sum(axis=0).tolist()


def test_labels_that_validation_cannot_recalibrate_are_told():
    gold, probabilities = overconfident(n=120)
    tables = [make_table("net", gold, probabilities, split=split) for split in ("validation", "test")]
    found = evaluated(*tables, calibration="platt")["findings"]
    (finding,) = [one for one in found if one["code"] == "recalibration-fallback"]
    assert (
        finding["code"] == "recalibration-fallback" and "in part" in finding["title"] and "flu" in finding["evidence"]
    )


def test_each_fold_has_maps_of_its_own_and_the_refitted_model_one_of_all():
    task = folded(folds_of("one", 1.0), folds_of("other", 2.0), calibration="intercept", refit=True)
    found = of_folds(task)["sections"]
    assert found["recalibration"]["parameters"] == {}, "none could be summed up"
    maps = [one["recalibration"] for one in found["folds"]]
    assert all(one["kind"] in ("by-label", "none") for one in maps)
    refit = found["refit"]["recalibration"]
    assert refit["kind"] == "by-label" and refit["split"] == "out-of-fold" and "flu" in refit["note"]


def test_options_keep_their_answers_and_have_less_loss():
    block = task_of("multiple-choice").model_dump(mode="json") | {"evaluation": {"calibration": "temperature"}}
    task = task_from(block)
    table = predictions_of("asked", task)
    columns = [f"p_{letter}" for letter in "ABCD"]
    sharper = table[columns].to_numpy() ** 4
    table[columns] = sharper / sharper.sum(axis=1, keepdims=True)
    plain, mapped = (
        {one["name"]: one for one in evaluate(study_of({"asked": asked}), table)["tasks"]["asked"]["systems"]}
        for asked in (task_of("multiple-choice"), task)
    )
    section = mapped["tiny (after)"]["sections"]["recalibration"]
    assert section["kind"] == "temperature" and section["parameters"]["temperature"][0] > 1
    assert section["before"]["log_loss"] == plain["tiny (after)"]["metrics"]["log_loss"]
    rows = table.loc[(table["model"] == "tiny") & (table["stage"] == 1) & (table["split"] == "test")]
    now = Recalibration.from_dict(section).apply(rows[columns].to_numpy())
    assert mapped["tiny (after)"]["metrics"]["log_loss"]["value"] == pytest.approx(
        log_loss(rows["gold"], now, labels=list("ABCD"))
    )
    assert (now.argmax(1) == rows[columns].to_numpy().argmax(1)).all()
    for name in plain:
        assert mapped[name]["metrics"]["accuracy"] == plain[name]["metrics"]["accuracy"]


@pytest.mark.parametrize(
    ("kind", "asked", "taken"),
    [
        ("multilabel", "platt", "platt"),
        ("multilabel", "temperature", "none"),
        ("multiple-choice", "temperature", "temperature"),
        ("multiple-choice", "platt", "none"),
        ("classification", "isotonic", "isotonic"),
    ],
)
def test_a_task_takes_from_the_study_what_its_kind_knows(kind, asked, taken):
    found = settings_of(kind, Evaluation(calibration=asked))
    assert found.model_dump()["calibration"] == taken


def test_answers_of_another_tool_without_probabilities_are_left_alone():
    gold, probabilities = overconfident()
    table = make_table("net", gold, probabilities)
    table[[f"p_{label}" for label in LABELS]] = np.nan
    both = pd.concat([table, table.assign(split="validation")])
    found = evaluated(both, calibration="platt")["systems"][0]
    assert found["sections"]["recalibration"]["kind"] == "none"
