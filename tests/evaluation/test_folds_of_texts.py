"""Metrics and comparisons of a cross-validated task that asks for texts, or for declared fields."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clinfit.evaluation.analyses.language import language_facts
from clinfit.evaluation.answers import read_rows
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.metrics.generation import GENERATION as GENERATION_ENGINE
from clinfit.evaluation.metrics.generation import usual_reference
from clinfit.report.sections.first.verdict import counted
from clinfit.report.sections.performance.comparison import change_rows
from clinfit.study.evaluation import Evaluation
from clinfit.study.models import Baseline, Causal
from clinfit.study.schema import Study
from clinfit.study.tasks import task_from

K, REPEATS, N = 3, 2, 30
DATA = {"path": "x.csv", "inputs": {"text": "text"}, "label": "note", "split": {"folds": K, "repeats": REPEATS}}
FIELDS = {"what": {"values": ["tumour", "fracture"]}, "size": "integer"}


def divided(model: str, scores: pd.DataFrame, repeats: int = REPEATS) -> pd.DataFrame:
    """Answers of every fold, each with the scores of its record and repeat. scores: index (record, repeat)."""
    rng, rows = np.random.default_rng(3), []
    for repeat in range(1, repeats + 1):
        fold_of = rng.permutation(N) % K + 1
        for fold in range(1, K + 1):
            for split, tested in (("test", fold), ("validation", fold % K + 1)):
                at = np.flatnonzero(fold_of == tested)
                rows.append(
                    pd.DataFrame(
                        {
                            "run": f"{model}-seed42-repeat{repeat}-fold{fold}",
                            "model": model, "seed": 42, "stage": 1, "repeat": repeat, "fold": fold,
                            "task": "t", "split": split, "id": [f"r{k}" for k in at], "group": [f"r{k}" for k in at],
                            "gold": [f"note {k}" for k in at], "predicted": "a note", "raw": "a note", "status": "ok",
                            "finish_reason": "stop", "seconds": 0.001,
                            "prompt_tokens": pd.array([None] * len(at), dtype="Int64"),
                        }
                    ).join(scores.loc[[(k, repeat) for k in at]].reset_index(drop=True))
                )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def scores(seed: int, level: float, repeats: int = REPEATS) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product([range(N), range(1, repeats + 1)])
    numbers = rng.random(len(index))
    return pd.DataFrame(
        {
            "score_token_f1": np.clip(level + 0.2 * rng.standard_normal(len(index)), 0, 1),
            "score_number_precision": np.where(numbers < 0.4, np.nan, (numbers > 0.6).astype(float)),
            "score_empty": (numbers > 0.95).astype(float),
        },
        index=index,
    )


def evaluated(task: dict[str, Any], *tables: pd.DataFrame) -> dict[str, Any]:
    models = [Baseline(name=name, family="baseline", kind=kind) for name, kind in (("one", "copy"), ("other", "lead"))]
    study = Study(name="texts", tasks={"t": task_from(task)}, models=list(models), evaluation=Evaluation(bootstrap=200))
    return json.loads(json.dumps(evaluate(study, pd.concat(tables)), allow_nan=False))["tasks"]["t"]


GENERATION = {"kind": "generation", "data": DATA, "evaluation": {"compare": [["one", "other"]]}}


@pytest.fixture(scope="module")
def tables() -> list[pd.DataFrame]:
    return [divided("one", scores(1, 0.4)), divided("other", scores(2, 0.6))]


@pytest.fixture(scope="module")
def task(tables: list[pd.DataFrame]) -> dict[str, Any]:
    return evaluated(GENERATION, *tables)


def system(task: dict[str, Any], name: str = "one") -> dict[str, Any]:
    return next(found for found in task["systems"] if found["name"] == name)


def test_scores_are_means_of_each_repeat(tables: list[pd.DataFrame], task: dict[str, Any]) -> None:
    test = tables[0][tables[0]["split"] == "test"]
    found = system(task)["metrics"]
    for name in ("token_f1", "number_precision", "empty"):
        each = [own[f"score_{name}"].mean() for _, own in test.groupby("repeat")]
        assert found[name]["value"] == pytest.approx(np.mean(each))
    assert found["token_f1"]["n"] == system(task)["n"] == N
    known = test["score_number_precision"].notna().sum()
    assert found["number_precision"]["n"] == round(known / REPEATS)
    assert f"{N * REPEATS - known} of {N * REPEATS} answers" in found["number_precision"]["reason"]
    assert found["empty"]["events"] == round(test["score_empty"].sum() / REPEATS)
    assert found["token_f1"]["method"] == "percentile bootstrap, by item, 200 resamples"


def test_the_folds_are_shown_one_by_one(tables: list[pd.DataFrame], task: dict[str, Any]) -> None:
    shown = system(task)["sections"]["folds"]
    test = tables[0][tables[0]["split"] == "test"]
    own = [part["score_token_f1"].mean() for _, part in test.groupby(["repeat", "fold"])]
    assert [one["primary"] for one in shown] == pytest.approx(own)
    assert task["sections"]["cross_validation"]["words"] == "3-fold cross-validation, repeated twice"


def test_comparisons_are_over_the_folds_and_the_items_that_both_have(
    tables: list[pd.DataFrame], task: dict[str, Any]
) -> None:
    (compared,) = (one for one in task["comparisons"] if {one["reference"], one["new"]} == {"one", "other"})
    rows = {row["metric"]: row for row in compared["rows"]}
    assert rows["token_f1"]["test"] == "corrected resampled t-test"
    keys = ["id", "repeat", "fold"]
    both = [table[table["split"] == "test"].set_index(keys)["score_number_precision"] for table in tables]
    known = both[0].notna() & both[1].notna()
    means = [own[known].groupby("repeat").mean().mean() for own in both]
    values = dict(zip(("one", "other"), means, strict=True))
    found = rows["number_precision"]
    assert found["difference"] == pytest.approx(values[compared["new"]] - values[compared["reference"]])
    assert f"Of {N * REPEATS} answers (2 to each item)" in compared["sentence"]
    assert found["common"]["both"] == known.sum() and found["test"] == "corrected resampled t-test"


def test_a_repeat_that_says_the_same_changes_nothing() -> None:
    once = divided("one", scores(1, 0.4, 1), 1)
    twice = pd.concat([once, once.assign(repeat=2)])
    first, second = (system(evaluated(GENERATION, rows))["metrics"] for rows in (once, twice))
    assert {name: (one["value"], one["n"]) for name, one in first.items()} == {
        name: (pytest.approx(one["value"]), one["n"]) for name, one in second.items()
    }


def test_a_score_that_one_repeat_has_none_of_is_undefined_and_said_so(tables: list[pd.DataFrame]) -> None:
    name = "score_number_precision"
    task = evaluated(GENERATION, *(table.assign(**{name: table[name].where(table["repeat"] == 1)}) for table in tables))
    metric = system(task)["metrics"]["number_precision"]
    assert metric["value"] is None and "one of the repeats" in metric["reason"]
    (compared,) = (one for one in task["comparisons"] if {one["reference"], one["new"]} == {"one", "other"})
    (row,) = (row for row in compared["rows"] if row["metric"] == "number_precision")
    assert row["difference"] is None


def told(task: dict[str, Any], code: str) -> list[str]:
    return [finding["title"] for finding in task["findings"] if finding["code"] == code]


def test_items_without_a_score_are_counted_once(tables: list[pd.DataFrame], task: dict[str, Any]) -> None:
    unread = {"r0", "r1", "r2"}
    changed = [t.assign(score_token_f1=t["score_token_f1"].where(~t["id"].isin(unread))) for t in tables]
    assert told(task, "items-not-scored") == []
    assert told(evaluated(GENERATION, *changed), "items-not-scored") == ["Token F1 has no value for 3 of 30 test items"]


def test_a_model_that_writes_one_text_in_each_fold_is_told() -> None:
    rows = divided("one", scores(1, 0.4))
    rows = rows.assign(output_tokens=3, dropped_tokens=0)
    rows["predicted"] = "text " + rows["repeat"].astype(str) + rows["fold"].astype(str)
    task = task_from({"kind": "generation", "data": DATA})
    causal = Causal(name="one", family="causal", base="clinfit/tiny")
    study = Study(name="texts", tasks={"t": task}, models=[causal], evaluation=Evaluation(bootstrap=200))
    (title,) = told(json.loads(json.dumps(evaluate(study, rows)["tasks"]["t"])), "few-different-texts")
    assert "60 of 60 (100.0 %) answers, in each fold its own" in title


def test_what_was_read_of_a_record_is_counted_once() -> None:
    rows = divided("one", scores(1, 0.4))
    number = rows["id"].str.removeprefix("r").astype(int)
    rows = rows.assign(dropped_tokens=number % 5 * (number % 3 == 0), prompt_tokens=100 + number)
    rows = rows.assign(pieces=(number % 4).astype(float), rounds=1.0, cut_pieces=(number % 2).astype(float))
    facts = language_facts(rows[rows["split"] == "test"])
    known = [k for k in range(N) if k % 3 == 0 and k % 5]
    assert facts["n"] == N and facts["shortened"] == len(known)
    assert sorted(one["id"] for one in facts["cut"]) == sorted(f"r{k}" for k in known)
    pieces = [k % 4 for k in range(N)]
    counts = {"records": sum(map(bool, pieces)), "pieces": sum(pieces), "cut": N // 2, "most_rounds": 1}
    assert facts["pieces"] == counts
    before = language_facts(rows[rows["split"] == "test"].drop(columns="cut_pieces"))
    assert before["pieces"] == counts | {"cut": None}


def test_texts_are_said_to_be_of_a_cross_validation_where_they_are_few(task: dict[str, Any]) -> None:
    assert f"The cross-validation has {N} test items" in " ".join(task["verdict"])


def test_rows_of_a_comparison_over_some_answers_say_so(task: dict[str, Any]) -> None:
    (compared,) = (one for one in task["comparisons"] if {one["reference"], one["new"]} == {"one", "other"})
    rows = change_rows(compared, {}, counted(task))
    (over,) = (row.over for row in rows if row.title == "Numbers found in the source (proxy)")
    common = next(row["common"] for row in compared["rows"] if row["metric"] == "number_precision")
    assert over.startswith(f"over {common['both']} answers; ")


def test_the_usual_reference_of_a_fold_is_of_its_own_validation() -> None:
    rows = divided("one", scores(1, 0.9, 1), 1)
    for fold in range(1, K + 1):
        rows.loc[(rows["fold"] == fold) & (rows["split"] == "validation"), "gold"] = f"usual of {fold}"
    test, validation = (
        read_rows(rows[rows["split"] == split], GENERATION_ENGINE.read, [], None) for split in ("test", "validation")
    )
    answers = replace(test.answers, gold=np.array([f"usual of {fold}" for fold in test.answers.folds.fold], object))
    (usual,) = usual_reference(answers, validation.answers).values()
    assert (usual.score("token_f1") == 1).all(), "each fold has the text of its validation"
    assert not usual_reference(answers, validation.answers.take(np.arange(1))), "a fold without any has none"


def test_fields_are_counted_over_all_answers_of_a_repeat() -> None:
    index = pd.MultiIndex.from_product([range(N), range(1, REPEATS + 1)])
    rng = np.random.default_rng(4)
    right = {name: rng.random(len(index)) < 0.7 for name in FIELDS}
    columns = {"score_valid_output": np.ones(len(index)), "score_all_fields": right["what"] & right["size"]}
    for name, own in right.items():
        columns |= {f"score_right:{name}": own, f"score_correct:{name}": own}
        columns |= {f"score_given:{name}": np.ones(len(index)), f"score_true:{name}": np.ones(len(index))}
    table = divided("one", pd.DataFrame(columns, index=index).astype(float))
    label = {"columns": {name: name for name in FIELDS}}
    found = evaluated({"kind": "extraction", "fields": FIELDS, "data": DATA | {"label": label}}, table)
    metrics, test = system(found)["metrics"], table[table["split"] == "test"]
    assert metrics["all_fields"]["value"] == pytest.approx(test["score_all_fields"].mean())
    assert metrics["field_f1"]["value"] == pytest.approx(np.mean([own.mean() for own in right.values()]))
    assert metrics["all_fields"]["n"] == N and len(system(found)["sections"]["folds"]) == K * REPEATS
    assert metrics["field_precision"]["n"] == 2 * N
