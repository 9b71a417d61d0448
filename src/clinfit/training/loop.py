"""The training loop: one short file on Accelerate, the same for causal models and encoders.

    for each optimizer step: take its records, split them into micro-batches of little padding,
    add up the gradients of their shares of the step's loss (divided once, see losses.StepLoss), step.

A run that is killed continues from its last checkpoint and ends with the same weights as one that was not: the order of
the records depends on (seed, epoch) alone, dropout on (seed, step, process), the learning rate on the step alone.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor, nn

from clinfit.errors import ClinfitError
from clinfit.machine import peak_memory_bytes
from clinfit.models.base import Workspace
from clinfit.prompts.batches import token_batches
from clinfit.study.models import Train
from clinfit.training.checkpoints import Checkpoints, Position
from clinfit.training.log import Log, collapse_alarms, fallback_alarms, not_finite_alarms, progress_line
from clinfit.training.losses import Share, StepLoss, share_of_losses, step_divisor
from clinfit.training.precision import DTYPES, Precision
from clinfit.training.schedule import Schedule

#: Seconds after which a checkpoint is due, however few steps were done, and the most of the training's time that such
#: checkpoints take: those of an adapter take none to speak of, those of a large model that is trained whole do.
CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 30.0, 0.05
#: How long processes wait for each other: the first one validates alone. Whoever started them ends all when one dies.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class TaskValidation:
    """One task on its validation records: loss (nats a record, or an answer token, as `loss_per` says), the task's
    primary metric (larger is better), and the share of records predicted to have each label."""

    loss: float
    primary: float | None
    shares: list[float]


@dataclass(frozen=True)
class Validation:
    """One look at the validation split: loss in the unit of the tasks', mean primary metric of them, and each task."""

    loss: float
    primary: float | None
    tasks: Mapping[str, TaskValidation]


@runtime_checkable
class CountsTokens(Protocol):
    """A module that counts what it reads: `counted` gives (2,) answer tokens that were the most probable ones, and all,
    since it was asked last (answer_loss.py)."""

    def counted(self) -> Tensor: ...


@dataclass
class Objective:
    """What is learnt, from n training records.

    module: an nn.Module whose forward takes a list of record indices and returns their (rows,) losses.
    epoch: the records of an epoch by its number, in their order, some of them perhaps several times.
    lengths: (n,) tokens of each record. answer_tokens: (n,) trained tokens of each.
    weights: (n,) loss weight of each. validate: looks at the validation split; None where there is none.
    penalty: added to the loss of every step, whatever its records: a scalar of the trained weights; None for none.
    share: of a micro-batch in the step's loss, with gradients for the trained weights.
    """

    module: nn.Module
    epoch: Callable[[int], NDArray[np.int64]]
    lengths: Sequence[int]
    answer_tokens: Sequence[float]
    weights: NDArray[np.float64]
    validate: Callable[[], Validation] | None
    gamma: float = 0.0
    penalty: Callable[[], Tensor] | None = None
    share: Share = share_of_losses


@dataclass
class TrainResult:
    """What happened, read back from the trained objects."""

    steps: int
    best_step: int | None
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Gear:
    """What a training step is made with. module: what is trained; wrapped: the same as several processes train it."""

    accelerator: Accelerator
    module: nn.Module
    wrapped: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    precision: Precision


