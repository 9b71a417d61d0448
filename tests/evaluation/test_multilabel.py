"""Any number of labels an item: against scikit-learn, with unparsed answers, thresholds from validation."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.statistics.delong import delong, delong_interval
from clinfit.evaluation.statistics.intervals import wilson
from clinfit.study.models import Baseline
from clinfit.study.tasks import task_from
from predicted import study_of

LABELS = ("asthma", "copd", "flu")


def joined(rows):
    return ["|".join(label for label, there in zip(LABELS, row, strict=True) if there) for row in rows]


def make_table(name, gold, probabilities, *, unparsed=(), groups=None, split="test"):
    n = len(gold)
    ids = [f"item-{i:04d}" for i in range(n)]
    table = pd.DataFrame(
        {
            "model": name, "seed": 42, "stage": 1, "task": "asked", "split": split, "id": ids,
            "group": ids if groups is None else [f"g{g}" for g in groups],
            "gold": joined(gold), "predicted": joined(probabilities >= 0.5), "status": "ok",
            "seconds": 0.001, "prompt_tokens": pd.array([None] * n, dtype="Int64"),
        }
    )  # fmt: skip
    for k, label in enumerate(LABELS):
        table[f"p_{label}"] = probabilities[:, k]
    table.loc[list(unparsed), "predicted"] = None
    table.loc[list(unparsed), "status"] = "unparsed"
    return table


def data(n=200, seed=0, strength=1.0):
    rng = np.random.default_rng(seed)
    gold = rng.random((n, 3)) < [0.5, 0.3, 0.1]
    noise = np.random.default_rng(seed + 1).normal(size=(n, 3))
    return gold, 1 / (1 + np.exp(-(strength * (2 * gold - 1) + noise)))


def evaluated(*tables, bootstrap=200, **settings):
    """The task's results; `systems` without the majority answer that every study gets."""
    block = {"kind": "multilabel", "labels": list(LABELS), "data": {"path": "items.csv", "inputs": {"text": "text"}}}
    study = study_of({"asked": task_from(block | {"evaluation": settings})}, bootstrap=bootstrap)
    found = json.loads(json.dumps(evaluate(study, pd.concat(tables)), allow_nan=False))["tasks"]["asked"]
    found["systems"] = [system for system in found["systems"] if system["model"] != "majority"]
    for system in found["systems"]:
        system["classes"] = system["sections"]["classes"]
    return found


@pytest.mark.parametrize("seed", range(3))
def test_same_as_scikit_learn(seed):
    gold, probabilities = data(seed=10 * seed)
    predicted = probabilities >= 0.5
    system = evaluated(make_table("net", gold, probabilities))["systems"][0]
    value = {name: metric["value"] for name, metric in system["metrics"].items()}
    assert value == {
        "micro_f1": pytest.approx(sk.f1_score(gold, predicted, average="micro")),
        "macro_f1": pytest.approx(sk.f1_score(gold, predicted, average="macro")),
        "macro_auroc": pytest.approx(sk.roc_auc_score(gold, probabilities, average="macro")),
        "subset_accuracy": pytest.approx(sk.accuracy_score(gold, predicted)),
        "hamming_loss": pytest.approx(sk.hamming_loss(gold, predicted)),
        "jaccard": pytest.approx(sk.jaccard_score(gold, predicted, average="samples", zero_division=1)),
        "example_f1": pytest.approx(sk.f1_score(gold, predicted, average="samples", zero_division=1)),
        "unparsed": 0.0,
    }
    precision, recall, f1, support = sk.precision_recall_fscore_support(gold, predicted)
    for k, entry in enumerate(system["classes"]):
        found = {name: metric["value"] for name, metric in entry["metrics"].items()}
        assert entry["support"] == support[k]
        assert [found["precision"], found["recall"], found["f1"]] == pytest.approx([precision[k], recall[k], f1[k]])
        assert found["auroc"] == pytest.approx(sk.roc_auc_score(gold[:, k], probabilities[:, k]))
        assert found["auprc"] == pytest.approx(sk.average_precision_score(gold[:, k], probabilities[:, k]))
        assert found["brier"] == pytest.approx(sk.brier_score_loss(gold[:, k], probabilities[:, k]))


