"""External validation: the pack's own decisions on records with answers, of every kind, beside what it did before."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from clinfit.cli import app
from clinfit.data.records import Record
from clinfit.data.seen import SeenCategories, SeenNumbers
from clinfit.errors import ClinfitError
from clinfit.packs.read import load_pack
from clinfit.runs.execute import run
from clinfit.runs.external import pack
from clinfit.runs.external.pack import case_mix, evaluate_pack
from clinfit.study.data import InputColumn
from kinds import dataset
from two_layer import llama_base

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
  needs:
    kind: multilabel
    labels: [bath, feed]
    data: {<<: *data, label: needs}
    evaluation: {threshold: {rule: f1}}
  exam:
    kind: multiple-choice
    options: [first, second]
    data: {path: data.csv, id: id, inputs: {first: first, second: second}, label: right}
models:
  - {name: lasso, family: classical, kind: lasso, c_grid: [1.0]}
  - {name: majority, family: baseline, kind: majority}
evaluation: {bootstrap: 100, threshold: {rule: youden}, calibration: platt, primary: mcc}
"""


def table(n: int, seed: int, older: float = 0.0) -> pd.DataFrame:
    """n made-up patients; `older` years more make them fall more often than the age tells."""
    draw = np.random.default_rng(seed)
    age = draw.normal(60, 10, n).round() + older
    fell = draw.random(n) < 1 / (1 + np.exp(-(age - 55) / 6))
    ward = np.where(draw.random(n) < 0.5, "A", "B")
    needs = np.where(age > 65, "bath|feed", np.where(ward == "A", "bath", ""))
    return pd.DataFrame(
        {"id": [f"r{i}" for i in range(n)], "age": age, "ward": ward, "fall": np.where(fell, "yes", "no")}
        | {
            "needs": needs,
            "first": "rest",
            "second": [f"drug {i}" for i in range(n)],
            "right": np.where(draw.random(n) < 0.7, "A", "B"),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with packs, and new.csv: older patients, a ward that training has not seen, two without answer."""
    folder = tmp_path_factory.mktemp("wards")
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    table(300, 1).to_csv(folder / "data.csv", index=False)
    new = table(200, 2, older=12)
    new.loc[:29, "ward"] = "C"
    new.loc[198:, ["fall"]] = "?"
    new.to_csv(folder / "new.csv", index=False)
    result = run(folder / "study.yaml", out=folder / "run")
    assert result.ok and set(result.packs) == {"lasso-seed42", "majority-seed42"}
    return folder


def pack_of(folder: Path, model: str = "lasso") -> Path:
    return folder / "run" / "models" / f"{model}-seed42" / "pack"


def test_decisions_and_probabilities_are_the_packs(folder: Path, tmp_path: Path) -> None:
    results = evaluate_pack(pack_of(folder), folder / "new.csv", tmp_path / "out", task="fall")
    task = results["tasks"]["fall"]
    system = next(one for one in task["systems"] if one["model"] == "lasso")
    answers = load_pack(pack_of(folder)).predict(folder / "new.csv", "fall").iloc[:198]
    gold = pd.read_csv(folder / "new.csv")["fall"].iloc[:198]
    assert system["n"] == 198
    assert system["metrics"]["accuracy"]["value"] == pytest.approx((answers["decision"] == gold).mean())
    assert system["metrics"]["brier"]["value"] == pytest.approx(((answers["p_yes"] - (gold == "yes")) ** 2).mean())
    assert {"metrics.json", "report.html", "summary.md", "report_metrics.json"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    assert "External validation" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_the_section_counts_what_is_other_than_training(folder: Path, tmp_path: Path) -> None:
    results = evaluate_pack(pack_of(folder), folder / "new.csv", tmp_path / "out", task="fall")
    task = results["tasks"]["fall"]
    section = task["sections"].get("external")
    assert section is not None
    pack = load_pack(pack_of(folder))
    entry = pack.content.answered["fall"]
    assert (section["records"], section["unlabelled"], section["before"]) == (198, 2, entry.n)
    assert section["pack"] == pack.content.sha256
    moved = {one["name"]: one for one in section["metrics"]}
    assert moved["auroc"]["before"] == entry.metrics["auroc"]
    (large,) = section["large"]
    answers = pack.predict(folder / "new.csv", "fall").iloc[:198]
    assert large["label"] == "yes" and large["expected"] == pytest.approx(answers["p_yes"].sum())
    assert large["ratio"] == pytest.approx(large["observed"] / large["expected"])
    assert large["low"] is not None and large["high"] is not None and large["low"] < large["ratio"] < large["high"]
    rows = {row["name"]: row for row in section["case_mix"]}
    assert rows["ward"]["outside"] == 30 and "C" not in rows["ward"]["train"]
    codes = {finding["code"]: finding for finding in task["findings"]}
    assert "ward (30 of 198)" in codes["case-mix"]["evidence"]
    assert codes["external-validation"]["level"] == "info" and "no-simple-comparator" not in codes


def test_records_without_any_value_are_left_out_and_counted(folder: Path, tmp_path: Path) -> None:
    """The pack gives them no answer, so that there is none to be right or wrong."""
    whole = evaluate_pack(pack_of(folder), folder / "new.csv", tmp_path / "whole", task="fall")
    new, inputs = pd.read_csv(folder / "new.csv", dtype=str), load_pack(pack_of(folder)).tasks["fall"].task.data.columns
    blank = new.head(3).assign(**dict.fromkeys(inputs, ""))
    blank[new.columns[0]] = ["blank1", "blank2", "blank3"]
    pd.concat([new, blank]).to_csv(tmp_path / "blank.csv", index=False)
    found = evaluate_pack(pack_of(folder), tmp_path / "blank.csv", tmp_path / "out", task="fall")
    here, there = (results["tasks"]["fall"] for results in (found, whole))
    section = here["sections"].get("external")
    assert section is not None and (section["records"], section["unlabelled"], section["empty"]) == (198, 2, 3)
    assert [one["metrics"] for one in here["systems"]] == [one["metrics"] for one in there["systems"]]
    (told,) = (finding for finding in here["findings"] if finding["code"] == "external-validation")
    assert "3 have no value at all" in told["evidence"]
    assert "3 more have no value at all" in (tmp_path / "out/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("model", "task"), [("lasso", "needs"), ("majority", "exam")])
def test_other_kinds(folder: Path, tmp_path: Path, model: str, task: str) -> None:
    results = evaluate_pack(pack_of(folder, model), folder / "new.csv", tmp_path / "out", task=task)
    section = results["tasks"][task]["sections"].get("external")
    assert section is not None and section["metrics"]
    assert [row["label"] for row in section["large"]] == (["bath", "feed"] if task == "needs" else [])
    if task == "needs":
        answers = load_pack(pack_of(folder)).predict(folder / "new.csv", task)
        gold = pd.read_csv(folder / "new.csv", keep_default_na=False)["needs"]
        system = next(one for one in results["tasks"][task]["systems"] if one["model"] == "lasso")
        exact = (answers["decision"].fillna("") == gold).mean()
        assert system["metrics"]["subset_accuracy"]["value"] == pytest.approx(exact)
        entry = json.loads((pack_of(folder) / "pack.json").read_text(encoding="utf-8"))["tasks"]["needs"]
        assert system["sections"]["label_thresholds"] == entry["threshold"] != {}


def test_the_command(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", str(pack_of(folder)), "--data", str(folder / "new.csv"), "--task", "fall"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "observed / expected" in done.output and "new-report/report.html" in done.output
    metrics = json.loads((tmp_path / "new-report" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["tasks"]["fall"]["sections"]["external"]["records"] == 198


def test_errors_say_what_to_do(folder: Path, tmp_path: Path) -> None:
    pack, new = pack_of(folder), folder / "new.csv"
    with pytest.raises(ClinfitError, match="answers 2 tasks") as raised:
        evaluate_pack(pack, new, tmp_path / "out")
    assert "one of fall, needs" in raised.value.expected and raised.value.fix == "name it: --task fall"
    with pytest.raises(ClinfitError, match="no task 'fal'") as raised:
        evaluate_pack(pack, new, tmp_path / "out", task="fal")
    assert raised.value.fix == "did you mean fall?"
    pd.read_csv(new).drop(columns="fall").to_csv(tmp_path / "unlabelled.csv", index=False)
    with pytest.raises(ClinfitError, match="has an answer of task fall"):
        evaluate_pack(pack, tmp_path / "unlabelled.csv", tmp_path / "out", task="fall")
    with pytest.raises(ClinfitError, match="is a run folder"):
        evaluate_pack(pack, new, folder / "run", task="fall")
    for words in ([pack], [folder / "run", "--data", new], [pack, "--data", new, "--labels", "no,yes"]):
        done = CliRunner().invoke(app, ["evaluate", *map(str, words)])
        assert isinstance(done.exception, ClinfitError)


def test_case_mix_names_no_rare_category() -> None:
    case = dataset("table")
    seen = {"sex": SeenCategories(("f",), False, "f"), "age": SeenNumbers(0, 1, 0.5)}
    rows = {row["name"]: row for row in case_mix(seen, case.task.data.columns, case.records)}
    assert set(rows) == {"sex", "age"} and rows["age"]["outside"] > 0
    assert "quartiles" in rows["age"]["here"]
    few = case_mix(seen, case.task.data.columns, case.records[:5])
    assert {row["here"].partition(";")[0] for row in few} <= {"too few values", "no category of enough records"}


def test_case_mix_counts_what_training_has_not_seen_and_nothing_that_it_reads_otherwise() -> None:
    """A category in capital letters is the known one; an impossible number is missing."""
    columns = {
        "pain": InputColumn(column="pain", type="category", categories=["mild", "severe"]),
        "age": InputColumn(column="age", type="number", range=[0, 120]),
    }
    seen = {"pain": SeenCategories(("mild", "severe"), False, "mild"), "age": SeenNumbers(20, 80, 50)}
    pains, ages = ["Severe", "severe", "worst", None], [50.0, 700.0, 90.0, None]
    records = [
        Record(str(k), str(k), {"pain": pain, "age": age}, None, "test")
        for k, (pain, age) in enumerate(zip(pains, ages, strict=True))
    ]
    rows = {row["name"]: row for row in case_mix(seen, columns, records)}
    assert rows["pain"]["outside"] == 1 and "missing in 2" in rows["pain"]["here"]
    assert rows["age"]["outside"] == 1 and "missing in 2" in rows["age"]["here"]
    rarer = case_mix({"pain": SeenCategories(("mild", "severe"), True, "mild")}, columns, records)
    assert rarer[0]["outside"] == 0, "training holds categories that a pack does not name: worst may be one of them"


def test_labels_of_another_place_are_not_called_wrong(folder: Path, tmp_path: Path) -> None:
    """The model is as likely to be what is wrong there."""
    rows = pd.read_csv(folder / "new.csv").iloc[:198]
    rows["fall"] = np.where(rows["fall"] == "yes", "no", "yes")
    rows.to_csv(tmp_path / "turned.csv", index=False)
    task = evaluate_pack(pack_of(folder), tmp_path / "turned.csv", tmp_path / "out", task="fall")["tasks"]["fall"]
    assert "label-errors" not in {finding["code"] for finding in task["findings"]}
    assert "label_errors" not in task["sections"]


def test_texts_of_a_pack_are_scored_as_those_of_a_run(tmp_path: Path) -> None:
    """A rule that writes the first sentence is right on half of the new records."""
    rows = [{"id": f"r{k}", "text": f"Case {k} fell. Seen {k} times.", "note": f"Case {k} fell."} for k in range(60)]
    pd.DataFrame(rows).to_csv(tmp_path / "data.csv", index=False)
    new = pd.DataFrame(rows[:20])
    new.loc[10:, "note"] = "nothing of it"
    new.to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "study.yaml").write_text(
        """
name: notes
tasks:
  note: {kind: generation, data: {path: data.csv, id: id, inputs: {text: text}, label: note}}
models: [{name: lead, family: baseline, kind: lead, sentences: 1}]
evaluation: {bootstrap: 100}
"""
    )
    result = run(tmp_path / "study.yaml", out=tmp_path / "run")
    found = evaluate_pack(result.packs["lead-seed42"], tmp_path / "new.csv", tmp_path / "external")
    (system,) = found["tasks"]["note"]["systems"]
    assert system["metrics"]["token_f1"]["value"] == pytest.approx(0.5)
    assert system["metrics"]["number_precision"]["value"] == 1
    assert found["tasks"]["note"]["sections"]["external"]["records"] == 20  # type: ignore[typeddict-item]
    page = (tmp_path / "external" / "report.html").read_text(encoding="utf-8")
    assert "Seen 3 times" not in page


@pytest.mark.slow
def test_pieces_and_rounds_of_long_records_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"id": f"r{k}", "text": f"Case {k} fell. Seen. " * (12 if k % 2 else 1), "note": "Fell."} for k in range(24)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "data.csv", index=False)
    pd.DataFrame(rows[:4]).to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "study.yaml").write_text(
        f"""
name: notes
tasks:
  note:
    {{kind: generation, max_new_tokens: 4, long_input: map-reduce,
     data: {{path: data.csv, id: id, inputs: {{text: text}}, label: note}}}}
models:
  - name: small
    family: causal
    base: {llama_base()}
    compare_base: false
    lora: {{rank: 2}}
    train: {{max_steps: 1, max_length: 120, precision: fp32}}
evaluation: {{bootstrap: 100}}
"""
    )
    result = run(tmp_path / "study.yaml", out=tmp_path / "run")
    tables: list[pd.DataFrame] = []
    evaluated = pack.evaluate
    monkeypatch.setattr(pack, "evaluate", lambda *words: [tables.append(words[1]), evaluated(*words)][1])
    evaluate_pack(result.packs["small-seed42"], tmp_path / "new.csv", tmp_path / "external")
    (table,) = tables
    assert (table["pieces"] > 1).tolist() == (table["rounds"] > 0).tolist() == [False, True, False, True]


def test_the_metric_is_the_one_of_the_study(folder: Path) -> None:
    found = evaluate_pack(pack_of(folder), folder / "new.csv", folder / "primary", task="fall")
    assert found["tasks"]["fall"]["primary"] == "mcc"
