"""Metrics, decisions and comparisons of a cross-validation, from out-of-fold predictions."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score

from clinfit.errors import ClinfitError
from clinfit.evaluation.across import Run, across
from clinfit.evaluation.checks.systems import _bias
from clinfit.evaluation.claims.wording import recalibration_words, threshold_words
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.facts import Facts
from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.statistics.intervals import student_interval
from clinfit.evaluation.statistics.resampled_t import corrected_error
from clinfit.evaluation.system_results import SystemResult
from clinfit.report.sections.performance.explorer import threshold_table
from clinfit.study.evaluation import Threshold
from predicted_folds import REPEATS, K, N, study, table


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return table()


@pytest.fixture(scope="module")
def result(predictions: pd.DataFrame) -> TaskResult:
    return evaluate(study(), predictions)["tasks"]["t"]


def system(result: TaskResult, name: str = "one") -> SystemResult:
    return next(found for found in result["systems"] if found["name"] == name)


def of(predictions: pd.DataFrame, model: str = "one", split: str = "test") -> pd.DataFrame:
    return pd.DataFrame(predictions[(predictions["model"] == model) & (predictions["split"] == split)])


def numbers_of(rows: pd.DataFrame) -> NDArray[np.int64]:
    """The k of the record rk, of each row."""
    return np.array([int(str(name)[1:]) for name in rows["id"]])


def by_fold(rows: pd.DataFrame) -> Iterator[tuple[Any, pd.DataFrame]]:
    yield from rows.groupby(["repeat", "fold"])


def test_rankings_are_averaged_over_folds_and_never_pooled(predictions: pd.DataFrame, result: TaskResult) -> None:
    rows = of(predictions)
    for name, score in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        folds = [(len(own), score(own["gold"] == "yes", own["p_yes"])) for _, own in by_fold(rows)]
        expected = np.average([value for _, value in folds], weights=[n for n, _ in folds])
        assert system(result)["metrics"][name]["value"] == pytest.approx(expected, abs=1e-12)
    pooled = roc_auc_score(rows["gold"] == "yes", rows["p_yes"])
    assert abs(pooled - (system(result)["metrics"]["auroc"]["value"] or 0)) > 0.1


def test_other_metrics_are_those_of_each_repeat_averaged(predictions: pd.DataFrame, result: TaskResult) -> None:
    metrics = system(result)["metrics"]
    repeats = [own for _, own in of(predictions).groupby("repeat")]
    ppv = np.mean([precision_score(own["gold"] == "yes", own["predicted"] == "yes") for own in repeats])
    assert metrics["ppv"]["value"] == pytest.approx(ppv)
    brier = np.mean([((own["gold"] == "yes") - own["p_yes"]).pow(2).mean() for own in repeats])
    assert metrics["brier"]["value"] == pytest.approx(brier)
    assert metrics["accuracy"]["n"] == N and system(result)["n"] == N and result["counts"]["test"]["n"] == N
    assert metrics["sensitivity"]["n"] == sum(k % 3 == 0 for k in range(N))


def test_a_record_counts_once_however_many_repeats_answer_it(predictions: pd.DataFrame, result: TaskResult) -> None:
    classes = system(result)["sections"].get("classes") or []
    events = sum(k % 3 == 0 for k in range(N))
    assert {row["label"]: row["support"] for row in classes} == {"no": N - events, "yes": events}
    assert classes[1]["prevalence"] == pytest.approx(events / N)
    said = (of(predictions)["predicted"] == "yes").mean()
    assert classes[1]["predicted"] == round(said * N) and classes[1]["predicted_proportion"] == pytest.approx(said)
    facts = Facts(leaks={"t": {"exact": ["r3", "r4"]}})
    findings = evaluate(study(), predictions, facts)["tasks"]["t"]["findings"]
    (leak,) = [finding for finding in findings if finding["code"] == "leaking-test-items"]
    assert leak["title"].startswith(f"2 of {N} test items leak")


def test_intervals_resample_items_with_all_their_answers() -> None:
    """A repeat that says the same again is no more items: nothing changes."""
    once = table(repeats=1)
    twice = pd.concat([once, once.assign(repeat=2)], ignore_index=True)
    results = [system(evaluate(study(), rows)["tasks"]["t"])["metrics"] for rows in (once, twice)]
    for metric in ("auroc", "accuracy", "ppv", "brier"):
        one, two = (found[metric] for found in results)
        assert one["method"] == two["method"] == "percentile bootstrap, by item, 200 resamples"
        assert (one["n"], one["events"]) == (two["n"], two["events"])
        assert [one[key] for key in ("value", "low", "high")] == pytest.approx(
            [two[key] for key in ("value", "low", "high")]
        )


def test_differences_have_the_corrected_resampled_t_test(predictions: pd.DataFrame, result: TaskResult) -> None:
    (comparison,) = [c for c in result["comparisons"] if (c["reference"], c["new"]) == ("one", "other")]
    row = comparison["rows"][0]
    per_fold = [
        [roc_auc_score(own["gold"] == "yes", own["p_yes"]) for _, own in by_fold(of(predictions, model))]
        for model in ("one", "other")
    ]
    d = np.array(per_fold[1]) - np.array(per_fold[0])
    j = K * REPEATS
    table = predictions[(predictions["model"] == "one") & (predictions["repeat"] == 1)]
    counts = table.groupby(["fold", "split"]).size().unstack("split")
    ratio = (counts["test"] / (counts["test"].sum() - counts["test"] - counts["validation"])).mean()
    assert ratio > 1 / (K - 1), "validation trains nothing"
    error = np.sqrt((1 / j + ratio) * d.var(ddof=1))
    assert row["test"] == "corrected resampled t-test" and row["difference"] == pytest.approx(d.mean(), abs=1e-12)
    used = (row["high"] - row["low"]) / 2 / stats.t.ppf(0.975, j - 1)
    assert error * (1 - 1e-12) <= used < 1.1 * error, "of resampled records, where that is larger"
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(d.mean()) / used, j - 1))
    assert (row["low"] + row["high"]) / 2 == pytest.approx(d.mean())


def without_events(predictions: pd.DataFrame, fold: int) -> pd.DataFrame:
    """The label no for every record of a fold of the first repeat."""
    own = of(predictions)
    there = predictions["id"].isin(own.loc[(own["repeat"] == 1) & (own["fold"] == fold), "id"])
    return predictions.assign(gold=predictions["gold"].mask(there, "no"))


def test_a_fold_without_events_is_left_out_of_the_test_and_nothing_else_decides() -> None:
    """Ranking well in every fold that can tell is better than a constant answer, whatever a threshold makes of it."""
    predictions = without_events(table(), 2)
    result = evaluate(study(), predictions)["tasks"]["t"]
    (comparison,) = [c for c in result["comparisons"] if (c["reference"], c["new"]) == ("one", "other")]
    row = comparison["rows"][0]
    assert row["method"] == "corrected resampled t-test, 11 of 12 folds" and row["p"] is not None
    assert "over 11 of 12 folds; in the others it is undefined" in row["sentence"]
    assert not any("to be better than always answering" in line for line in result["verdict"])


def test_with_less_than_two_folds_nothing_is_tested() -> None:
    predictions = table(repeats=1)
    for fold in (1, 2, 3):
        predictions = without_events(predictions, fold)
    result = evaluate(study(), predictions)["tasks"]["t"]
    (comparison,) = [c for c in result["comparisons"] if (c["reference"], c["new"]) == ("one", "other")]
    assert comparison["rows"][0]["reason"] == "undefined in 3 of 4 folds: no interval"


def test_an_auroc_says_over_how_many_folds_it_is() -> None:
    predictions = table(repeats=1)
    some = system(evaluate(study(), without_events(predictions, 2))["tasks"]["t"])
    for name in ("auroc", "auprc"):
        assert some["metrics"][name]["reason"] == "in 3 of 4 folds; the others hold one class"
    # Every fold holds one class, and all of them both.
    order = predictions["fold"].where(predictions["split"] == "test", predictions["fold"] % K + 1)
    gold = np.where(order % 2 == 0, "yes", "no")
    none = system(evaluate(study(primary="accuracy"), predictions.assign(gold=gold))["tasks"]["t"])
    for name in ("auroc", "auprc"):
        metric = none["metrics"][name]
        assert (metric["value"], metric["reason"]) == (None, "one class in every fold")
    json.dumps(none, allow_nan=False)


def test_calibration_is_tested_with_the_records_as_clusters(result: TaskResult) -> None:
    one = system(result)["metrics"]
    for name in ("calibration_intercept", "calibration_slope"):
        assert one[name]["method"] == "Wald, robust by item"
        low, high = one[name]["low"], one[name]["high"]
        assert low is not None and high is not None and low < (one[name]["value"] or 0) < high
    again = table(repeats=1)
    pair = [
        system(evaluate(study(), rows)["tasks"]["t"]) for rows in (again, pd.concat([again, again.assign(repeat=2)]))
    ]
    ends = [[found["metrics"]["calibration_slope"][key] for key in ("value", "low", "high")] for found in pair]
    assert ends[0] == pytest.approx(ends[1])


def test_a_second_repeat_makes_calibration_no_surer() -> None:
    once = table(repeats=1)
    twice = pd.concat([once, once.assign(repeat=2)], ignore_index=True)
    one, two = (system(evaluate(study(), rows)["tasks"]["t"]) for rows in (once, twice))
    for name in ("ece", "ece_null", "ici"):
        assert one["metrics"][name]["value"] == pytest.approx(two["metrics"][name]["value"]), name
        assert one["metrics"][name]["n"] == two["metrics"][name]["n"]
    curves = two["sections"].get("curves")
    assert curves is not None and all(point["low"] is None for point in curves["calibration"])


def test_few_events_stay_few_however_often_they_are_answered() -> None:
    """Ten events in twelve repeats' folds are no 30."""
    predictions = table()
    gold = np.where(numbers_of(predictions) % 8 == 0, "yes", "no")
    metrics = system(evaluate(study(), predictions.assign(gold=gold))["tasks"]["t"])["metrics"]
    for name in ("calibration_slope", "ici"):
        assert (metrics[name]["value"], metrics[name]["reason"]) == (None, "fewer than 20 items of a class")


