"""Predictions files of any tool: read strictly, judged as a run's own, and reported whole."""

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score
from typer.testing import CliRunner

import forked
from clinfit.cli import app
from clinfit.errors import ClinfitError
from clinfit.evaluation.results import Results
from clinfit.evaluation.system_results import SystemResult
from clinfit.report.format import NARROW_SPACE
from clinfit.report.tables import cell_of
from clinfit.runs.external.answers import evaluate_files
from clinfit.study.data import Data
from clinfit.study.evaluation import Evaluation
from clinfit.study.models import Baseline, Classical
from clinfit.study.schema import Study
from clinfit.study.tasks import Classification, task_from
from predicted import study_of

GOLD = ["no"] * 40 + ["yes"] * 20
PREDICTORS = ("perfect", "inverted", "constant", "random", "all-unparsed")


def table(gold: Sequence[str] = GOLD, **columns: Any) -> pd.DataFrame:
    ids = [f"item-{k}" for k in range(len(gold))]
    return pd.DataFrame({"id": ids, "gold": list(gold), **columns})


def risks(gold: Sequence[str] = GOLD) -> list[float]:
    """P(yes) between 0.1 and 0.9 that is right more often than not."""
    return [0.1 + 0.8 * (((k * 37) % 100) / 100 * 0.6 + 0.4 * (g == "yes")) for k, g in enumerate(gold)]


def write(folder: Path, name: str, cells: pd.DataFrame) -> Path:
    path = folder / name
    cells.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def system(results: Results, name: str) -> SystemResult:
    (task,) = results["tasks"].values()
    return next(entry for entry in task["systems"] if entry["name"] == name)


def value(results: Results, name: str, metric: str) -> float | None:
    return system(results, name)["metrics"][metric]["value"]


# ---------------------------------------------------------------- what a file may hold


def test_one_column_of_probabilities_is_enough_for_two_labels(tmp_path: Path) -> None:
    path = write(tmp_path, "risk.csv", table(p_yes=risks()))
    results = evaluate_files([path], tmp_path / "out", labels=["no", "yes"])
    hits = [g == "yes" for g in GOLD]
    assert value(results, "risk", "auroc") == pytest.approx(roc_auc_score(hits, risks()))
    assert value(results, "risk", "accuracy") == pytest.approx(accuracy_score(hits, [p > 0.5 for p in risks()]))
    assert results["study"] == "predictions" and results["tasks"]["predictions"]["primary"] == "auroc"
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"metrics.json", "report.html", "summary.md", "report_metrics.json"}
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == results


def test_answers_alone_are_enough_and_labels_come_from_gold(tmp_path: Path) -> None:
    predicted = ["no"] * 30 + ["yes"] * 30
    results = evaluate_files([write(tmp_path, "tool.csv", table(predicted=predicted))], tmp_path / "out")
    (task,) = results["tasks"].values()
    assert task["labels"] == ["no", "yes"] and task["primary"] == "accuracy"
    assert value(results, "tool", "accuracy") == pytest.approx(50 / 60)
    assert value(results, "tool", "auroc") is None


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_numbers(tmp_path: Path, suffix: str) -> None:
    gold = [k >= 40 for k in range(60)]
    cells = table(gold=gold, predicted=[k % 3 == 0 for k in range(60)])  # type: ignore[arg-type]
    path = tmp_path / f"tool{suffix}"
    if suffix == ".parquet":
        cells.to_parquet(path)
    elif suffix == ".jsonl":
        cells.to_json(path, orient="records", lines=True)
    else:
        write(tmp_path, path.name, cells)
    results = evaluate_files([path], tmp_path / "out", labels=["False", "True"])
    right = sum(g == (k % 3 == 0) for k, g in enumerate(gold))
    assert value(results, "tool", "accuracy") == pytest.approx(right / 60)


