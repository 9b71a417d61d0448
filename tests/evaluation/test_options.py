"""Multiple choice: chance, ways of scoring, and a taste for letters."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2
from sklearn import metrics as sk

from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.statistics.marginal_homogeneity import marginal_homogeneity
from clinfit.evaluation.statistics.mcnemar import mcnemar
from predicted import N, predictions_of, study_of, task_of


def asked(table, task):
    found = evaluate(study_of({"asked": task}), table)["tasks"]["asked"]
    return found, {system["name"]: system for system in found["systems"]}


def test_same_as_scikit_learn_and_chance_beside_it():
    task = task_of("multiple-choice")
    table = predictions_of("asked", task)
    found, systems = asked(table, task)
    rows = table.loc[(table["model"] == "tiny") & (table["stage"] == 1) & (table["split"] == "test")]
    value = {name: metric["value"] for name, metric in systems["tiny (after)"]["metrics"].items()}
    assert value["accuracy"] == pytest.approx(sk.accuracy_score(rows["gold"], rows["predicted"]))
    p = rows[[f"p_{letter}" for letter in "ABCD"]].to_numpy()
    assert value["log_loss"] == pytest.approx(sk.log_loss(rows["gold"], p, labels=list("ABCD")))
    assert found["sections"]["chance"] == pytest.approx(
        {"accuracy": 0.25, "log_loss": np.log(4), "brier_sum": 0.75}
    )  # fmt: skip
    assert not {"auroc", "macro_auroc", "macro_f1", "balanced_accuracy"} & value.keys(), "letters are no classes"


def test_every_scoring_is_measured_and_the_answer_is_one_of_them():
    task = task_of("multiple-choice")
    table = predictions_of("asked", task)
    tiny = (table["model"] == "tiny") & (table["split"] == "test")
    letters = [f"texts_{letter}" for letter in "ABCD"]
    table.loc[tiny, letters] = table.loc[tiny, letters].to_numpy()[:, ::-1]  # another scoring, other answers
    _, systems = asked(table, task)
    scorings = {part["scoring"]: part for part in systems["tiny (after)"]["sections"]["scorings"]}
    assert [name for name, part in scorings.items() if part["answer"]] == ["letters"]
    assert scorings["letters"]["accuracy"] == systems["tiny (after)"]["metrics"]["accuracy"]
    assert scorings["letters"]["agreement"]["value"] == 1.0
    assert scorings["texts"]["accuracy"]["value"] < 0.3 and scorings["texts"]["agreement"]["value"] < 0.1
    assert "scorings" not in systems["forest"]["sections"]


def test_a_taste_for_letters_is_told():
    task = task_of("multiple-choice")
    table = predictions_of("asked", task)
    columns = [f"p_{letter}" for letter in "ABCD"]
    before = (table["model"] == "tiny") & (table["stage"] == 0)
    leaning = table.loc[before, columns].to_numpy() * [20, 1, 1, 1]
    table.loc[before, columns] = leaning / leaning.sum(1, keepdims=True)
    table.loc[before, "predicted"] = np.array(list("ABCD"))[leaning.argmax(1)]
    found, systems = asked(table, task)
    positions = systems["tiny (before)"]["sections"]["positions"]
    assert positions["distance"] > 0.4 and positions["p"] < 0.001
    assert ("position-bias", "tiny (before)") in {(f["code"], f["system"]) for f in found["findings"]}
    assert ("position-bias", "tiny (after)") not in {(f["code"], f["system"]) for f in found["findings"]}
    shares = [
        (entry["predicted"] - entry["support"]) / 160 for entry in systems["tiny (before)"]["sections"]["classes"]
    ]
    assert positions["distance"] == pytest.approx(sum(map(abs, shares)) / 2)


def test_stuart_and_maxwell_with_two_labels_is_mcnemar_without_correction():
    counts = np.array([[30, 12], [5, 40]])
    expected = (12 - 5) ** 2 / (12 + 5)
    assert marginal_homogeneity(counts) == pytest.approx(float(chi2.sf(expected, 1)))
    one = np.repeat([True, False], [12, 5])
    assert abs(mcnemar(one, ~one).p - marginal_homogeneity(counts)) < 0.06


def test_stuart_and_maxwell_against_a_published_table():
    """Vision of two eyes, Stuart (1953): 7,477 women, chi-square 11.96 with 3 degrees of freedom, p = 0.0075."""
    vision = np.array(
        [[1520, 266, 124, 66], [234, 1512, 432, 78], [117, 362, 1772, 205], [36, 82, 179, 492]]
    )  # fmt: skip
    assert marginal_homogeneity(vision) == pytest.approx(0.0075, abs=0.0001)


def test_labels_that_nobody_uses_and_full_agreement():
    padded = np.zeros((4, 4), dtype=np.int64)
    padded[:3, :3] = [[10, 5, 1], [2, 20, 6], [3, 1, 9]]
    assert marginal_homogeneity(padded) == pytest.approx(marginal_homogeneity(padded[:3, :3]))
    assert marginal_homogeneity(np.diag([5, 6, 7])) is None


def test_answers_that_cannot_be_read_are_no_taste_for_letters():
    task = task_of("multiple-choice")
    table = predictions_of("asked", task)
    lost = (table["model"] == "tiny") & (table["stage"] == 1) & (table["id"].str[-1] < "4")
    table.loc[lost, "status"] = "unparsed"
    _, systems = asked(table, task)
    assert systems["tiny (after)"]["sections"]["positions"]["distance"] < 0.1


def test_letters_are_no_strata():
    task = task_of("multiple-choice")
    _, systems = asked(predictions_of("asked", task), task)
    assert "by item" in systems["forest"]["metrics"]["log_loss"]["method"]


def out_of_fold(task, repeats=2, k=4):
    """Answers of other models in each repeat, the later repeat first, as folders by name may stand."""
    tables = []
    for repeat in range(repeats, 0, -1):
        table = predictions_of("asked", task, of_models=41 + repeat).assign(seed=42, repeat=repeat)
        number = table["id"].str[-5:].astype(int)
        tables.append(table.assign(run=table["model"] + "-seed42", fold=(number // repeat) % k + 1))
    return pd.concat(tables, ignore_index=True)


def test_folds_of_questions_are_averaged_over_repeats_and_tested_over_folds():
    task = task_of("multiple-choice")
    table = out_of_fold(task)
    found, systems = asked(table, task)
    tiny = systems["tiny (after)"]
    rows = table.loc[(table["model"] == "tiny") & (table["stage"] == 1) & (table["split"] == "test")]
    accuracy = [(own["gold"] == own["predicted"]).mean() for _, own in rows.groupby("repeat")]
    loss = [sk.log_loss(own["gold"], own[[f"p_{x}" for x in "ABCD"]], labels=list("ABCD")) for _, own in
            rows.groupby("repeat")]  # fmt: skip
    assert accuracy[0] != accuracy[1]
    assert tiny["metrics"]["accuracy"]["value"] == pytest.approx(np.mean(accuracy)) and tiny["n"] == N
    assert tiny["metrics"]["log_loss"]["value"] == pytest.approx(np.mean(loss))
    assert tiny["metrics"]["accuracy"]["n"] == N and "by item" in tiny["metrics"]["accuracy"]["method"]
    assert found["sections"]["cross_validation"]["words"] == "4-fold cross-validation, repeated twice"
    folds = [(own["gold"] == own["predicted"]).mean() for _, own in rows.groupby(["repeat", "fold"])]
    assert [row["primary"] for row in tiny["sections"]["folds"]] == pytest.approx(folds)
    letters = next(part for part in tiny["sections"]["scorings"] if part["scoring"] == "letters")
    assert letters["accuracy"] == tiny["metrics"]["accuracy"] and letters["agreement"]["n"] == N
    assert letters["agreement"]["value"] == 1.0, "the probabilities of a repeat go with its answers"
    assert tiny["sections"]["positions"]["p"] is None
    assert "models of several folds" in tiny["sections"]["positions"]["reason"]
    differences = [row for pair in found["comparisons"] for row in pair["rows"] if row["metric"] == "accuracy"]
    assert differences and all("corrected resampled t-test" in (row["method"] or row["reason"]) for row in differences)
    assert all(pair["mcnemar"] is None or pair["mcnemar"]["p"] is None for pair in found["comparisons"])
