"""Faults of an experiment that a reader would see in predictions: each is put into those of a sound one, and taken out.

The sound one is real: logistic regression on two measurements of the Wisconsin breast cancer set, which leave some of
the 569 women in doubt, beside a majority answer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.facts import Facts
from clinfit.evaluation.results import TaskResult
from clinfit.study.schema import Study

LABELS = ["benign", "malignant"]
DATA = {"path": "t.csv", "inputs": {"note": "note"}}
MODELS = [
    {"name": "majority", "family": "baseline", "kind": "majority"},
    {"name": "logistic", "family": "classical", "kind": "lasso"},
    {"name": "tiny", "family": "causal", "base": "clinfit/tiny"},
]
CODES = {
    "auroc-below-half",
    "best-of-many",
    "constant-probabilities",
    "hard-probabilities",
    "missing-probabilities",
    "shortened-records",
}
Change = Callable[[pd.DataFrame], pd.DataFrame]


def study_of(models: list[dict[str, Any]] = MODELS, **evaluation: Any) -> Study:
    section = {"bootstrap": 100, "primary": "auroc", "threshold": {"rule": "youden"}} | evaluation
    tasks = {"t": {"labels": LABELS, "data": DATA}}
    return Study.model_validate({"name": "breast", "tasks": tasks, "models": models, "evaluation": section})


@pytest.fixture(scope="module")
def sound() -> pd.DataFrame:
    """Validation and test rows of `logistic` and of `tiny`, which is the same with other features and reads prompts."""
    values, benign = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(benign))
    train, rest = order[:200], order[200:]
    tables = []
    for model, features in (("logistic", [1, 4]), ("tiny", [0, 1])):
        fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(values[train][:, features], benign[train])
        tables.append(table(model, fitted.predict_proba(values[rest][:, features])[:, 0], benign[rest] == 0))
    return pd.concat(tables, ignore_index=True)


def table(model: str, malignant: np.ndarray, gold: np.ndarray, stage: int = 1) -> pd.DataFrame:
    n, third = len(gold), len(gold) // 3
    tokens = pd.array([100 if model == "tiny" else None] * n, dtype="Int64")
    return pd.DataFrame(
        {
            "run": f"{model}-seed42", "model": model, "seed": 42, "stage": stage, "task": "t", "kind": "classification",
            "split": ["validation"] * third + ["test"] * (n - third), "id": [f"w{at:03}" for at in range(n)],
            "group": [f"w{at:03}" for at in range(n)], "gold": np.where(gold, "malignant", "benign"),
            "predicted": np.where(malignant > 0.5, "malignant", "benign"), "status": "ok", "raw": None,
            "finish_reason": None, "prompt_tokens": tokens, "output_tokens": tokens, "dropped_tokens": tokens * 0,
            "seconds": 0.01, "p_benign": 1 - malignant, "p_malignant": malignant, "label_mass": np.nan,
        }
    )  # fmt: skip


def evaluated(rows: pd.DataFrame, study: Study | None = None, facts: Facts | None = None) -> TaskResult:
    return evaluate(study or study_of(), rows, facts)["tasks"]["t"]


def found(rows: pd.DataFrame, study: Study | None = None) -> dict[str, dict[str, Any]]:
    """The findings by code and system."""
    result = evaluated(rows, study)
    assert not result["withheld"] and not [one for one in result["findings"] if one["level"] == "error"]
    return {f"{one['code']} {one['system']}": dict(one) for one in result["findings"] if one["code"] in CODES}


def of(rows: pd.DataFrame, model: str) -> np.ndarray:
    return np.asarray(rows["model"] == model)


def test_nothing_is_found_in_a_sound_experiment(sound: pd.DataFrame) -> None:
    assert found(sound) == {}


def test_answers_without_probabilities(sound: pd.DataFrame) -> None:
    some = of(sound, "logistic") & (sound["gold"] == "malignant").to_numpy() & (np.arange(len(sound)) % 4 == 0)
    rows = sound.copy()
    rows.loc[some, ["p_benign", "p_malignant"]] = np.nan
    (finding,) = found(rows).values()
    assert (finding["code"], finding["system"], finding["level"]) == ("missing-probabilities", "logistic", "warn")
    assert "benign: 0 of" in finding["evidence"]
    rows.loc[some, "status"] = "unparsed"
    assert found(rows) == {}, "an answer that could not be read has none, and is told as such"
    rows = sound.copy()
    rows.loc[of(sound, "logistic"), ["p_benign", "p_malignant"]] = np.nan
    assert found(rows, study_of(primary="accuracy")) == {}, "a tool that gives answers only"


def test_probabilities_of_0_and_1_only(sound: pd.DataFrame) -> None:
    rows = sound.copy()
    hard = (rows["p_malignant"] > 0.5).astype(float)
    rows["p_malignant"] = np.where(of(rows, "logistic"), hard, rows["p_malignant"])
    rows["p_benign"] = 1 - rows["p_malignant"]
    assert found(rows).keys() == {"hard-probabilities logistic"}
    (said,) = (line for line in evaluated(rows.loc[of(rows, "logistic")])["verdict"] if line.startswith("Calibration"))
    assert "0 and 1 only" in said
    rows["p_malignant"] = np.where(of(rows, "logistic"), hard * 0.98 + 0.01, rows["p_malignant"])
    rows["p_benign"] = 1 - rows["p_malignant"]
    assert found(rows) == {}


def test_a_base_that_is_sure_of_one_answer_whatever_it_reads(sound: pd.DataFrame) -> None:
    """A threshold makes several answers of the last digits, so that no answer is constant."""
    before = sound.loc[of(sound, "tiny")].assign(stage=0)
    before["p_malignant"] *= 1e-6
    before["p_benign"] = 1 - before["p_malignant"]
    codes = found(pd.concat([sound, before]))
    assert codes.keys() == {"constant-probabilities tiny (before)"}
    assert codes.popitem()[1]["level"] == "warn"
    before["p_malignant"] *= 1e5
    before["p_benign"] = 1 - before["p_malignant"]
    assert found(pd.concat([sound, before])) == {}


def test_rare_events_are_rightly_improbable() -> None:
    """Of an event that one item in a hundred has, no item need be likely to have it."""
    rng = np.random.default_rng(0)
    rows = table("logistic", rng.uniform(0.001, 0.009, 3000), rng.random(3000) < 0.01)
    assert "constant-probabilities logistic" not in found(rows)


def test_columns_that_are_exchanged(sound: pd.DataFrame) -> None:
    exchanged = {"p_benign": "p_malignant", "p_malignant": "p_benign"}
    rows = pd.concat([sound.loc[of(sound, "tiny")].rename(columns=exchanged), sound.loc[of(sound, "logistic")]])
    codes = found(rows)
    assert codes.keys() == {"auroc-below-half tiny"} and codes.popitem()[1]["level"] == "warn"
    untrained = rows.loc[of(rows, "tiny")].assign(stage=0)
    notes = found(pd.concat([sound, untrained]))
    assert notes["auroc-below-half tiny (before)"]["level"] == "info", "an untrained base may lean either way"


def test_records_that_lose_their_text(sound: pd.DataFrame) -> None:
    rows, tiny = sound.copy(), of(sound, "tiny")
    rows.loc[tiny, "dropped_tokens"] = 300
    (finding,) = found(rows).values()
    assert finding["code"] == "shortened-records" and finding["level"] == "warn"
    assert "75% of what there was to read" in finding["evidence"]
    rows.loc[tiny, "dropped_tokens"] = np.where(np.arange(tiny.sum()) % 5 == 0, 3, 0)
    assert [finding["level"] for finding in found(rows).values()] == ["info"], "some lose a little"
    long = np.asarray(rows.loc[tiny, "gold"] == "malignant")
    rows.loc[tiny, "dropped_tokens"] = np.where(long & (np.arange(tiny.sum()) % 3 > 0), 3, 0)
    (finding,) = found(rows).values()
    assert finding["level"] == "warn" and "unequally" in finding["advice"]
    rows.loc[tiny, "dropped_tokens"] = np.where(np.arange(tiny.sum()) % 50 == 0, 30, 0)
    assert found(rows) == {}


def test_the_best_of_many_on_test(sound: pd.DataFrame) -> None:
    """Twelve models that know the same, each with its luck on the test split."""
    rng = np.random.default_rng(1)
    names = [f"try{at}" for at in range(12)]
    models = [MODELS[0], *({"name": name, "family": "classical", "kind": "lasso"} for name in names)]
    base = sound.loc[of(sound, "logistic")]
    logits = np.log(base["p_malignant"] / base["p_benign"])
    tries = []
    for name in names:
        p = 1 / (1 + np.exp(-(logits + rng.normal(0, 0.7, len(base)))))
        tries.append(base.assign(model=name, run=f"{name}-seed42", p_malignant=p, p_benign=1 - p))
    result = evaluated(pd.concat(tries), study_of(models))
    (finding,) = (one for one in result["findings"] if one["code"] == "best-of-many")
    assert finding["level"] == "warn" and "of 12 models" in finding["title"]
    few = evaluated(pd.concat(tries[:4]), study_of(models))
    assert "best-of-many" not in [one["code"] for one in few["findings"]]


def test_the_best_of_many_is_a_model_after_one_of_its_stages(sound: pd.DataFrame) -> None:
    """`staged` is best after its first stage on both splits and spoiled by its second; eight others know less."""
    rng = np.random.default_rng(2)
    others = [f"other{at}" for at in range(8)]
    through = {"name": "staged", "family": "causal", "base": "clinfit/tiny", "stages": [{"train": {"t": 1}}] * 2}
    models = [MODELS[0], through, *({"name": name, "family": "classical", "kind": "lasso"} for name in others)]
    base = sound.loc[of(sound, "logistic")]

    def with_noise(model: str, stage: int, noise: float) -> pd.DataFrame:
        logits = np.log(base["p_malignant"] / base["p_benign"]) + rng.normal(0, noise, len(base))
        p = 1 / (1 + np.exp(-logits))
        return base.assign(model=model, run=f"{model}-seed42", stage=stage, p_malignant=p, p_benign=1 - p)

    first, second = with_noise("staged", 1, 0.0), with_noise("staged", 2, 30.0)
    rest = [with_noise(name, 1, 2.0) for name in others]
    result = evaluated(pd.concat([first, second, *rest]), study_of(models))
    assert result["chosen"] is not None and result["chosen"]["system"] == "staged (after stage 1)"
    assert "best-of-many" not in [one["code"] for one in result["findings"]]

    on_test = np.asarray(first["split"] == "test")
    swapped = pd.concat([first.loc[on_test], second.loc[~on_test].assign(stage=1), second.loc[on_test]])
    swapped = pd.concat([swapped, first.loc[~on_test].assign(stage=2)])
    result = evaluated(pd.concat([swapped, *rest]), study_of(models))
    (finding,) = (one for one in result["findings"] if one["code"] == "best-of-many")
    assert finding["title"].startswith("staged (after stage 1) is the best of 10 models, each stage counted, on test")
    assert finding["evidence"].startswith("the best on validation is staged (after)")