def test_ids_that_stand_twice_are_refused_with_what_to_do(tmp_path: Path) -> None:
    """Nobody knows which answer counts, and no report of other items would say so."""
    cells = table(p_yes=risks())
    path = write(tmp_path, "tool.csv", cells.assign(id=[*cells["id"][:-2], *cells["id"][:2]]))
    with pytest.raises(ClinfitError) as refused:
        evaluate_files([path], tmp_path / "out")
    first, second = cells["id"][:2]
    assert refused.value.found == f"tool.csv: 2 ids stand in more than one row (id {first}, {second})"
    assert "one row an item" in refused.value.expected
    assert "column `model`" in refused.value.fix and "`seed`" in refused.value.fix
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(app, ["evaluate", str(path), "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, ClinfitError)


def test_an_id_may_come_again_in_another_model_seed_split_or_repeat(tmp_path: Path) -> None:
    cells = table(p_yes=risks())
    twice = pd.concat([cells.assign(seed=1), cells.assign(seed=2)])
    evaluate_files([write(tmp_path, "seeds.csv", twice)], tmp_path / "seeds")
    halves = pd.concat([cells.assign(split="validation"), cells.assign(split="test")])
    evaluate_files([write(tmp_path, "splits.csv", halves)], tmp_path / "splits")
    folds = [cells.assign(repeat=repeat, fold=[k % 3 for k in range(len(cells))]) for repeat in (1, 2)]
    evaluate_files([write(tmp_path, "folds.csv", pd.concat(folds))], tmp_path / "folds")


def test_several_labels_an_item(tmp_path: Path) -> None:
    sets = ["renal|tumour", "", "tumour", "renal"] * 15
    said = ["renal|tumour", "", "renal", ""] * 15
    cells = table(sets, predicted=said, status=["ok", "ok", "ok", "unparsed"] * 15)
    results = evaluate_files([write(tmp_path, "tool.csv", cells)], tmp_path / "out", kind="multilabel")
    (task,) = results["tasks"].values()
    assert (task["kind"], task["labels"], task["primary"]) == ("multilabel", ["renal", "tumour"], "macro_f1")
    assert value(results, "tool", "subset_accuracy") == 0.5 and system(results, "tool")["unparsed"] == 15
    likely = table(sets, p_renal=[0.9, 0.2, 0.4, 0.5] * 15, p_tumour=[0.6, 0.1, 0.8, 0.3] * 15)
    results = evaluate_files([write(tmp_path, "likely.csv", likely)], tmp_path / "likely", kind="multilabel")
    assert value(results, "likely", "subset_accuracy") == 1.0, "from a probability of 0.5 on a label holds"
    assert "renal" in (tmp_path / "likely/report.html").read_text()


def test_labels_of_a_cell_may_have_spaces_around_them_and_no_bar_in_them(tmp_path: Path) -> None:
    spaced = table(["a | b", "b", "", " a"] * 15, predicted=["a|b", "b", "", "a"] * 15)
    results = evaluate_files([write(tmp_path, "tool.csv", spaced)], tmp_path / "out", kind="multilabel")
    assert results["tasks"]["predictions"]["labels"] == ["a", "b"]
    assert value(results, "tool", "subset_accuracy") == 1.0
    with pytest.raises(ClinfitError, match="a label holds"):
        evaluate_files([tmp_path / "tool.csv"], tmp_path / "bar", kind="multilabel", labels=["a|b", "c"])


def test_a_study_of_several_tasks_is_told_which(tmp_path: Path) -> None:
    path = write(tmp_path, "risk.csv", table(p_yes=risks()))
    block = {"labels": ["no", "yes"], "data": {"path": "none.csv", "inputs": {"text": "text"}}}
    study = study_of({"one": task_from(block), "two": task_from(block)})
    with pytest.raises(ClinfitError, match="the study has 2 tasks"):
        evaluate_files([path], tmp_path / "out", study=study)
    with pytest.raises(ClinfitError, match="the study has no task 'tow'"):
        evaluate_files([path], tmp_path / "out", study=study, task="tow")
    assert list(evaluate_files([path], tmp_path / "out", study=study, task="two")["tasks"]) == ["two"]


def test_empty_answers_are_unparsed_and_wrong(tmp_path: Path) -> None:
    predicted = [None if k < 6 else g for k, g in enumerate(GOLD)]
    results = evaluate_files([write(tmp_path, "tool.csv", table(predicted=predicted))], tmp_path / "out")
    assert system(results, "tool")["unparsed"] == 6
    assert value(results, "tool", "accuracy") == pytest.approx(54 / 60)


def test_given_answers_are_kept_and_told_when_another_label_was_likelier(tmp_path: Path) -> None:
    cells = table(p_no=[0.7] * 60, p_yes=[0.3] * 60, predicted=["yes"] * 60)
    results = evaluate_files([write(tmp_path, "low.csv", cells)], tmp_path / "out")
    assert value(results, "low", "sensitivity") == 1
    (finding,) = [f for f in results["tasks"]["predictions"]["findings"] if f["code"] == "answers-not-most-probable"]
    assert finding["evidence"] == "60 of 60 answers with probabilities" and finding["level"] == "info"


def test_rounded_probabilities_are_scaled_and_training_rows_only_counted(tmp_path: Path) -> None:
    gold = ["a", "b", "c"] * 20
    split = ["train"] * 30 + ["test"] * 30
    cells = table(gold=gold, p_a=[0.333] * 60, p_b=[0.333] * 60, p_c=[0.333] * 60, split=split)
    results = evaluate_files([write(tmp_path, "flat.csv", cells)], tmp_path / "out")
    counts = results["tasks"]["predictions"]["counts"]
    assert counts["train"]["n"] == 30 and counts["test"]["n"] == 30 and system(results, "flat")["n"] == 30
    assert value(results, "flat", "log_loss") == pytest.approx(1.0986, abs=1e-4)


def test_a_study_gives_labels_families_and_settings(tmp_path: Path) -> None:
    study = Study(
        name="bedside",
        tasks={"fall": Classification(labels=["no", "yes"], data=Data(path="notes.csv", inputs={"note": "note"}))},
        models=[
            Baseline(name="majority", family="baseline", kind="majority"),
            Classical(name="forest", family="classical", kind="random-forest"),
        ],
        evaluation=Evaluation.model_validate({"primary": "f1", "bootstrap": 100, "threshold": {"rule": "youden"}}),
    )
    validation = [f"v{k}" for k in range(60)]
    cells = pd.concat(
        [table(p_yes=risks(), split="test"), table(p_yes=risks(), split="validation").assign(id=validation)]
    )
    results = evaluate_files([write(tmp_path, "forest.csv", cells)], tmp_path / "out", study=study)
    assert list(results["tasks"]) == ["fall"] and results["tasks"]["fall"]["primary"] == "f1"
    forest = system(results, "forest")
    assert forest["family"] == "classical" and forest["sections"]["threshold"]["split"] == "validation"
    without = cells[cells["split"] == "test"]
    results = evaluate_files([write(tmp_path, "forest.csv", without)], tmp_path / "out", study=study)
    threshold = system(results, "forest")["sections"]["threshold"]
    assert threshold["value"] is None and "no validation items" in str(threshold["note"])


# ---------------------------------------------------------------- what is refused, and what is withheld


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (table(predicted=GOLD).drop(columns="id"), "there is no column id"),
        (table(), "there is no column predicted or p_<label>"),
        (table(prediction=GOLD), "rename prediction to predicted"),
        (table(p_no=[0.5] * 60, p_yes=[0.4] * 60), r"probabilities of 60 rows do not sum to 1 \(id item-0, .*\.\.\.\)"),
        (table(p_no=[2.0] * 60, p_yes=[-1.0] * 60), "60 rows hold a probability below 0 or above 1"),
        (table(p_no=[0.5] * 59 + [None], p_yes=[0.5] * 60), r"1 rows have some probabilities only \(id item-59\)"),
        (table(p_no=[0.5] * 60, p_yess=[0.5] * 60), "rename p_yess to p_yes"),
        (table(p_no=["half"] * 60, p_yes=[0.5] * 60), "column p_no: 60 cells are not numbers"),
        (table(predicted=GOLD, split=["hold-out"] * 60), "column split: 60 cells name no split"),
        (table(predicted=GOLD, status=["fine"] * 60), "column status: 60 unknown values"),
        (table(predicted=GOLD, seed=[1.5] * 60), "column seed: 60 cells are no whole numbers"),
        (table(gold=[*GOLD[:-1], None], predicted=GOLD), "1 rows have no gold, the first is row 60"),  # type: ignore[list-item]
    ],
)
def test_a_file_that_is_no_predictions_table(tmp_path: Path, cells: pd.DataFrame, message: str) -> None:
    with pytest.raises(ClinfitError, match=message):
        evaluate_files([write(tmp_path, "tool.csv", cells)], tmp_path / "out", labels=["no", "yes"])
    assert not (tmp_path / "out").exists()


