import json
import subprocess
import sys
from pathlib import Path

import pytest

import report

MODELS = {name: {"parameters_in_layers": 1_000_000, "hidden": 512, "vocabulary": 1_000} for name in ("small", "wide")}


def _training(peer: str, seconds: float, loss: float, memory: int, number: int = 0) -> dict[str, object]:
    return {
        "job": f"train/wide/fp32/{peer}",
        "round": number,
        "seconds": seconds,
        "process_seconds": seconds + 10,
        "process_peak_mb": memory,
        "other_cores": 0.0,
        "examples": 16,
        "losses": [loss],
        "cells": 1000,
        "tokens": 950,
        "answer_tokens": 50,
    }


def _scoring(peer: str, margins: list[float]) -> dict[str, object]:
    return {
        "job": f"score/fp32/{peer}",
        "round": 0,
        "seconds": 2.0,
        "process_seconds": 9.0,
        "process_peak_mb": 500,
        "other_cores": 0.3,
        "prompts": len(margins),
        "margins": margins,
        "tokens": 1000,
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    lines = [
        {"job": "machine", "cores": 2, "processor": "a", "instructions": [], "memory_gb": 8, "models": MODELS},
        {"job": "gemm", "round": 0, "gflops": {"fp32": {"a": 10.0, "b": 20.0}, "bf16": {"a": 30.0}}, "other_cores": 0},
        *[_training("clinfit", seconds, 10.0, 200, n) for n, seconds in enumerate((9.0, 2.0, 1.0))],
        _training("hf", 12.0, 10.1, 800),
        _scoring("clinfit", [1.0, 5.0, 2.0, 5.0]),
        _scoring("naive", [1.0, 2.5]),
        {"job": "score/fp32/generate", "round": 0, "error": "exit status 1: no memory"},
    ]
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_ratios_are_between_medians(results: Path):
    runs, failed, _ = report.read_runs(results)
    assert report.training_gain("wide/fp32", "hf")(runs) == 6  # 12 s over the median of 9, 2 and 1
    assert report.loss_difference(runs, "wide/fp32") == pytest.approx(0.1 / 10.1)
    assert report.padding(runs, "train/wide/fp32/clinfit") == pytest.approx(0.05)
    assert [record["job"] for record in failed] == ["score/fp32/generate"]


def test_share_of_the_ceiling_counts_needed_work_only(results: Path):
    runs, _, _ = report.read_runs(results)
    needed = 4 * (1_000_000 * 950 + 512 * 1_000 * 50)
    assert report.training_share(runs, "train/wide/fp32/clinfit", MODELS) == pytest.approx(needed / 2.0 / 20e9)


def test_margins_are_compared_on_the_prompts_that_both_scored(results: Path):
    runs, _, _ = report.read_runs(results)
    assert report.margin_difference(runs, "score/fp32/clinfit") == 0.5


def test_targets_say_met_missed_or_not_measured(results: Path):
    runs, _, _ = report.read_runs(results)
    lines = {target.text: target.line(runs) for target in report.targets(MODELS)}
    assert lines["training, wide, fp32: speed over Transformers Trainer"].endswith("| at least 4 | 6 | met |")
    assert lines["scoring, fp32: largest difference of a label margin from a plain forward's"].endswith(
        "0.5 | missed |"
    )
    assert lines["training, wide, fp32: speed over TRL, defaults"].endswith("not measured |")


def test_command_prints_tables_failures_and_disturbed_measurements(results: Path):
    printed = subprocess.run(
        [sys.executable, report.__file__, str(results)], check=True, capture_output=True, text=True
    ).stdout
    assert "| Transformers Trainer | 1 | 12.0 (12.0-12.0) | 6.00 |" in printed
    assert "2 of 7 measurements shared the machine" in printed
    assert "FAILED score/fp32/generate, round 1: exit status 1: no memory" in printed
