"""The model card: valid metadata, every interval, no number that does not exist."""

from typing import Any

import yaml

from clinfit.report.build import ReportInputs
from clinfit.report.card import model_card


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
                "recalibration": system["recalibration"],
                "threshold": system["threshold"],
                "referral": system["referral"],
                "n": system["n"],
                "metrics": system["metrics"],
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
    assert "Research use only." in card and "Small test set" in card
    assert "tiny (before) answers" not in card, "warnings about other systems stay out"


def test_withheld_numbers_are_not_in_the_card(cases: dict[str, ReportInputs]) -> None:
    card = model_card(cases["one class"].results, pack(cases["one class"], "after"))
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["model-index"][0]["results"][0]["metrics"] == []
    assert "| Accuracy | withheld |" in card
