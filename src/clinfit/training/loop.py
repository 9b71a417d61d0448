"""The training loop: one short file on Accelerate, the same for causal models and encoders.

    for each optimizer step: take its records, split them into micro-batches of little padding,
    add up the gradients of their shares of the step's loss (divided once, see losses.StepLoss), step.

A run that is killed continues from its last checkpoint and ends with the same weights as one that was not: the order of
the records depends on (seed, epoch) alone, dropout on (seed, step) alone, the learning rate on the step alone.
"""

import contextlib
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from clinfit.errors import ClinfitError
from clinfit.models.base import Workspace
from clinfit.models.bases import DTYPES, Precision
from clinfit.prompts.batches import token_batches
from clinfit.study import Train
from clinfit.training.checkpoints import Checkpoints, Position
from clinfit.training.losses import StepLoss, step_divisor
from clinfit.training.sampling import epoch_indices


@dataclass(frozen=True)
class Validation:
    """One look at the validation split: mean loss of a record (nats), the study's primary metric (larger is better),
    and the share of records predicted as each label."""

    loss: float
    primary: float | None
    shares: list[float]


@dataclass
class Objective:
    """What is learnt, from n training records.

    module: an nn.Module whose forward takes a list of record indices and returns their (rows,) losses.
    targets: (n,) label indices. lengths: (n,) tokens of each record. answer_tokens: (n,) trained tokens of each.
    weights: (n,) loss weight of each. validate: looks at the validation split; None where there is none.
    """

    module: nn.Module
    targets: NDArray[np.int64]
    lengths: Sequence[int]
    answer_tokens: Sequence[int]
    weights: NDArray[np.float64]
    validate: Callable[[], Validation] | None
    sampling: Literal["none", "balanced", "oversample"] = "none"
    gamma: float = 0.0


@dataclass
class TrainResult:
    """What happened, read back from the trained objects."""

    steps: int
    best_step: int | None
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)


