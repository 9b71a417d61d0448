"""The whole evaluation: published claims told honestly, gates, invariances, JSON."""

import json

import numpy as np
import pandas as pd
import pytest

from clinfit.data.support import check_support
from clinfit.errors import ClinfitError
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.statistics.holm import holm
from clinfit.study.models import Causal


def outcome(study, *tables, facts=None):
    """The task's result, through JSON and back."""
    text = json.dumps(evaluate(study, pd.concat(tables), facts), allow_nan=False)
    return json.loads(text)["tasks"]["outcome"]


def codes(result, system=None):
    return [finding["code"] for finding in result["findings"] if system in (None, finding["system"])]


def system(result, name):
    return next(entry for entry in result["systems"] if entry["name"] == name)


def learned(gold, strength, seed=0):
    """(n, 2) probabilities that lean towards the gold label."""
    rng = np.random.default_rng(seed)
    sign = np.where(np.array(gold) == "Yes", 1, -1)
    yes = 1 / (1 + np.exp(-(strength * sign + rng.normal(size=len(gold)))))
    return np.column_stack([1 - yes, yes])


def said(probabilities):
    return ["Yes" if yes > no else "No" for no, yes in probabilities]


GOLD = ["Yes", "No"] * 60


def ranked(rows, model, strength, *, gold=GOLD, seed=0, **options):
    probabilities = learned(gold, strength, seed)
    return rows(model, gold, said(probabilities), probabilities=probabilities, **options)


# ---------------------------------------------------------------- published claims


@pytest.mark.parametrize("primary", ["accuracy", "auroc"])
def test_equal_to_random_forest_on_59_patients_is_below_always_yes(make_study, rows, from_counts, primary):
    gold, model = from_counts(30, 6, 19, 4)
    _, forest = from_counts(22, 14, 11, 12)
    result = outcome(make_study(primary=primary), rows("tiny", gold, model), rows("forest", gold, forest))
    words = " ".join(result["verdict"])
    assert "no model is shown to be better than always answering 'Yes'" in words
    assert "61.0 %" in words
    assert result["advice"][0].startswith("No system can be advised")
    accuracy = system(result, "tiny")["metrics"]["accuracy"]
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((0.449, 0.694), abs=5e-4)
    assert {"small-test", "not-better-than-majority"} <= set(codes(result))
    assert not any(row["supported"] for comparison in result["comparisons"] for row in comparison["rows"])
    assert system(result, "majority")["metrics"]["accuracy"]["value"] == pytest.approx(36 / 59)


def test_one_class_test_withholds_every_headline_number(make_study, rows):
    """The published 0.48 to 0.76, with precision 1.00: all 200 gold labels had become one class."""
    before = rows("tiny", ["Yes"] * 200, ["Yes"] * 96 + ["No"] * 104, stage=0)
    after = rows("tiny", ["Yes"] * 200, ["Yes"] * 152 + ["No"] * 48)
    result = outcome(make_study(), before, after)
    assert result["withheld"]
    assert "one-class-test" in codes(result)
    assert result["comparisons"] == result["ranking"] == []
    assert "No headline numbers" in result["verdict"][0]
    for entry in result["systems"]:
        assert {metric["status"] for metric in entry["metrics"].values()} == {"withheld"}
        assert all(metric["value"] is None for metric in entry["metrics"].values())
    assert system(result, "tiny (after)")["sections"]["confusion"]["counts"] == [[0, 0, 0], [48, 152, 0]]


@pytest.mark.parametrize("gold", [[True, False] * 20, ["Yes", "no"] * 20, ["Yes", None] * 20])
def test_gold_labels_outside_the_schema_are_an_error_not_a_class(make_study, rows, gold):
    result = outcome(make_study(), rows("tiny", gold, ["Yes"] * 40))
    assert "labels-outside-schema" in codes(result)
    assert result["withheld"]
    assert result["sections"].get("canaries") is None


