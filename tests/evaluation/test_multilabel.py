"""Several labels an item: against scikit-learn, with unparsed answers, under shared resamples."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from clinfit.errors import ClinfitError
from clinfit.evaluation.definitions import MULTILABEL
from clinfit.evaluation.intervals import delong, delong_interval, wilson
from clinfit.evaluation.multilabel import evaluate_multilabel

LABELS = ("asthma", "copd", "flu")


def joined(rows):
    return ["|".join(label for label, there in zip(LABELS, row, strict=True) if there) for row in rows]


def make_table(name, gold, probabilities, *, unparsed=(), groups=None):
    n = len(gold)
    ids = [f"item-{i:04d}" for i in range(n)]
    table = pd.DataFrame(
        {
            "model": name, "seed": 42, "stage": 1, "split": "test", "id": ids,
            "group": ids if groups is None else [f"g{g}" for g in groups],
            "gold": joined(gold), "predicted": joined(probabilities >= 0.5), "status": "ok",
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


def evaluated(*tables, **options):
    found = evaluate_multilabel(pd.concat(tables), LABELS, **{"bootstrap": 200} | options)
    return json.loads(json.dumps(found, allow_nan=False))


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
    assert set(value) == set(MULTILABEL)
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
    assert (hamming["high"] - hamming["low"]) / 2 / 1.96 == pytest.approx(error, rel=0.12)
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
    tables = make_table("old", gold, weak), make_table("new", gold, strong), make_table("same", gold, weak)
    found = evaluated(*tables, reference="old", bootstrap=400)
    comparisons = {comparison["new"]: comparison for comparison in found["comparisons"]}
    assert list(comparisons) == ["new", "same"]
    rows = {row["metric"]: row for row in comparisons["new"]["rows"]}
    values = {system["name"]: system["metrics"]["micro_f1"]["value"] for system in found["systems"]}
    gain = rows["micro_f1"]
    assert gain["difference"] == pytest.approx(values["new"] - values["old"])
    assert 0 < gain["low"] < gain["difference"] < gain["high"]
    assert gain["p"] <= gain["p_holm"] <= min(1, 2 * gain["p"]) + 1e-12
    single = next(s for s in found["systems"] if s["name"] == "new")["metrics"]["micro_f1"]
    assert gain["high"] - gain["low"] < single["high"] - single["low"], "pairing must take out what both share"
    assert {row["difference"] for row in comparisons["same"]["rows"]} == {0.0}
    assert {row["p"] for row in comparisons["same"]["rows"]} == {1.0}


def test_groups_are_resampled_as_a_whole_and_order_is_no_matter():
    gold, probabilities = data(n=120)
    gold, probabilities = np.repeat(gold[:40], 3, axis=0), np.repeat(probabilities[:40], 3, axis=0)
    grouped = make_table("net", gold, probabilities, groups=np.arange(120) // 3)
    found = evaluated(grouped)
    assert found["groups"] == 40
    wide = found["systems"][0]["metrics"]["subset_accuracy"]
    narrow = evaluated(make_table("net", gold, probabilities))["systems"][0]["metrics"]["subset_accuracy"]
    assert wide["high"] - wide["low"] > 1.4 * (narrow["high"] - narrow["low"])
    assert evaluated(grouped.sample(frac=1, random_state=0)) == found


def test_user_mistakes():
    gold, probabilities = data(n=20)
    table = make_table("net", gold, probabilities)
    with pytest.raises(ClinfitError, match="1 items of net have labels in 'gold' that are not declared"):
        evaluated(table.assign(gold=["Flu", *table["gold"][1:]]))
    with pytest.raises(ClinfitError, match="1 items of net have no gold labels"):
        evaluated(table.assign(gold=[None, *table["gold"][1:]]))
    with pytest.raises(ClinfitError, match="did not answer the same items"):
        evaluated(table, make_table("other", gold[:10], probabilities[:10]))
    with pytest.raises(ClinfitError, match="different gold labels in"):
        evaluated(table, make_table("other", ~gold, probabilities))
    with pytest.raises(ClinfitError, match="no system 'forest'"):
        evaluated(table, reference="forest")
    with pytest.raises(ClinfitError, match="no test predictions"):
        evaluated(table.assign(split="train"))
