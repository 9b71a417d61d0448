"""A pack that is recalibrated elsewhere: the same model, a map and a threshold of that place, figures that are no more
than cross-fitted, and a pack as any other."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from clinfit.cli import app
from clinfit.errors import ClinfitError
from clinfit.evaluation.metrics.probabilities import calibration
from clinfit.files import hash_file
from clinfit.packs.content import read_content, seal
from clinfit.packs.read import load_pack
from clinfit.runs.execute import run
from clinfit.runs.external.pack import evaluate_pack
from clinfit.runs.external.recalibrate import recalibrate_pack
from executed import causal

STUDY = """\
name: wards
tasks:
  fall:
    labels: [no, yes]
    positive: yes
    data: &data
      path: data.csv
      id: id
      inputs: {age: {column: age, type: number}, ward: {column: ward, type: category}}
      label: fall
    evaluation: {threshold: {rule: sensitivity, value: 0.8}, calibration: platt, refer: {rule: confidence, value: 0.9}}
  degree:
    labels: [mild, moderate, severe]
    data: {<<: *data, label: degree}
    evaluation: {threshold: {rule: macro-f1}}
  needs:
    kind: multilabel
    labels: [bath, feed]
    data: {<<: *data, label: needs}
  care:
    kind: multilabel
    labels: [lift, feed, dress]
    data: {<<: *data, label: care}
    evaluation: {threshold: {rule: f1}, calibration: platt}
models:
  - {name: lasso, family: classical, kind: lasso, c_grid: [1.0]}
  - {name: majority, family: baseline, kind: majority}
evaluation: {bootstrap: 100}
"""


def table(n: int, seed: int, rarer: float = 0.0) -> pd.DataFrame:
    """n made-up patients; with `rarer` they fall less often than their age tells, by so much of a logit."""
    draw = np.random.default_rng(seed)
    age = draw.normal(60, 10, n).round()
    fell = draw.random(n) < 1 / (1 + np.exp(-((age - 58) / 6 - rarer)))
    degree = np.digitize(age + draw.normal(0, 6, n), [55, 68])
    return pd.DataFrame(
        {"id": [f"r{i}" for i in range(n)], "age": age, "ward": np.where(draw.random(n) < 0.5, "A", "B")}
        | {"fall": np.where(fell, "yes", "no"), "degree": np.array(["mild", "moderate", "severe"])[degree]}
        | {"needs": np.where(age > 65, "bath|feed", "bath"), "care": care(age, draw, rarer)}
    )


def care(age: np.ndarray[Any, Any], draw: np.random.Generator, rarer: float) -> list[str]:
    """Two kinds of care that are frequent, and one that hardly anybody needs."""
    chance = 1 / (1 + np.exp(-(np.stack([(age - 58) / 5, (62 - age) / 8, (age - 90) / 5], axis=1) - rarer)))
    needed = draw.random(chance.shape) < chance
    return ["|".join(np.array(["lift", "feed", "dress"])[row]) for row in needed]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with packs; new.csv: a place where patients fall less often; later.csv: more of them."""
    folder = tmp_path_factory.mktemp("wards")
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    table(300, 1).to_csv(folder / "data.csv", index=False)
    table(300, 2, rarer=1.5).to_csv(folder / "new.csv", index=False)
    table(300, 3, rarer=1.5).to_csv(folder / "later.csv", index=False)
    assert run(folder / "study.yaml", out=folder / "run").ok
    return folder


def pack_of(folder: Path, model: str = "lasso") -> Path:
    return folder / "run" / "models" / f"{model}-seed42" / "pack"


