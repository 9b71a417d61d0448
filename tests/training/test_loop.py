"""The loop's invariants: who divides by what, resume equals uninterrupted, the base stays as it was."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import Workspace
from clinfit.models.causal import AnswerLoss, CausalModel, load_for_task
from clinfit.study import Causal, Lora, Task, Train
from clinfit.training.adapters import add_adapter
from clinfit.training.loop import Log, Schedule, collapse_alarms
from clinfit.training.losses import StepLoss, focal, step_divisor


@pytest.fixture
def spec(tiny_base: Path) -> Causal:
    train = Train(
        epochs=3, learning_rate=1e-2, batch_size=8, batch_tokens=300, max_length=200, precision="fp32",
        checkpoint_every=2, evaluate_every=2,
    )  # fmt: skip
    return Causal(name="m", family="causal", base=str(tiny_base), lora=Lora(rank=4, alpha=8), train=train)


def fitted(spec: Causal, task: Task, records: Sequence[Record], folder: Path, **workspace: Any) -> CausalModel:
    model = CausalModel(spec, task, seed=1)
    folder.mkdir(parents=True, exist_ok=True)
    model.fit(records[:18], records[18:], Workspace(folder, **workspace))
    return model


def weights(folder: Path) -> dict[str, torch.Tensor]:
    newest = max((folder / "checkpoints").glob("step-*"))
    return load_file(newest / "weights.safetensors")


def gradients(spec: Causal, task: Task, records: Sequence[Record], batches: list[list[int]], per: Any) -> torch.Tensor:
    loaded = load_for_task(spec, task)
    encoded = loaded.renderer.encode_all(records)
    model = add_adapter(loaded.base, spec.lora, 3, task_type="CAUSAL_LM", base_name="x")
    for name, parameter in model.named_parameters():  # B starts at 0, which would hide A's gradient
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    module = AnswerLoss(loaded.base, encoded, pad_id=5)
    step = StepLoss(step_divisor(per, [len(encoded[i].answer_ids) for batch in batches for i in batch]))
    for batch in batches:
        step.share(module(batch), torch.ones(len(batch))).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("per", ["record", "token"])
def test_one_batch_of_eight_equals_eight_batches_of_one(
    spec: Causal, text_task: Task, text_records: list[Record], per: str
) -> None:
    together = gradients(spec, text_task, text_records, [list(range(8))], per)
    apart = gradients(spec, text_task, text_records, [[i] for i in range(8)], per)
    uneven = gradients(spec, text_task, text_records, [[0, 1, 2], [3], [4, 5, 6, 7]], per)
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together, uneven, atol=1e-5, rtol=1e-4)


def test_the_loss_is_the_mean_negative_log_likelihood_of_the_answers(
    spec: Causal, text_task: Task, text_records: list[Record]
) -> None:
    loaded = load_for_task(spec, text_task)
    encoded = loaded.renderer.encode_all(text_records[:4])
    losses = AnswerLoss(loaded.base, encoded, pad_id=5)([0, 1, 2, 3])
    for item, loss in zip(encoded, losses, strict=True):
        logits = loaded.base(torch.tensor([item.ids])).logits[0].log_softmax(-1)
        expected = -sum(logits[len(item.prompt_ids) - 1 + i, token].item() for i, token in enumerate(item.answer_ids))
        assert loss.item() == pytest.approx(expected, abs=1e-4)
    assert step_divisor("record", [2, 5, 2, 5]) == 4
    assert step_divisor("token", [2, 5, 2, 5]) == 14


def test_padding_does_not_change_a_loss(spec: Causal, text_task: Task, text_records: list[Record]) -> None:
    loaded = load_for_task(spec, text_task)
    module = AnswerLoss(loaded.base, loaded.renderer.encode_all(text_records), pad_id=5)
    together = module(list(range(8)))
    alone = torch.cat([module([i]) for i in range(8)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_focal_and_weights_change_only_the_shares() -> None:
    losses, ones = torch.tensor([0.1, 2.0, 4.0]), torch.ones(3)
    assert torch.equal(focal(losses, 0), losses)
    flat = torch.zeros(1, requires_grad=True)
    focal(flat, 0.5).sum().backward()
    assert flat.grad is not None and torch.isfinite(flat.grad).all()
    expected = (1 - torch.exp(-losses)) ** 2 * losses
    torch.testing.assert_close(focal(losses, 2.0), expected)
    assert StepLoss(3).share(losses, ones) == pytest.approx(losses.mean().item())
    assert StepLoss(3).share(losses, torch.tensor([2.0, 0.0, 1.0])) == pytest.approx((0.2 + 4.0) / 3)


def test_base_weights_do_not_change_and_only_the_adapter_is_trained(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path, tiny_base: Path
) -> None:
    model = fitted(spec, text_task, text_records, tmp_path)
    base = load_file(tiny_base / "model.safetensors")
    now = {k.replace(".base_layer", ""): v for k, v in model._load().base.state_dict().items() if "lora_" not in k}
    for name, value in base.items():
        assert torch.equal(now[name], value), name
    assert all("lora_" in name for name in weights(tmp_path))


def test_training_lowers_the_loss_and_learns_the_task(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    longer = spec.model_copy(update={"train": spec.train.model_copy(update={"epochs": 12.0, "learning_rate": 3e-2})})
    model = fitted(longer, text_task, text_records, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    probabilities = model.predict(text_records).probabilities
    gold = [text_task.labels.index(str(record.target)) for record in text_records]
    assert (probabilities.argmax(1) == gold).mean() > 0.9


@pytest.mark.parametrize("stop_at", [1, 3, 6])
def test_a_stopped_run_ends_as_an_undisturbed_one(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path, stop_at: int
) -> None:
    dropout = spec.model_copy(update={"lora": spec.lora.model_copy(update={"dropout": 0.1})})
    whole = fitted(dropout, text_task, text_records, tmp_path / "whole")

    def stop(done: int, total: int, text: str) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(dropout, text_task, text_records, tmp_path / "stopped", progress=stop)
    resumed = fitted(dropout, text_task, text_records, tmp_path / "stopped")
    for name, value in weights(tmp_path / "whole").items():
        assert torch.equal(weights(tmp_path / "stopped")[name], value), name
    assert np.array_equal(whole.predict(text_records).probabilities, resumed.predict(text_records).probabilities)
    steps = [json.loads(line)["step"] for line in (tmp_path / "stopped" / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1))


def test_a_best_that_a_checkpoint_names_outlives_later_ones(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    """Stopped long after its checkpoint, with several better validations in between, a run finds its best again."""
    rare = spec.model_copy(
        update={"train": spec.train.model_copy(update={"checkpoint_every": 4, "evaluate_every": 1, "epochs": 4.0})}
    )

    def stop(done: int, total: int, text: str) -> None:
        if done == 11:
            raise KeyboardInterrupt

    values = {"first": [0.5, 0.6, 0.7, 0.8, 0.81, 0.82, 0.83, 0.84, 0.85, 0.86, 0.87], "second": [0.1] * 4}
    with pytest.raises(KeyboardInterrupt):
        first = iter(values["first"])
        by_primary = rare.model_copy(update={"train": rare.train.model_copy(update={"select_by": "primary"})})
        fitted(by_primary, text_task, text_records, tmp_path, progress=stop, primary=lambda *_: next(first))
    # The second look at steps 9 to 12 judges differently, as another machine might: the best of step 8 must be there.
    second = iter(values["second"])
    resumed = CausalModel(by_primary, text_task, seed=1)
    workspace = Workspace(tmp_path, primary=lambda *_: next(second))
    summary = resumed.fit(text_records[:18], text_records[18:], workspace)
    assert summary.details["best_step"] == 8
    assert [path.name for path in (tmp_path / "checkpoints").glob("best-*")] == ["best-000008"]


def test_a_checkpoint_of_other_data_is_refused(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    fitted(spec, text_task, text_records, tmp_path)
    changed = [replace(text_records[0], target="Non-Cancer"), *text_records[1:]]
    with pytest.raises(ClinfitError, match="other data or settings"):
        fitted(spec, text_task, changed, tmp_path)


def test_recorded_values_are_those_of_optimizer_and_adapter(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    odd = spec.model_copy(
        update={
            "lora": Lora(rank=3, alpha=7, rslora=True, targets=["q_proj", "v_proj"]),
            "train": spec.train.model_copy(update={"weight_decay": 0.03, "clip": 0.5, "learning_rate": 7e-4}),
        }
    )
    model = CausalModel(odd, text_task, 1)
    details = model.fit(text_records[:18], text_records[18:], Workspace(tmp_path)).details
    assert details["adapter"]["rank"] == 3 and details["adapter"]["alpha"] == 7
    assert details["adapter"]["scaling"] == pytest.approx(7 / 3**0.5)
    assert details["adapter"]["modules"] == ["q_proj", "v_proj"]
    assert (details["weight_decay"], details["clip"], details["peak_learning_rate"]) == (0.03, 0.5, 7e-4)
    assert details["steps"] == details["planned_steps"] == 9


def test_dora_trains_and_says_so(spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path) -> None:
    dora = spec.model_copy(update={"lora": Lora(rank=2, alpha=4, dora=True)})
    details = CausalModel(dora, text_task, 1).fit(text_records[:18], [], Workspace(tmp_path)).details
    assert details["adapter"]["dora"] is True


def test_unknown_targets_name_the_nearest_module(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    wrong = spec.model_copy(update={"lora": Lora(targets=["q_porj"])})
    with pytest.raises(ClinfitError, match="did you mean q_proj"):
        CausalModel(wrong, text_task, 1).fit(text_records[:18], [], Workspace(tmp_path))


def test_a_diverging_loss_stops_with_advice(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    wild = spec.model_copy(update={"train": spec.train.model_copy(update={"learning_rate": 1e30})})
    with pytest.raises(ClinfitError, match=r"lower train\.learning_rate"):
        CausalModel(wild, text_task, 1).fit(text_records[:18], [], Workspace(tmp_path))


def test_early_stopping_and_the_best_checkpoint(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    values = iter([0.6, 0.9, 0.8, 0.7, 0.95])
    early = spec.model_copy(
        update={"train": spec.train.model_copy(update={"early_stopping": 2, "select_by": "primary", "epochs": 9.0})}
    )
    model = CausalModel(early, text_task, 1)
    summary = model.fit(text_records[:18], text_records[18:], Workspace(tmp_path, primary=lambda *_: next(values)))
    assert summary.details["best_step"] == 4 and summary.details["steps"] == 8 and summary.details["stopped_early"]
    best = load_file(tmp_path / "checkpoints" / "best-000004" / "weights.safetensors")
    now = {name: p for name, p in model._load().base.named_parameters() if p.requires_grad}
    assert all(torch.equal(now[name.removeprefix("model.")], value) for name, value in best.items())


def test_schedules() -> None:
    def rates(kind: str, warmup: float) -> list[float]:
        settings = Train(learning_rate=1.0, epochs=1, batch_size=1, schedule=kind, warmup=warmup)  # type: ignore[arg-type]
        schedule = Schedule.of(settings, 10)
        return [schedule.rate(step) for step in range(10)]

    assert rates("constant", 0) == [1.0] * 10
    assert rates("linear", 0.2)[:3] == [0.5, 1.0, 1.0]
    assert rates("cosine", 0)[5] == pytest.approx(0.5)


def test_collapse_alarm_names_a_cause() -> None:
    def rows(losses: list[float], norm: float) -> list[dict[str, Any]]:
        last = len(losses)
        return [
            {"step": i + 1, "loss": loss, "gradient_norm": norm}
            | ({"validation_loss": loss, "validation_shares": [1.0, 0.0]} if i + 1 == last else {})
            for i, loss in enumerate(losses)
        ]

    assert "learning rate is probably too low" in collapse_alarms(rows([2.0] * 10, 1.0), 10)[0]
    assert "learning rate is probably too high" in collapse_alarms(rows([2.0] * 10, 99.0), 10)[0]
    assert "class_weights" in collapse_alarms(rows([2.0] * 5 + [0.7] * 5, 1.0), 10)[0]
    healthy = rows([2.0] * 10, 1.0)
    healthy[-1]["validation_shares"] = [0.6, 0.4]
    assert collapse_alarms(healthy, 10) == []


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    assert [row["step"] for row in Log(path, 2, writes=True).rows()] == [1, 2]


@pytest.mark.slow
def test_two_processes_train_as_one(spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path) -> None:
    """DDP on the processor: the same weights as one process, up to the order of summation."""
    fitted(spec, text_task, text_records, tmp_path / "one")
    script = tmp_path / "fit.py"
    script.write_text(
        "import json, sys\nfrom pathlib import Path\nfrom clinfit.data.records import Record\n"
        "from clinfit.models.base import Workspace\nfrom clinfit.models.causal import CausalModel\n"
        "from clinfit.study import Causal, Task\n"
        "given = json.loads(Path(sys.argv[1]).read_text())\n"
        "records = [Record(**r) for r in given['records']]\n"
        "model = CausalModel(Causal(**given['spec']), Task(**given['task']), 1)\n"
        "model.fit(records[:18], records[18:], Workspace(Path(sys.argv[2])))\n"
    )
    given = {
        "spec": spec.model_dump(mode="json"),
        "task": text_task.model_dump(mode="json"),
        "records": [{"id": r.id, "group": r.group, "inputs": r.inputs, "target": r.target} for r in text_records],
    }
    (tmp_path / "given.json").write_text(json.dumps(given))
    (tmp_path / "two").mkdir()
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "29517",
        str(script), str(tmp_path / "given.json"), str(tmp_path / "two"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=2e-4, rtol=2e-3)
    tokens = [
        [json.loads(line)["tokens"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert tokens[0] == tokens[1], "tokens are counted over all processes"