def train(
    objective: Objective, settings: Train, seed: int, precision: Precision, workspace: Workspace, signature: str
) -> TrainResult:
    """Train `objective.module` in place and leave it with its best weights.

    signature: names data and settings; a checkpoint with another signature is refused.
    Raises ClinfitError when the loss stops being finite, or no validation's is.
    """
    gear = _gear(objective.module, settings, precision, workspace)
    accelerator = gear.accelerator
    schedule = Schedule.of(settings, len(objective.epoch(0)))
    checkpoints = Checkpoints(workspace.folder / "checkpoints")
    if accelerator.is_main_process:
        checkpoints.clear()
    accelerator.wait_for_everyone()
    position = _resumed(checkpoints, gear, signature)
    log = Log(workspace.folder / "log.jsonl", position.step, accelerator.is_main_process)
    record_order = _record_order(objective, settings.batch_size, schedule.steps_per_epoch, position.step)
    started = time.perf_counter() - position.seconds
    due = Due()

    while position.step < schedule.steps and not position.stopped_early:
        indices = next(record_order)
        rate = schedule.rate(position.step)
        for group in gear.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(step_seed(seed, position.step, accelerator.process_index))
        loss, norm, penalty, accuracy = _step(gear, objective, settings, indices, position)
        if not (math.isfinite(loss) and (math.isfinite(norm) or precision == "fp16")):  # fp16's scaler skips such steps
            raise _diverged("training", position.step + 1, precision)
        position.step += 1
        position.seconds = time.perf_counter() - started
        row: dict[str, Any] = {
            "step": position.step,
            "epoch": round(position.step / schedule.steps_per_epoch, 4),
            "loss": loss,
            "learning_rate": rate,
            "gradient_norm": norm,
            **({} if penalty is None else {"penalty": penalty}),
            **({} if accuracy is None else {"token_accuracy": accuracy}),
            "tokens": position.tokens,
            "seconds": round(position.seconds, 3),
        }
        if objective.validate and schedule.validates(position.step):
            row |= _validate(gear, objective.validate, settings, position, checkpoints)
        log.write(row)
        accelerator.log({k: v for k, v in row.items() if isinstance(v, int | float)}, step=position.step)
        workspace.progress(position.step, schedule.steps, progress_line(row))
        if "validation_loss" in row:
            share = 1.0 if position.stopped_early else position.step / schedule.steps
            workspace.validated(position.step, share, row["validation_loss"], row["validation_primary"])
        last = position.step == schedule.steps or position.stopped_early
        if accelerator.is_main_process and (last or position.step % settings.checkpoint_every == 0 or due()):
            position.scaler = gear.scaler.state_dict()
            with due.saving():
                checkpoints.save(position, gear.module, gear.optimizer)

    for tracker in accelerator.trackers:
        tracker.finish()
    if position.best_step is not None:
        checkpoints.restore_best(position.best_step, gear.module)
    elif objective.validate:
        raise _diverged("validation", position.step, precision)
    rows = log.rows()
    limited = schedule.steps == settings.max_steps
    alarms = not_finite_alarms(rows) + collapse_alarms(rows, position.best_step, limited=limited)
    if position.fell_back:
        alarms += fallback_alarms(rows)
    return TrainResult(
        position.step, position.best_step, position.seconds, _details(gear, settings, schedule, position), alarms
    )


def step_seed(seed: int, step: int, process: int) -> int:
    """What dropout is drawn from in a step; processes draw apart, for records of their own.

    The generator of a processor knows the last 32 bits of its seed alone, so the processes differ there.
    """
    return seed * 1_000_003 + step + process * 500_000_003


