"""A search for hyperparameters as a step: its trials, a kill in the middle, what the run records of it."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from rich.console import Console

from clinfit.errors import ClinfitError
from clinfit.evaluation.search_results import SearchOutcome
from clinfit.files import read_json
from clinfit.models.base import Lesson
from clinfit.models.families import load_model
from clinfit.runs.checking.check import check_study
from clinfit.runs.execute import Result, run
from clinfit.runs.folder import RunFolder
from clinfit.runs.inputs import check_searches, prepare
from clinfit.runs.steps import search as search_step
from clinfit.runs.steps import trials
from clinfit.runs.steps.dry_run import print_plan
from clinfit.runs.steps.executors import Processes
from clinfit.runs.steps.search import JOURNAL, run_search
from clinfit.runs.steps.trials import Subject, Worth, record_losses, standard_error
from clinfit.study.data import Data
from clinfit.study.load import load_study
from clinfit.study.models import Classical
from clinfit.study.quick import limited
from clinfit.study.search import Range, Search
from clinfit.study.tasks import Classification
from executed import causal
from folded_study import quiet
from small_study import numbers_task, write_study

FOREST = {
    "name": "forest",
    "family": "classical",
    "kind": "random-forest",
    "trees": 10,
    "search": {"trials": 6, "over": {"trees": {"low": 5, "high": 40}, "max_depth": [None, 2, 3]}},
}


def write(folder: Path, *, other_test: bool = False, **changes: Any) -> Path:
    """90 rows of numbers, divided by a column. other_test: the test records have the other label."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((90, 3))
    label = pd.Series((x[:, 0] + 0.8 * rng.standard_normal(90) > 0.2).astype(int))
    split = pd.Series(["train", "validation", "test"] * 30)
    label = label.where((split != "test") | (not other_test), 1 - label)
    table = pd.DataFrame(x, columns=["a", "b", "c"]).assign(id=[f"r{k}" for k in range(90)], label=label, part=split)
    task = numbers_task(folder, table, {"column": "part"})
    whole = {"tasks": {"t": task}, "models": [FOREST], "seeds": [1, 2], "evaluation": {"bootstrap": 100}}
    return write_study(folder, **{**whole, **changes})


def outcome_of(folder: Path, name: str = "forest-seed1") -> SearchOutcome:
    return read_json(folder / "models" / name / "search" / "search.json")