def test_intervals_are_wilson_logit_delong_and_the_bootstrap():
    gold, probabilities = data()
    predicted = probabilities >= 0.5
    system = evaluated(make_table("net", gold, probabilities), bootstrap=1000)["systems"][0]
    flu = system["classes"][2]["metrics"]
    right, support = int((gold & predicted)[:, 2].sum()), int(gold[:, 2].sum())
    assert (flu["recall"]["events"], flu["recall"]["n"]) == (right, support)
    assert (flu["recall"]["low"], flu["recall"]["high"]) == pytest.approx(wilson(right, support))
    expected = delong_interval(delong(gold[:, 2], probabilities[:, 2]))
    assert (flu["auroc"]["low"], flu["auroc"]["high"]) == pytest.approx(expected)
    hamming = system["metrics"]["hamming_loss"]
    error = (gold != predicted).mean(1).std() / np.sqrt(200)
    assert (hamming["high"] - hamming["low"]) / 2 / 1.96 == pytest.approx(error, rel=0.1)
    assert hamming["method"] == "percentile bootstrap, by item, 1000 resamples"
    for metric in (*system["metrics"].values(), *flu.values()):
        assert metric["low"] is None or metric["low"] <= metric["value"] <= metric["high"]


def test_unparsed_answers_are_wrong_in_every_metric():
    gold, _ = data(n=50)
    perfect = gold.astype(float)
    system = evaluated(make_table("net", gold, perfect, unparsed=range(10)))["systems"][0]
    found = {name: metric["value"] for name, metric in system["metrics"].items()}
    assert system["unparsed"] == 10
    assert found["subset_accuracy"] == found["jaccard"] == found["example_f1"] == pytest.approx(0.8)
    assert found["hamming_loss"] == found["unparsed"] == pytest.approx(0.2)
    missed = int(gold[:10, 0].sum())
    recall = system["classes"][0]["metrics"]["recall"]["value"]
    assert recall == pytest.approx(1 - missed / gold[:, 0].sum())


def test_no_labels_is_an_answer_and_can_be_right():
    gold = np.array([[False, False, False], [True, False, False], [False, False, False]])
    probabilities = np.array([[0.1, 0.1, 0.1], [0.9, 0.1, 0.1], [0.8, 0.1, 0.1]])
    metrics = evaluated(make_table("net", gold, probabilities))["systems"][0]["metrics"]
    assert metrics["subset_accuracy"]["value"] == metrics["jaccard"]["value"] == pytest.approx(2 / 3)
    assert metrics["hamming_loss"]["value"] == pytest.approx(1 / 9)


def test_what_the_items_cannot_give_is_null_with_a_reason():
    gold, probabilities = data(n=40)
    gold[:, 2] = False
    probabilities[:, 1] = np.minimum(probabilities[:, 1], 0.4)
    system = evaluated(make_table("net", gold, probabilities))["systems"][0]
    copd, flu = (entry["metrics"] for entry in system["classes"][1:])
    assert copd["precision"]["value"] is None
    assert copd["precision"]["reason"] == "never predicts 'copd'"
    assert (copd["recall"]["value"], copd["f1"]["value"]) == (0.0, 0.0)
    for name in ("recall", "f1", "auroc", "auprc"):
        assert (flu[name]["value"], flu[name]["status"]) == (None, "undefined")
        assert "no items labelled 'flu'" in flu[name]["reason"]
    assert "without flu" in system["metrics"]["macro_f1"]["reason"]
    nothing = evaluated(make_table("net", gold, np.full((40, 3), np.nan)))["systems"][0]
    assert nothing["metrics"]["macro_auroc"]["value"] is None
    assert nothing["classes"][0]["metrics"]["brier"]["reason"] == "the system gives no probabilities"


