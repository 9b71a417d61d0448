"""The model card: valid metadata, every interval, no number that does not exist."""

from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from clinfit.evaluation.results import Results, SubgroupResult, SubgroupRow, TaskSections
from clinfit.evaluation.system_results import MetricDict
from clinfit.report.card import model_card
from clinfit.report.inputs import ReportInputs


def pack(inputs: ReportInputs, moment: str) -> dict[str, Any]:
    """pack.json of the system at this moment."""
    (task,) = inputs.results["tasks"].values()
    system = next(system for system in task["systems"] if system["moment"] == moment)
    served = inputs.study.tasks["finding"].model_dump(mode="json")
    return {
        "run": "tiny-seed42",
        "clinfit": "0.1.0",
        "study": {"name": inputs.study.name, "sha256": "12" * 32},
        "model": {
            "family": "causal",
            "spec": {"name": "tiny", "base": "clinfit/tiny", "lora": {"rank": 16}},
            "seed": 42,
            "sha256": "34" * 32,
            "details": {"precision": "bf16"},
        },
        "tasks": {
            "finding": {
                "task": served,
                "recalibration": system["sections"].get("recalibration"),
                "threshold": system["sections"].get("threshold"),
                "referral": system["sections"].get("referral"),
                "n": system["n"],
                "metrics": system["metrics"],
                "cross_validation": None,
                "updates": [],
            }
        },
    }


def test_front_matter_holds_the_numbers_of_the_results(cases: dict[str, ReportInputs]) -> None:
    content = pack(cases["binary"], "after")
    card = model_card(cases["binary"].results, content)
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "clinfit" and front["base_model"] == "clinfit/tiny"
    (entry,) = front["model-index"][0]["results"]
    found = {metric["name"]: metric["value"] for metric in entry["metrics"]}
    assert found["AUROC"] == content["tasks"]["finding"]["metrics"]["auroc"]["value"]
    assert None not in found.values()


def test_card_says_intervals_limits_and_disclaimer(cases: dict[str, ReportInputs]) -> None:
    content = pack(cases["binary"], "after")
    card = model_card(cases["binary"].results, content)
    auroc = content["tasks"]["finding"]["metrics"]["auroc"]
    assert f"| AUROC | {auroc['value']:.3f} | [{auroc['low']:.3f}, {auroc['high']:.3f}] |" in card
    assert "Research use only." in card and "fewer than 100 records" in card
    assert "tiny (before) answers" not in card, "warnings about other systems stay out"


def test_withheld_numbers_are_not_in_the_card(cases: dict[str, ReportInputs]) -> None:
    card = model_card(cases["one class"].results, pack(cases["one class"], "after"))
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["model-index"][0]["results"][0]["metrics"] == []
    assert "| Accuracy | withheld |" in card


@pytest.mark.parametrize("name", ["binary", "one class"])
def test_the_hub_can_read_the_card(cases: dict[str, ReportInputs], name: str) -> None:
    content = pack(cases[name], "after")
    data = ModelCard(model_card(cases[name].results, content)).data
    known = data.to_dict()
    assert (known["library_name"], known["base_model"]) == ("clinfit", "clinfit/tiny")
    assert data.model_name == "tiny-seed42"
    found = {result.metric_name: result.metric_value for result in data.eval_results or []}
    auroc = content["tasks"]["finding"]["metrics"]["auroc"]["value"]
    assert found.get("AUROC") == auroc and bool(found) == (name == "binary")
    assert all(result.dataset_split == "test" for result in data.eval_results or [])


def test_card_says_calibration_limitations_and_subgroups(cases: dict[str, ReportInputs]) -> None:
    results = cases["binary"].results
    (task,) = results["tasks"].values()
    metric = MetricDict(value=0.8125, low=0.7, high=0.9, method="Wilson", n=40, events=20, status="ok", reason=None)
    rows = [
        SubgroupRow(group="women", n=40, events=20, suppressed=False, metrics={task["primary"]: metric}),
        SubgroupRow(group="men", n=None, events=None, suppressed=True, metrics={}),
    ]
    groups = [
        SubgroupResult(
            system=system, column="sex", title="Sex", site=False, rows=rows, gaps=[], equalized_odds=None, spread={}
        )
        for system in ("tiny (after)", "random-forest")
    ]
    sections: TaskSections = {**task["sections"], "subgroups": groups}
    changed: Results = {**results, "tasks": {"finding": {**task, "sections": sections}}}
    card = model_card(changed, pack(cases["binary"], "after"))
    assert "| Calibration slope |" in card and "### Limitations: finding" in card and "## Intended use" in card
    assert card.count("| Sex | records | AUROC |") == 1, "the groups of this model only"
    assert "| women | 40 | 0.812 [0.700, 0.900] |" in card and "| men | \N{EM DASH} | too few |" in card