def test_labels_must_be_known_and_different(tmp_path: Path) -> None:
    path = write(tmp_path, "tool.csv", table(gold=["yes"] * 60, predicted=["yes"] * 60))
    with pytest.raises(ClinfitError, match="--labels A,B"):
        evaluate_files([path], tmp_path / "out")
    with pytest.raises(ClinfitError, match="two or more different labels"):
        evaluate_files([path], tmp_path / "out", labels=["yes", "yes"])
    with pytest.raises(ClinfitError, match="to fix: --positive yes"):
        evaluate_files([path], tmp_path / "out", labels=["no", "yes"], positive="Yes")


def test_two_files_may_not_speak_for_the_same_model(tmp_path: Path) -> None:
    paths = [write(tmp_path, f"{name}.csv", table(predicted=GOLD, model=["x"] * 60)) for name in ("one", "two")]
    with pytest.raises(ClinfitError, match=r"two.csv: model x has test rows in one.csv already"):
        evaluate_files(paths, tmp_path / "out")


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (table(predicted=GOLD).iloc[:-1], "misaligned-items"),
        (table(gold=GOLD[::-1], predicted=GOLD), "misaligned-items"),
        (table(predicted=["perhaps"] * 60), "labels-outside-schema"),
    ],
)
def test_what_would_mislead_is_withheld(tmp_path: Path, second: pd.DataFrame, code: str) -> None:
    paths = [write(tmp_path, "one.csv", table(predicted=GOLD)), write(tmp_path, "two.csv", second)]
    results = evaluate_files(paths, tmp_path / "out", labels=["no", "yes"])
    (task,) = results["tasks"].values()
    assert task["withheld"] and code in {finding["code"] for finding in task["findings"]}
    assert "withheld" in (tmp_path / "out/summary.md").read_text()
    export = json.loads((tmp_path / "out/report_metrics.json").read_text())
    assert all(entry["accuracy"] is None and entry["withheld"] for entry in export["metrics"].values())


