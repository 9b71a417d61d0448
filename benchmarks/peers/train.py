"""What the training peers share: their options, the settings of the workload, and the measurement."""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from workload import (
    EFFECTIVE_BATCH,
    LEARNING_RATE,
    MICRO_BATCH,
    SEED,
    THREADS,
    Example,
    training_examples,
    write_result,
)


@dataclass(frozen=True)
class PeerOptions:
    work: Path
    model: Path
    precision: str
    variant: str
    examples: list[Example]
    scratch: Path
    result: Path


def options_of(description: str | None) -> PeerOptions:
    """The command line that run.py gives to every training script."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, required=True, help="folder made by prepare.py")
    parser.add_argument("--model", required=True, help="small or wide")
    parser.add_argument("--precision", choices=["fp32", "bf16"], required=True)
    parser.add_argument("--variant", default="default")
    parser.add_argument("--examples", type=int, required=True)
    parser.add_argument("--result", type=Path, required=True, help="JSON file to write")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    return PeerOptions(
        work=given.work,
        model=given.work / given.model,
        precision=given.precision,
        variant=given.variant,
        examples=training_examples(given.work, given.examples),
        scratch=Path(tempfile.mkdtemp(prefix="bench-")),
        result=given.result,
    )


def settings(options: PeerOptions) -> dict[str, Any]:
    """Arguments of a Transformers trainer for the common workload; the rest are the trainer's own defaults."""
    return {
        "output_dir": str(options.scratch),
        "per_device_train_batch_size": MICRO_BATCH,
        "gradient_accumulation_steps": EFFECTIVE_BATCH // MICRO_BATCH,
        "num_train_epochs": 1,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "seed": SEED,
        "use_cpu": True,
        "bf16": options.precision == "bf16",
        "disable_tqdm": True,
    }


@dataclass
class CountingCollator:
    """Counts what the model is really given, on the way through."""

    collate: Callable[[list[Any]], Any]
    cells: int = 0
    tokens: int = 0
    answer_tokens: int = 0

    def __call__(self, features: list[Any]) -> Any:
        batch = self.collate(features)
        self.cells += batch["input_ids"].numel()
        self.tokens += int(batch["attention_mask"].sum())
        self.answer_tokens += int((batch["labels"] != -100).sum())
        return batch


def measure(trainer: Any, options: PeerOptions) -> None:
    """Train once; report the trainer's own `train_runtime`, its losses, and the cells it computed."""
    counts = trainer.data_collator = CountingCollator(trainer.data_collator)
    outcome = trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    write_result(
        options.result,
        seconds=outcome.metrics["train_runtime"],
        examples=len(options.examples),
        losses=[float(loss) for loss in losses],
        cells=counts.cells,
        tokens=counts.tokens,
        answer_tokens=counts.answer_tokens,
    )
