"""Abstention, risk-coverage of texts and contrastive likelihood, from made-up tables."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from clinfit.evaluation.decisions.selective import risk_coverage
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.facts import Facts
from clinfit.evaluation.metrics.text.faults import FAULTS
from clinfit.evaluation.results import Results
from clinfit.evaluation.statistics.intervals import wilson
from clinfit.predictions import NATS, SCORE
from clinfit.study.schema import Study

N = 40
RNG = np.random.default_rng(3)
F1 = RNG.random(N)


def study() -> Study:
    asked = {"primary": "token_f1", "abstention": {"inputs": ["context", "age"]}, "contrast": 9}
    data = {
        "path": "t.csv",
        "inputs": {"question": "question", "context": "context", "age": {"column": "age", "type": "number"}},
    }
    task = {"kind": "generation", "data": data, "evaluation": asked}
    tiny = {"name": "tiny", "family": "causal", "base": "clinfit/tiny"}
    lead = {"name": "lead", "family": "baseline", "kind": "lead"}
    content = {"name": "s", "tasks": {"note": task}, "models": [lead, tiny], "evaluation": {"bootstrap": 200}}
    return Study.model_validate(content)


def predictions(groups: int = N) -> pd.DataFrame:
    tables = []
    for model, lift in (("lead", 0.0), ("tiny", 0.1)):
        for split in ("validation", "test"):
            table = pd.DataFrame({"id": [f"{split[0]}{k:03}" for k in range(N)]})
            table["group"] = [f"{split[0]}g{k % groups}" for k in range(N)]
            shared = {"run": f"{model}-seed42", "model": model, "seed": 42, "stage": 1, "task": "note"}
            shared |= {"kind": "generation", "split": split, "gold": "x", "predicted": "y", "status": "ok", "raw": "y"}
            shared |= {"finish_reason": "stop", "prompt_tokens": 9, "output_tokens": 3, "dropped_tokens": 0}
            table = table.assign(**shared, seconds=0.1, **dict.fromkeys(NATS, 5.0))
            tables.append(table.assign(**{SCORE + "token_f1": np.clip(F1 + lift, 0, 1), SCORE + "empty": 0.0}))
    return pd.concat(tables, ignore_index=True)


def asked(declined: dict[str, int], confidence: Any, groups: int = N) -> pd.DataFrame:
    rows = []
    for condition, n in (("given", N), ("removed", 10), ("swapped", 10)):
        for k in range(n):
            row = {"condition": condition, "id": f"t{k:03}", "group": f"tg{k % groups}", "context": True}
            row |= {"declined": k < declined[condition], "empty": condition == "swapped" and k == n - 1}
            given = condition == "given"
            rows.append(row | {"nats": -confidence[k] * 4 if given else np.nan, "tokens": 4.0 if given else np.nan})
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def system(facts: Facts, groups: int = N) -> tuple[dict[str, Any], list[Any]]:
    task = evaluate(study(), predictions(groups), facts)["tasks"]["note"]
    (found,) = (each for each in task["systems"] if each["model"] == "tiny")
    assert not {"abstention", "contrast"} & next(e for e in task["systems"] if e["model"] == "lead")["sections"].keys()
    return dict(found["sections"]), task["findings"]


def facts(**tables: pd.DataFrame) -> Facts:
    found: Any = {name: {"note": {("tiny-seed42", 1): table}} for name, table in tables.items()}
    return found


def results() -> Results:
    """Of a task whose system was asked both."""
    pairs = pd.DataFrame({"fault": ["drug"], "id": ["t000"], "group": ["tg0"], "nats": [4.0], "tokens": [2]})
    both = facts(
        abstention=asked({"given": 3, "removed": 1, "swapped": 0}, F1),
        contrast=pairs.assign(faulty_nats=6.0, faulty_tokens=2),
    )
    return evaluate(study(), predictions(), both)


def test_shares_are_counted_with_wilsons_interval() -> None:
    sections, findings = system(facts(abstention=asked({"given": 3, "removed": 1, "swapped": 0}, F1)))
    said = sections["abstention"]
    assert said["given"]["value"] == 3 / N and (said["given"]["low"], said["given"]["high"]) == wilson(3, N, 0.95)
    counted = [
        [said[how][what]["events"] for what in ("declined", "answered", "empty")] for how in ("removed", "swapped")
    ]
    assert counted == [[1, 9, 0], [0, 9, 1]] and said["removed"]["answered"]["n"] == 10
    codes = [finding["code"] for finding in findings]
    assert codes.count("answers-without-context") == 2 and codes.count("declines-with-context") == 1
    (named,) = (f["title"] for f in findings if f["code"] == "answers-without-context" and "without" in f["title"])
    assert named == "tiny answers all the same: 9 of 10 (90.0 %) of the records asked without their context and age"
    _, findings = system(facts(abstention=asked({"given": 2, "removed": 2, "swapped": 9}, F1)))
    assert not {"answers-without-context", "declines-with-context"} & {finding["code"] for finding in findings}


def test_records_that_have_no_context_are_not_counted_among_those_that_do() -> None:
    table = asked({"given": 3, "removed": 1, "swapped": 0}, F1)
    lacking = (table["condition"] == "given") & table["id"].isin(["t000", "t001", f"t{N - 1:03}"])
    said = system(facts(abstention=table.assign(context=~lacking)))[0]["abstention"]
    assert (said["given"]["events"], said["given"]["n"]) == (1, N - 3), "two of three that decline lack a context"
    assert said["risk"]["n"] == N, "risk and coverage are of all texts"


def test_a_likelihood_that_ranks_as_the_metric_has_the_smallest_area() -> None:
    nothing = {"given": 0, "removed": 0, "swapped": 0}
    risk = 1 - np.clip(F1 + 0.1, 0, 1)
    areas = {}
    for name, confidence in {"best": -risk, "blind": np.full(N, -1.0), "worst": risk}.items():
        said = system(facts(abstention=asked(nothing, confidence)))[0]["abstention"]
        areas[name] = said["aurc"]["value"]
        assert said["aurc"]["value"] == pytest.approx(risk_coverage(risk, confidence)[:, 1].mean())
        assert said["aurc"]["low"] < said["aurc"]["value"] < said["aurc"]["high"] and said["aurc"]["n"] == N
        assert said["risk"]["value"] == pytest.approx(risk.mean()) == said["risk_coverage"][-1][1]
    assert areas["best"] < areas["blind"] < areas["worst"] and areas["blind"] == pytest.approx(risk.mean())


def test_the_interval_of_the_risk_is_as_wide_as_its_standard_error() -> None:
    nothing = {"given": 0, "removed": 0, "swapped": 0}
    said = system(facts(abstention=asked(nothing, np.full(N, -1.0))))[0]["abstention"]
    error = (1 - np.clip(F1 + 0.1, 0, 1)).std() / np.sqrt(N)
    for metric in (said["risk"], said["aurc"]):  # one and the same where the likelihood is blind
        assert (metric["high"] - metric["low"]) / (2 * 1.96 * error) == pytest.approx(1, abs=0.2)


def test_groups_are_resampled_whole() -> None:
    table = asked({"given": 3, "removed": 1, "swapped": 0}, F1, groups=8)
    said = system(facts(abstention=table), groups=8)[0]["abstention"]
    for metric in (said["given"], said["removed"]["answered"], said["aurc"], said["risk"]):
        assert "by group" in metric["method"] and metric["low"] <= metric["value"] <= metric["high"]


def test_without_a_likelihood_there_is_no_curve() -> None:
    nothing = {"given": 0, "removed": 0, "swapped": 0}
    said = system(facts(abstention=asked(nothing, np.full(N, np.nan))))[0]["abstention"]
    assert said["aurc"]["value"] is None and said["aurc"]["reason"] and said["risk_coverage"] == []
    assert said["given"]["value"] == 0


def test_contrast_counts_texts_that_are_likelier_a_token() -> None:
    rows = [
        ("number", 10.0, 5, 30.0, 10),
        ("number", 10.0, 5, 30.0, 20),
        ("drug", 4.0, 4, 4.0, 4),
        ("drug", 4.0, 4, 4.0, 4),
    ]
    columns = ["fault", "nats", "tokens", "faulty_nats", "faulty_tokens"]
    table = pd.DataFrame(rows, columns=columns).assign(id=["a", "b", "a", "b"], group=["a", "b", "a", "b"])
    sections, findings = system(facts(contrast=table))
    found = {row["fault"]: row["likelier"] for row in sections["contrast"]}
    assert list(found) == list(FAULTS)
    assert (found["number"]["events"], found["number"]["n"], found["number"]["value"]) == (1, 2, 0.5)
    assert found["drug"]["value"] == 0, "as likely is not likelier"
    assert found["problem"]["value"] is None and found["problem"]["reason"] == "no reference that the fault fits"
    (finding,) = (each for each in findings if each["code"] == "faults-not-less-likely")
    assert "number: 1 of 2 (50.0 %); drug: 0 of 2 (0.0 %); by chance half of them" in finding["evidence"]