# ---------------------------------------------------------------- five predictors through the whole report


def predictors(folder: Path, labels: Sequence[str], gold: Sequence[str]) -> list[Path]:
    """Files of predictors whose scores are known; the random one answers by a fixed, balanced pattern."""
    following = {label: labels[(k + 1) % len(labels)] for k, label in enumerate(labels)}
    answers: dict[str, list[str | None]] = {
        "perfect": list(gold),
        "inverted": [following[g] for g in gold],
        "constant": [labels[-1]] * len(gold),
        "random": [labels[k % len(labels)] for k in range(len(gold))],
        "all-unparsed": [None] * len(gold),
    }
    return [
        write(
            folder,
            f"{name}.csv",
            table(
                gold=gold,
                predicted=answers[name],
                **{f"p_{label}": [None if a is None else int(a == label) for a in answers[name]] for label in labels},
            ),
        )
        for name in PREDICTORS
    ]


def share(text: str) -> str:
    """Per cent as the report writes it."""
    return text.replace(" %", NARROW_SPACE + "%")


#: Of 40 no and 20 yes the random predictor answers yes on every second item: 20 of 40 and 10 of 20.
BINARY_METRICS = ("auroc", "accuracy", "sensitivity", "specificity", "f1", "brier", "unparsed")
BINARY = {
    "perfect": ("1.000", "100.0 %", "100.0 %", "100.0 %", "100.0 %", "0.000", "0.0 %"),
    "inverted": ("0.000", "0.0 %", "0.0 %", "0.0 %", "0.0 %", "1.000", "0.0 %"),
    "constant": ("0.500", "33.3 %", "100.0 %", "0.0 %", "50.0 %", "0.667", "0.0 %"),
    "random": ("0.500", "50.0 %", "50.0 %", "50.0 %", "40.0 %", "0.500", "0.0 %"),
    "all-unparsed": ("not estimable", "0.0 %", "0.0 %", "0.0 %", "0.0 %", "not estimable", "100.0 %"),
}
#: Of 30 a, 18 b and 12 c; the pattern a, b, c is right on a third of each. Inverted answers the next label:
#: its AUROC is the mean of 9/30, 6/42 and 15/48. The F1 of random are 20/50, 12/38 and 8/32.
THREE_METRICS = ("macro_auroc", "accuracy", "balanced_accuracy", "macro_f1", "brier_sum", "unparsed")
THREE = {
    "perfect": ("1.000", "100.0 %", "100.0 %", "100.0 %", "0.000", "0.0 %"),
    "inverted": ("0.252", "0.0 %", "0.0 %", "0.0 %", "2.000", "0.0 %"),
    "constant": ("0.500", "20.0 %", "33.3 %", "11.1 %", "1.600", "0.0 %"),
    "random": ("0.500", "33.3 %", "33.3 %", "32.2 %", "1.333", "0.0 %"),
    "all-unparsed": ("not estimable", "0.0 %", "0.0 %", "0.0 %", "not estimable", "100.0 %"),
}


