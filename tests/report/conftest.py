"""Hand-made results in the shape of metrics.json: every kind of content that a report must show."""

from typing import Any

import numpy as np
import pytest

from clinfit.report.build import ReportInputs
from clinfit.study import Study

LABELS = ["benign", "malignant"]


def metric(
    value: float | None, width: float = 0.05, status: str | None = None, reason: str | None = None, n: int = 114
):
    low, high = (None, None) if value is None else (max(value - width, -1), min(value + width, 1))
    status = status or ("undefined" if value is None else "ok")
    method = None if value is None else "Wilson"
    return {
        "value": value, "low": low, "high": high, "method": method, "n": n, "events": None, "status": status,
        "reason": reason,
    }  # fmt: skip


def curves(rng: np.random.Generator, strength: float) -> dict[str, Any]:
    gold = rng.random(114) < 0.37
    risk = 1 / (1 + np.exp(-(strength * (gold - 0.5) + rng.normal(size=114))))
    thresholds = np.r_[1.0, np.sort(risk)[::-1]]
    roc = [[float((risk[~gold] >= t).mean()), float((risk[gold] >= t).mean()), float(t)] for t in thresholds]
    recall = [[float((risk[gold] >= t).mean()), float(gold[risk >= t].mean()), float(t)] for t in thresholds[1:]]
    bins = []
    for part in np.array_split(np.argsort(risk), 8):
        share = float(gold[part].mean())
        bins.append({
            "mean_probability": float(risk[part].mean()), "observed": share, "low": max(share - 0.2, 0.0),
            "high": min(share + 0.2, 1.0), "n": len(part),
        })  # fmt: skip
    edges = np.linspace(0, 1, 21)
    return {
        "roc": roc,
        "precision_recall": recall,
        "calibration": bins,
        "histogram": {
            LABELS[0]: np.histogram(risk[~gold], edges)[0].tolist(),
            LABELS[1]: np.histogram(risk[gold], edges)[0].tolist(),
        },
    }


def system(
    name: str, family: str, stage: int, auroc: float | None, *, moment: str | None = None, strength: float = 0.0
):
    accuracy = 0.63 if not strength else min(0.97, 0.6 + strength / 12)
    right = [round(72 * accuracy), round(42 * accuracy)]
    per_label = {
        "precision": metric(accuracy),
        "recall": metric(accuracy),
        "f1": metric(accuracy),
        "auroc": metric(auroc),
    }
    return {
        "name": name, "model": name.split(" ")[0], "seed": 42, "stage": stage, "moment": moment, "family": family,
        "trained": stage > 0, "n": 114, "unparsed": 0, "unparsed_by_label": dict.fromkeys(LABELS, 0),
        "threshold": {"rule": "argmax", "value": None, "split": None, "n": 0, "achieved": {}, "note": None},
        "metrics": {
            "auroc": metric(auroc), "auprc": metric(auroc), "accuracy": metric(accuracy, n=114),
            "sensitivity": metric(accuracy, n=42), "specificity": metric(accuracy, n=72),
            "balance_gap": metric(0.012), "f1": metric(accuracy),
            "mcc": metric(accuracy - 0.2 if strength else None, reason="one label was never answered"),
            "brier": metric(0.25 - strength / 40, 0.02),
        },
        "classes": [
            {"label": label, "support": n, "predicted": n, "prevalence": n / 114, "predicted_share": n / 114,
             "metrics": per_label}
            for label, n in zip(LABELS, (72, 42), strict=True)
        ],
        "confusion": {
            "rows": LABELS, "columns": [*LABELS, "unparsed"],
            "counts": [[right[0], 72 - right[0], 0], [42 - right[1], right[1], 0]],
        },
        "curves": curves(np.random.default_rng(stage + 3), strength) if strength else None,
        "cost": {"train_seconds": 61.0, "parameters": 6_500_000, "trainable_parameters": 300_000},
        "alarms": [],
    }  # fmt: skip


def difference(name: str, title: str, old: float, new: float, percent: bool) -> dict[str, Any]:
    change = new - old
    shown = f"{change * 100:+.1f} points" if percent else f"{change:+.3f}"
    return {
        "metric": name, "title": title, "label": None, "percent": percent, "reference": old, "new": new,
        "difference": change, "points": change * 100 if percent else None, "relative": change / old,
        "low": change - 0.06, "high": change + 0.06, "method": "paired bootstrap", "test": "exact McNemar",
        "p": 0.0004, "p_holm": 0.0012, "direction": "better", "supported": True, "reason": None,
        "sentence": f"{title} rose by {shown}; the paired test supports an improvement.",
    }  # fmt: skip


def comparison(kind: str, reference: str, new: str, old: float, now: float) -> dict[str, Any]:
    return {
        "kind": kind, "reference": reference, "new": new, "n": 114,
        "flips": {"fixed": 38, "broken": 6, "both_right": 65, "both_wrong": 5, "by_label": {}},
        "mcnemar": {"b": 6, "c": 38, "p": 0.0000012, "p_holm": 0.0000036},
        "rows": [
            difference("auroc", "AUROC", old, now, False),
            difference("accuracy", "Accuracy", old - 0.05, now - 0.05, True),
            difference("sensitivity", "Sensitivity", old - 0.02, now - 0.06, True),
        ],
        "gained_most": "malignant",
        "sentence": f"{new} ranks better than {reference}: AUROC {now:.3f} against {old:.3f}.",
    }  # fmt: skip


def finding(level: str, code: str, title: str, evidence: str = "", advice: str = "", about: str | None = None):
    return {"level": level, "code": code, "title": title, "evidence": evidence, "advice": advice, "system": about}


