"""A study of several families on real records, of which one model cannot be loaded and one asks for more memory than it
may have; its driver and its workers are killed in turn. What is left is what an undisturbed run leaves."""

import os
import random
import shutil
import signal
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch
import yaml
from transformers import BertConfig, BertForMaskedLM

import clinfit
import killed
from clinfit.files import read_json
from clinfit.machine import mlx_installed
from clinfit.runs.folder import RunFolder
from executed import answers
from killed import Kill
from two_layer import bert_base, llama_base

STUDY = Path(__file__).parents[2] / "studies/heart-disease.yaml"
TINY = Path(clinfit.__file__).parent / "models/bases/tiny"
HEART = Path(os.environ.get("CLINFIT_DATA", "absent")) / "tabular/heart_disease_uci.csv"
#: GB that a worker may hold: the other models take at most about 0.8, `large` more than this.
LIMIT = 1.4
#: Model -> what its failure says.
FAULTS = {
    "cut": "its weights are damaged or cut short",
    "large": f"and --memory allows {LIMIT:g} GB",
}
#: How often a worker is killed, and the driver after it.
ROUNDS = 2
TIMED = {"cost", "pareto", "seconds", "advice"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HEART.is_file(), reason="the folder of CLINFIT_DATA does not hold it"),
    pytest.mark.skipif(not mlx_installed(), reason="MLX is not installed"),
]


def cut_base(folder: Path) -> Path:
    """A base whose weights were only half copied."""
    shutil.copytree(TINY, folder)
    os.truncate(folder / "model.safetensors", (folder / "model.safetensors").stat().st_size // 2)
    return folder


def wide_base(folder: Path) -> Path:
    """A base that takes much memory for every token, and little time."""
    shutil.copytree(bert_base(), folder)
    config = BertConfig.from_pretrained(bert_base(), intermediate_size=8192)
    torch.manual_seed(0)
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def models(cut: Path, wide: Path) -> list[dict[str, Any]]:
    train = {"max_steps": 3, "learning_rate": 3e-3, "max_length": 320, "batch_size": 4, "precision": "fp32"}
    encoder = {"family": "encoder", "base": str(wide)}

    def causal(name: str, base: str = "clinfit/tiny", **changes: Any) -> dict[str, Any]:
        return {"name": name, "family": "causal", "base": base, "train": train, **changes}

    return [
        {"name": "majority", "family": "baseline", "kind": "majority"},
        {"name": "forest", "family": "classical", "kind": "random-forest", "trees": 30},
        causal("tiny", lora={"rank": 4, "dropout": 0.1, "rslora": True}, seeds=[1, 2]),
        causal("few-shot", method="prompt", shots=2, train={"max_length": 800, "precision": "fp32"}),
        causal("mlx", str(llama_base()), family="mlx", train=train | {"max_length": 500}),
        {"name": "encoder", **encoder, "train": train | {"max_length": 250, "batch_size": 2}},
        {"name": "large", **encoder, "train": train | {"max_length": 250, "batch_size": 80, "batch_tokens": 40_000}},
        causal("cut", str(cut)),
    ]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The patients of the study that the project comes with, 60 of them and divided once."""
    folder = tmp_path_factory.mktemp("faults")
    task = yaml.safe_load(STUDY.read_text())["tasks"]["cleveland"]
    task["data"] |= {"split": {"train": 0.74, "validation": 0.13, "test": 0.13, "seed": 42}, "limit": 60}
    path = folder / "study.yaml"
    content = {"name": "faults", "tasks": {"disease": task}, "seeds": [1]}
    content |= {"models": models(cut_base(folder / "cut"), wide_base(folder / "wide"))}
    path.write_text(yaml.safe_dump(content | {"evaluation": {"primary": "auroc", "bootstrap": 100}}, sort_keys=False))
    return path


def run(study: Path, out: Path, *kills: Kill) -> CompletedProcess[str]:
    """The one command."""
    return killed.run(study, out, kills, "--executor", "processes", "--memory", str(LIMIT))


def timeless(value: Any) -> Any:
    """Without times and peaks of memory, which differ from run to run, and without what is advised by them."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in TIMED}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def test_killed_again_and_again_it_ends_as_if_it_never_was(study: Path) -> None:
    whole, broken = study.parent / "whole", study.parent / "broken"
    assert run(study, whole).returncode == 2, "what failed is the user's to fix"
    draw = random.Random(11)
    goals = sorted(draw.sample(range(2, killed.progress(whole) - 8), 2 * ROUNDS))
    for worker, driver in zip(goals[::2], goals[1::2], strict=True):
        kills = Kill(worker, draw.uniform(0, 1.0), "worker"), Kill(driver, draw.uniform(0, 1.0))
        done = run(study, broken, *kills)
        assert done.returncode == -signal.SIGKILL and killed.WORKER_KILLED in done.stderr, done.stderr
    assert run(study, broken).returncode == 2

    names = {f"{model}-seed1" for model in FAULTS}
    for folder in (whole, broken):
        records = {run.path.name: run.read_record() for run in RunFolder(folder).models()}
        assert {name for name, record in records.items() if record["status"] == "failed"} == names
        assert len(records) == 9, "eight models, and one with two seeds"
        peaks = [record["peak_memory_mb"] for record in records.values() if record["status"] == "done"]
        assert max(peaks) < 0.75 * 1000 * LIMIT, "only what asks for too much comes near to the limit"
        findings = read_json(folder / "metrics.json")["tasks"]["disease"]["findings"]
        told = {finding["system"]: finding["evidence"] for finding in findings if finding["code"] == "model-failed"}
        assert told.keys() == names
        page = (folder / "report.html").read_text()
        for name in names:
            reason = FAULTS[name.rpartition("-")[0]]
            assert reason in told[name] and reason in records[name]["reason"] and reason in page

    assert repr(answers(broken)) == repr(answers(whole)) and len(answers(whole)) > 18
    one, other = (timeless(read_json(folder / "metrics.json")) for folder in (whole, broken))
    for metrics in (one, other):  # of a killed run more looks are counted; how much was held when it was ended differs
        task = metrics["tasks"]["disease"]
        task["sections"].pop("freeze")
        own = [found for found in task["findings"] if found["code"] not in ("model-failed", "development-figure")]
        task["findings"] = own
    assert one == other
    assert not list(broken.rglob("*.tmp-*"))