def by_code(result: TaskResult, code: str) -> list[Any]:
    return [finding for finding in result["findings"] if finding["code"] == code]


def test_findings_count_records_and_not_answers() -> None:
    predictions = table()
    predictions.loc[predictions["id"].isin(["r0", "r1", "r3"]), ["predicted", "status"]] = [None, "unparsed"]
    few = pd.DataFrame(predictions[numbers_of(predictions) < 24])
    result = evaluate(study(), few)["tasks"]["t"]
    assert by_code(result, "few-groups") == []  # 24 records, each a group
    (unparsed, _) = by_code(result, "unparsed")
    assert unparsed["evidence"] == "no: 3 of 48, yes: 6 of 24"
    patients = few.assign(group=[f"p{k // 2}" for k in numbers_of(few)])
    (groups,) = by_code(evaluate(study(), patients)["tasks"]["t"], "few-groups")
    assert groups["title"] == "The 24 test items come from 12 groups only"


def test_a_label_given_too_often_by_chance_is_no_bias_because_it_is_answered_ten_times() -> None:
    """Five of 40 items are wrongly called yes, and none is missed: p = 0.06."""
    assert _bias("one", "yes", given=30, support=25, right=25, n=40, remedy="", repeats=1) == []
    assert _bias("one", "yes", given=300, support=250, right=250, n=400, remedy="", repeats=10) == []
    assert len(_bias("one", "yes", given=300, support=250, right=250, n=400, remedy="", repeats=1)) == 1


