"""`clinfit compare`: systems of several runs on the same items, and what is refused."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from clinfit.data.load import input_fingerprints
from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.evaluation.across import Run, across
from clinfit.evaluation.evaluate import evaluate
from clinfit.report.across import print_comparison, write_comparison
from clinfit.runs.compare import _told_apart, compare_runs
from clinfit.runs.execute import run
from clinfit.study.schema import Study

LABELS = ["no", "yes"]
GOLD = ["yes", "no"] * 60
MODELS = [
    {"name": "forest", "family": "classical", "kind": "random-forest"},
    {"name": "tiny", "family": "causal", "base": "clinfit/tiny"},
]


def a_study(name: str, labels: list[str] | None = None, positive: str | None = None, **evaluation: Any) -> Study:
    task = {"labels": labels or LABELS, "positive": positive, "data": {"path": "t.csv", "inputs": {"note": "note"}}}
    section = {"bootstrap": 100, "primary": "accuracy"} | evaluation
    return Study.model_validate({"name": name, "tasks": {"t": task}, "models": MODELS, "evaluation": section})


def table(model: str, scores: list[float], gold: list[str] | None = None, split: str = "test") -> pd.DataFrame:
    """Predictions by P(yes); an item with 0.5 or more is answered yes."""
    gold = gold or GOLD
    ids = [f"{split}-{k:03d}" for k in range(len(gold))]
    nothing = pd.array([None] * len(gold), dtype="Int64")
    return pd.DataFrame(
        {
            "run": f"{model}-seed42", "model": model, "seed": 42, "stage": 1, "task": "t", "split": split, "id": ids,
            "group": ids, "gold": gold, "predicted": ["yes" if p >= 0.5 else "no" for p in scores], "status": "ok",
            "p_no": [1 - p for p in scores], "p_yes": scores, "label_mass": None, "raw": None,
            "prompt_tokens": nothing, "output_tokens": nothing, "seconds": 0.01 if model == "tiny" else 0.0001,
        }
    )  # fmt: skip


def scores(errors: int, high: float = 0.9, low: float = 0.1) -> list[float]:
    """P(yes) that is right on all items but the first `errors`."""
    return [(high if (g == "yes") != (k < errors) else low) + k / 1e5 for k, g in enumerate(GOLD)]


def a_run(name: str, *tables: pd.DataFrame, study: Study | None = None) -> Run:
    return Run(name, f"runs/{name}", "ab" * 32, study or a_study(name), pd.concat(tables), {})


def one_run(name: str = "one", **evaluation: Any) -> Run:
    forest = [table("forest", scores(20), split=split) for split in ("test", "validation")]
    return a_run(name, table("tiny", scores(6)), *forest, study=a_study(name, **evaluation))


def values(results: Any) -> dict[str, float]:
    return {s["name"]: s["metrics"]["accuracy"]["value"] for s in results["tasks"]["t"]["result"]["systems"]}


def with_task(run: Run, name: str, labels: list[str] | None = None) -> Run:
    """The run with its answers once more, to another task."""
    content = run.study.model_dump()
    content["tasks"][name] = content["tasks"]["t"] | ({"labels": labels} if labels else {})
    study, again = Study.model_validate(content), run.predictions.assign(task=name)
    return replace(run, study=study, predictions=pd.concat([run.predictions, again]))


def test_names_are_told_apart_and_each_is_compared_with_the_best_simple_one() -> None:
    other = a_run("two", table("tiny", scores(2)))
    results = across([one_run(), other])
    assert values(results) == pytest.approx({"forest": 100 / 120, "one/tiny": 114 / 120, "two/tiny": 118 / 120})
    assert results["tasks"]["t"]["result"]["baseline"] == "forest"
    found = [(c["kind"], c["new"], c["reference"]) for c in results["tasks"]["t"]["result"]["comparisons"]]
    assert found == [("versus-baseline", name, "forest") for name in ("one/tiny", "two/tiny")]
    assert results["tasks"]["t"]["systems"] == {"one": ["forest", "one/tiny"], "two": ["two/tiny"]}
    json.dumps(results, allow_nan=False)


def test_every_task_that_all_runs_have_is_compared() -> None:
    one, two = with_task(one_run(), "u"), with_task(a_run("two", table("tiny", scores(2))), "u")
    both = across([one, with_task(two, "v")])
    assert list(both["tasks"]) == ["t", "u"] and both["left_out"] == {}
    assert both["tasks"]["t"]["result"]["ranking"] == both["tasks"]["u"]["result"]["ranking"]
    alone = across([one_run(), a_run("two", table("tiny", scores(2)))])
    assert json.dumps(both["tasks"]["t"]) == json.dumps(alone["tasks"]["t"]), "another task changes nothing"


def test_a_task_that_cannot_be_compared_leaves_only_itself_out(tmp_path: Path) -> None:
    one, two = with_task(one_run(), "u"), with_task(a_run("two", table("tiny", scores(2))), "u", ["yes", "no", "maybe"])
    results = across([one, two])
    assert list(results["tasks"]) == ["t"] and "different labels" in results["left_out"]["u"]
    write_comparison(results, tmp_path / "page.html")
    assert "Task u is left out" in (tmp_path / "page.html").read_text()
    console = Console(file=io.StringIO(), width=200)
    print_comparison(results, console)
    assert "Task u is left out" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_page_of_several_tasks_has_a_part_for_each(tmp_path: Path) -> None:
    runs = [with_task(one_run(), "u"), with_task(a_run("two", table("tiny", scores(2))), "u")]
    write_comparison(across(runs), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    anchors = re.findall(r'id="([^"]+)"', page)
    assert "Results: t</h2>" in page and "Results: u</h2>" in page and len(anchors) == len(set(anchors))


def test_single_tasks_are_compared_whatever_they_are_called() -> None:
    two = a_run("two", table("tiny", scores(2)))
    content = two.study.model_dump()
    content["tasks"] = {"other": content["tasks"]["t"]}
    renamed = replace(two, study=Study.model_validate(content), predictions=two.predictions.assign(task="other"))
    assert json.dumps(across([one_run(), renamed])["tasks"]) == json.dumps(across([one_run(), two])["tasks"])
    with pytest.raises(ClinfitError, match="no task in common"):
        across([with_task(one_run(), "u"), renamed])


def test_comparing_across_runs_is_comparing_within_one() -> None:
    """The same answers in one study and spread over two runs give the same paired numbers."""
    everything = one_run()
    inside = evaluate(everything.study, everything.predictions, {})["tasks"]["t"]
    predictions = everything.predictions
    apart = [
        a_run("a", predictions[predictions["model"] == "forest"]),
        a_run("b", predictions[predictions["model"] == "tiny"]),
    ]
    outside = across(apart, [("tiny", "forest")])["tasks"]["t"]["result"]
    one = next(c for c in inside["comparisons"] if c["reference"] == "forest")
    two = outside["comparisons"][0]
    assert (one["flips"], one["mcnemar"]["p"]) == (two["flips"], two["mcnemar"]["p"])
    for mine, yours in zip(one["rows"], two["rows"], strict=True):
        assert {k: mine[k] for k in ("metric", "low", "high", "p")} == {
            k: yours[k] for k in ("metric", "low", "high", "p")
        }


def test_each_run_keeps_its_own_threshold() -> None:
    """Probabilities that are all below 0.5 are right at 0.2, the threshold of their own study."""
    shifted = a_run(
        "two", table("tiny", scores(2, high=0.3)), study=a_study("two", threshold={"rule": "fixed", "value": 0.2})
    )
    assert values(across([one_run(), shifted]))["two/tiny"] == pytest.approx(118 / 120)
    assert values(across([shifted, one_run()]))["two/tiny"] == pytest.approx(118 / 120)


def test_labels_in_another_order_are_the_same_labels() -> None:
    turned = a_run("two", table("tiny", scores(2)), study=a_study("two", ["yes", "no"], "yes"))
    assert values(across([one_run(), turned]))["two/tiny"] == pytest.approx(118 / 120)


def test_a_margin_and_pairs_by_name() -> None:
    results = across([one_run(margin=0.1), a_run("two", table("tiny", scores(2)))], [("two/tiny", "one/tiny")])
    comparison = results["tasks"]["t"]["result"]["comparisons"][0]
    assert (comparison["kind"], comparison["new"], comparison["reference"]) == ("declared", "two/tiny", "one/tiny")
    assert comparison["non_inferiority"] and comparison["non_inferiority"]["shown"]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            lambda: a_run("two", table("tiny", scores(2)).iloc[:-3]),
            "3 only in the first, 0 only in the second, 120 and 117",
        ),
        (
            lambda: a_run("two", table("tiny", scores(2), ["no"] * 2 + GOLD[2:])),
            "1 of 120 test items another gold label",
        ),
        (
            lambda: a_run("two", table("tiny", scores(2)).assign(group=["a"] * 60 + ["b"] * 60)),
            "test items another group",
        ),
        (
            lambda: a_run("two", table("tiny", scores(2)), study=a_study("two", ["no", "maybe"])),
            "1 only in the first, 1 only in the second",
        ),
        (
            lambda: a_run("two", table("tiny", scores(2)), study=a_study("two", positive="no")),
            "the positive label is 'yes' in one and 'no' in two",
        ),
        (lambda: a_run("two", table("tiny", scores(2), split="validation")), "no test predictions"),
    ],
    ids=["items", "gold", "groups", "labels", "positive", "unfinished"],
)
def test_what_is_not_the_same_is_refused_with_counts(other: Callable[[], Run], words: str) -> None:
    with pytest.raises(ClinfitError) as error:
        across([one_run(), other()])
    assert words in error.value.found


def test_a_run_without_numbers_is_refused() -> None:
    one_class = ["yes"] * 120
    with pytest.raises(ClinfitError, match="no numbers to compare: all records of the test split have the label 'yes'"):
        across([a_run(name, table("tiny", scores(2), one_class)) for name in ("one", "two")])


def of_inputs(results: Any) -> dict[str, str]:
    found = results["tasks"]["t"]["result"]["findings"]
    return {one["level"]: one["evidence"] for one in found if one["code"] == "different-inputs"}


def test_runs_that_read_other_values_for_the_same_items() -> None:
    """One of the two was imputed; one reads an input more; what nobody kept says nothing."""
    one, two = one_run(), a_run("two", table("tiny", scores(2)))
    read = [{"age": 40.0, "chol": value, "note": f"seen {at}"} for at, value in enumerate((0.0, 200.0, 210.0))]

    def of(inputs: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
        return {"t": input_fingerprints([Record(f"r{at}", "g", row, "yes", "test") for at, row in enumerate(inputs)])}

    imputed = [row | {"chol": row["chol"] or 205.0} for row in read]
    less = [{name: value for name, value in row.items() if name != "note"} for row in read]
    compared = {name: across([replace(one, inputs=of(read)), replace(two, inputs=of(other))])
                for name, other in (("same", read), ("imputed", imputed), ("less", less))}  # fmt: skip
    assert of_inputs(compared["same"]) == of_inputs(across([one, two])) == {}
    assert of_inputs(across([one, replace(two, inputs=of(read))])) == {}
    assert of_inputs(compared["imputed"]) == {"warn": "chol"}
    assert of_inputs(compared["less"]) == {"info": "only one: note"}
    console = Console(file=io.StringIO(), width=200)
    print_comparison(compared["imputed"], console)
    assert "two read other values than one" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("pair", [("two/tiny", "forest"), ("tiny2", "forest"), ("forest", "one/tiny")])
def test_pairs_by_short_names(pair: tuple[str, str]) -> None:
    two = a_run("two", table("tiny", scores(2)), table("tiny2", scores(3), split="test"))
    before = table("tiny2", scores(50)).assign(stage=0)
    two = replace(two, predictions=pd.concat([two.predictions, before]))
    (comparison,) = across([one_run(), two], [pair])["tasks"]["t"]["result"]["comparisons"]
    full = {"tiny2": "tiny2 (after)"}
    assert (comparison["new"], comparison["reference"]) == tuple(full.get(name, name) for name in pair)
    with pytest.raises(ClinfitError, match="2 systems of these runs are called 'tiny'"):
        across([one_run(), two], [("tiny", "forest")])


def test_an_unknown_system_is_named_with_the_nearest() -> None:
    with pytest.raises(ClinfitError, match="did you mean 'one/tiny'"):
        across([one_run(), a_run("two", table("tiny", scores(2)))], [("one/tinny", "forest")])


def test_runs_are_named_by_what_tells_them_apart() -> None:
    assert _told_apart(["a", "b"], ["a/1", "b/1"], ["x", "y"]) == ["a", "b"]
    assert _told_apart(["a", "a", "b"], ["a/1", "a/2", "b/1"], ["x", "y", "z"]) == ["a/1", "a/2", "b"]


def test_folders_in_page_and_numbers_out(
    make_study: Callable[..., Path], canary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(make_study()).folder
    second = run(make_study(evaluation={"bootstrap": 100, "threshold": {"rule": "fixed", "value": 0.4}})).folder
    results = compare_runs([first, second], tmp_path / "both")
    saved = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert saved == results
    page = (tmp_path / "both" / "comparison.html").read_text()
    assert "different-inputs" not in [one["code"] for one in results["tasks"]["cancer"]["result"]["findings"]]
    names = [system["name"] for system in results["tasks"]["cancer"]["result"]["systems"]]
    assert names == [f"small/{path.name}/{model}" for path in (first, second) for model in ("majority", "tfidf")]
    assert all(name in page for name in names)
    assert canary not in page and "http:" not in page and "https:" not in page and page.count("<h1>") == 1
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'id="([^"]+)"', page))
    with pytest.raises(ClinfitError, match="2 run folders, 1 of them different"):
        compare_runs([first, first], tmp_path / "same")
    with pytest.raises(ClinfitError, match="names no two systems"):
        compare_runs([first, second], tmp_path / "both", ["tfidf"])
