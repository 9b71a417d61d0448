"""The table on the terminal."""

import io
from copy import deepcopy
from dataclasses import replace

from rich.console import Console

from clinfit.findings import Finding
from clinfit.report.inputs import ReportInputs
from clinfit.report.summary import print_summary, told_once


def printed(inputs: ReportInputs) -> str:
    console = Console(file=io.StringIO(), width=160)
    print_summary(inputs.results, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_systems_best_first_with_the_primary_interval(cases: dict[str, ReportInputs]) -> None:
    (task,) = cases["binary"].results["tasks"].values()
    text = printed(cases["binary"])
    places = [text.index(f"\n {name}") for name in task["ranking"]]
    assert places == sorted(places)
    best = next(system for system in task["systems"] if system["name"] == task["ranking"][0])
    primary = best["metrics"]["auroc"]
    assert f"{primary['value']:.3f} [{primary['low']:.3f}, {primary['high']:.3f}]" in text
    assert all(sentence.split(":")[0] in text for sentence in task["verdict"])
    assert "AUROC [95%]" in text


def test_the_order_of_the_systems_is_said(cases: dict[str, ReportInputs]) -> None:
    inputs = cases["binary"]
    text = printed(inputs)
    assert "best AUROC first" in text and "mean" not in text.partition("best AUROC first")[2].splitlines()[0]
    results = deepcopy(inputs.results)
    (task,) = results["tasks"].values()
    task["systems"].append({**task["systems"][1], "seed": 43, "name": "random-forest, seed 43"})
    told = "best AUROC first; seeds of one model stand together, in the place of their mean"
    assert told in printed(replace(inputs, results=results))


def test_errors_and_withheld_numbers(cases: dict[str, ReportInputs]) -> None:
    text = printed(cases["one class"])
    assert "error: " in text and "withheld" in text
    assert "1.000" not in text


def test_what_holds_for_several_systems_is_said_once() -> None:
    found = [
        Finding("warn", "constant", "tiny (before) answers 'no' for every item", system="tiny (before)"),
        Finding("warn", "small", "the test split is small"),
        Finding("warn", "constant", "forest answers 'no' for every item", system="forest"),
        Finding("warn", "constant", "forest answers 'yes' for every item", system="forest"),
        Finding("warn", "alike", "tiny: the model answers alike", system="tiny"),
        Finding("warn", "alike", "forest: the model answers alike", system="forest"),
        Finding("warn", "mass", "little probability on the labels", system="tiny (after)"),
    ]
    assert told_once([finding.as_dict() for finding in found]) == [
        "answers 'no' for every item: tiny (before), forest",
        "the test split is small",
        "forest answers 'yes' for every item",
        "the model answers alike: tiny, forest",
        "little probability on the labels (tiny (after))",
    ]


def test_what_holds_for_many_seeds_and_stages_is_counted_by_model() -> None:
    names = [
        f"{model} ({moment}, seed {seed})"
        for model in ("tiny", "bert")
        for moment in ("before", "after")
        for seed in (1, 2)
    ]
    found = [Finding("warn", "constant", f"{name} answers 'no' for every item", system=name) for name in names[:6]]
    runs = ["tiny-seed1", "tiny-seed1", "tiny-seed2"]  # after each of two stages
    found += [Finding("warn", "alarm", f"{run}: the loss is high", system=run) for run in runs]
    assert told_once([finding.as_dict() for finding in found]) == [
        "answers 'no' for every item: 6 systems of tiny (4 x), bert (2 x)",
        "the loss is high: tiny-seed1, tiny-seed2",
    ]