def told(outcome: SearchOutcome) -> list[tuple[Any, ...]]:
    """Everything of the trials but the time that they took."""
    return [tuple(value for key, value in trial.items() if key != "seconds") for trial in outcome["trials"]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("search")
    return run(write(folder / "study"), out=folder / "run", console=quiet())


# ---------------------------------------------------------------- what a run makes of it


def test_the_best_point_on_validation_is_chosen(done: Result) -> None:
    outcome = outcome_of(done.folder)
    values = [trial["value"] for trial in outcome["trials"]]
    assert len(values) == 6
    assert [trial["state"] for trial in outcome["trials"]] == ["done"] * 6
    assert outcome["trials"][outcome["chosen"]]["value"] == max(value for value in values if value is not None)
    assert (outcome["metric"], outcome["lower_is_better"], outcome["records"]) == ("auroc", False, 30)
    assert outcome["trials"][0]["point"] == {"trees": 10, "max_depth": None}
    assert outcome["own"] == 0


def test_its_value_is_that_of_the_model_that_is_kept(done: Result) -> None:
    """The fit of the search's seed answers validation as the chosen trial did."""
    from clinfit.evaluation.metrics.primary import primary_value
    from clinfit.predictions import read_predictions

    study = load_study(done.folder / "study.yaml")
    table = read_predictions(done.folder / "models/forest-seed1/predictions/t-validation-stage1.parquet")
    gold = (table["gold"] == "yes").to_numpy().astype(np.int64)
    value = primary_value(study.tasks["t"], "auroc", gold, table[["p_no", "p_yes"]].to_numpy())
    outcome = outcome_of(done.folder)
    assert value == pytest.approx(outcome["trials"][outcome["chosen"]]["value"], abs=1e-12)


@pytest.mark.parametrize("seed", [1, 2])
def test_recorded_hyperparameters_are_those_of_the_estimator(done: Result, seed: int) -> None:
    folder = RunFolder(done.folder).model("forest", seed)
    point, record = outcome_of(done.folder)["point"], folder.read_record()
    model: Any = load_model("classical", folder.model(1))
    (forest,) = model.fitted["t"].estimators
    assert (forest.n_estimators, forest.max_depth) == (point["trees"], point["max_depth"])
    assert {name: record["spec"][name] for name in point} == point
    assert {name: getattr(model.spec, name) for name in point} == point
    pack = read_json(done.packs[f"forest-seed{seed}"] / "pack.json")
    assert {name: pack["model"]["spec"][name] for name in point} == point
    assert pack["model"]["details"]["search"]["trials"] == 6


def test_one_search_serves_all_seeds(done: Result) -> None:
    assert outcome_of(done.folder, "forest-seed2") == outcome_of(done.folder)


def test_nothing_of_a_trial_is_kept_but_numbers(done: Result) -> None:
    folder = done.folder / "models/forest-seed1"
    assert {path.name for path in (folder / "search").rglob("*")} == {"journal.jsonl", "search.json"}
    assert not (folder / ".search-trial").exists()


def test_report_and_card_tell_of_it(done: Result) -> None:
    assert done.report is not None
    page = done.report.read_text()
    assert "How hyperparameters were chosen" in page
    assert "6 trials (6 done, 0 stopped early, 0 failed) with seed 1" in page
    assert "hyperparameters: chosen by a search of 6 trials" in page
    assert "The standard error of AUROC on 30 validation records is" in page
    card = (done.packs["forest-seed1"] / "README.md").read_text()
    assert "chosen by a search of 6 trials, compared by auroc on 30 validation records" in card


def test_points_within_the_standard_error_are_a_finding(done: Result) -> None:
    assert done.results is not None
    codes = [finding["code"] for finding in done.results["tasks"]["t"]["findings"]]
    assert codes.count("search-within-noise") == 1


@pytest.mark.usefixtures("no_report")
def test_done_is_done(done: Result) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.folder.glob("models/*/search/*")}
    run(done.folder.parent / "study/study.yaml", out=done.folder, console=quiet())
    assert {path: path.stat().st_mtime_ns for path in done.folder.glob("models/*/search/*")} == before
    record = RunFolder(done.folder).model("forest", 2).read_record()
    assert record["spec"]["trees"] == outcome_of(done.folder)["point"]["trees"]


def test_the_plan_names_the_step_once(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=250)
    print_plan(load_study(write(tmp_path / "study")), tmp_path / "run", None, False, console)
    lines = [line for line in console.file.getvalue().splitlines() if "search hyperparameters" in line]  # type: ignore[attr-defined]
    assert len(lines) == 2
    assert "to do" in lines[0]
    assert "the same as forest-seed1" in lines[1]


def test_check_tells_what_is_searched(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=250)
    check_study(load_study(write(tmp_path / "study")), console)
    assert "search of 6 trials over trees, max_depth" in console.file.getvalue()  # type: ignore[attr-defined]


# ---------------------------------------------------------------- test is never read


@pytest.mark.usefixtures("no_report")
def test_labels_of_test_change_nothing(done: Result, tmp_path: Path) -> None:
    other = write(tmp_path / "study", other_test=True)
    again = run(other, out=tmp_path / "run", console=quiet())
    assert told(outcome_of(again.folder)) == told(outcome_of(done.folder))
    assert outcome_of(again.folder)["point"] == outcome_of(done.folder)["point"]


# ---------------------------------------------------------------- killed in the middle