class Due:
    """Whether the last checkpoint is so old that another is due; the first counts from now."""

    def __init__(self) -> None:
        self._saved, self._took = time.monotonic(), 0.0

    def __call__(self) -> bool:
        return time.monotonic() - self._saved >= max(CHECKPOINT_SECONDS, self._took / CHECKPOINT_SHARE)

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Around the writing of a checkpoint, whose time decides when the next is due."""
        began = time.monotonic()
        yield
        self._saved = time.monotonic()
        self._took = self._saved - began


# ------------------------------------------------------------ internals


def _gear(module: nn.Module, settings: Train, precision: Precision, workspace: Workspace) -> Gear:
    accelerator = _accelerator(workspace)
    module = module.to(accelerator.device)
    optimizer = torch.optim.AdamW(
        [parameter for parameter in module.parameters() if parameter.requires_grad],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=accelerator.device.type in {"cpu", "cuda"},
    )
    wrapped = accelerator.prepare_model(module)
    scaler = torch.amp.GradScaler(accelerator.device.type, enabled=precision == "fp16")
    return Gear(accelerator, module, wrapped, optimizer, scaler, precision)


def _accelerator(workspace: Workspace) -> Accelerator:
    try:
        accelerator = Accelerator(
            mixed_precision="no",  # `train.precision` decides, whatever a launcher left in the environment
            # Experts that none of a process's records were sent to have no gradient there.
            kwargs_handlers=[
                DistributedDataParallelKwargs(find_unused_parameters=True),
                InitProcessGroupKwargs(timeout=PATIENCE),
            ],
            log_with=list(workspace.track) or None,
            project_dir=str(workspace.folder),
        )
    except (ValueError, ImportError) as error:
        raise ClinfitError(
            f"tracker {', '.join(workspace.track)} cannot be used: {error}",
            fix=f"pip install 'clinfit[{','.join(workspace.track)}]', or take it out of `track`",
        ) from error
    if workspace.track:
        accelerator.init_trackers("clinfit")
    return accelerator


def _resumed(checkpoints: Checkpoints, gear: Gear, signature: str) -> Position:
    """Where the training is: at the newest checkpoint, whose weights and moments are put back, or at its beginning."""
    position = checkpoints.latest() or Position(signature)
    if position.signature != signature:
        raise ClinfitError(
            f"{checkpoints.folder.parent} holds a checkpoint of other data or settings, or of another precision than "
            f"{gear.precision}",
            expected="an empty folder, or one that this very run wrote",
            fix="choose another --out",
        )
    if position.step:
        checkpoints.restore(gear.module, gear.optimizer)
        if position.scaler:
            gear.scaler.load_state_dict(position.scaler)
    return position


def _record_order(objective: Objective, batch_size: int, steps_per_epoch: int, step: int) -> Iterator[list[int]]:
    """Record indices of each optimizer step, from `step` on."""
    while True:
        epoch, within = divmod(step, steps_per_epoch)
        order = objective.epoch(epoch)
        for start in range(within * batch_size, len(order), batch_size):
            yield order[start : start + batch_size].tolist()
        step = (epoch + 1) * steps_per_epoch


def _step(
    gear: Gear, objective: Objective, settings: Train, indices: list[int], position: Position
) -> tuple[float, float, float | None, float | None]:
    """One optimizer step over the records `indices`; returns the step's loss, the norm of its gradient, the penalty
    where there is one (the loss does not hold it), and the share of answer tokens that were the most probable ones,
    before the step, where the module counts them."""
    accelerator, module, scaler, optimizer = gear.accelerator, gear.wrapped, gear.scaler, gear.optimizer
    divisor = step_divisor(settings.loss_per, [objective.answer_tokens[i] for i in indices])
    step_loss = StepLoss(divisor, objective.gamma)
    mine = indices[accelerator.process_index :: accelerator.num_processes] or indices[:1]
    idle = accelerator.process_index >= len(indices)  # more processes than records: take part with weight 0
    lengths = [objective.lengths[i] for i in mine]
    batches = [[mine[j] for j in batch] for batch in token_batches(lengths, settings.batch_tokens)]
    # Loss, tokens and cells of the step, then answer tokens that were right and all of them, over all processes.
    totals = torch.zeros(5, device=accelerator.device)
    for number, batch in enumerate(batches):
        last = number == len(batches) - 1
        weights = torch.as_tensor(objective.weights[batch] * (not idle), dtype=torch.float32, device=accelerator.device)
        with contextlib.nullcontext() if last else accelerator.no_sync(module):
            with torch.autocast(accelerator.device.type, DTYPES[gear.precision], enabled=gear.precision != "fp32"):
                share = objective.share(module, batch, weights, step_loss)
            scaler.scale(share * accelerator.num_processes).backward()  # DDP averages over processes; we want the sum
        read = [objective.lengths[i] for i in batch]
        totals[0] += share.detach()
        if not idle:
            totals[1:3] += torch.tensor([sum(read), len(read) * max(read)], device=totals.device)
        if isinstance(gear.module, CountsTokens):
            totals[3:] += gear.module.counted() * (not idle)
    scaler.unscale_(optimizer)
    penalty = None if objective.penalty is None else _add_penalty(objective.penalty(), module)
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), settings.clip)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    summed: Any = accelerator.reduce(totals, "sum")
    loss, tokens, cells, right, answers = summed.tolist()
    position.tokens += int(tokens)
    position.cells += int(cells)
    return loss, float(norm), penalty, right / answers if answers else None


def _add_penalty(penalty: Tensor, module: nn.Module) -> float:
    """Add the penalty's gradient to that of the loss: once a step and the same in every process."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter, found in zip(parameters, torch.autograd.grad(penalty, parameters, allow_unused=True), strict=True):
        if found is not None:
            parameter.grad = found if parameter.grad is None else parameter.grad + found
    return float(penalty.detach())