def test_differences_are_paired():
    gold, weak = data(n=300, strength=0.6)
    _, strong = data(n=300, strength=1.0)  # the same noise
    tables = make_table("tiny", gold, weak), make_table("forest", gold, strong), make_table("same", gold, weak)
    found = evaluated(*tables, bootstrap=400, compare=[["forest", "tiny"], ["same", "tiny"]], primary="micro_f1")
    declared = {c["new"]: c for c in found["comparisons"] if c["reference"] == "tiny"}
    rows = {row["metric"]: row for row in declared["forest"]["rows"]}
    values = {system["name"]: system["metrics"]["micro_f1"]["value"] for system in found["systems"]}
    gain = rows["micro_f1"]
    assert gain["difference"] == pytest.approx(values["forest"] - values["tiny"])
    assert 0 < gain["low"] < gain["difference"] < gain["high"] and gain["p"] <= gain["p_holm"]
    single = next(s for s in found["systems"] if s["name"] == "forest")["metrics"]["micro_f1"]
    assert gain["high"] - gain["low"] < single["high"] - single["low"], "pairing must take out what both share"
    assert {row["difference"] for row in declared["same"]["rows"]} == {0.0}
    assert rows["subset_accuracy"]["test"] == "McNemar, exact"


def test_a_rare_label_does_not_hide_what_the_others_show():
    """One label has four items, the others hundreds: the mean over labels is ahead of no answer whatever these say;
    where they alone are what it is ahead by, nothing is shown."""
    gold, probabilities = data(n=400, strength=2.0)
    gold[:, 2] = np.arange(400) < 4
    found = evaluated(make_table("net", gold, probabilities), primary="macro_auroc")
    assert not any("is not shown to be better" in line or "no model is shown" in line for line in found["verdict"])
    assert "uninformative" not in {finding["code"] for finding in found["findings"]}
    useless = np.full_like(probabilities, 0.5)
    useless[:, 2] = gold[:, 2]
    found = evaluated(make_table("net", gold, useless), primary="macro_auroc")
    assert any("no model is shown to be better" in line for line in found["verdict"])


def test_what_is_counted_over_all_items_does_not_hang_on_the_rarest_label():
    gold, probabilities = data(n=400, strength=2.0)
    gold[:, 2] = np.arange(400) < 2
    tables = [make_table("net", gold, probabilities), make_table("none", gold, np.zeros_like(probabilities))]
    (found,) = (
        pair for pair in evaluated(*tables, compare=[["net", "none"]])["comparisons"] if pair["kind"] == "declared"
    )
    p = {row["metric"]: row["p"] for row in found["rows"]}
    assert p["micro_f1"] < 0.01 and p["hamming_loss"] < 0.01


def test_of_rules_alone_none_is_called_a_model():
    gold, probabilities = data()
    rule = Baseline(name="word", family="baseline", kind="lexicon")
    block = {"kind": "multilabel", "labels": list(LABELS), "data": {"path": "items.csv", "inputs": {"text": "text"}}}
    study = study_of({"asked": task_from(block)}, bootstrap=200).model_copy(update={"models": [rule]})
    table = make_table("word", gold, np.full_like(probabilities, 0.4))
    said = evaluate(study, table)["tasks"]["asked"]["verdict"]
    assert any("word is not shown to be better" in line for line in said) and "no model" not in " ".join(said)