def binary_results() -> dict[str, Any]:
    systems = [
        system("majority", "baseline", 1, 0.5),
        system("lasso", "classical", 1, 0.985, strength=4.5),
        system("random-forest", "classical", 1, 0.98, strength=4.2),
        system("tiny before", "causal", 0, 0.55, moment="before", strength=0.3),
        system("tiny after", "causal", 1, 0.955, moment="after", strength=3.5),
    ]
    return {
        "format": "clinfit-metrics/1", "study": "quickstart", "description": "", "confidence": 0.95, "bootstrap": 2000,
        "tasks": {
            "malignancy": {
                "labels": LABELS, "positive": "malignant", "primary": "auroc",
                "counts": {
                    "train": {"n": 341, "groups": 341, "labels": {"benign": 214, "malignant": 127}},
                    "validation": {"n": 114, "groups": 114, "labels": {"benign": 71, "malignant": 43}},
                    "test": {"n": 114, "groups": 114, "labels": {"benign": 72, "malignant": 42}},
                },
                "systems": systems,
                "ranking": ["lasso", "random-forest", "tiny after", "tiny before", "majority"],
                "baseline": "lasso",
                "seeds": [],
                "comparisons": [
                    comparison("before-after", "tiny before", "tiny after", 0.55, 0.955),
                    comparison("versus-majority", "majority", "tiny after", 0.5, 0.955),
                    comparison("versus-baseline", "lasso", "tiny after", 0.985, 0.955),
                ],
                "findings": [
                    finding("warn", "small-test", "The test set is small.", "42 malignant and 72 benign records",
                            "Collect at least 100 records of each label before you rely on the numbers."),
                    finding("info", "missing", "No input is missing.", "0 of 17 070 values"),
                ],
                "canaries": [
                    {"name": "perfect", "passed": True, "expected": {"accuracy": 1.0}, "found": {"accuracy": 1.0}},
                    {"name": "constant", "passed": True, "expected": {"auroc": 0.5, "mcc": None},
                     "found": {"auroc": 0.5, "mcc": None}},
                ],
                "verdict": [
                    "After fine-tuning, tiny ranks malignant above benign far better than before (AUROC 0.955 against "
                    "0.550 on the same 114 records).",
                    "It is not shown to be better than the best simple baseline, lasso (0.985).",
                ],
                "advice": ["Use lasso for this task: it is as good and costs a thousandth."],
                "withheld": False,
            }
        },
    }  # fmt: skip


def study(**changes: Any) -> Study:
    return Study.model_validate({
        "name": "quickstart",
        "description": "Does fine-tuning help a small language model to read cell measurements?",
        "tasks": {"malignancy": {"labels": LABELS, "data": {"path": "t.csv", "inputs": {"radius": "r"}}}},
        "models": [{"name": "majority", "family": "baseline", "kind": "majority"}],
        **changes,
    })  # fmt: skip


def model_record(name: str = "tiny", status: str = "done", reason: str | None = None) -> dict[str, Any]:
    return {
        "study": "quickstart", "model": name, "seed": 42, "family": "causal", "inputs": "ab" * 32, "status": status,
        "spec": {"name": name, "family": "causal", "base": "clinfit/tiny", "lora": {"rank": 16, "alpha": 32.0},
                 "train": {"epochs": 4.0, "select_by": "loss"}},
        "stages": {"1": {"model": "cd" * 32, "seconds": 187.4, "parameters": 6_500_000, "trainable_parameters": 312_000,
                         "details": {"precision": "bf16", "peak_memory_bytes": 1_200_000_000}, "alarms": []}},
        "predictions": {}, "reason": reason,
    }  # fmt: skip


def log_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for step in range(1, 85):
        row: dict[str, Any] = {"step": step, "epoch": step / 21, "loss": 0.7 * np.exp(-step / 30) + 0.02 * (step % 3)}
        if step % 21 == 0:
            row |= {"validation_loss": 0.3 + (step - 63) ** 2 / 9000, "validation_primary": 0.6 + step / 240}
        rows.append(row)
    return rows


def described() -> dict[str, Any]:
    """data/<task>.json, as `TaskData.describe` gives it."""
    values = {"minimum": 6.9, "lower_quartile": 11.7, "median": 13.4, "upper_quartile": 15.8, "maximum": 28.1}
    split = {"n": 114, "missing": 2, "values": values}
    return {
        "source": "catalog:wisconsin", "fingerprint": "ef" * 32, "rows": 571, "dropped": {"no radius": 2},
        "cleaned": {"normalise_whitespace": 0}, "records": 569, "groups": 569,
        "inputs": {
            "radius": {"type": "number", "unit": "µm", "splits": dict.fromkeys(("train", "validation", "test"), split)}
        },
        "findings": [finding("info", "missing", "Some inputs are missing.", "radius: 6 of 569 records")],
    }  # fmt: skip


def report_inputs(results: dict[str, Any], **changes: Any) -> ReportInputs:
    settings: dict[str, Any] = {
        "study": study(),
        "data": {"malignancy": described()},
        "environment": {"clinfit": "0.1.0", "commit": "b3b4909", "python": "3.11.9", "libraries": {"torch": "2.13.0"}},
        "models": [model_record()],
        "logs": {("tiny-seed42", 1): log_rows()},
        "command": "clinfit run studies/quickstart.yaml",
    }  # fmt: skip
    return ReportInputs(results=results, **(settings | changes))  # type: ignore[arg-type]


@pytest.fixture
def inputs() -> ReportInputs:
    return report_inputs(binary_results())