def train(
    objective: Objective, settings: Train, seed: int, precision: Precision, workspace: Workspace, signature: str
) -> TrainResult:
    """Train `objective.module` in place and leave it with its best weights.

    signature: names data and settings; a checkpoint with another signature is refused.
    Raises ClinfitError when the loss stops being finite.
    """
    accelerator = _accelerator(workspace)
    module = objective.module.to(accelerator.device)
    optimizer = torch.optim.AdamW(
        [parameter for parameter in module.parameters() if parameter.requires_grad],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=accelerator.device.type in {"cpu", "cuda"},
    )
    wrapped = accelerator.prepare_model(module)
    scaler = torch.amp.GradScaler(accelerator.device.type, enabled=precision == "fp16")
    schedule = Schedule.of(settings, len(epoch_indices(objective.sampling, objective.targets, 0, seed)))

    checkpoints = Checkpoints(workspace.folder / "checkpoints")
    position = checkpoints.latest() or Position(signature)
    if position.signature != signature:
        raise ClinfitError(
            f"{workspace.folder} holds a checkpoint of other data or settings",
            expected="an empty folder, or one that this very run wrote",
            fix="choose another --out",
        )
    if position.step:
        checkpoints.restore(module, optimizer)
        if position.scaler:
            scaler.load_state_dict(position.scaler)
    log = Log(workspace.folder / "log.jsonl", position.step, accelerator.is_main_process)
    record_order = _record_order(objective, settings.batch_size, schedule.steps_per_epoch, seed, position.step)
    started = time.perf_counter() - position.seconds

    while position.step < schedule.steps and not position.stopped_early:
        indices = next(record_order)
        rate = schedule.rate(position.step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(seed * 1_000_003 + position.step)
        loss, norm = _step(accelerator, wrapped, optimizer, scaler, objective, settings, precision, indices, position)
        if not (math.isfinite(loss) and (math.isfinite(norm) or precision == "fp16")):  # fp16's scaler skips such steps
            raise _diverged(position.step + 1, precision)
        position.step += 1
        position.seconds = time.perf_counter() - started
        row: dict[str, Any] = {
            "step": position.step,
            "epoch": round(position.step / schedule.steps_per_epoch, 4),
            "loss": loss,
            "learning_rate": rate,
            "gradient_norm": norm,
            "tokens": position.tokens,
            "seconds": round(position.seconds, 3),
        }
        if objective.validate and (position.step % schedule.evaluate_every == 0 or position.step == schedule.steps):
            row |= _validate(objective.validate, settings, position, module, checkpoints, accelerator)
        log.write(row)
        accelerator.log({k: v for k, v in row.items() if isinstance(v, int | float)}, step=position.step)
        workspace.progress(position.step, schedule.steps, progress_line(row))
        last = position.step == schedule.steps or position.stopped_early
        if accelerator.is_main_process and (position.step % settings.checkpoint_every == 0 or last):
            position.scaler = scaler.state_dict()
            checkpoints.save(position, module, optimizer)

    for tracker in accelerator.trackers:
        tracker.finish()
    if position.best_step is not None:
        checkpoints.restore_best(position.best_step, module)
    return _result(position, settings, schedule, optimizer, precision, accelerator, log.rows())


@dataclass(frozen=True)
class Schedule:
    """How many steps, and the learning rate of each."""

    steps: int
    steps_per_epoch: int
    warmup_steps: int
    evaluate_every: int
    peak: float
    kind: str

    @classmethod
    def of(cls, settings: Train, records_per_epoch: int) -> "Schedule":
        per_epoch = math.ceil(records_per_epoch / settings.batch_size)
        steps = max(1, math.ceil(settings.epochs * per_epoch))
        return cls(
            steps=steps,
            steps_per_epoch=per_epoch,
            warmup_steps=math.ceil(settings.warmup * steps),
            evaluate_every=settings.evaluate_every or per_epoch,
            peak=settings.learning_rate,
            kind=settings.schedule,
        )

    def rate(self, step: int) -> float:
        """Learning rate of the step after `step` finished ones: linear warm-up, then the schedule down to 0."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        factor = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[self.kind]
        return self.peak * factor


class Log:
    """`log.jsonl`: one row a step. Rows of steps after the checkpoint that a run continues from are taken back."""

    def __init__(self, path: Path, step: int, writes: bool) -> None:
        self.path, self.writes = path, writes
        if writes:
            kept = [row for row in self.rows() if row["step"] <= step]
            temporary = path.with_name(f".{path.name}.tmp")
            temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))
            temporary.replace(path)

    def rows(self) -> list[dict[str, Any]]:
        """All complete rows."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().split("\n")[:-1]  # a line cut short by a kill has no line end
        return [json.loads(line) for line in lines]

    def write(self, row: dict[str, Any]) -> None:
        if self.writes:
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")


def progress_line(row: dict[str, Any]) -> str:
    """One line on the state of training."""
    line = f"loss {row['loss']:.4f}"
    if "validation_loss" in row:
        line += f", validation loss {row['validation_loss']:.4f}"
    if row.get("validation_primary") is not None:
        line += f", primary {row['validation_primary']:.4f}"
    return line


# ------------------------------------------------------------ internals


def _accelerator(workspace: Workspace) -> Accelerator:
    try:
        accelerator = Accelerator(log_with=list(workspace.track) or None, project_dir=str(workspace.folder))
    except (ValueError, ImportError) as error:
        raise ClinfitError(
            f"tracker {', '.join(workspace.track)} cannot be used: {error}",
            fix=f"pip install 'clinfit[{','.join(workspace.track)}]', or take it out of `track`",
        ) from error
    if workspace.track:
        accelerator.init_trackers("clinfit")
    return accelerator


def _record_order(
    objective: Objective, batch_size: int, steps_per_epoch: int, seed: int, step: int
) -> Iterator[list[int]]:
    """Record indices of each optimizer step, from `step` on."""
    while True:
        epoch, within = divmod(step, steps_per_epoch)
        order = epoch_indices(objective.sampling, objective.targets, epoch, seed)
        for start in range(within * batch_size, len(order), batch_size):
            yield order[start : start + batch_size].tolist()
        step = (epoch + 1) * steps_per_epoch


def _step(
    accelerator: Accelerator,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    objective: Objective,
    settings: Train,
    precision: Precision,
    indices: list[int],
    position: Position,
) -> tuple[float, float]:
    """One optimizer step over the records `indices`; returns the step's loss and the norm of its gradient."""
    divisor = step_divisor(settings.loss_per, [objective.answer_tokens[i] for i in indices])
    step_loss = StepLoss(divisor, objective.gamma)
    mine = indices[accelerator.process_index :: accelerator.num_processes] or indices[:1]
    idle = accelerator.process_index >= len(indices)  # more processes than records: take part with weight 0
    lengths = [objective.lengths[i] for i in mine]
    batches = [[mine[j] for j in batch] for batch in token_batches(lengths, settings.batch_tokens)]
    totals = torch.zeros(3, device=accelerator.device)  # loss, tokens and cells of the step, over all processes
    for number, batch in enumerate(batches):
        last = number == len(batches) - 1
        weights = torch.as_tensor(objective.weights[batch] * (not idle), dtype=torch.float32, device=accelerator.device)
        with contextlib.nullcontext() if last else accelerator.no_sync(module):
            with torch.autocast(accelerator.device.type, DTYPES[precision], enabled=precision != "fp32"):
                losses = module(batch)
            share = step_loss.share(losses.float(), weights)
            scaler.scale(share * accelerator.num_processes).backward()  # DDP averages over processes; we want the sum
        read = [objective.lengths[i] for i in batch]
        totals[0] += share.detach()
        if not idle:
            totals[1:] += torch.tensor([sum(read), len(read) * max(read)], device=totals.device)
    scaler.unscale_(optimizer)
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), settings.clip)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    summed: Any = accelerator.reduce(totals, "sum")
    loss, tokens, cells = summed.tolist()
    position.tokens += int(tokens)
    position.cells += int(cells)
    return loss, float(norm)


