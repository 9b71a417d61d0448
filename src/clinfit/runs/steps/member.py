"""`python -m clinfit.runs.steps.member`: one of the processes that do a fit together (together.py)."""

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from clinfit.models.base import Progress, unheard
from clinfit.runs.steps.channel import Channel, Order, work
from clinfit.runs.steps.failures import attempted
from clinfit.runs.steps.plan import Step
from clinfit.runs.steps.worker import Worker, peak_memory
from clinfit.runs.steps.worker import begin as begin_worker


def begin(order: Order, channel: Channel) -> Worker:
    """The worker of this process, on its device."""
    take_device()
    return begin_worker(order, channel)


def answer(worker: Worker, order: Order, channel: Channel) -> dict[str, Any]:
    """Take part in one fit, which the first process tells of, and saves."""
    first = os.environ["RANK"] == "0"
    step, saved = Step.from_json(order["step"]), Path(order["saved"]) if first else None
    progress = partial(channel.advance, step.id) if first else unheard
    folder = worker.place.folder.run(step.run).path
    summary, failure = attempted(folder, partial(take_part, worker, step, saved, progress))
    return {"failure": None if failure is None else asdict(failure), "summary": summary, "memory": peak_memory()}


def take_part(worker: Worker, step: Step, saved: Path | None, progress: Progress) -> dict[str, Any]:
    """Train this process's share of every batch; saved: where the trained model is written, by one of them."""
    from torch.distributed import destroy_process_group

    model, summary = worker.taught(step, progress)
    if saved is not None:
        model.save(saved)
    destroy_process_group()
    return asdict(summary)


def take_device() -> None:
    """The GPU of this process, where there are any."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


if __name__ == "__main__":
    work(begin, answer)
