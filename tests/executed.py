"""What the tests of executors share: small models, a run and what was said, and what it leaves."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import clinfit
from clinfit.files import hash_files
from clinfit.predictions import read_predictions
from clinfit.runs import execute
from clinfit.runs.control.status import Monitor
from clinfit.runs.execute import Result
from clinfit.runs.steps.executors import Processes
from clinfit.runs.steps.failures import Failure
from clinfit.study.schema import Study
from two_layer import llama_base

MAJORITY = {"name": "majority", "family": "baseline", "kind": "majority"}
KEYWORD = {"name": "keyword", "family": "baseline", "kind": "keyword", "patterns": ["tumour"]}
ALWAYS = {"name": "always", "family": "baseline", "kind": "always-positive"}
RULES = {"models": [MAJORITY, KEYWORD, ALWAYS]}


def causal(name: str, **changes: Any) -> dict[str, Any]:
    train = {"epochs": 0.2, "max_length": 100, "precision": "fp32", "batch_size": 4}
    return {"name": name, "family": "causal", "base": str(llama_base()), "lora": {"rank": 2}, "train": train} | changes


def without_report(patch: pytest.MonkeyPatch) -> None:
    """Runs end behind their last step: no metrics, no report, no packs."""

    def conclude(study: Study, failed: dict[str, Failure], monitor: Monitor, again: str) -> Result:
        monitor.update(state="failed" if failed else "done")
        return Result(monitor.folder.path, None, None, {}, failed)

    patch.setattr(execute, "conclude", conclude)


def run(study: Path, at_once: int | None = 1, *, memory: float | None = None, **options: Any) -> tuple[Result, str]:
    """The result and what was said; at_once: None runs in this process. memory: GB that each worker may hold."""
    console = Console(file=io.StringIO(), width=200)
    if at_once is not None:
        options["executor"] = Processes(at_once, memory)
    result = clinfit.run(study, console=console, **options)
    return result, console.file.getvalue()  # type: ignore[attr-defined]


def answers(folder: Path) -> dict[str, Any]:
    """Every table of predictions without times."""
    return {
        path.relative_to(folder).as_posix(): read_predictions(path).drop(columns="seconds").to_dict("list")
        for path in sorted(folder.glob("models/*/predictions/*.parquet"))
    }


def models(folder: Path) -> dict[str, str]:
    """Every file of every trained model, but those of skops, which name objects by their addresses in memory."""
    found = hash_files(folder / "models").items()
    return {name: digest for name, digest in found if "/model/" in name and not name.endswith(".skops")}
