"""Metrics, thresholds and comparisons of a cross-validated task in which any number of labels may hold."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from clinfit.evaluation.decisions.decide import OUT_OF_FOLD
from clinfit.evaluation.evaluate import evaluate
from clinfit.study.evaluation import Evaluation
from clinfit.study.models import Classical
from clinfit.study.schema import Study
from clinfit.study.tasks import task_from

LABELS = ["asthma", "copd", "flu"]
K, REPEATS, N = 4, 3, 80
#: Of the rare label, one fold of each repeat has no record.
RARE = 3


def gold() -> NDArray[np.bool_]:
    at = np.arange(N)
    return np.stack([at % 2 == 0, at % 3 == 0, at < RARE], axis=1)


def joined(rows: NDArray[np.bool_]) -> list[str]:
    return ["|".join(label for label, there in zip(LABELS, row, strict=True) if there) for row in rows]


def table(model: str, noise: float, repeats: int = REPEATS) -> pd.DataFrame:
    """Out-of-fold answers whose level differs from fold to fold, so that pooling would spoil ranks."""
    rng, truth, rows = np.random.default_rng(7), gold(), []
    own = rng.standard_normal((N, 3))
    for repeat in range(1, repeats + 1):
        fold_of = np.concatenate([np.arange(RARE), rng.permutation(np.arange(N - RARE))]) % K + 1
        for fold in range(1, K + 1):
            for split, tested in (("test", fold), ("validation", fold % K + 1)):
                at = np.flatnonzero(fold_of == tested)
                logit = 2 * truth[at] - 1 + noise * own[at] + (fold - 2.5)
                p = 1 / (1 + np.exp(-logit))
                rows.append(
                    pd.DataFrame(
                        {
                            "run": f"{model}-seed42-repeat{repeat}-fold{fold}",
                            "model": model, "seed": 42, "stage": 1, "repeat": repeat, "fold": fold,
                            "task": "t", "split": split, "id": [f"r{k}" for k in at], "group": [f"r{k}" for k in at],
                            "gold": joined(truth[at]), "predicted": joined(p >= 0.5), "status": "ok",
                            "seconds": 0.001, "prompt_tokens": pd.array([None] * len(at), dtype="Int64"),
                        }
                        | {f"p_{label}": p[:, k] for k, label in enumerate(LABELS)}
                    )
                )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def evaluated(*tables: pd.DataFrame, refit: bool = False, **settings: Any) -> dict[str, Any]:
    data = {"path": "x.csv", "inputs": {"text": "text"}, "split": {"folds": K, "repeats": REPEATS}}
    task = task_from({"kind": "multilabel", "labels": LABELS, "data": data, "evaluation": settings})
    models = [Classical(name=name, family="classical", kind="lasso", refit=refit) for name in ("one", "other")]
    study = Study(name="sets", tasks={"t": task}, models=list(models), evaluation=Evaluation(bootstrap=200))
    return json.loads(json.dumps(evaluate(study, pd.concat(tables)), allow_nan=False))["tasks"]["t"]


def system(task: dict[str, Any], name: str = "one") -> dict[str, Any]:
    return next(found for found in task["systems"] if found["name"] == name)


def parts(rows: pd.DataFrame, by: list[str]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float64]]]:
    """Truth and probabilities of the test answers of each repeat, or of each fold."""
    for _, own in rows[rows["split"] == "test"].groupby(by):
        at = [int(str(name)[1:]) for name in own["id"]]
        yield gold()[at], own[[f"p_{label}" for label in LABELS]].to_numpy()


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return table("one", 0.6)


@pytest.fixture(scope="module")
def task(rows: pd.DataFrame) -> dict[str, Any]:
    return evaluated(rows, table("other", 1.5))


def test_sets_are_counted_by_repeat_and_rankings_by_fold(rows: pd.DataFrame, task: dict[str, Any]) -> None:
    found = system(task)["metrics"]
    repeats = [(truth, p >= 0.5) for truth, p in parts(rows, ["repeat"])]
    for name, average in (("micro_f1", "micro"), ("macro_f1", "macro")):
        expected = np.mean([sk.f1_score(truth, given, average=average) for truth, given in repeats])
        assert found[name]["value"] == pytest.approx(expected)
    exact = np.mean([sk.accuracy_score(truth, given) for truth, given in repeats])
    assert found["subset_accuracy"]["value"] == pytest.approx(exact)
    assert found["subset_accuracy"]["method"] == "percentile bootstrap, by item, 200 resamples"
    assert {metric["n"] for metric in found.values()} == {N} and system(task)["n"] == N

    of_labels = []
    for k in range(3):
        folds = [
            (len(truth), sk.roc_auc_score(truth[:, k], p[:, k]))
            for truth, p in parts(rows, ["repeat", "fold"])
            if truth[:, k].any()
        ]
        of_labels.append(np.average([value for _, value in folds], weights=[n for n, _ in folds]))
    classes = system(task)["sections"]["classes"]
    assert [entry["metrics"]["auroc"]["value"] for entry in classes] == pytest.approx(of_labels)
    assert found["macro_auroc"]["value"] == pytest.approx(np.mean(of_labels))
    partly = f"in {RARE * REPEATS} of {K * REPEATS} folds"
    assert classes[2]["metrics"]["auroc"]["reason"].startswith(partly)
    assert "flu: over some folds only" in found["macro_auroc"]["reason"]


def test_a_record_counts_once_however_often_it_is_answered(rows: pd.DataFrame, task: dict[str, Any]) -> None:
    classes = system(task)["sections"]["classes"]
    assert [entry["support"] for entry in classes] == gold().sum(axis=0).tolist()
    assert [entry["prevalence"] for entry in classes] == pytest.approx(gold().mean(axis=0).tolist())
    assert classes[0]["metrics"]["recall"]["n"] == gold()[:, 0].sum()
    once = table("one", 0.6, repeats=1)
    alike = [system(evaluated(one))["metrics"] for one in (once, pd.concat([once, once.assign(repeat=2)]))]
    for name in ("micro_f1", "macro_auroc", "subset_accuracy"):
        first, second = ([found[name][key] for key in ("value", "low", "high")] for found in alike)
        assert first == pytest.approx(second)
    errors = task["sections"]["set_errors"]
    assert errors["n"] == N * REPEATS
    listed = [mistake["id"] for mistake in errors["worst"]]
    assert listed and len(set(listed)) == len(listed)


def test_every_fold_has_thresholds_of_its_own(rows: pd.DataFrame) -> None:
    found = system(evaluated(rows, threshold={"rule": "f1"}))
    folds = found["sections"]["folds"]
    assert [(one["repeat"], one["fold"]) for one in folds] == [(r, k) for r in (1, 2, 3) for k in (1, 2, 3, 4)]
    assert all(one["threshold"] is None and set(one["label_thresholds"]) == set(LABELS) for one in folds)
    chosen = [one["label_thresholds"]["asthma"]["value"] for one in folds]
    assert found["sections"]["label_thresholds"]["asthma"]["value"] == pytest.approx(np.median(chosen))
    assert max(chosen) - min(chosen) > 0.2, "the level of the scores differs from fold to fold"
    # Decided by its own threshold, a fold's level does no harm.
    assert found["metrics"]["micro_f1"]["value"] > system(evaluated(rows))["metrics"]["micro_f1"]["value"] + 0.02


def test_a_refitted_model_decides_by_the_out_of_fold_answers(rows: pd.DataFrame) -> None:
    made = system(evaluated(rows, refit=True, threshold={"rule": "f1"}))["sections"]["refit"]
    assert made["threshold"] is None and made["recalibration"] is None
    pooled = rows[rows["split"] == "test"]
    truth = np.array(["asthma" in str(labels) for labels in pooled["gold"]])
    choice = made["label_thresholds"]["asthma"]
    best = max(sk.f1_score(truth, pooled["p_asthma"] >= value) for value in np.unique(pooled["p_asthma"]))
    assert sk.f1_score(truth, pooled["p_asthma"] >= choice["value"]) == pytest.approx(best)
    assert choice["split"] == OUT_OF_FOLD and choice["n"] == N


def test_differences_have_the_corrected_resampled_t_test(task: dict[str, Any]) -> None:
    (found,) = [one for one in task["comparisons"] if {one["reference"], one["new"]} == {"one", "other"}]
    assert {row["test"] for row in found["rows"] if row["test"]} == {"corrected resampled t-test"}
    assert found["mcnemar"]["p"] is None and f"Of {N * REPEATS} answers (3 to each item)" in found["sentence"]