@pytest.mark.parametrize(("reversals", "supported"), [(15, True), (25, False)])
def test_gain_of_five_points_on_300(make_study, rows, reversals, supported):
    gold = ["Yes", "No"] * 150
    was = np.arange(300) < 254
    now = was.copy()
    now[:reversals] = False
    now[254 : 254 + reversals + 15] = True
    flip = {"Yes": "No", "No": "Yes"}
    before, after = ([g if ok else flip[g] for g, ok in zip(gold, right, strict=True)] for right in (was, now))
    result = outcome(make_study(), rows("tiny", gold, before, stage=0), rows("tiny", gold, after))
    comparison = result["comparisons"][0]
    row = comparison["rows"][0]
    assert (comparison["kind"], row["metric"]) == ("before-after", "accuracy")
    assert row["points"] == pytest.approx(5.0)
    assert row["relative"] == pytest.approx(15 / 254)
    assert row["p"] == pytest.approx(0.036 if supported else 0.082, abs=6e-4)
    assert row["supported"] is supported
    assert ("is better than" in row["sentence"]) is supported
    assert ("is not shown to be better" in row["sentence"]) is not supported
    test = comparison["mcnemar"]
    assert (test["b"], test["c"], test["p"]) == (reversals, reversals + 15, row["p"])
    assert comparison["gained_most"] in ("Yes", "No")
    assert f"{comparison['gained_most']!r} gained most" in comparison["sentence"]


def test_of_many_labels_the_one_that_gained_most_is_named_and_the_rest_is_summed_up(make_study, rows):
    labels = [f"chapter {k}" for k in range(9)]
    gold = labels * 20
    before = [label if k % 3 else labels[0] for k, label in enumerate(gold)]
    after = [label if k % 5 else labels[1] for k, label in enumerate(gold)]
    tables = [rows("tiny", gold, said, labels, stage=stage) for stage, said in enumerate((before, after))]
    comparison = outcome(make_study(labels), *tables)["comparisons"][0]
    named = [label for label in labels if repr(label) in comparison["sentence"]]
    assert named == [comparison["gained_most"]]
    assert "8 other labels" in comparison["sentence"]


# ---------------------------------------------------------------- claims


def test_a_real_gain_that_stays_below_majority_is_not_called_an_improvement(make_study, rows):
    gold = ["Yes"] * 270 + ["No"] * 30
    before = ["No"] * 200 + ["Yes"] * 100
    after = ["Yes"] * 220 + ["No"] * 50 + ["Yes"] * 30
    result = outcome(make_study(), rows("tiny", gold, before, stage=0), rows("tiny", gold, after))
    row = result["comparisons"][0]["rows"][0]
    assert row["direction"] == "better"
    assert not row["supported"]
    assert "no improvement is claimed" in row["sentence"]


def test_the_winner_and_the_language_model_are_named(make_study, rows):
    tables = [ranked(rows, "tiny", 0.1, stage=0), ranked(rows, "tiny", 2.0), ranked(rows, "forest", 1.0, seed=1)]
    tables += [ranked(rows, name, 1.0, split="validation", seed=2) for name in ("tiny", "forest")]
    result = outcome(make_study(primary="auroc"), *tables)
    assert result["ranking"][0] == "tiny (after)"
    assert result["baseline"] == "forest"
    kinds = [(c["kind"], c["reference"], c["new"]) for c in result["comparisons"]]
    assert kinds == [
        ("before-after", "tiny (before)", "tiny (after)"),
        ("versus-majority", "majority", "forest"),
        ("versus-majority", "majority", "tiny (after)"),
        ("versus-baseline", "forest", "tiny (after)"),
    ]
    assert result["comparisons"][0]["rows"][0]["supported"]
    assert any(sentence.startswith("Language models against simple ones") for sentence in result["verdict"])
    assert 3 <= len(result["verdict"]) <= 6


def test_what_is_said_of_language_models_is_said_of_the_one_that_validation_chose(make_study, rows):
    """The luckiest on test is another one."""
    study = make_study(primary="auroc")
    other = Causal(name="lucky", family="causal", base="clinfit/tiny")
    study = study.model_copy(update={"models": [*study.models, other]})
    tables = [ranked(rows, "tiny", 1.5), ranked(rows, "lucky", 2.5, seed=4), ranked(rows, "forest", 1.0, seed=1)]
    for seed, (name, strength) in enumerate({"tiny": 2.0, "lucky": 0.5, "forest": 1.0}.items()):
        tables.append(ranked(rows, name, strength, split="validation", seed=seed))
    result = outcome(study, *tables)
    assert result["ranking"][0] == "lucky" and result["chosen"]["system"] == "tiny"
    (said,) = (line for line in result["verdict"] if line.startswith("Language models against simple ones"))
    assert "tiny" in said and "lucky" not in said


