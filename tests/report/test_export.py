"""summary.md and report_metrics.json: the same numbers as metrics.json, and a schema that says so."""

import json
from math import isclose
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

import clinfit
from clinfit.report.export import ReportMetrics, report_metrics, report_metrics_schema, summary_markdown
from clinfit.report.inputs import ReportInputs
from clinfit.report.tables import by_rank, cell_of

from .conftest import CASES, SEVERAL

SCHEMA = Path(__file__).parents[2] / "schema" / "report_metrics.schema.json"
every_case = pytest.mark.parametrize("name", CASES)
every_case_and_kind = pytest.mark.parametrize("name", [*CASES, *SEVERAL])


def export(inputs: ReportInputs) -> dict[str, Any]:
    return json.loads(json.dumps(report_metrics(inputs.results, inputs.models, inputs.logs), allow_nan=False))


@every_case
def test_numbers_equal_those_of_the_results(cases: dict[str, ReportInputs], name: str) -> None:
    (task,) = cases[name].results["tasks"].values()
    found = export(cases[name])
    assert list(found["metrics"]) == [f"finding/{system['name']}" for system in task["systems"]]
    for system in task["systems"]:
        entry = found["metrics"][f"finding/{system['name']}"]
        assert entry["samples"] == system["n"] == sum(entry["label_distribution"].values())
        assert sum(entry["prediction_distribution"].values()) == system["n"]
        assert entry["prediction_distribution"]["unparsed"] == system["unparsed"]
        assert entry["accuracy"] == system["metrics"]["accuracy"]["value"]
        assert entry["macro_f1"] == system["metrics"]["macro_f1"]["value"]
        assert entry["metrics"] == {metric: found["value"] for metric, found in system["metrics"].items()}
        assert entry["primary"] == task["primary"] and entry["kind"] == "classification"
        assert entry["confusion"] == system["sections"]["confusion"]
        for label, wanted in zip(entry["per_class"], system["sections"]["classes"], strict=True):
            assert label["support"] == wanted["support"] and label["label"] == wanted["label"]
            assert all(label[m] == wanted["metrics"][m]["value"] for m in ("precision", "recall", "f1"))
        if task["withheld"]:
            assert entry["accuracy"] is None and "one-class" not in entry["withheld"]
        else:
            diagonal = sum(entry["confusion"]["counts"][k][k] for k in range(len(task["labels"])))
            assert isclose(entry["accuracy"], diagonal / entry["samples"]) and entry["withheld"] is None


def test_training_tells_the_last_step_and_the_kept_validation(cases: dict[str, ReportInputs]) -> None:
    rows = cases["binary"].logs["tiny-seed42", 1]
    (entry,) = export(cases["binary"])["training"].items()
    assert entry[0] == "tiny-seed42"
    assert entry[1]["global_steps"] == 84 and entry[1]["epochs"] == 4
    assert entry[1]["final_train"] == {"loss": rows[-1]["loss"], "epoch": 4}
    kept = rows[62]  # the trainer recorded step 63
    assert entry[1]["best_eval"] == {
        "eval_loss": kept["validation_loss"],
        "epoch": 3,
        "primary": kept["validation_primary"],
        "step": 63,
    }
    assert entry[1]["primary"] == {"finding": kept["validation_primary"]}
    assert export(cases["no neural model"])["training"] == {}


def test_the_kept_validation_is_that_of_the_trainer(cases: dict[str, ReportInputs]) -> None:
    """Without any primary metric it chose by the loss; the log is not read a second time to find out."""
    rows = [
        {"step": step, "epoch": step / 4, "loss": 0.4, "validation_loss": loss, "validation_primary": None}
        for step, loss in ((4, 1.0), (8, 0.4), (12, 0.5))
    ]
    model = {"model": "t", "seed": 1, "spec": {"train": {"select_by": "primary"}}}
    for step, loss in ((8, 0.4), (4, 1.0)):
        ended = model | {"stages": {"1": {"details": {"best_step": step}}}}
        (entry,) = report_metrics(cases["binary"].results, [ended], {("t-seed1", 1): rows})["training"].values()
        assert entry["best_eval"] == {"eval_loss": loss, "epoch": step / 4, "step": step}
    running = model | {"stages": {}}
    (entry,) = report_metrics(cases["binary"].results, [running], {("t-seed1", 1): rows})["training"].values()
    assert entry["best_eval"] is None and entry["global_steps"] == 12


