"""One fit in several processes (`train.processes`): the loss and weights of one, and nobody left behind."""

import io
import json
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import forked
from clinfit.errors import ClinfitError
from clinfit.files import hash_files
from clinfit.machine import is_alive
from clinfit.runs.checking.check import check_study
from clinfit.runs.cluster.demands import demands
from clinfit.runs.execute import Result
from clinfit.runs.inputs import prepare
from clinfit.runs.steps import together
from clinfit.runs.steps.demands import memory_demands
from clinfit.runs.steps.dry_run import what
from clinfit.runs.steps.environment import describe_environment
from clinfit.runs.steps.place import Place
from clinfit.study.load import load_study
from executed import MAJORITY, causal, run, without_report
from members import run_forked
from small_study import write_study
from two_layer import bert_base

StudyMaker = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("no_report")

TRAIN = {"max_steps": 4, "max_length": 100, "precision": "fp32", "batch_size": 5, "batch_tokens": 256,
         "evaluate_every": 2, "checkpoint_every": 1, "learning_rate": 1e-3}  # fmt: skip
TINY = causal("tiny", base="clinfit/tiny", compare_base=False, train=TRAIN)
STACKED = [{"train": {"cancer": 1}}, {"train": {"cancer": 1}, "adapter": "stack"}]


def in_two(model: dict[str, Any]) -> dict[str, Any]:
    return model | {"name": f"{model['name']}-two", "train": model["train"] | {"processes": 2}}


def encoder(folder: Path) -> dict[str, Any]:
    """An encoder without dropout, which each process draws for records of its own."""
    base = shutil.copytree(bert_base(), folder / "base")
    config = json.loads((base / "config.json").read_text())
    without = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (base / "config.json").write_text(json.dumps(config | without))
    return {"name": "encoder", "family": "encoder", "base": str(base), "lora": {"rank": 2}, "train": TRAIN}


def trained(folder: Path, name: str) -> dict[str, torch.Tensor]:
    (path,) = folder.glob(f"models/{name}-seed42/stages/1/model/adapter/*.safetensors")
    return load_file(path)