@pytest.mark.parametrize(
    ("labels", "gold", "metrics", "expected"),
    [
        (("no", "yes"), GOLD, BINARY_METRICS, BINARY),
        (("a", "b", "c"), ["a"] * 30 + ["b"] * 18 + ["c"] * 12, THREE_METRICS, THREE),
    ],
    ids=["two labels", "three labels"],
)
def test_five_predictors_through_the_report(
    tmp_path: Path, labels: Sequence[str], gold: list[str], metrics: Sequence[str], expected: dict[str, Sequence[str]]
) -> None:
    results = evaluate_files(predictors(tmp_path, labels, gold), tmp_path / "out", name="five")
    page = (tmp_path / "out/report.html").read_text()
    summary = (tmp_path / "out/summary.md").read_text()
    systems = page[page.rindex('<table class="systems') :]  # behind the main table of the first pages
    for name, texts in expected.items():
        row = re.search(rf'<th scope="row">{name}\s*<.*?</tr>|<th scope="row">{name}</th>.*?</tr>', systems, re.DOTALL)
        assert row is not None
        for metric, text in zip(metrics, texts, strict=True):
            cell = cell_of(system(results, name), metric)
            assert cell.text.removesuffix("*") == share(text), (name, metric)
            assert f">{cell.text}" in row[0], (name, metric)
        assert f"| {name} |" in summary
    shown = re.sub(r"<style.*?</style>|<[^>]+>", " ", page, flags=re.S) + summary
    assert not re.search(r"\b(?:nan|NaN|None|inf|Infinity|undefined)\b", shown)


# ---------------------------------------------------------------- command line


# ---------------------------------------------------------------- spellings of labels


def codes(results: Results) -> dict[str, str]:
    (task,) = results["tasks"].values()
    return {finding["code"]: finding["evidence"] for finding in task["findings"]}


@pytest.mark.parametrize("other", ["Yes", "yes ward", "YES"])
def test_one_label_in_two_spellings_is_named(tmp_path: Path, other: str) -> None:
    spelt = [gold.replace("yes", "yes  ward") if "ward" in other else gold for gold in GOLD]
    gold = [other if label != "no" and at % 3 == 0 else label for at, label in enumerate(spelt)]
    path = write(tmp_path, "tool.csv", table(gold, predicted=spelt))
    results = evaluate_files([path], tmp_path / "out")
    assert repr(other) in codes(results)["label-spellings"]
    assert next(iter(results["tasks"].values()))["withheld"]
    assert "label-spellings" not in codes(
        evaluate_files([write(tmp_path, "tool.csv", table(spelt, predicted=spelt))], tmp_path / "sound")
    )


def test_labels_that_the_user_named_are_taken_as_different(tmp_path: Path) -> None:
    gold = ["AA", "Aa", "aa"] * 20
    path = write(tmp_path, "tool.csv", table(gold, predicted=gold))
    assert "--labels AA,Aa,aa" in str(evaluate_files([path], tmp_path / "asked"))
    named = evaluate_files([path], tmp_path / "named", labels=["AA", "Aa", "aa"])
    assert "label-spellings" not in codes(named) and value(named, "tool", "accuracy") == 1


def test_an_undeclared_label_that_differs_in_case_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "tool.csv", table([label.capitalize() for label in GOLD], p_yes=risks()))
    found = codes(evaluate_files([path], tmp_path / "out", labels=["no", "yes"]))
    assert "'yes' (" in found["label-spellings"] and "'Yes' (20 cells)" in found["label-spellings"]
    assert "labels-outside-schema" in found