def test_the_verdict_says_what_training_did_to_the_model_that_it_names(make_study, rows):
    """Also where the model is the last of many."""
    study = make_study(primary="auroc")
    names = ["tiny", "second", "third"]
    more = [Causal(name=name, family="causal", base="clinfit/tiny") for name in names[1:]]
    study = study.model_copy(update={"models": [*study.models, *more]})
    tables = []
    for seed, name in enumerate(names):
        tables += [ranked(rows, name, 0.1, seed=seed, stage=0), ranked(rows, name, 1.0, seed=seed)]
        tables.append(ranked(rows, name, 1.0 + (name == "third"), seed=seed, split="validation"))
    result = outcome(study, *tables)
    assert result["chosen"]["system"] == "third (after)"
    told = [line for line in result["verdict"] if line.startswith("Fine-tuning: ")]
    assert len(told) == 2 and "third (after)" in told[0] and "tiny (after)" in told[1]


def test_a_comparison_that_was_declared_is_not_called_unplanned(make_study, rows):
    study = make_study(primary="auroc", compare=[["tiny", "forest"]])
    tables = [ranked(rows, "tiny", 2.5), ranked(rows, "forest", 0.5, seed=1)]
    tables += [
        ranked(rows, "tiny", 0.5, split="validation", seed=2),
        ranked(rows, "forest", 2.5, split="validation", seed=3),
    ]
    said = outcome(study, *tables)["verdict"]
    assert any("AUROC: tiny is better than forest" in line for line in said)
    assert "not planned" not in " ".join(said)
    tables[2:] = [
        ranked(rows, "tiny", 2.5, split="validation", seed=2),
        ranked(rows, "forest", 0.5, split="validation", seed=3),
    ]
    said = " ".join(outcome(study, *tables)["verdict"])
    assert "tiny" in said and "not planned" not in said


def test_a_trained_model_is_held_against_examples_in_the_prompt_of_its_base(make_study, rows):
    """Whether to tune or to show examples is what a reader asks first; a model that is shown none is the base."""
    study = make_study()
    asked = {"family": "causal", "method": "prompt", "base": "clinfit/tiny"}
    more = [
        Causal(name="shown", shots=4, **asked),
        Causal(name="asked", **asked),
        Causal(name="elsewhere", shots=4, **asked | {"base": "clinfit/smollm2"}),
    ]
    study = study.model_copy(update={"models": [*study.models, *more]})
    tables = [ranked(rows, "tiny", 0.1, stage=0), ranked(rows, "tiny", 2.0), ranked(rows, "forest", 1.0, seed=1)]
    tables += [ranked(rows, name, 0.5, stage=0, seed=3) for name in ("shown", "asked", "elsewhere")]
    pairs = [
        (c["reference"], c["new"]) for c in outcome(study, *tables)["comparisons"] if c["kind"] == "versus-few-shot"
    ]
    assert [(one.partition(" ")[0], new) for one, new in pairs] == [("shown", "tiny (after)")]


@pytest.mark.parametrize("primary", ["accuracy", "auroc", "f1", "macro_f1", "sensitivity", "brier", "log_loss", "mcc"])
def test_predictors_of_known_worth(make_study, rows, primary):
    """A perfect one is found useful by every primary metric; inverted, constant, random and unparsed ones by none."""
    flip = {"Yes": "No", "No": "Yes"}
    random = list(np.random.default_rng(5).choice(["Yes", "No"], len(GOLD)))
    worthless = [[flip[g] for g in GOLD], ["Yes"] * len(GOLD), random, [None] * len(GOLD)]
    perfect = outcome(make_study(primary=primary), rows("tiny", GOLD, GOLD))
    assert "not-better-than-majority" not in codes(perfect)
    assert perfect["verdict"][0].startswith(
        "The model is tiny, the only one beside constant answers: on 120 test items"
    )
    for predicted in worthless:
        result = outcome(make_study(primary=primary), rows("tiny", GOLD, predicted))
        assert "not-better-than-majority" in codes(result, "tiny")
        assert not any(row["supported"] for comparison in result["comparisons"] for row in comparison["rows"])