def _validate(
    validate: Callable[[], Validation],
    settings: Train,
    position: Position,
    module: nn.Module,
    checkpoints: Checkpoints,
    accelerator: Accelerator,
) -> dict[str, Any]:
    """Validate, keep the weights when they are the best so far, decide about stopping; returns the log's columns."""
    module.eval()
    seen = validate()
    module.train()
    # A primary metric that cannot be estimated here is worse than any value; the loss is another scale.
    primary = -math.inf if seen.primary is None else seen.primary
    value = primary if settings.select_by == "primary" else -seen.loss
    if position.best_value is None or value > position.best_value:
        position.best_value, position.best_step, position.validations_without_gain = value, position.step, 0
        if accelerator.is_main_process:
            checkpoints.save_best(position.step, module)
        accelerator.wait_for_everyone()
    else:
        position.validations_without_gain += 1
    position.stopped_early = bool(
        settings.early_stopping and position.validations_without_gain >= settings.early_stopping
    )
    return {
        "validation_loss": seen.loss,
        "validation_primary": seen.primary,
        "validation_shares": seen.shares,
    }


def _diverged(step: int, precision: Precision) -> ClinfitError:
    return ClinfitError(
        f"the training loss is not a finite number at step {step}",
        expected="a finite loss",
        fix="lower train.learning_rate" + ("" if precision == "fp32" else ", or set train.precision: fp32"),
    )


def _result(
    position: Position,
    settings: Train,
    schedule: Schedule,
    optimizer: torch.optim.Optimizer,
    precision: Precision,
    accelerator: Accelerator,
    rows: list[dict[str, Any]],
) -> TrainResult:
    group = optimizer.param_groups[0]
    # ru_maxrss is in KiB on Linux and in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    details = {
        "optimizer": type(optimizer).__name__,
        "peak_learning_rate": schedule.peak,
        "last_learning_rate": schedule.rate(position.step - 1),
        "weight_decay": group["weight_decay"],
        "betas": list(group["betas"]),
        "steps": position.step,
        "planned_steps": schedule.steps,
        "epochs": position.step / schedule.steps_per_epoch,
        "batch_size": settings.batch_size,
        "batch_tokens": settings.batch_tokens,
        "loss_per": settings.loss_per,
        "clip": settings.clip,
        "precision": precision,
        "processes": accelerator.num_processes,
        "device": accelerator.device.type,
        "stopped_early": position.stopped_early,
        "tokens": position.tokens,
        "padding": round(1 - position.tokens / position.cells, 4) if position.cells else None,
        "tokens_per_second": round(position.tokens / position.seconds, 1) if position.seconds else None,
        "peak_memory_bytes": peak,
    }
    return TrainResult(
        position.step, position.best_step, position.seconds, details, collapse_alarms(rows, position.best_step)
    )


def collapse_alarms(rows: list[dict[str, Any]], best_step: int | None) -> list[str]:
    """An alarm when the chosen model answers every validation record with one label, naming the likely cause."""
    chosen = next((row for row in rows if row["step"] == best_step), None)
    if chosen is None or max(chosen["validation_shares"]) < 1:
        return []
    losses = [row["loss"] for row in rows]
    part = max(1, len(losses) // 5)
    first, last = float(np.mean(losses[:part])), float(np.mean(losses[-part:]))
    validated = [row["validation_loss"] for row in rows if "validation_loss" in row]
    if last > 0.98 * first and max(row["gradient_norm"] for row in rows) > 50:
        cause = "the learning rate is probably too high: the loss does not fall and gradients are large"
    elif last > 0.9 * first:
        cause = "the learning rate is probably too low, or the steps too few: the training loss has hardly fallen"
    elif min(validated) < 0.9 * validated[-1]:
        cause = "probably overfitting: the validation loss rises while the training loss falls; train for fewer epochs"
    else:
        cause = "probably too few steps, or classes too unequal: try more epochs, or class_weights: balanced"
    return [f"the model answers every validation record with one label; {cause}"]