def clinfit(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return forked.run(["-m", "clinfit", *words], folder)


def test_command_line(tmp_path: Path) -> None:
    write(tmp_path, "fall risk.csv", table(p_yes=risks()))
    words = ["evaluate", "fall risk.csv", "--labels", "no,yes", "--name", "falls"]
    done = clinfit(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "falls-report/report.html"
    assert (
        "clinfit evaluate 'fall risk.csv' --labels no,yes --name falls"
        in (tmp_path / "falls-report/summary.md").read_text()
    )
    refused = clinfit(tmp_path, "evaluate", "fall risk.csv", "--labels", "no,maybe")
    assert refused.returncode == 2 and "p_yes" in refused.stderr
    folder = clinfit(tmp_path, "evaluate", ".", "--labels", "no,yes")
    assert folder.returncode == 2 and "expected: one run folder without options" in folder.stderr


# ---------------------------------------------------------------- subgroups


def by_ward(**evaluation: Any) -> Study:
    return Study(
        name="wards",
        tasks={
            "flag": Classification(
                labels=["no", "yes"], positive="yes", data=Data(path="risk.csv", id="id", label="gold")
            )
        },
        models=[Baseline(name="majority", family="baseline", kind="majority")],
        evaluation=Evaluation(primary="auroc", **evaluation),
    )


def test_subgroups_and_sites_of_the_study_are_columns_of_the_files(tmp_path: Path) -> None:
    wards, ages = ["north", "south"] * 30, [20 + k for k in range(60)]
    first = write(tmp_path, "risk.csv", table(p_yes=risks(), ward=wards, age=ages))
    second = write(tmp_path, "other.csv", table(p_yes=[1 - p for p in risks()], ward=wards))
    study = by_ward(subgroups=[{"column": "age", "bins": [50]}], site="ward")
    results = evaluate_files([first, second], tmp_path / "out", study=study)
    (task,) = results["tasks"].values()
    found = {(entry["system"], entry["column"]): entry for entry in task["sections"]["subgroups"]}
    sites = found["risk", "ward"]
    assert sites["site"] and [(row["group"], row["n"], row["events"]) for row in sites["rows"]] == [
        ("north", 30, 10),
        ("south", 30, 10),
    ]
    north = [k for k in range(60) if wards[k] == "north"]
    expected = roc_auc_score([GOLD[k] == "yes" for k in north], [risks()[k] for k in north])
    assert sites["rows"][0]["metrics"]["auroc"]["value"] == pytest.approx(expected)
    assert ("other", "ward") in found and [row["group"] for row in found["risk", "age"]["rows"]] == [
        "below 50",
        "50 and above",
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["wards"], r"no file holds the column 'wards'.*did you mean ward\?"),
        (["ward"], "1 test items stand in two groups"),
        (["ward", {"column": "ward", "title": "Ward"}], "'ward' is named twice"),
    ],
)
def test_subgroups_that_the_files_do_not_settle(tmp_path: Path, columns: list[Any], message: str) -> None:
    wards = ["north", "south"] * 30
    first = write(tmp_path, "risk.csv", table(p_yes=risks(), ward=wards))
    second = write(tmp_path, "other.csv", table(p_yes=risks(), ward=["south", *wards[1:]]))
    with pytest.raises(ClinfitError) as caught:
        evaluate_files([first, second], tmp_path / "out", study=by_ward(subgroups=columns))
    assert re.search(message, str(caught.value), re.DOTALL)
    assert not (tmp_path / "out").exists()


def test_groups_are_those_of_test_rows_and_an_empty_cell_says_nothing(tmp_path: Path) -> None:
    """Ids may begin again in every split: the wards of validation are other people's."""
    wards = ["north", "south"] * 30
    test = table(p_yes=risks(), ward=[None, *wards[1:]], split="test")
    validation = table(p_yes=risks(), ward=wards[::-1], split="validation")
    first = write(tmp_path, "risk.csv", pd.concat([test, validation]))
    second = write(tmp_path, "other.csv", table(p_yes=risks(), ward=wards))
    results = evaluate_files([first, second], tmp_path / "out", study=by_ward(subgroups=["ward"]))
    (task,) = results["tasks"].values()
    assert [(row["group"], row["n"]) for row in task["sections"]["subgroups"][0]["rows"]] == [
        ("north", 30),
        ("south", 30),
    ]