def test_recalibration_of_the_folds_is_told_with_what_it_changed(predictions: pd.DataFrame) -> None:
    one = system(evaluate(study(calibration="platt"), predictions)["tasks"]["t"])["sections"].get("recalibration")
    assert one is not None and (one["kind"], one["n"], one["parameters"]) == ("platt", N // K, {})
    assert one["before"]["brier"]["value"] is not None
    assert recalibration_words(one) == f"platt, each fold's own, fitted on about {N // K} validation items"


def test_a_fold_that_could_not_be_recalibrated_is_a_finding(predictions: pd.DataFrame) -> None:
    there = (predictions["split"] == "validation") & (predictions["fold"] == 2) & (predictions["repeat"] == 1)
    result = evaluate(study(calibration="platt"), predictions[~there])["tasks"]["t"]
    assert [
        "is not recalibrated in 1 of 12 folds" in finding["title"]
        for finding in by_code(result, "recalibration-fallback")
    ] == [True] * 2


def test_a_calibration_without_an_interval_is_not_called_right() -> None:
    """80 records of eight patients."""
    predictions = table(repeats=1)
    patients = [f"p{k // 10}" for k in numbers_of(predictions)]
    result = evaluate(study(), predictions.assign(group=patients))["tasks"]["t"]
    (said,) = [line for line in result["verdict"] if line.startswith("Calibration")]
    assert "not tested" in said and "no error is shown" not in said


def test_the_corrected_t_test_is_wider_than_the_plain_one() -> None:
    d = np.array([0.02, 0.05, -0.01, 0.03, 0.04, 0.0, 0.06, 0.01, 0.02, 0.03])
    low, high, p = student_interval(float(d.mean()), corrected_error(d, 1 / 4), 9, 0.95)
    plain = 2 * float(stats.t.sf(d.mean() / (d.std(ddof=1) / np.sqrt(10)), 9))
    assert p > plain
    ratio = (high - low) / 2 / (stats.t.ppf(0.975, 9) * d.std(ddof=1) / np.sqrt(10))
    assert ratio == pytest.approx(np.sqrt((1 / 10 + 1 / 4) / (1 / 10)))
    assert corrected_error(np.full(5, 0.1), 1 / 4) == pytest.approx(0, abs=1e-12)


def test_thresholds_are_those_of_each_fold(predictions: pd.DataFrame) -> None:
    """Levels differ by fold, so that one threshold for all could not serve; each comes from its own validation."""
    asked = study(threshold=Threshold(rule="youden"), calibration="platt")
    found = system(evaluate(asked, predictions)["tasks"]["t"])
    folds = found["sections"].get("folds") or []
    assert [(row["repeat"], row["fold"]) for row in folds] == [(r, k) for r in (1, 2, 3) for k in (1, 2, 3, 4)]
    assert all(row["n"] == row["validation"] == N // K for row in folds)
    assert len({row["threshold"]["value"] for row in folds}) > K
    assert all(row["recalibration"] is not None and row["recalibration"]["n"] == N // K for row in folds)
    rows = threshold_table(found, "yes", None).rows
    (own,) = [(words, texts) for words, texts, is_own in rows if is_own]
    assert own[0].startswith("each fold's own, median 0.") and own[1][-2:] == ["not estimable"] * 2
    assert threshold_words(found).startswith("positive from each fold's own probability on (median 0.")
    # What another fold's validation says changes nothing here.
    changed = predictions.copy()
    there = (changed["split"] == "validation") & (changed["fold"] == 2)
    changed.loc[there, ["p_no", "p_yes"]] = changed.loc[there, ["p_yes", "p_no"]].to_numpy()
    others = system(evaluate(asked, changed)["tasks"]["t"])["sections"].get("folds") or []
    for row, other in zip(folds, others, strict=True):
        assert (row["threshold"] == other["threshold"]) is (row["fold"] != 2)


def test_a_guarantee_is_of_each_fold(predictions: pd.DataFrame) -> None:
    rule = Threshold(rule="guarantee", metric="sensitivity", value=0.5, certainty=0.6)
    for asked, guaranteed in ((study(threshold=rule), True), (study(threshold=Threshold(rule="youden")), False)):
        task = evaluate(asked, predictions)["tasks"]["t"]
        found = system(task)["sections"].get("threshold")
        assert found is not None and found["value"] is not None
        assert ((found["note"] or "").startswith("the guarantee is each fold's own")) is guaranteed
        assert ("the guarantee is each fold's own" in threshold_words(system(task))) is guaranteed
        notes = [finding["title"] for finding in by_code(task, "threshold-note")]
        assert any("the guarantee is each fold's own" in note for note in notes) is guaranteed


def test_a_refitted_model_decides_by_the_pooled_answers(predictions: pd.DataFrame) -> None:
    found = system(evaluate(study(refit=True, threshold=Threshold(rule="youden")), predictions)["tasks"]["t"])
    refit = found["sections"].get("refit")
    assert refit is not None and refit["recalibration"] is None
    rows = of(predictions)
    gold, p = (rows["gold"] == "yes").to_numpy(), rows["p_yes"].to_numpy()
    best = max(recall_score(gold, p >= t) + recall_score(~gold, p < t) for t in np.unique(p))
    chosen = refit["threshold"]
    assert chosen["achieved"]["sensitivity"] + chosen["achieved"]["specificity"] == pytest.approx(best)
    assert (chosen["split"], chosen["n"]) == ("out-of-fold", N) and chosen["note"] is None


def test_where_counts_decide_a_refit_has_each_record_once(predictions: pd.DataFrame) -> None:
    """A second repeat makes a guarantee no surer, and isotonic steps are not for answers that are counted thrice."""
    rule = Threshold(rule="guarantee", metric="sensitivity", value=0.5, certainty=0.6)
    asked = study(refit=True, threshold=rule, calibration="isotonic")
    task = evaluate(asked, predictions)["tasks"]["t"]
    every = system(task)["sections"].get("refit")
    once = system(evaluate(asked, predictions[predictions["repeat"] == 1])["tasks"]["t"])["sections"].get("refit")
    assert every is not None and every == once
    assert every["threshold"]["value"] is not None
    assert "guarantees nothing of the refitted model" in (every["threshold"]["note"] or "")
    assert every["recalibration"] is not None
    assert every["recalibration"]["note"].startswith(f"isotonic needs 1,000 out-of-fold items and there are {N}")
    titles = [finding["title"] for finding in task["findings"] if finding["title"].startswith("one, refitted: ")]
    assert len(titles) == 2


def test_folds_are_told(result: TaskResult) -> None:
    divided = result["sections"].get("cross_validation")
    assert divided is not None and divided["words"] == "4-fold cross-validation, repeated 3 times"
    assert [(row["train"], row["validation"], row["test"]) for row in divided["sizes"]] == [(40, 20, 20)] * 12
    assert "in 4-fold cross-validation, repeated 3 times, over 80 items" in result["verdict"][0]
    assert not any(finding["code"] == "misaligned-items" for finding in result["findings"])
    assert "conformal" not in system(result)["sections"]


def test_an_item_that_is_answered_twice_in_a_repeat_withholds_the_numbers(predictions: pd.DataFrame) -> None:
    double = pd.concat([predictions, of(predictions).head(1)], ignore_index=True)
    result = evaluate(study(), double)["tasks"]["t"]
    assert result["withheld"] and "misaligned-items" in [finding["code"] for finding in result["findings"]]


def a_run(name: str, predictions: pd.DataFrame) -> Run:
    return Run(name, name, f"sha256 of {name}", study(), predictions, Facts())


def test_studies_that_divide_otherwise_are_not_compared(predictions: pd.DataFrame) -> None:
    one = a_run("a", predictions)
    assert not across([one, a_run("b", predictions)])["left_out"]
    others = {
        "other folds": predictions.assign(fold=predictions["fold"] % K + 1),
        "3 folds": predictions.assign(fold=predictions["fold"].clip(upper=K - 1)),
        "2 repeats": predictions[predictions["repeat"] < 3],
        "no folds": predictions[predictions["repeat"] == 1].drop(columns=["repeat", "fold"]),
    }
    for name, table_ in others.items():
        with pytest.raises(ClinfitError, match=f"a and {name} divide the same records otherwise") as error:
            across([one, a_run(name, table_)])
        assert "the same folds, repeats and seed" in "".join(error.value.lines())


def test_systems_of_other_folds_are_not_set_side_by_side(predictions: pd.DataFrame) -> None:
    other = predictions["model"] == "other"
    mixed = predictions.assign(fold=predictions["fold"].mask(other, predictions["fold"] % K + 1))
    result = evaluate(study(), mixed)["tasks"]["t"]
    assert result["withheld"] and any("in other folds" in finding["evidence"] for finding in result["findings"])


def test_errors_and_doubtful_labels_name_a_record_once(predictions: pd.DataFrame, result: TaskResult) -> None:
    errors = result["sections"].get("errors")
    assert errors is not None and errors["n"] == N * REPEATS
    named = [row["id"] for row in errors["confident"]]
    assert named and len(set(named)) == len(named)
    doubtful = [row["id"] for row in result["sections"].get("label_errors") or []]
    assert len(set(doubtful)) == len(doubtful)