@pytest.mark.usefixtures("no_report")
def test_a_killed_search_goes_on_with_the_same_trials(
    done: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, calls, fit = write(tmp_path / "study"), [], trials.try_point

    def dies(*args: Any) -> Worth:
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return fit(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(search_step, "try_point", dies)
        run(study, out=tmp_path / "run", console=quiet())
    journal = tmp_path / "run/models/forest-seed1/search" / JOURNAL
    with journal.open("a") as file:
        file.write('{"op_code": 5, "worker')  # a line that was being written
    (journal.parent / f"{JOURNAL}.lock").symlink_to(journal)
    run(study, out=tmp_path / "run", console=quiet())
    assert told(outcome_of(tmp_path / "run")) == told(outcome_of(done.folder))


def test_killed_between_two_settings_or_after_the_last_validation_it_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the journal holds of a trial changes neither what is drawn next nor where the trial ends early."""

    def value(_: Subject, point: Mapping[str, Any], scratch: Path, progress: Any, report: Any) -> Worth:
        for validation in (1, 2, 3):
            report(validation, validation / 3, float(point["trees"] - (validation == 3) * point["max_depth"]))
        if len(seen) > dying.get("trial", 99):
            raise KeyboardInterrupt
        return Worth(float(point["trees"]), None)

    def suggests(trial: Any, dimension: Any) -> Any:
        if dimension.name == "trees":
            seen.append(trial.number)
        elif dying.get("setting") == trial.number:
            raise KeyboardInterrupt
        return suggested(trial, dimension)

    about = subject({"trees": Range(low=1, high=500), "max_depth": Range(low=1, high=400)}, number=14)
    suggested, seen, dying = search_step._suggested, list[int](), dict[str, int]()
    monkeypatch.setattr(search_step, "_suggested", suggests)
    undisturbed = searched(about, tmp_path / "whole", monkeypatch, value)
    for where, number in (("setting", 8), ("trial", 8)):
        seen.clear()
        dying[where] = number
        with pytest.raises(KeyboardInterrupt):
            searched(about, tmp_path / where, monkeypatch, value)
        dying.clear()
        assert told(searched(about, tmp_path / where, monkeypatch, value)) == told(undisturbed)


def test_a_fault_of_the_program_is_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def value(*_: Any) -> Worth:
        raise TypeError("ours")

    about = subject({"trees": Range(low=1, high=16)})
    with pytest.raises(TypeError):
        searched(about, tmp_path, monkeypatch, value)
    outcome = searched(about, tmp_path, monkeypatch, lambda _, point, *__: Worth(point["trees"], 0.1))
    assert [trial["state"] for trial in outcome["trials"]] == ["done"] * 12


def test_a_whole_number_in_a_list_is_the_setting_s_own_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 stands for 1.0 of a number with decimals, which the block's own point is held as."""
    spec = Classical(
        name="m",
        family="classical",
        kind="gradient-boosting",
        learning_rate=1,
        search=Search(trials=3, over={"learning_rate": [1, 0.1, 0.3]}),
    )
    about = replace(subject({"trees": [5, 6]}), spec=spec)
    outcome = searched(about, tmp_path, monkeypatch, lambda _, point, *__: Worth(-point["learning_rate"], 0.1))
    assert outcome["trials"][0]["point"] == {"learning_rate": 1.0} and outcome["point"] == {"learning_rate": 0.1}


def test_a_search_is_done_again_where_the_stage_trains_otherwise(tmp_path: Path) -> None:
    inputs = []
    for rate in (5e-4, 5e-2):
        model = {"name": "tiny", "family": "causal", "base": "clinfit/tiny"}
        model |= {"search": {"trials": 2, "over": {"lora.rank": [2, 4]}}}
        stages = [{"train": {"t": 1}, "settings": {"learning_rate": rate}}]
        study = load_study(write(tmp_path / "study", models=[model], stages=stages))
        steps = prepare(study, tmp_path / "run", None, fresh=True).steps
        inputs.append({step.inputs for step in steps if step.action == "search"})
    assert not inputs[0] & inputs[1]


@pytest.mark.slow
@pytest.mark.usefixtures("no_report")
def test_workers_do_the_same(done: Result, tmp_path: Path) -> None:
    run(write(tmp_path / "study"), out=tmp_path / "run", console=quiet(), executor=Processes())
    assert told(outcome_of(tmp_path / "run")) == told(outcome_of(done.folder))


# ---------------------------------------------------------------- folds, missing things


def test_every_fold_is_searched_by_itself(tmp_path: Path) -> None:
    study = write(tmp_path / "study", seeds=[1])
    text = study.read_text().replace("split:\n        column: part", "split: {folds: 3}")
    assert "folds" in text
    study.write_text(text)
    result = run(study, out=tmp_path / "run", console=quiet())
    assert result.ok
    found = [outcome_of(tmp_path / "run", f"forest-seed1-repeat1-fold{fold}") for fold in (1, 2, 3)]
    assert len({tuple(trial["value"] for trial in one["trials"]) for one in found}) > 1
    assert result.report is not None
    assert "every fold was searched by itself" in result.report.read_text()


def test_without_validation_nothing_is_begun(tmp_path: Path) -> None:
    study = write(tmp_path / "study")
    table = pd.read_csv(study.parent / "data.csv").replace({"part": {"validation": "train"}})
    table.to_csv(study.parent / "data.csv", index=False)
    with pytest.raises(ClinfitError, match="has no validation records"):
        run(study, out=tmp_path / "run", console=quiet())
    assert not (tmp_path / "run").exists()


def test_without_optuna_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = load_study(write(tmp_path / "study"))
    monkeypatch.setattr("clinfit.runs.inputs.find_spec", lambda name: None)
    with pytest.raises(ClinfitError) as caught:
        check_searches(study, study.models, {})
    assert "clinfit[search]" in (caught.value.fix or "")


# ---------------------------------------------------------------- the search itself, over made-up values


def subject(over: Mapping[str, Any], number: int = 12, **settings: Any) -> Subject:
    spec = Classical(
        name="m", family="classical", kind="random-forest", search=Search(trials=number, over=dict(over)), **settings
    )
    task = Classification(labels=["no", "yes"], data=Data(path="none.csv", inputs={"x": "x"}))
    return Subject(spec, {"t": task}, 3, Lesson([], [], {"t": 1.0}), None, lambda *_: None, lambda: None)


def searched(
    about: Subject, folder: Path, monkeypatch: pytest.MonkeyPatch, value: Callable[..., Worth]
) -> SearchOutcome:
    monkeypatch.setattr(search_step, "try_point", value)
    run_search(about, folder / "search", "key", "macro_f1", lambda *_: None)
    return read_json(folder / "search/search.json")


def test_a_small_space_is_tried_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = subject({"trees": Range(low=5, high=7), "class_weights": ["none", {"no": 2.0}]}, number=6, trees=6)
    outcome = searched(about, tmp_path, monkeypatch, lambda _, point, *__: Worth(point["trees"], 0.1))
    points = [(trial["point"]["trees"], str(trial["point"]["class_weights"])) for trial in outcome["trials"]]
    assert points[0] == (6, "none")
    assert len(set(points)) == len(points) == 6
    assert outcome["point"]["trees"] == 7


def test_a_point_that_comes_again_is_not_fitted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def value(_: Subject, point: Mapping[str, Any], *rest: Any) -> Worth:
        seen.append(point["trees"])
        return Worth(-abs(point["trees"] - 9), 0.1)

    outcome = searched(subject({"trees": Range(low=1, high=16)}, number=15), tmp_path, monkeypatch, value)
    assert len(seen) == len(set(seen)) < 15 == len(outcome["trials"])
    again = [trial for trial in outcome["trials"] if trial["same_as"] is not None]
    assert len(again) == 15 - len(seen)
    assert all(trial["value"] == outcome["trials"][trial["same_as"] or 0]["value"] for trial in again)


def test_trials_below_the_median_end_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def value(_: Subject, point: Mapping[str, Any], scratch: Path, progress: Any, report: Any) -> Worth:
        for validation in (1, 2, 3):
            report(validation, validation / 3, float(point["trees"]))
        return Worth(float(point["trees"]), None)

    outcome = searched(subject({"trees": Range(low=1, high=500)}, number=20), tmp_path, monkeypatch, value)
    states = [trial["state"] for trial in outcome["trials"]]
    assert states[:5] == ["done"] * 5
    assert 0 < states.count("pruned") < 15
    stopped = [trial for trial in outcome["trials"] if trial["state"] == "pruned"]
    assert {trial["validations"] for trial in stopped} <= {1, 2}
    assert outcome["trials"][outcome["chosen"]]["state"] == "done"


def test_a_trial_that_fails_is_told_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def value(_: Subject, point: Mapping[str, Any], *rest: Any) -> Worth:
        if point["trees"] > 50:
            raise ClinfitError("the training loss is not a finite number at step 3")
        return Worth(point["trees"], 0.1)

    outcome = searched(subject({"trees": Range(low=1, high=100)}), tmp_path, monkeypatch, value)
    failed = [trial for trial in outcome["trials"] if trial["state"] == "failed"]
    assert failed
    assert "not a finite number" in (failed[0]["reason"] or "")
    assert outcome["point"]["trees"] <= 50


def test_where_every_trial_fails_the_search_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def value(*_: Any) -> Worth:
        raise ClinfitError("no")

    with pytest.raises(ClinfitError, match="none of 12 trials of the search could be done: no"):
        searched(subject({"trees": Range(low=1, high=100)}), tmp_path, monkeypatch, value)


def test_importance_needs_ten_trials_and_two_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def value(_: Subject, point: Mapping[str, Any], *rest: Any) -> Worth:
        return Worth(point["trees"], 0.1)

    over = {"trees": Range(low=1, high=1000), "max_depth": Range(low=1, high=50)}
    few = searched(subject(over, number=9), tmp_path / "few", monkeypatch, value)
    many = searched(subject(over, number=30), tmp_path / "many", monkeypatch, value)
    assert few["importance"] is None
    assert many["importance"] is not None
    assert sum(many["importance"].values()) == pytest.approx(1)
    assert many["importance"]["trees"] > many["importance"]["max_depth"]


def test_the_same_seed_gives_the_same_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def value(_: Subject, point: Mapping[str, Any], *rest: Any) -> Worth:
        return Worth(-abs(point["trees"] - 300), 0.1)

    about = subject({"trees": Range(low=1, high=1000, log=True)}, number=25)
    first, second = (searched(about, tmp_path / name, monkeypatch, value) for name in "ab")
    assert told(first) == told(second)


# ---------------------------------------------------------------- numbers


def test_losses_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import log_loss

    rng = np.random.default_rng(0)
    gold, p = rng.integers(3, size=40), rng.dirichlet(np.ones(3), size=40)
    assert record_losses(gold, p).mean() == pytest.approx(log_loss(gold, p))
    held, q = rng.integers(2, size=(40, 2)), rng.random((40, 2))
    mean = np.mean([log_loss(held[:, k], q[:, k]) for k in range(2)])
    assert record_losses(held.astype(bool), q).mean() == pytest.approx(mean)


def test_the_standard_error_is_that_of_a_mean_and_counts_groups() -> None:
    x = np.random.default_rng(1).standard_normal(400)

    def mean(rows: NDArray[np.int64]) -> float:
        return float(x[rows].mean())

    alone = standard_error([str(k) for k in range(400)], mean, 0)
    assert alone == pytest.approx(1 / 20, rel=0.25)
    x = np.repeat(x[:100], 4)
    assert standard_error([str(k // 4) for k in range(400)], mean, 0) == pytest.approx(1 / 10, rel=0.25)
    assert standard_error(["a", "b"], lambda rows: None, 0) is None


# ---------------------------------------------------------------- models that train step by step


@pytest.mark.slow
def test_a_language_model_is_searched(tmp_path: Path) -> None:
    """Chosen values are those of optimizer and adapter; a trial's value is that of the checkpoint that was kept."""
    train = {"epochs": 2, "learning_rate": 3e-3, "batch_size": 8, "max_length": 192, "precision": "fp32"}
    over = {"train.learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}, "lora.rank": [4, 8]}
    tiny = causal("tiny", compare_base=False, train=train, search={"trials": 2, "over": over})
    study = limited(load_study(write(tmp_path / "study", models=[tiny], seeds=[1])), 45)
    result = run(study, out=tmp_path / "run", console=quiet())
    assert result.ok
    folder, outcome = RunFolder(tmp_path / "run").model("tiny", 1), outcome_of(tmp_path / "run", "tiny-seed1")
    point, record = outcome["point"], folder.read_record()
    details = record["stages"]["1"]["details"]
    assert details["peak_learning_rate"] == pytest.approx(point["train.learning_rate"])
    assert read_json(folder.model(1) / "adapter/adapter_config.json")["r"] == point["lora.rank"]
    assert details["adapter"]["rank"] == point["lora.rank"] == record["spec"]["lora"]["rank"]
    assert record["spec"]["train"]["learning_rate"] == point["train.learning_rate"]
    assert [trial["validations"] for trial in outcome["trials"]] == [2, 2]
    rows = [json.loads(line) for line in (folder.stage(1) / "log.jsonl").read_text().splitlines()]
    (kept,) = (row for row in rows if row["step"] == details["best_step"])
    assert kept["validation_primary"] == pytest.approx(outcome["trials"][outcome["chosen"]]["value"])
    assert not list(tmp_path.rglob(".search-trial"))