def risks(pack: Path, source: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """P(yes) of every record, and whether it fell."""
    rows = pd.read_csv(source)
    return load_pack(pack).predict(rows, "fall")["p_yes"].to_numpy(), (rows["fall"] == "yes").to_numpy()


def logit(p: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.log(p / (1 - p))


@pytest.mark.parametrize(("method", "numbers"), [("intercept", 1), ("intercept-slope", 2)])
def test_the_map_is_the_logistic_recalibration_of_the_packs_own_probabilities(
    folder: Path, tmp_path: Path, method: Any, numbers: int
) -> None:
    old, outcome = risks(pack_of(folder), folder / "new.csv")
    recalibrate_pack(pack_of(folder), folder / "new.csv", tmp_path / "new", task="fall", method=method)
    new, _ = risks(tmp_path / "new", folder / "new.csv")
    found = calibration(outcome, new)
    assert found is not None and found.intercept == pytest.approx(0, abs=1e-6)
    if numbers == 1:
        assert np.ptp(logit(new) - logit(old)) == pytest.approx(0, abs=1e-9) and logit(new)[0] < logit(old)[0]
    else:
        assert found.slope == pytest.approx(1, abs=1e-6)
        fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(old)[:, None], outcome)
        assert new == pytest.approx(fitted.predict_proba(logit(old)[:, None])[:, 1], abs=1e-4)


def test_the_new_pack_is_the_old_model_and_says_what_it_was_recalibrated_on(folder: Path, tmp_path: Path) -> None:
    made = recalibrate_pack(pack_of(folder), folder / "new.csv", tmp_path / "new", task="fall")
    old, new = read_content(pack_of(folder)), read_content(tmp_path / "new")
    assert new == made.content and new.model == old.model and new.sha256 != old.sha256
    changed = {name for name in old.files if old.files[name] != new.files[name]}
    assert changed == {"README.md"} and new.run == "lasso-seed42-recalibrated"
    entry, before = new.answered["fall"], old.answered["fall"]
    (update,) = entry.updates
    rows = pd.read_csv(folder / "new.csv")
    assert (update.pack, update.data) == (old.sha256, hash_file(folder / "new.csv"))
    assert (update.n, update.events) == (300, rows["fall"].value_counts().to_dict())
    assert update.threshold == "chosen" and update.method == "intercept-slope"
    assert entry.recalibration == before.recalibration and entry.recalibrated is not None
    assert {name: new.tasks[name] for name in ("degree", "needs")} == {
        name: old.tasks[name] for name in ("degree", "needs")
    }
    card = (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    assert "This pack was recalibrated" in card and old.sha256 in card and "cross-fitted" in card
    assert "training never saw" not in card.partition("Evaluation: fall")[2].partition("##")[0]


def test_records_without_any_value_are_left_out_and_counted(folder: Path, tmp_path: Path) -> None:
    new, pack = pd.read_csv(folder / "new.csv", dtype=str), pack_of(folder)
    inputs = load_pack(pack).tasks["fall"].task.data.columns
    blank = new.head(3).assign(**dict.fromkeys(inputs, ""))
    blank[new.columns[0]] = ["blank1", "blank2", "blank3"]
    pd.concat([new, blank]).to_csv(tmp_path / "blank.csv", index=False)
    whole = recalibrate_pack(pack, folder / "new.csv", tmp_path / "whole", task="fall")
    found = recalibrate_pack(pack, tmp_path / "blank.csv", tmp_path / "found", task="fall")
    assert found.lines == [
        *whole.lines, "3 records have no value at all, to which the pack gives no answer, and were left out"
    ]  # fmt: skip


def test_figures_are_cross_fitted_and_never_those_of_the_records_the_map_is_from(folder: Path, tmp_path: Path) -> None:
    """A map of least loss has a smaller error on its own records than maps from others have."""
    recalibrate_pack(pack_of(folder), folder / "new.csv", tmp_path / "new", task="fall")
    entry = read_content(tmp_path / "new").answered["fall"]
    old, outcome = risks(pack_of(folder), folder / "new.csv")
    new, _ = risks(tmp_path / "new", folder / "new.csv")
    apparent, reported = float(((new - outcome) ** 2).mean()), entry.metrics["brier"]["value"]
    was = float(((old - outcome) ** 2).mean())
    assert entry.updates[0].before["brier"]["value"] == pytest.approx(was)
    assert apparent < reported < was
    assert entry.n == entry.metrics["brier"]["n"] == 300


def test_a_chosen_threshold_is_chosen_again_by_its_rule_and_can_be_kept(folder: Path, tmp_path: Path) -> None:
    old = read_content(pack_of(folder)).answered["fall"].threshold
    recalibrate_pack(pack_of(folder), folder / "new.csv", tmp_path / "chosen", task="fall")
    recalibrate_pack(pack_of(folder), folder / "new.csv", tmp_path / "kept", task="fall", keep_threshold=True)
    chosen, kept = (read_content(tmp_path / name).answered["fall"] for name in ("chosen", "kept"))
    assert old is not None and chosen.threshold is not None and kept.threshold == old
    assert chosen.threshold["value"] != old["value"] and chosen.threshold["achieved"]["sensitivity"] >= 0.8
    assert (chosen.threshold["split"], chosen.threshold["n"]) == ("recalibration", 300)
    assert [one.updates[0].threshold for one in (chosen, kept)] == ["chosen", "kept"]
    answers = load_pack(tmp_path / "chosen").predict(folder / "new.csv", "fall")
    decided = np.where(answers["p_yes"] >= chosen.threshold["value"], "yes", "no")
    assert answers["decision"].tolist() == decided.tolist()
    handed = answers["status"].tolist().count("refer") / len(answers)
    assert chosen.referral is not None and handed == pytest.approx(0.1, abs=0.03)


def test_it_does_better_on_other_records_of_the_place_and_evaluate_says_so(folder: Path, tmp_path: Path) -> None:
    recalibrate_pack(pack_of(folder), folder / "new.csv", tmp_path / "new", task="fall")
    before, after = (
        evaluate_pack(pack, folder / "later.csv", tmp_path / name, task="fall")["tasks"]["fall"]
        for pack, name in ((pack_of(folder), "before"), (tmp_path / "new", "after"))
    )
    metrics = [next(s for s in task["systems"] if s["model"] == "lasso")["metrics"] for task in (before, after)]
    briers = [found["brier"]["value"] or 0 for found in metrics]
    assert 0 < briers[1] < briers[0]
    assert metrics[1]["auroc"]["value"] == pytest.approx(metrics[0]["auroc"]["value"])
    codes = {finding["code"]: finding for finding in before["findings"]}
    assert "clinfit recalibrate" in codes["miscalibrated-here"]["advice"]
    intercepts = [abs(found["calibration_intercept"]["value"] or 0) for found in metrics]
    assert intercepts[1] < intercepts[0] / 3
    page = (tmp_path / "after" / "report.html").read_text(encoding="utf-8")
    assert "300 records that it was recalibrated on" in page and "clinfit recalibrate" in page


def test_more_than_two_labels_by_a_temperature(folder: Path, tmp_path: Path) -> None:
    recalibrate_pack(pack_of(folder), folder / "new.csv", tmp_path / "new", task="degree")
    entry = read_content(tmp_path / "new").answered["degree"]
    assert entry.updates[0].recalibration["kind"] == "temperature" and entry.threshold is not None
    assert entry.threshold["split"] == "recalibration" and entry.threshold["weights"] is not None
    answers = load_pack(tmp_path / "new").predict(folder / "new.csv", "degree")
    assert answers[[f"p_{label}" for label in ("mild", "moderate", "severe")]].sum(axis=1).to_numpy() == pytest.approx(
        1
    )


def care_risks(pack: Path, source: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(n, 3) probabilities of the labels, and whether they hold."""
    rows, labels = pd.read_csv(source, keep_default_na=False), ["lift", "feed", "dress"]
    answers = load_pack(pack).predict(rows, "care")
    gold = np.array([[label in cell.split("|") for label in labels] for cell in rows["care"]])
    return answers[[f"p_{label}" for label in labels]].to_numpy(), gold


def test_each_label_of_several_has_a_map_of_its_own(folder: Path, tmp_path: Path) -> None:
    made = recalibrate_pack(pack_of(folder), folder / "new.csv", tmp_path / "new", task="care")
    entry, before = (read_content(pack).answered["care"] for pack in (tmp_path / "new", pack_of(folder)))
    (old, gold), (new, _) = (care_risks(pack, folder / "new.csv") for pack in (pack_of(folder), tmp_path / "new"))
    for k in (0, 1):
        fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(old[:, k])[:, None], gold[:, k])
        assert new[:, k] == pytest.approx(fitted.predict_proba(logit(old[:, k])[:, None])[:, 1], abs=1e-4)
    assert (new[:, 2] == old[:, 2]).all(), "too few need it for a map"
    (update,) = entry.updates
    assert update.recalibration["kind"] == "by-label" and "dress" in update.recalibration["note"]
    assert before.threshold is not None and entry.threshold is not None and update.threshold == "chosen"
    assert entry.threshold["lift"]["split"] == "recalibration" != before.threshold["lift"]["split"]
    answers = load_pack(tmp_path / "new").predict(folder / "new.csv", "care")
    held = new >= [entry.threshold[label]["value"] for label in ("lift", "feed", "dress")]
    decided = [set(filter(None, str(cell).split("|"))) for cell in answers["decision"].fillna("")]
    assert decided == [set(np.array(["lift", "feed", "dress"])[row]) for row in held]
    assert any("lift intercept" in line for line in made.lines)
    assert any(line.startswith("  Brier score of 'lift'") for line in made.lines)
    assert load_pack(tmp_path / "new").self_test().passed


def test_thresholds_of_labels_can_be_kept_and_others_learn_that_it_is_possible(folder: Path, tmp_path: Path) -> None:
    recalibrate_pack(pack_of(folder), folder / "new.csv", tmp_path / "new", task="care", keep_threshold=True)
    entry, before = (read_content(pack).answered["care"] for pack in (tmp_path / "new", pack_of(folder)))
    assert entry.threshold == before.threshold and entry.updates[0].threshold == "kept"
    results = [
        evaluate_pack(pack, folder / "later.csv", tmp_path / name, task="care")["tasks"]["care"]
        for name, pack in (("was", pack_of(folder)), ("is", tmp_path / "new"))
    ]
    assert "clinfit recalibrate" in (results[0]["sections"]["external"]["recalibrate"] or "")
    briers = [
        {row["label"]: row["metrics"]["brier"]["value"] for row in system["sections"]["classes"]}
        for system in (next(s for s in task["systems"] if s["model"] == "lasso") for task in results)
    ]
    assert briers[1]["lift"] < briers[0]["lift"] and briers[1]["feed"] < briers[0]["feed"]
    page = (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    assert "each label" in page and "recalibrated" in page


@pytest.mark.slow
def test_options_by_a_temperature_keep_their_answers(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    right = draw.random(120) < 0.6
    rows = pd.DataFrame({"id": [f"q{i}" for i in range(120)], "first": "rest", "second": "drug"})
    rows.assign(right=np.where(right, "A", "B"), first=[f"rest {i}" for i in range(120)]).to_csv(
        tmp_path / "exam.csv", index=False
    )
    data = {"path": "exam.csv", "id": "id", "inputs": {"first": "first", "second": "second"}, "label": "right"}
    task = {"kind": "multiple-choice", "options": ["first", "second"], "data": data}
    study = {"name": "exam", "tasks": {"exam": task}, "models": [causal("tiny")], "evaluation": {"bootstrap": 100}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    pack = Path(run(tmp_path / "study.yaml", out=tmp_path / "run").packs["tiny-seed42"])
    recalibrate_pack(pack, tmp_path / "exam.csv", tmp_path / "new", task="exam")
    entry = read_content(tmp_path / "new").answered["exam"]
    assert entry.updates[0].recalibration["kind"] == "temperature" and entry.threshold is None
    old, new = (load_pack(one).predict(tmp_path / "exam.csv", "exam") for one in (pack, tmp_path / "new"))
    assert old["decision"].tolist() == new["decision"].tolist() and (old["p_A"] != new["p_A"]).any()
    gold = pd.read_csv(tmp_path / "exam.csv")["right"]
    losses = [-np.log(np.where(gold == "A", one["p_A"], one["p_B"])).mean() for one in (old, new)]
    assert losses[1] < losses[0]


def test_a_pack_is_recalibrated_again_behind_what_it_has(folder: Path, tmp_path: Path) -> None:
    recalibrate_pack(pack_of(folder), folder / "new.csv", tmp_path / "one", task="fall")
    first, _ = risks(tmp_path / "one", folder / "later.csv")
    recalibrate_pack(tmp_path / "one", folder / "later.csv", tmp_path / "two", task="fall", method="intercept")
    second, outcome = risks(tmp_path / "two", folder / "later.csv")
    assert np.ptp(logit(second) - logit(first)) == pytest.approx(0, abs=1e-9)
    assert second.sum() == pytest.approx(outcome.sum())
    content = read_content(tmp_path / "two")
    assert content.run == "lasso-seed42-recalibrated"
    assert [update.pack for update in content.answered["fall"].updates] == [
        read_content(pack_of(folder)).sha256,
        read_content(tmp_path / "one").sha256,
    ]
    assert load_pack(tmp_path / "two").self_test().passed


def test_the_commands(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that evaluate prints is the one that makes the pack."""
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", str(pack_of(folder)), "--data", str(folder / "new.csv"), "--task", "fall"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.output.splitlines() if line.startswith("a pack that is recalibrated")]
    made = CliRunner().invoke(app, line.partition("clinfit ")[2].split())
    assert made.exit_code == 0, made.output
    assert "Brier score" in made.output and "cross-fitted" in made.output and "threshold chosen" in made.output
    assert read_content(tmp_path / "new-pack").answered["fall"].updates


def few(folder: Path, place: Path) -> None:
    rows = pd.read_csv(folder / "new.csv")
    rows = pd.concat([rows[rows["fall"] == "yes"].head(25), rows[rows["fall"] == "no"].head(60)])
    rows.to_csv(place, index=False)


def test_too_few_events_make_no_pack(folder: Path, tmp_path: Path) -> None:
    few(folder, tmp_path / "few.csv")
    with pytest.raises(ClinfitError, match="25 of the 85 records") as raised:
        recalibrate_pack(pack_of(folder), tmp_path / "few.csv", tmp_path / "new", task="fall")
    assert "40 or more" in raised.value.expected and raised.value.fix == "--method intercept"
    assert not (tmp_path / "new").exists()
    made = recalibrate_pack(pack_of(folder), tmp_path / "few.csv", tmp_path / "new", task="fall", method="intercept")
    assert any(line.startswith("only 25 records") for line in made.lines)
    found = evaluate_pack(pack_of(folder), tmp_path / "few.csv", tmp_path / "out", task="fall")
    section = found["tasks"]["fall"]["sections"].get("external")
    assert section is not None and "--method intercept" in (section["recalibrate"] or "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (lambda f, t: {"task": "needs", "method": "temperature"}, "is none of a multilabel task"),
        (lambda f, t: {"task": "fell"}, "no task 'fell'"),
        (lambda f, t: {"task": "degree", "method": "intercept"}, "is none of a classification task"),
        (lambda f, t: {"folder": pack_of(f, "majority"), "task": "fall"}, "is a rule"),
        (lambda f, t: {"folder": f, "task": "fall"}, "is not a pack"),
        (lambda f, t: {"source": t / "none.csv", "task": "fall"}, "no file"),
        (lambda f, t: {"out": t, "task": "fall"}, "is there already"),
        (lambda f, t: {"out": pack_of(f) / "model" / "new", "task": "fall"}, "lies in the pack itself"),
    ],
)
def test_bad_inputs(folder: Path, tmp_path: Path, words: Callable[[Path, Path], dict[str, Any]], said: str) -> None:
    given: dict[str, Any] = {"folder": pack_of(folder), "source": folder / "new.csv", "out": tmp_path / "new"}
    given |= words(folder, tmp_path)
    with pytest.raises(ClinfitError, match=said):
        recalibrate_pack(given.pop("folder"), given.pop("source"), given.pop("out"), **given)
    assert not (tmp_path / "new").exists()
    read_content(pack_of(folder))  # the pack is as it was


def test_a_pack_that_does_not_say_how_its_threshold_was_chosen_keeps_it(folder: Path, tmp_path: Path) -> None:
    """As those of earlier versions, whose task names its primary metric and no more."""
    values = json.loads((pack_of(folder) / "pack.json").read_text(encoding="utf-8"))
    values["tasks"]["fall"]["task"]["evaluation"] = {"primary": "auroc"}
    old = tmp_path / "old"
    shutil.copytree(pack_of(folder), old)
    (old / "pack.json").write_text(json.dumps(values | {"sha256": seal(values)}), encoding="utf-8")
    with pytest.raises(ClinfitError, match="how its threshold was chosen") as raised:
        recalibrate_pack(old, folder / "new.csv", tmp_path / "new", task="fall")
    assert "--keep-threshold" in raised.value.fix
    recalibrate_pack(old, folder / "new.csv", tmp_path / "new", task="fall", keep_threshold=True)