def test_a_gain_that_leaves_a_model_level_with_the_baseline_says_so(make_study, rows):
    tables = [ranked(rows, "tiny", 0.1, stage=0), ranked(rows, "tiny", 2.0), ranked(rows, "forest", 2.0, seed=1)]
    tables += [ranked(rows, "forest", 1.0, split="validation", seed=2)]
    result = outcome(make_study(), *tables)
    sentence = result["comparisons"][0]["rows"][0]["sentence"]
    assert "is better than tiny (before)" in sentence
    assert sentence.endswith(", but not shown to be better than forest.")
    assert "no-simple-comparator" not in codes(result)
    assert "no-simple-comparator" in codes(outcome(make_study(), ranked(rows, "tiny", 1.0)))


def test_models_are_ranked_by_the_mean_of_their_seeds(make_study, rows):
    def seed(model, number, wrong):
        said = ["No"] * wrong + GOLD[wrong:] if wrong else GOLD
        return rows(model, GOLD, said, seed=number)

    tables = [seed("tiny", 1, 0), seed("tiny", 2, 60), seed("forest", 1, 8), seed("forest", 2, 10)]
    result = outcome(make_study(seeds=(1, 2)), *tables)
    assert result["ranking"][:4] == ["forest (seed 1)", "forest (seed 2)", "tiny (seed 1)", "tiny (seed 2)"]
    assert "the highest mean Accuracy of 2" in result["verdict"][0]
    assert "forest has a mean Accuracy over 2 seeds of 96.2 %" in result["verdict"][0]
    assert "forest" not in result["verdict"][1]


def test_the_model_is_chosen_on_validation_never_on_test(make_study, rows):
    """The forest is best on validation, tiny on test: what tiny does there does not make it the model."""
    tables = [ranked(rows, "tiny", 3.0), ranked(rows, "forest", 1.0, seed=1)]
    alone = outcome(make_study(primary="auroc"), *tables)
    assert alone["chosen"]["system"] == alone["ranking"][0] == "tiny"
    assert (alone["chosen"]["split"], alone["chosen"]["among"]) == ("test", 2)
    assert "picked on this test set for want of validation answers" in alone["verdict"][0]
    tables += [ranked(rows, name, k, split="validation", seed=2) for name, k in (("tiny", 0.5), ("forest", 2.0))]
    result = outcome(make_study(primary="auroc"), *tables)
    assert result["ranking"][0] == "tiny"
    chosen = result["chosen"]
    assert (chosen["system"], chosen["split"], chosen["among"]) == ("forest", "validation", 2)
    forest = system(result, "forest")["metrics"]["auroc"]["value"]
    assert result["verdict"][0].startswith(
        f"The model is forest, chosen on validation (the highest AUROC of 2, {chosen['value']:.3f}): on 120 test items"
    )
    assert f"its AUROC is {forest:.3f} (95 % interval" in result["verdict"][0]
    assert result["verdict"][1].startswith("tiny does better on this test set: ")
    assert "choosing on test" in result["verdict"][1]
    assert result["sections"]["errors"]["system"] == "forest"


def test_of_equals_the_simpler_one_is_the_model_and_constant_answers_never_are(make_study, rows):
    tables = [rows(name, GOLD, GOLD, split=split) for name in ("tiny", "forest") for split in ("validation", "test")]
    tables += [rows("always", GOLD, ["Yes"] * 120, split=split) for split in ("validation", "test")]
    assert outcome(make_study(), *tables)["chosen"]["system"] == "forest"
    assert outcome(make_study(), *tables[4:])["chosen"] is None


def test_no_lead_is_claimed_where_it_was_not_planned(make_study, rows):
    tables = [
        ranked(rows, name, k, split=split, seed=4)
        for name, k in (("forest", 3.0), ("tiny", 1.0))
        for split in ("validation", "test")
    ]
    result = outcome(make_study(primary="auroc", baseline="always"), *tables, rows("always", GOLD, ["Yes"] * 120))
    assert result["chosen"]["system"] == "forest"
    assert "The comparison was not planned, so no lead is claimed." in result["verdict"][1]


def test_primary_of_two_labels_on_three(make_study, rows):
    labels = ["a", "b", "c"]
    result = outcome(make_study(labels, primary="sensitivity"), rows("tiny", labels * 10, labels * 10, labels))
    assert result["primary"] == "balanced_accuracy"
    assert "primary-form" in codes(result)


