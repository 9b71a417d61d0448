"""The loop's invariants: who divides by what, resume equals uninterrupted, the base stays as it was."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import Workspace
from clinfit.models.causal import CausalModel
from clinfit.study.models import Causal, Lora, Train
from clinfit.study.tasks import Task
from clinfit.training.adapters import add_adapter
from clinfit.training.answer_loss import AnswerLoss
from clinfit.training.checkpoints import Checkpoints, Position
from clinfit.training.log import Log, collapse_alarms
from clinfit.training.loop import (
    CHECKPOINT_SECONDS,
    CHECKPOINT_SHARE,
    Due,
    Objective,
    TaskValidation,
    TrainResult,
    Validation,
    step_seed,
    train,
)
from clinfit.training.losses import StepLoss, focal, step_divisor
from clinfit.training.schedule import Schedule
from lessons import TASK, lesson


@pytest.fixture
def spec(tiny_base: Path) -> Causal:
    train = Train(
        epochs=3, learning_rate=1e-2, batch_size=8, batch_tokens=300, max_length=200, precision="fp32",
        checkpoint_every=2, evaluate_every=2,
    )  # fmt: skip
    return Causal(name="m", family="causal", base=str(tiny_base), lora=Lora(rank=4, alpha=8), train=train)


def fitted(spec: Causal, task: Task, records: Sequence[Record], folder: Path, **workspace: Any) -> CausalModel:
    model = CausalModel(spec, {TASK: task}, seed=1)
    folder.mkdir(parents=True, exist_ok=True)
    model.fit(lesson(records[:18], records[18:]), Workspace(folder, **workspace))
    return model


def weights(folder: Path) -> dict[str, torch.Tensor]:
    newest = max((folder / "checkpoints").glob("step-*"))
    return load_file(newest / "weights.safetensors")


def gradients(spec: Causal, task: Task, records: Sequence[Record], batches: list[list[int]], per: Any) -> torch.Tensor:
    loaded = CausalModel(spec, {TASK: task}, 1).opened()
    encoded = loaded.renderers[TASK].encode_all(records)
    model = add_adapter(loaded.model, spec.lora, 3, task_type="CAUSAL_LM", base_name="x")
    for name, parameter in model.named_parameters():  # B starts at 0, which would hide A's gradient
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    module = AnswerLoss(loaded.model, encoded, pad_id=5)
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
    loaded = CausalModel(spec, {TASK: text_task}, 1).opened()
    encoded = loaded.renderers[TASK].encode_all(text_records[:4])
    losses = AnswerLoss(loaded.model, encoded, pad_id=5)([0, 1, 2, 3])
    for item, loss in zip(encoded, losses, strict=True):
        logits = loaded.model(torch.tensor([item.ids])).logits[0].log_softmax(-1)
        expected = -sum(logits[len(item.prompt_ids) - 1 + i, token].item() for i, token in enumerate(item.answer_ids))
        assert loss.item() == pytest.approx(expected, abs=1e-4)
    assert step_divisor("record", [2, 5, 2, 5]) == 4
    assert step_divisor("token", [2, 5, 2, 5]) == 14


def test_answer_tokens_that_were_the_most_probable_are_counted(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    loaded = CausalModel(spec, {TASK: text_task}, 1).opened()
    encoded = loaded.renderers[TASK].encode_all(text_records[:4])
    module = AnswerLoss(loaded.model, encoded, pad_id=5)
    module([0, 1])
    module([2, 3])
    right = 0
    for item in encoded:
        best = loaded.model(torch.tensor([item.ids])).logits[0].argmax(-1).tolist()
        right += sum(best[len(item.prompt_ids) - 1 + i] == token for i, token in enumerate(item.answer_ids))
    assert module.counted().tolist() == [right, sum(len(item.answer_ids) for item in encoded)]
    assert module.counted().tolist() == [0, 0]
    fitted(spec, text_task, text_records, tmp_path)
    shares = [json.loads(line)["token_accuracy"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all(0 <= share <= 1 for share in shares) and shares[-1] > shares[0]


def test_padding_does_not_change_a_loss(spec: Causal, text_task: Task, text_records: list[Record]) -> None:
    loaded = CausalModel(spec, {TASK: text_task}, 1).opened()
    module = AnswerLoss(loaded.model, loaded.renderers[TASK].encode_all(text_records), pad_id=5)
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
    now = {k.replace(".base_layer", ""): v for k, v in model.opened().model.state_dict().items() if "lora_" not in k}
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
    probabilities = model.predict(TASK, text_records).probabilities
    gold = [text_task.labels.index(str(record.target)) for record in text_records]
    assert (probabilities.argmax(1) == gold).mean() > 0.9


def test_a_stopped_run_ends_as_an_undisturbed_one(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    """Stopped again and again: before its first checkpoint, between two, and at one."""
    dropout = spec.model_copy(update={"lora": spec.lora.model_copy(update={"dropout": 0.1})})
    whole = fitted(dropout, text_task, text_records, tmp_path / "whole")
    for stop_at in (1, 3, 6):

        def stop(done: int, total: int, text: str, stop_at: int = stop_at) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fitted(dropout, text_task, text_records, tmp_path / "stopped", progress=stop)
    resumed = fitted(dropout, text_task, text_records, tmp_path / "stopped")
    for name, value in weights(tmp_path / "whole").items():
        assert torch.equal(weights(tmp_path / "stopped")[name], value), name
    assert np.array_equal(
        whole.predict(TASK, text_records).probabilities, resumed.predict(TASK, text_records).probabilities
    )
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
    resumed = CausalModel(by_primary, {TASK: text_task}, seed=1)
    workspace = Workspace(tmp_path, primary=lambda *_: next(second))
    summary = resumed.fit(lesson(text_records[:18], text_records[18:]), workspace)
    assert summary.details["best_step"] == 8
    assert [path.name for path in (tmp_path / "checkpoints").glob("best-*")] == ["best-000008"]


def test_a_checkpoint_of_other_data_is_refused(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    fitted(spec, text_task, text_records, tmp_path)
    changed = [replace(text_records[0], target="Non-Cancer"), *text_records[1:]]
    with pytest.raises(ClinfitError, match="other data or settings"):
        fitted(spec, text_task, changed, tmp_path)


def test_a_checkpoint_of_another_precision_is_refused(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`precision: auto` is another one on another machine."""
    auto = spec.model_copy(update={"train": spec.train.model_copy(update={"precision": "auto"})})
    for has_bf16 in (False, True):
        monkeypatch.setattr("clinfit.training.precision.cpu_has_bf16", lambda has=has_bf16: has)
        if not has_bf16:
            fitted(auto, text_task, text_records, tmp_path)
            continue
        with pytest.raises(ClinfitError, match="another precision than bf16"):
            fitted(auto, text_task, text_records, tmp_path)