def _validate(
    gear: Gear, validate: Callable[[], Validation], settings: Train, position: Position, checkpoints: Checkpoints
) -> dict[str, Any]:
    """Validate, keep the weights when they are the best so far, decide about stopping; returns the log's columns.

    A validation without the primary metric that is to choose is judged by its loss, against others without it.
    """
    gear.module.eval()
    seen = _seen(gear.accelerator, validate)
    gear.module.train()
    primary = seen.primary if settings.select_by == "primary" else None
    value = -seen.loss if primary is None else primary
    fell_back = settings.select_by == "primary" and primary is None
    if math.isfinite(seen.loss) and position.worse_than(value, fell_back):
        position.best_value, position.best_step, position.fell_back = value, position.step, fell_back
        position.validations_without_gain = 0
        if gear.accelerator.is_main_process:
            checkpoints.save_best(position.step, gear.module)
        gear.accelerator.wait_for_everyone()
    else:
        position.validations_without_gain += 1
    position.stopped_early = bool(
        settings.early_stopping and position.validations_without_gain >= settings.early_stopping
    )
    return {
        "validation_loss": seen.loss,
        "validation_primary": seen.primary,
        "validation_tasks": {name: asdict(found) for name, found in seen.tasks.items()},
    }


def _seen(accelerator: Accelerator, validate: Callable[[], Validation]) -> Validation:
    """What the first process sees; others are told, since all must go on alike."""
    found = [validate() if accelerator.is_main_process else None]
    if accelerator.num_processes > 1:
        broadcast_object_list(found)
    (seen,) = found
    assert seen is not None
    return seen


def _diverged(split: Literal["training", "validation"], step: int, precision: Precision) -> ClinfitError:
    return ClinfitError(
        f"the {split} loss is not a finite number at step {step}",
        expected="a finite loss",
        fix="lower train.learning_rate" + ("" if precision == "fp32" else ", or set train.precision: fp32"),
    )


def _details(gear: Gear, settings: Train, schedule: Schedule, position: Position) -> dict[str, Any]:
    """Values that were really used."""
    group = gear.optimizer.param_groups[0]
    return {
        "optimizer": type(gear.optimizer).__name__,
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
        "precision": gear.precision,
        "processes": gear.accelerator.num_processes,
        "device": gear.accelerator.device.type,
        "stopped_early": position.stopped_early,
        "selected_by": "loss" if position.fell_back else settings.select_by,
        "tokens": position.tokens,
        "padding": round(1 - position.tokens / position.cells, 4) if position.cells else None,
        "tokens_per_second": round(position.tokens / position.seconds, 1) if position.seconds else None,
        "peak_memory_bytes": peak_memory_bytes(),
    }