def test_holm_runs_over_all_comparisons_of_a_metric(make_study, rows):
    tables = [ranked(rows, "tiny", 0.1, stage=0), ranked(rows, "tiny", 0.6), ranked(rows, "forest", 0.4, seed=1)]
    result = outcome(make_study(primary="auroc"), *tables)
    for place in range(len(result["comparisons"][0]["rows"])):
        family = [comparison["rows"][place] for comparison in result["comparisons"]]
        tested = [row for row in family if row["p"] is not None]
        assert [row["p_holm"] for row in tested] == pytest.approx(holm([row["p"] for row in tested]))
        for row in tested:
            assert row["p_holm"] < 0.05 or not row["supported"]


def test_baseline_is_chosen_on_validation_never_on_test(make_study, rows):
    """On test the majority row is best, on validation the forest."""
    gold = ["Yes"] * 80 + ["No"] * 40
    wrong = learned(gold, -1.0)
    tables = [rows("always", gold, ["Yes"] * 120), rows("forest", gold, said(wrong), probabilities=wrong)]
    tables += [ranked(rows, "forest", 3.0, split="validation"), rows("always", GOLD, ["Yes"] * 120, split="validation")]
    assert outcome(make_study(), *tables)["baseline"] == "forest"
    assert outcome(make_study(baseline="always"), *tables)["baseline"] == "always"


def test_a_study_without_majority_gets_one_from_the_training_labels(make_study, rows):
    facts = {"counts": {"outcome": {"train": {"n": 40, "labels": {"No": 30, "Yes": 10}}}}}
    result = outcome(make_study(), ranked(rows, "tiny", 1.0), facts=facts)
    majority = result["systems"][0]
    assert (majority["name"], majority["family"], majority["trained"]) == ("majority", "baseline", False)
    assert majority["sections"]["confusion"]["counts"] == [[60, 0, 0], [60, 0, 0]]
    assert result["counts"]["train"] == {"n": 40, "groups": None, "labels": {"No": 30, "Yes": 10}}


# ---------------------------------------------------------------- gates


def test_other_items_or_other_gold_are_refused(make_study, rows):
    first = ranked(rows, "tiny", 1.0)
    for second in (
        ranked(rows, "forest", 1.0).iloc[:-1],
        pd.concat([ranked(rows, "forest", 1.0), ranked(rows, "forest", 1.0).iloc[:1]]),
        ranked(rows, "forest", 1.0, gold=["No", "Yes"] * 60),
    ):
        result = outcome(make_study(), first, second)
        assert "misaligned-items" in codes(result)
        assert result["withheld"]


def test_an_error_of_the_data_audit_withholds_too(make_study, rows):
    leak = {"level": "error", "code": "group-leakage", "title": "Patients straddle splits", "evidence": "3 groups"}
    result = outcome(make_study(), ranked(rows, "tiny", 1.0), facts={"findings": {"outcome": [leak]}})
    assert result["withheld"]
    assert "Patients straddle splits: 3 groups." in result["verdict"]


def test_what_the_data_audit_said_of_the_test_split_is_not_said_again(make_study, rows):
    def audited(counts):
        return {"findings": {"outcome": [finding.as_dict() for finding in check_support("test", counts)]}}

    table = ranked(rows, "tiny", 1.0)
    counts = table["gold"].value_counts().to_dict()
    facts = audited({label: counts[label] for label in ("No", "Yes")})
    assert codes(outcome(make_study(), table, facts=facts)).count("small-test") == 1
    one = rows("tiny", ["Yes"] * 20, ["Yes"] * 20)
    assert codes(outcome(make_study(), one)).count("one-class-test") == 1
    assert codes(outcome(make_study(), one, facts=audited({"No": 0, "Yes": 20}))).count("one-class-test") == 1


def test_collapse_bias_unparsed_and_floor(make_study, rows):
    study = make_study(floors={"sensitivity": 0.9})
    constant = rows("forest", GOLD, ["No"] * 120)
    leaning = [None] * 6 + ["Yes" if g == "Yes" or i % 3 else "No" for i, g in enumerate(GOLD[6:])]
    result = outcome(study, constant, rows("tiny", GOLD, leaning))
    assert {"constant-predictor", "not-better-than-majority", "below-floor"} <= set(codes(result, "forest"))
    assert {"biased-predictions", "unparsed"} <= set(codes(result, "tiny"))
    tiny = system(result, "tiny")
    assert tiny["unparsed"] == 6
    assert [row[-1] for row in tiny["sections"]["confusion"]["counts"]] == [3, 3]
    assert sum(map(sum, tiny["sections"]["confusion"]["counts"])) == tiny["n"] == 120