def test_only_who_is_asked_to_clears_what_a_killed_run_left(tmp_path: Path) -> None:
    later = tmp_path / "checkpoints" / "best-000009"
    later.mkdir(parents=True)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert later.is_dir(), "another process may be reading"
    checkpoints.clear()
    assert not later.exists()


def test_processes_draw_dropout_apart() -> None:
    drawn = set()
    for rank in range(4):
        torch.manual_seed(step_seed(7, 3, rank))
        drawn.add(float(torch.rand(1)))
    assert len(drawn) == 4 and step_seed(7, 3, 0) == 7 * 1_000_003 + 3


def test_recorded_values_are_those_of_optimizer_and_adapter(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    odd = spec.model_copy(
        update={
            "lora": Lora(rank=3, alpha=7, rslora=True, targets=["q_proj", "v_proj"]),
            "train": spec.train.model_copy(update={"weight_decay": 0.03, "clip": 0.5, "learning_rate": 7e-4}),
        }
    )
    model = CausalModel(odd, {TASK: text_task}, 1)
    details = model.fit(lesson(text_records[:18], text_records[18:]), Workspace(tmp_path)).details
    assert details["adapter"]["rank"] == 3 and details["adapter"]["alpha"] == 7
    assert details["adapter"]["scaling"] == pytest.approx(7 / 3**0.5)
    assert details["adapter"]["modules"] == ["q_proj", "v_proj"]
    assert (details["weight_decay"], details["clip"], details["peak_learning_rate"]) == (0.03, 0.5, 7e-4)
    assert details["steps"] == details["planned_steps"] == 9


def test_dora_trains_and_says_so(spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path) -> None:
    dora = spec.model_copy(update={"lora": Lora(rank=2, alpha=4, dora=True)})
    details = CausalModel(dora, {TASK: text_task}, 1).fit(lesson(text_records[:18]), Workspace(tmp_path)).details
    assert details["adapter"]["dora"] is True


def test_unknown_targets_name_the_nearest_module(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    wrong = spec.model_copy(update={"lora": Lora(targets=["q_porj"])})
    with pytest.raises(ClinfitError, match="did you mean q_proj"):
        CausalModel(wrong, {TASK: text_task}, 1).fit(lesson(text_records[:18]), Workspace(tmp_path))


def test_a_diverging_loss_stops_with_advice(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    wild = spec.model_copy(update={"train": spec.train.model_copy(update={"learning_rate": 1e30})})
    with pytest.raises(ClinfitError, match=r"lower train\.learning_rate"):
        CausalModel(wild, {TASK: text_task}, 1).fit(lesson(text_records[:18]), Workspace(tmp_path))


def test_early_stopping_and_the_best_checkpoint(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    values = iter([0.6, 0.9, 0.8, 0.7, 0.95])
    early = spec.model_copy(
        update={"train": spec.train.model_copy(update={"early_stopping": 2, "select_by": "primary", "epochs": 9.0})}
    )
    model = CausalModel(early, {TASK: text_task}, 1)
    summary = model.fit(
        lesson(text_records[:18], text_records[18:]), Workspace(tmp_path, primary=lambda *_: next(values))
    )
    assert summary.details["best_step"] == 4 and summary.details["steps"] == 8 and summary.details["stopped_early"]
    best = load_file(tmp_path / "checkpoints" / "best-000004" / "weights.safetensors")
    now = {name: p for name, p in model.opened().model.named_parameters() if p.requires_grad}
    assert all(torch.equal(now[name.removeprefix("model.")], value) for name, value in best.items())


class Parabola(torch.nn.Module):
    """A single weight, whose loss is least at 3."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, indices: list[int]) -> torch.Tensor:
        return (self.weight - 3).square().expand(len(indices))


@pytest.mark.parametrize("select_by", ["loss", "primary"])
def test_a_validation_that_is_not_finite_is_never_the_best(select_by: Any, tmp_path: Path) -> None:
    module, looks = Parabola(), iter([float("nan"), float("inf"), *[0.0] * 8])

    def validate() -> Validation:
        loss = next(looks) + float((module.weight - 3).square())
        return Validation(loss, 0.9 if math.isnan(loss) else 0.1, {})

    settings = Train(epochs=10, batch_size=8, learning_rate=0.3, evaluate_every=1, select_by=select_by)
    objective = Objective(module, lambda _: np.arange(8), [1] * 8, [1] * 8, np.ones(8), validate)
    result = train(objective, settings, 0, "fp32", Workspace(tmp_path), "x")
    assert result.best_step == (10 if select_by == "loss" else 3)
    assert any("not a finite number at step 1, 2;" in alarm for alarm in result.alarms)


def chosen_by_primary(primaries: Sequence[float | None], folder: Path, **settings: Any) -> TrainResult:
    """Of a weight whose loss falls at every step; `primaries` are the metrics of its validations, one a step."""
    module, looks = Parabola(), iter(primaries)

    def validate() -> Validation:
        loss, found = float((module.weight - 3).square()), next(looks)
        tasks = {"a": TaskValidation(loss, 0.5, []), "b": TaskValidation(loss, found, [])}
        return Validation(loss, found, tasks)

    objective = Objective(module, lambda _: np.arange(8), [1] * 8, [1] * 8, np.ones(8), validate)
    asked = Train(
        epochs=len(primaries), batch_size=8, learning_rate=0.1, evaluate_every=1, select_by="primary", **settings
    )
    return train(objective, asked, 0, "fp32", Workspace(folder), "x")


def test_without_any_primary_metric_the_loss_chooses_and_it_is_said(tmp_path: Path) -> None:
    result = chosen_by_primary([None] * 5, tmp_path, early_stopping=2)
    assert (result.best_step, result.steps) == (5, 5) and result.details["selected_by"] == "loss"
    (alarm,) = result.alarms
    assert alarm == (
        "select_by: primary could not be followed: no validation gave the primary metric of every task (not of b); the "
        "checkpoint was chosen by validation loss"
    )


def test_a_validation_without_a_primary_metric_is_not_chosen_where_another_has_one(tmp_path: Path) -> None:
    result = chosen_by_primary([None, None, 0.4, 0.3, None], tmp_path)
    assert result.best_step == 3 and result.details["selected_by"] == "primary" and not result.alarms


def test_what_chose_the_best_outlives_a_kill(tmp_path: Path) -> None:
    """Stopped after a validation without a primary metric, a fit goes on to prefer one with it, however low."""
    position = Position("x", step=3, best_step=3, best_value=-0.01, fell_back=True)
    Checkpoints(tmp_path).save(position, Parabola(), torch.optim.AdamW(Parabola().parameters()))
    found = Checkpoints(tmp_path).latest()
    assert found is not None and found == position
    assert found.worse_than(-5.0, False) and not found.worse_than(-0.02, True)
    assert found.worse_than(-0.005, True) and not replace(found, fell_back=False).worse_than(1.0, True)


def test_a_fit_without_any_finite_validation_is_refused(tmp_path: Path) -> None:
    objective = Objective(
        Parabola(), lambda _: np.arange(8), [1] * 8, [1] * 8, np.ones(8), lambda: Validation(math.nan, None, {})
    )
    settings = Train(epochs=2, batch_size=8, evaluate_every=1)
    with pytest.raises(ClinfitError, match="validation loss is not a finite number"):
        train(objective, settings, 0, "fp32", Workspace(tmp_path), "x")


def test_schedules() -> None:
    def rates(kind: str, warmup: float) -> list[float]:
        settings = Train(learning_rate=1.0, epochs=1, batch_size=1, schedule=kind, warmup=warmup)  # type: ignore[arg-type]
        schedule = Schedule.of(settings, 10)
        return [schedule.rate(step) for step in range(10)]

    assert rates("constant", 0) == [1.0] * 10
    assert rates("linear", 0.2)[:3] == [0.5, 1.0, 1.0]
    assert rates("cosine", 0)[5] == pytest.approx(0.5)


def test_most_steps_shorten_the_schedule_and_not_only_the_training() -> None:
    settings = Train(learning_rate=1.0, epochs=3, batch_size=5, schedule="linear", warmup=0.5)
    whole = Schedule.of(settings, 20)
    short, long = (Schedule.of(settings.model_copy(update={"max_steps": steps}), 20) for steps in (4, 99))
    assert (whole.steps, short.steps, short.warmup_steps, short.steps_per_epoch) == (12, 4, 2, 4)
    assert short.rate(3) == pytest.approx(0.5) and short.validates(4) and long == whole


def test_collapse_alarm_names_a_cause() -> None:
    def rows(losses: list[float], norm: float) -> list[dict[str, Any]]:
        last = len(losses)
        return [
            {"step": i + 1, "loss": loss, "gradient_norm": norm}
            | ({"validation_loss": loss, "validation_tasks": {"a": {"shares": [1.0, 0.0]}}} if i + 1 == last else {})
            for i, loss in enumerate(losses)
        ]

    assert "learning rate is probably too low" in collapse_alarms(rows([2.0] * 10, 1.0), 10)[0]
    assert "learning rate is probably too high" in collapse_alarms(rows([2.0] * 10, 99.0), 10)[0]
    assert "class_weights" in collapse_alarms(rows([2.0] * 5 + [0.7] * 5, 1.0), 10)[0]
    few = collapse_alarms(rows([2.0] * 5 + [0.7] * 5, 1.0), 10, limited=True)[0]
    assert "max_steps" in few and "epochs" not in few and "learning_rate" in few
    hardly = collapse_alarms(rows([2.0] * 10, 1.0), 10, limited=True)[0]
    assert "raise learning_rate, or max_steps" in hardly
    healthy = rows([2.0] * 10, 1.0)
    healthy[-1]["validation_tasks"]["a"]["shares"] = [0.6, 0.4]
    assert collapse_alarms(healthy, 10) == []
    healthy[-1]["validation_tasks"]["b"] = {"shares": [0.0, 0.0, 1.0]}
    (alarm,) = collapse_alarms(healthy, 10)
    assert "of b alike" in alarm


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    assert [row["step"] for row in Log(path, 2, writes=True).rows()] == [1, 2]


def in_two_processes(script: list[str]) -> "subprocess.CompletedProcess[str]":
    """Accelerate's own launcher starts one process on a processor, whatever it is asked for."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29517"]
    return subprocess.run(
        [*launcher, *script],
        env=os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def _fit_script(spec: Causal, task: Task, records: Sequence[Record], folder: Path) -> list[str]:
    """A script that fits in a process of its own, and what to give it before the folder that it works in."""
    script, content = folder / "fit.py", folder / "given.json"
    script.write_text(
        "import json, sys\nfrom pathlib import Path\nfrom clinfit.data.records import Record\n"
        "from clinfit.models.base import Lesson, Workspace\nfrom clinfit.models.causal import CausalModel\n"
        "from clinfit.study.models import Causal\nfrom clinfit.study.tasks import task_from\n"
        "given = json.loads(Path(sys.argv[1]).read_text())\n"
        "records = [Record(**r) for r in given['records']]\n"
        "model = CausalModel(Causal(**given['spec']), {'cancer': task_from(given['task'])}, 1)\n"
        "lesson = Lesson(records[:18], records[18:], {'cancer': 1.0})\n"
        "folder = Path(sys.argv[2])\nfolder.mkdir(parents=True, exist_ok=True)\n"
        "summary = model.fit(lesson, Workspace(folder))\n"
        "print(json.dumps({'processes': summary.details['processes']}))\n"
    )
    given = {
        "spec": spec.model_dump(mode="json"),
        "task": task.model_dump(mode="json"),
        "records": [asdict(record) for record in lesson(records).train],
    }
    content.write_text(json.dumps(given))
    return [str(script), str(content)]


@pytest.mark.slow
def test_two_processes_train_as_one(spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path) -> None:
    """DDP on the processor: the same weights as one process, up to the order of summation."""
    fitted(spec, text_task, text_records, tmp_path / "one")
    done = in_two_processes([*_fit_script(spec, text_task, text_records, tmp_path), str(tmp_path / "two")])
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["processes"] == 2
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=2e-4, rtol=2e-3)
    tokens = [
        [json.loads(line)["tokens"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert tokens[0] == tokens[1], "tokens are counted over all processes"


def test_a_launcher_s_precision_changes_nothing(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path
) -> None:
    """`accelerate launch --mixed_precision bf16` sets a variable that Accelerate would follow, in a process of its
    own, since Accelerate reads it once."""
    fitted(spec, text_task, text_records, tmp_path / "plain")
    done = subprocess.run(
        [sys.executable, *_fit_script(spec, text_task, text_records, tmp_path), str(tmp_path / "launched")],
        env=os.environ | {"ACCELERATE_MIXED_PRECISION": "bf16", "ACCELERATE_USE_CPU": "true"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for name, value in weights(tmp_path / "plain").items():
        torch.testing.assert_close(weights(tmp_path / "launched")[name], value, atol=1e-5, rtol=1e-4)


EXPERTS = """
import json, os, sys
from pathlib import Path
import numpy as np, torch
from clinfit.models.base import Workspace
from clinfit.study.models import Train
from clinfit.training.loop import Objective, train

class Experts(torch.nn.Module):
    # Records 0, 2, ... go to the first, records 1, 3, ... to the second, so that each process has its own.
    def __init__(self):
        super().__init__()
        self.experts = torch.nn.ModuleList([torch.nn.Linear(1, 1, bias=False) for _ in range(2)])
        self.drawn = []
    def forward(self, indices):
        self.drawn.append(float(torch.rand(1)))
        ones = torch.ones(1)
        return torch.cat([(self.experts[i % 2](ones) - i).square() for i in indices])

torch.manual_seed(0)
module, folder = Experts(), Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
objective = Objective(module, lambda _: np.arange(8), [1] * 8, [1] * 8, np.ones(8), None)
train(objective, Train(epochs=4, batch_size=4, learning_rate=0.1, batch_tokens=4), 0, "fp32", Workspace(folder), "x")
rank = os.environ.get("RANK", "0")
result = {"weights": [float(expert.weight) for expert in module.experts], "drawn": module.drawn}
Path(f"{sys.argv[1]}-{rank}.json").write_text(json.dumps(result))
"""


@pytest.mark.slow
def test_processes_may_use_other_experts_and_draw_other_dropout(tmp_path: Path) -> None:
    (tmp_path / "experts.py").write_text(EXPERTS)
    script = str(tmp_path / "experts.py")
    one = [sys.executable, script, str(tmp_path / "one")]
    for done in (
        subprocess.run(one, capture_output=True, text=True, timeout=300, check=False),
        in_two_processes([script, str(tmp_path / "two")]),
    ):
        assert done.returncode == 0, done.stderr[-3000:]
    alone, *two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one-0", "two-0", "two-1"))
    for other in two:
        assert other["weights"] == pytest.approx(alone["weights"], abs=1e-5)
    assert two[0]["drawn"] != two[1]["drawn"]


# ---------------------------------------------------------------- checkpoints by time


class Clock:
    """Stands still but for what a test adds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(
            "clinfit.training.loop.time", SimpleNamespace(monotonic=lambda: self.now, perf_counter=float)
        )


def test_a_fit_killed_between_checkpoints_by_step_continues_from_one_by_time(
    spec: Causal, text_task: Task, text_records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, rare = (
        Clock(monkeypatch),
        spec.model_copy(update={"train": spec.train.model_copy(update={"checkpoint_every": 99})}),
    )

    def slow(done: int, total: int, text: str) -> None:
        clock.now += CHECKPOINT_SECONDS / 2 + 1
        if done == 5 and total and not resumed:
            raise KeyboardInterrupt

    resumed = False
    with pytest.raises(KeyboardInterrupt):
        fitted(rare, text_task, text_records, tmp_path / "killed", progress=slow)
    newest = Checkpoints(tmp_path / "killed" / "checkpoints").latest()
    assert newest is not None and newest.step == 4
    resumed = True
    fitted(rare, text_task, text_records, tmp_path / "killed", progress=slow)
    fitted(rare, text_task, text_records, tmp_path / "whole")
    for name, value in weights(tmp_path / "whole").items():
        assert torch.equal(value, weights(tmp_path / "killed")[name])


def test_checkpoints_that_take_long_are_written_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    due = Due()
    clock.now += CHECKPOINT_SECONDS
    assert due()
    with due.saving():
        clock.now += 10
    clock.now += 10 / CHECKPOINT_SHARE - 1
    assert not due()
    clock.now += 1
    assert due()