def logged(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / f"models/{name}-seed42/stages/1/log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, str]:
    """Models of both kinds, each fitted in one process and in two, and what was said; those that fit the encoder are
    forked."""
    place = tmp_path_factory.mktemp("whole")
    both_kinds = [TINY, encoder(place)]
    study = write_study(place / "study", models=[MAJORITY, *both_kinds, *map(in_two, both_kinds)])
    models = [model["name"] for model in (MAJORITY, *both_kinds, in_two(TINY))]
    with pytest.MonkeyPatch.context() as patch:
        without_report(patch)
        result, said = run(study, None, out=place / "together", models=models)
    assert result.ok, result.failed
    failed, more = run_forked(study, place / "together")
    assert not failed
    return result, said + more


@pytest.mark.slow
def test_two_processes_give_the_loss_and_weights_of_one(whole: tuple[Result, str]) -> None:
    """Sums of another order differ in the last digits: losses and norms of gradients agree within 1e-4 of their value,
    half of the weights within 1e-6, and 95 % within a fifth of a step. AdamW divides by the size of a gradient, so that
    a weight whose gradient is nothing but rounding moves by a whole step, one way or the other.
    """
    result, said = whole
    for name in ("tiny", "encoder"):
        alone, both = (logged(result.folder, each) for each in (name, f"{name}-two"))
        assert [row["step"] for row in both] == [1, 2, 3, 4]
        for one, other in zip(alone, both, strict=True):
            assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)
            assert other["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-4)
            assert other["tokens"] == one["tokens"] and ("validation_loss" in other) == ("validation_loss" in one)
            if "validation_loss" in one:
                assert other["validation_loss"] == pytest.approx(one["validation_loss"], rel=1e-4)
        weights, others = trained(result.folder, name), trained(result.folder, f"{name}-two")
        apart = torch.cat([(others[key] - value).abs().flatten() for key, value in weights.items()])
        assert apart.median() < 1e-6 and (apart > 2e-4).float().mean() < 0.05
        record = json.loads((result.folder / f"models/{name}-two-seed42/run.json").read_text())
        assert record["stages"]["1"]["details"]["processes"] == 2
        assert f"{name}-two-seed42: done" in said


#: What a member does first.
SPOIL = """
import os, signal
if os.environ.get("RANK"):
    from clinfit.training.log import Log
    write = Log.write
    def spoiled(self, row):
        write(self, row)
        with open({pids!r}, "a") as file:
            file.write(str(os.getpid()) + "\\n")
        if row["step"] >= 3 and os.environ["RANK"] == "1":
            {spoil}
    Log.write = spoiled
"""


def spoiled(pids: Path, code: str) -> str:
    """What the second process does after the third step and later; `pids` has the ids of all that took part."""
    pids.unlink(missing_ok=True)
    return SPOIL.format(pids=str(pids), spoil=code)


def gone(pids: Path, seconds: float = 60.0) -> bool:
    """Whether all processes that took part have ended, or do within a while."""
    ids = {int(line) for line in pids.read_text().split()}
    until = time.monotonic() + seconds
    while any(map(is_alive, ids)) and time.monotonic() < until:
        time.sleep(0.1)
    return len(ids) == 2 and not any(map(is_alive, ids))


@pytest.mark.slow
def test_a_process_that_dies_fails_the_fit_with_its_reason_and_the_fit_goes_on_where_it_was(
    whole: tuple[Result, str], make_study: StudyMaker, tmp_path: Path, canary: str
) -> None:
    study, pids, out = make_study(models=[MAJORITY, in_two(TINY)]), tmp_path / "pids", Path("apart/killed")
    failed, _ = run_forked(study, out, spoiled(pids, "os.kill(os.getpid(), signal.SIGKILL)"))
    reason = failed["tiny-two-seed42"]
    assert reason.startswith("process 2 of 2 of train.processes: its worker process was killed by SIGKILL")
    assert set(failed) == {"tiny-two-seed42"} and gone(pids)
    failed, said = run_forked(study, out, spoiled(pids, f"raise ValueError({canary[:5]!r} + {canary[5:]!r})"))
    assert failed["tiny-two-seed42"].startswith("ValueError at ")
    log = (out / "models/tiny-two-seed42/error.log").read_text()
    assert "spoiled" in log and canary not in log + said and gone(pids)
    assert run_forked(study, out)[0] == {}
    both = [hash_files(each / "models/tiny-two-seed42/stages/1/model") for each in (whole[0].folder, out)]
    assert both[0] == both[1] and len(both[0]) > 3, "to the bit"


#: A run that is killed when both processes of its fit have written three rows.
KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
from clinfit import cli
study, pids, os.environ["PYTHONPATH"] = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
def kill():
    while not (pids.exists() and len(pids.read_text().split()) >= 6):
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=kill, daemon=True).start()
sys.argv = ["clinfit", "run", study, "--out", "apart/orphans"]
cli.main()
"""


@pytest.mark.slow
def test_nobody_is_left_when_whoever_asked_is_killed(make_study: StudyMaker, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    pids, site = tmp_path / "pids", tmp_path / "site/sitecustomize.py"
    site.write_text(spoiled(pids, "import time; time.sleep(600)"))
    study = make_study(models=[in_two(causal("small", train=TRAIN))])
    done = forked.run(["-c", KILLED, study, pids, site.parent])
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    assert gone(pids)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (causal("small", train=TRAIN | {"processes": 6}), "processes is 6 and batch_size 5"),
        (causal("small", train=TRAIN | {"processes": 0}), "processes"),
        (causal("small", method="prompt", train=TRAIN | {"processes": 2}), "trains nothing, so `train.processes`"),
        (causal("small", family="mlx", train=TRAIN | {"processes": 2}), "family mlx computes in one process"),
        (
            {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic", "train": {"processes": 2}},
            "train",
        ),
        (
            causal("small", train=TRAIN | {"processes": 2}, stages=STACKED),
            "put together by one process",
        ),
    ],
)
def test_where_one_process_is_all_there_is_a_study_says_so(
    make_study: StudyMaker, model: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClinfitError) as told:
        load_study(make_study(models=[MAJORITY, model]))
    assert words in str(told.value)


def test_a_gpu_each_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinfit.training.precision.default_device", lambda: torch.device("cuda", 0))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    together.check_devices(2)
    with pytest.raises(ClinfitError, match="is 4, and this machine has 2 GPUs") as told:
        together.check_devices(4)
    assert told.value.fix == "lower train.processes"
    monkeypatch.setattr("clinfit.training.precision.default_device", lambda: torch.device("mps"))
    with pytest.raises(ClinfitError, match="Apple's GPU"):
        together.check_devices(2)


def test_check_shows_processes_and_the_gpus_that_are_not_there(
    make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(make_study(models=[MAJORITY, in_two(causal("small", train=TRAIN))]))
    console = Console(file=io.StringIO(), width=160)
    assert not any(found.code == "model-cannot-run" for found in check_study(study, console))
    assert " GB x 2" in console.file.getvalue()  # type: ignore[attr-defined]
    monkeypatch.setattr("clinfit.training.precision.default_device", lambda: torch.device("mps"))
    monkeypatch.setattr("torch.mps.recommended_max_memory", lambda: 2**34)
    (found,) = [one for one in check_study(study, console) if one.code == "model-cannot-run"]
    assert found.level == "error" and found.title.startswith("small-two: train.processes is 2")


def test_threads_are_divided_and_nobody_else_is_asked() -> None:
    found = together.settings(1, 2, 4711)
    assert found["RANK"] == "1" and found["WORLD_SIZE"] == "2" and found["MASTER_ADDR"] == "127.0.0.1"
    assert int(found["OMP_NUM_THREADS"]) == max(1, torch.get_num_threads() // 2)


def test_a_node_needs_what_all_processes_need(make_study: StudyMaker) -> None:
    two = in_two(causal("small", train=TRAIN))
    prepared = prepare(load_study(make_study(models=[MAJORITY, two])), "apart", None, fresh=True)
    place = Place(prepared.study, prepared.data, prepared.folder, describe_environment(neural=False))
    alone = replace(place, study=load_study(make_study(models=[MAJORITY, two | {"train": TRAIN}])))
    nodes = [{"Alive": True, "Resources": {"CPU": 8, "GPU": 2, "memory": 10**12}}]
    key = next(step.worker for step in prepared.steps if step.run.startswith("small"))
    found = demands(place, prepared.steps, nodes)
    assert found[key].gpus == 2 and found["classical"].gpus == 0
    assert found[key].memory == 2 * memory_demands(alone, prepared.steps)[key]
    fit = next(step for step in prepared.steps if step.action == "fit" and step.worker == key)
    assert what(fit, 2) == "fit stage 1 in 2 processes" and what(fit) == "fit stage 1"