def test_groups_are_resampled_as_a_whole_and_order_is_no_matter():
    gold, probabilities = data(n=120)
    gold, probabilities = np.repeat(gold[:40], 3, axis=0), np.repeat(probabilities[:40], 3, axis=0)
    grouped = make_table("net", gold, probabilities, groups=np.arange(120) // 3)
    found = evaluated(grouped)
    assert found["counts"]["test"]["groups"] == 40
    wide = found["systems"][0]["metrics"]["subset_accuracy"]
    narrow = evaluated(make_table("net", gold, probabilities))["systems"][0]["metrics"]["subset_accuracy"]
    assert wide["high"] - wide["low"] > 1.4 * (narrow["high"] - narrow["low"])
    assert evaluated(grouped.sample(frac=1, random_state=0)) == found


def test_null_golds_and_other_golds_withhold_the_numbers():
    gold, probabilities = data(n=20)
    table = make_table("net", gold, probabilities)
    found = evaluated(table.assign(gold=[None, *table["gold"][1:]]))
    assert found["withheld"] and found["findings"][0]["code"] == "labels-outside-schema"
    other = evaluated(table, make_table("other", ~gold, probabilities))
    assert "misaligned-items" in {finding["code"] for finding in other["findings"]}


# ---------------------------------------------------------------- thresholds


def shifted(n=300):
    """Probabilities that rank well and lie far too low, so that 0.5 finds hardly any label."""
    gold, probabilities = data(n=n, strength=2.0)
    return gold, probabilities**4


def test_thresholds_are_chosen_label_by_label_on_validation():
    gold, probabilities = shifted()
    tables = [make_table("net", gold, probabilities, split=split) for split in ("validation", "test")]
    fixed, chosen = (evaluated(*tables, threshold={"rule": rule})["systems"][0] for rule in ("fixed", "f1"))
    thresholds = chosen["sections"]["label_thresholds"]
    assert list(thresholds) == list(LABELS)
    assert all(t["split"] == "validation" and 0 < t["value"] < 0.5 for t in thresholds.values())
    assert {t["value"] for t in fixed["sections"]["label_thresholds"].values()} == {0.5}
    assert chosen["metrics"]["macro_f1"]["value"] > fixed["metrics"]["macro_f1"]["value"] + 0.05
    for k, label in enumerate(LABELS):
        given = int((probabilities[:, k] >= thresholds[label]["value"]).sum())
        assert chosen["classes"][k]["predicted"] == given


def test_where_validation_gives_no_threshold_the_fixed_one_is_taken_and_told():
    gold, probabilities = shifted()
    silent = gold & [True, True, False]
    tables = [make_table("net", silent, probabilities, split="validation"), make_table("net", gold, probabilities)]
    found = evaluated(*tables, threshold={"rule": "f1", "value": 0.4})
    flu = found["systems"][0]["sections"]["label_thresholds"]["flu"]
    assert flu["value"] == 0.4 and "one class" in flu["note"] and "0.4 is taken" in flu["note"]
    codes = {finding["code"] for finding in found["findings"]}
    assert {"threshold-fallback", "small-validation"} <= codes


def test_a_system_that_gives_every_item_the_same_labels_is_told():
    gold, probabilities = data(n=60)
    same = make_table("forest", gold, np.tile([0.9, 0.1, 0.1], (60, 1)))
    leaning = make_table("tiny", gold, np.clip(probabilities * [1, 1, 0.4], 0, 1))
    found = evaluated(same, leaning)["findings"]
    told = {(finding["code"], finding["system"]): finding for finding in found}
    assert "asthma" in told["constant-predictor", "forest"]["title"]
    assert "flu" in told["never-predicted", "tiny"]["evidence"]


# ---------------------------------------------------------------- what a review found


def test_answers_of_another_tool_stay_unless_the_study_asks_for_thresholds():
    gold, _ = data(n=60)
    unsure = make_table("tool", gold, np.full((60, 3), 0.35)).assign(predicted=joined(gold))
    assert evaluated(unsure)["systems"][0]["metrics"]["subset_accuracy"]["value"] == 1.0
    asked = evaluated(unsure, threshold={"rule": "fixed", "value": 0.3})
    assert asked["systems"][0]["metrics"]["subset_accuracy"]["value"] < 0.2


def test_an_interval_is_of_the_same_labels_as_its_value():
    """A resample that has lost a rare label would give the mean F1 of the others."""
    gold, probabilities = data(n=100)
    gold[:, 2] = np.arange(100) == 0
    probabilities[:, 2] = 0.1
    macro = evaluated(make_table("net", gold, probabilities))["systems"][0]["metrics"]["macro_f1"]
    assert macro["status"] == "ok" and macro["low"] < macro["value"] < macro["high"]
    gold[:50, 1], gold[50:, 1] = True, False
    grouped = make_table("net", gold, probabilities, groups=np.arange(100) // 2)  # whole groups hold no label fixed
    macro = evaluated(grouped)["systems"][0]["metrics"]["macro_f1"]
    assert macro["status"] == "unreliable" and "% of the resamples" in macro["reason"]


def test_labels_that_no_item_has_or_all_have_are_told():
    gold, probabilities = data(n=60)
    found = evaluated(make_table("net", gold & [True, False, False], probabilities))
    told = {finding["code"]: finding for finding in found["findings"]}
    assert "'copd', 'flu'" in told["label-missing-in-test"]["evidence"]
    nothing = evaluated(make_table("net", gold & False, probabilities))
    assert "label-missing-in-test" in {finding["code"] for finding in nothing["findings"]}
    everyone = evaluated(make_table("net", gold | [True, False, False], probabilities))
    told = {finding["code"]: finding for finding in everyone["findings"]}
    assert "asthma 0 without it" in told["small-test"]["evidence"]