def test_no_advice_to_do_what_was_done(make_study, rows):
    """The threshold of 0.9 sensitivity leans to Yes, and was chosen on validation."""
    tables = [ranked(rows, "tiny", 0.7, split=split, seed=3) for split in ("validation", "test")]
    result = outcome(make_study(threshold={"rule": "sensitivity", "value": 0.97}), *tables)
    advice = next(f["advice"] for f in result["findings"] if f["code"] == "biased-predictions")
    assert "the rule sensitivity chose the threshold on validation" in advice
    open_rule = outcome(make_study(), rows("tiny", GOLD, ["Yes" if at % 3 else "No" for at in range(120)]))
    advice = next(f["advice"] for f in open_rule["findings"] if f["code"] == "biased-predictions")
    assert advice.startswith("choose a threshold on validation")


def test_three_labels_one_never_predicted(make_study, rows):
    labels = ["a", "b", "c"]
    gold = labels * 40
    result = outcome(
        make_study(labels, primary="auroc"), rows("tiny", gold, ["a" if g == "c" else g for g in gold], labels)
    )
    assert result["primary"] == "macro_auroc"
    assert "never-predicted" in codes(result, "tiny")
    assert all(canary["passed"] for canary in result["sections"]["canaries"])
    c = next(entry for entry in system(result, "tiny")["sections"]["classes"] if entry["label"] == "c")
    assert (c["support"], c["predicted"], c["metrics"]["recall"]["value"]) == (40, 0, 0.0)
    assert c["metrics"]["precision"]["status"] == "undefined"


@pytest.mark.parametrize("primary", ["auroc", "accuracy"])
def test_a_threshold_leaves_rules_as_they_are(make_study, rows, primary):
    """A fixed 0.3 on a majority whose P(Yes) is 0.4 would turn it into always-Yes."""
    facts = {"counts": {"outcome": {"train": {"n": 100, "labels": {"No": 60, "Yes": 40}}}}}
    study = make_study(primary=primary, threshold={"rule": "fixed", "value": 0.3})
    result = outcome(study, ranked(rows, "tiny", 1.0), facts=facts)
    assert system(result, "majority")["sections"]["confusion"]["counts"] == [[60, 0, 0], [60, 0, 0]]
    assert system(result, "tiny")["sections"]["threshold"]["value"] == 0.3


def test_floors_follow_the_primary_metric_to_three_labels(make_study, rows):
    labels = ["a", "b", "c"]
    turned = {"a": "b", "b": "c", "c": "a"}
    study = make_study(labels, primary="auroc", floors={"auroc": 0.9, "brier": 0.1})
    result = outcome(study, rows("forest", labels * 10, [turned[x] for x in labels * 10], labels))
    assert codes(result, "forest").count("below-floor") == 2


def test_failed_models_and_alarms_are_told(make_study, rows):
    models = {"tiny-seed42": {"alarms": ["one class only"]}, "forest-seed42": {"status": "failed", "reason": "memory"}}
    result = outcome(make_study(), ranked(rows, "tiny", 1.0), facts={"models": models})
    assert {"training-alarm", "model-failed"} <= set(codes(result))
    stopped = outcome(
        make_study(), ranked(rows, "tiny", 1.0), facts={"models": {"forest-seed42": {"status": "running"}}}
    )
    assert "model-failed" not in codes(stopped)
    title = next(f["title"] for f in stopped["findings"] if f["code"] == "model-unfinished")
    assert title == "forest-seed42 did not finish and is not in the tables"
    assert system(result, "tiny")["alarms"] == ["one class only"]


def test_no_test_predictions(make_study, rows):
    with pytest.raises(ClinfitError, match="no test predictions"):
        evaluate(make_study(), ranked(rows, "tiny", 1.0, split="validation"))


# ---------------------------------------------------------------- thresholds, seeds, groups