def test_several_stages_and_no_validation(cases: dict[str, ReportInputs]) -> None:
    row = {"step": 5, "epoch": 0.5, "loss": 0.4, "gradient_norm": float("inf"), "learning_rate": 1e-4}
    found = report_metrics(cases["binary"].results, [], {("t-seed1", 1): [row], ("t-seed1", 2): [row]})["training"]
    assert list(found) == ["t-seed1, stage 1", "t-seed1, stage 2"]
    entry = found["t-seed1, stage 2"]
    assert entry["final_train"] == {"loss": 0.4, "learning_rate": 1e-4, "epoch": 0.5} and entry["best_eval"] is None


def test_training_has_the_keys_of_the_log_of_a_trainer(cases: dict[str, ReportInputs]) -> None:
    """A reader of such a file finds them: loss, grad_norm, mean_token_accuracy and so on; eval_loss and step."""
    row = {"step": 5, "epoch": 0.5, "loss": 0.4, "gradient_norm": 1.5, "learning_rate": 1e-4, "validation_loss": 0.3}
    row["token_accuracy"] = 0.75
    model = {"model": "t", "seed": 1, "stages": {"1": {"details": {"best_step": 5}}}}
    (entry,) = report_metrics(cases["binary"].results, [model], {("t-seed1", 1): [row]})["training"].values()
    last = {"loss": 0.4, "grad_norm": 1.5, "learning_rate": 1e-4, "mean_token_accuracy": 0.75, "epoch": 0.5}
    assert entry["final_train"] == last
    assert entry["best_eval"] == {"eval_loss": 0.3, "epoch": 0.5, "step": 5}


@pytest.mark.parametrize("name", SEVERAL)
def test_every_kind_has_its_record(cases: dict[str, ReportInputs], name: str) -> None:
    found, tasks = export(cases[name]), cases[name].results["tasks"]
    assert list(found["metrics"]) == [
        f"{task}/{s['name']}" for task, result in tasks.items() for s in result["systems"]
    ]
    for task, result in tasks.items():
        for system in result["systems"]:
            entry = found["metrics"][f"{task}/{system['name']}"]
            assert (entry["task"], entry["kind"], entry["primary"]) == (task, result["kind"], result["primary"])
            assert entry["metrics"] == {metric: m["value"] for metric, m in system["metrics"].items()}
            assert list(entry["label_distribution"]) == result["labels"]
            assert list(entry["prediction_distribution"]) == [*result["labels"], "unparsed"]
            several = result["kind"] in ("multilabel", "generation", "extraction")
            assert (entry["confusion"] is None, entry["accuracy"] is None) == (several, several or result["withheld"])
            if not several:
                assert sum(entry["prediction_distribution"].values()) == entry["samples"]
    (entry,) = found["training"].values()
    assert list(entry["primary"]) == list(tasks)
    assert ("primary" in entry["best_eval"]) == (len(tasks) == 1), "the metrics of several tasks have no mean"


@every_case_and_kind
def test_the_export_obeys_its_schema(cases: dict[str, ReportInputs], name: str) -> None:
    adapter = TypeAdapter(ReportMetrics)
    found = export(cases[name])
    adapter.validate_json(json.dumps(found), strict=True)
    del found["metrics"][next(iter(found["metrics"]))]["samples"]
    with pytest.raises(ValidationError):
        adapter.validate_json(json.dumps(found), strict=True)


def test_results_and_export_say_which_version_made_them(cases: dict[str, ReportInputs]) -> None:
    assert cases["binary"].results["clinfit"] == clinfit.__version__
    assert export(cases["binary"])["clinfit"] == clinfit.__version__


def test_the_schema_file_is_up_to_date() -> None:
    written = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert written == report_metrics_schema(), "type: python scripts/make_reference.py"


@every_case
def test_summary_says_verdict_numbers_findings_and_command(cases: dict[str, ReportInputs], name: str) -> None:
    inputs = cases[name]
    text = summary_markdown(inputs.results, inputs.command)
    (task,) = inputs.results["tasks"].values()
    assert all(f"- {sentence}\n" in text for sentence in task["verdict"])
    assert all(finding["title"] in text for finding in task["findings"] if finding["level"] != "info")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows[1:]] == [s["name"] for s in by_rank(task)]
    widths = {row.count("|") for row in rows}
    assert len(widths) == 1
    if not task["withheld"]:
        best = by_rank(task)[0]
        assert cell_of(best, task["primary"]).plain in rows[1]
    assert inputs.command in text and "Research use only" in text


def test_summary_tells_what_the_curves_of_training_show(cases: dict[str, ReportInputs]) -> None:
    results = cases["binary"].results
    told = "Validation loss fell to its end, so that more epochs may help: tiny-seed42"
    assert f"## Training\n\n- {told}.\n" in summary_markdown(results, "clinfit run", [told])
    assert "## Training" not in summary_markdown(results, "clinfit run")