def test_the_threshold_comes_from_validation_and_moves_the_test_answers(make_study, rows):
    shifted = learned(GOLD, 2.0)[:, 1] / 3
    probabilities = np.column_stack([1 - shifted, shifted])
    test = rows("tiny", GOLD, said(probabilities), probabilities=probabilities)
    validation = test.assign(split="validation", id=test["id"].str.replace("test", "validation"))
    plain = outcome(make_study(), test, validation)
    tuned = outcome(make_study(threshold={"rule": "youden"}), test, validation)
    assert system(plain, "tiny")["metrics"]["sensitivity"]["value"] == 0
    assert system(tuned, "tiny")["metrics"]["sensitivity"]["value"] > 0.8
    assert 0 < system(tuned, "tiny")["sections"]["threshold"]["value"] < 0.33
    assert system(tuned, "tiny")["metrics"]["auroc"] == system(plain, "tiny")["metrics"]["auroc"]
    without = outcome(make_study(threshold={"rule": "youden"}), test)
    assert "threshold-fallback" in codes(without, "tiny")


def test_seeds_are_summarised_apart(make_study, rows):
    tables = [ranked(rows, "tiny", 1.5, seed=k, stage=s).assign(seed=k) for k in (1, 2, 3) for s in (0, 1)]
    result = outcome(make_study(seeds=(1, 2, 3)), *tables)
    assert [entry["name"] for entry in result["systems"]][1:3] == ["tiny (before, seed 1)", "tiny (after, seed 1)"]
    after = next(entry for entry in result["seeds"] if entry["system"] == "tiny (after)")
    values = [system(result, f"tiny (after, seed {k})")["metrics"]["accuracy"]["value"] for k in (1, 2, 3)]
    assert after["metrics"]["accuracy"]["mean"] == pytest.approx(np.mean(values))
    assert after["metrics"]["accuracy"]["sd"] == pytest.approx(np.std(values, ddof=1))
    assert [c["new"] for c in result["comparisons"] if c["kind"] == "before-after"] == [
        f"tiny (after, seed {k})" for k in (1, 2, 3)
    ]


def test_several_notes_of_one_patient_are_resampled_together(make_study, rows):
    groups = [f"patient-{i // 4}" for i in range(120)]
    result = outcome(make_study(), ranked(rows, "tiny", 1.0, groups=groups))
    assert "by group" in system(result, "tiny")["metrics"]["accuracy"]["method"]
    assert result["counts"]["test"]["groups"] == 30
    assert "few-groups" not in codes(result)


def test_repeating_groups_get_counts_but_no_item_level_mcnemar(make_study, rows):
    groups = [f"patient-{i // 6}" for i in range(120)]
    tables = [ranked(rows, "tiny", 0.1, stage=0, groups=groups), ranked(rows, "tiny", 2.0, groups=groups)]
    result = outcome(make_study(), *tables)
    comparison = result["comparisons"][0]
    test = comparison["mcnemar"]
    assert (test["p"], test["p_holm"]) == (None, None)
    assert "not independent" in test["reason"]
    assert test["b"] + test["c"] > 0
    assert "McNemar" not in comparison["sentence"]
    assert all(row["p"] is not None for row in comparison["rows"] if row["low"] is not None)
    assert "few-groups" in codes(result)


# ---------------------------------------------------------------- invariance


def test_order_of_rows_changes_nothing_and_evaluating_again_gives_the_same_bytes(make_study, rows):
    table = pd.concat([ranked(rows, "tiny", 0.2, stage=0), ranked(rows, "tiny", 1.0), ranked(rows, "forest", 1.0)])
    shuffled = table.sample(frac=1, random_state=1)
    first, again, moved = (
        json.dumps(evaluate(make_study(primary="auroc"), data), sort_keys=True) for data in (table, table, shuffled)
    )
    assert first == again == moved


def test_curves_are_consistent_with_the_metrics(make_study, rows):
    result = outcome(make_study(), ranked(rows, "tiny", 1.0))
    entry = system(result, "tiny")
    false_positive, sensitivity, _ = np.array(entry["sections"]["curves"]["roc"]).T
    assert np.trapezoid(sensitivity, false_positive) == pytest.approx(entry["metrics"]["auroc"]["value"])
    assert sum(map(sum, entry["sections"]["curves"]["histogram"].values())) == entry["n"]
    assert sum(bin_["n"] for bin_ in entry["sections"]["curves"]["calibration"]) == entry["n"]
