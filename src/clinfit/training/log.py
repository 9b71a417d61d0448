"""`log.jsonl`, one row a step, and what its rows tell."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clinfit.files import disk_errors, write_text


class Log:
    """The log of one fit. Rows of steps after the checkpoint that a fit continues from are taken back."""

    def __init__(self, path: Path, step: int, writes: bool) -> None:
        self.path, self.writes = path, writes
        if writes:
            write_text(path, "".join(json.dumps(row) + "\n" for row in self.rows() if row["step"] <= step))

    def rows(self) -> list[dict[str, Any]]:
        """All complete rows."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().split("\n")[:-1]  # a line cut short by a kill has no line end
        return [json.loads(line) for line in lines]

    def write(self, row: dict[str, Any]) -> None:
        if self.writes:
            with disk_errors(self.path), self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")


def progress_line(row: Mapping[str, Any]) -> str:
    """One line on the state of training."""
    line = f"loss {row['loss']:.4f}"
    if "validation_loss" in row:
        line += f", validation loss {row['validation_loss']:.4f}"
    if row.get("validation_primary") is not None:
        line += f", primary {row['validation_primary']:.4f}"
    return line


def not_finite_alarms(rows: list[dict[str, Any]]) -> list[str]:
    """An alarm where some validations found no finite loss, so that they could not be the best."""
    steps = [str(row["step"]) for row in rows if not math.isfinite(row.get("validation_loss", 0.0))]
    if not steps:
        return []
    return [
        f"the validation loss was not a finite number at step {', '.join(steps)}; what was learnt there is not used"
    ]


def fallback_alarms(rows: list[dict[str, Any]]) -> list[str]:
    """The alarm of a fit that was to be chosen by the primary metric, and was by its loss, naming the tasks that had no
    such value."""
    tasks = [row["validation_tasks"] for row in rows if "validation_loss" in row]
    without = dict.fromkeys(name for seen in tasks for name, found in seen.items() if found["primary"] is None)
    which = f" of every task (not of {', '.join(without)})" if any(len(seen) > 1 for seen in tasks) else ""
    return [
        f"select_by: primary could not be followed: no validation gave the primary metric{which}; the checkpoint was "
        "chosen by validation loss"
    ]


def collapse_alarms(rows: list[dict[str, Any]], best_step: int | None, *, limited: bool = False) -> list[str]:
    """An alarm for each task of which the chosen model answers every validation record alike, naming the likely
    cause. limited: training ended with `max_steps`, so that its epochs change nothing."""
    chosen = next((row for row in rows if row["step"] == best_step), None)
    tasks = {} if chosen is None else chosen["validation_tasks"]
    alike = [name for name, found in tasks.items() if found["shares"] and all(s in (0, 1) for s in found["shares"])]
    if not alike:
        return []
    cause = _cause(rows, limited=limited)
    return [
        f"the model answers every validation record{f' of {name}' if len(tasks) > 1 else ''} alike; {cause}"
        for name in alike
    ]


def _cause(rows: list[dict[str, Any]], *, limited: bool) -> str:
    losses = [row["loss"] for row in rows]
    part = max(1, len(losses) // 5)
    first, last = float(np.mean(losses[:part])), float(np.mean(losses[-part:]))
    validated = [row["validation_loss"] for row in rows if "validation_loss" in row]
    if last > 0.98 * first and max(row["gradient_norm"] for row in rows) > 50:
        return "the learning rate is probably too high: the loss does not fall and gradients are large"
    if last > 0.9 * first:
        hardly = "the learning rate is probably too low, or the steps too few: the training loss has hardly fallen"
        return hardly + ("; raise learning_rate, or max_steps, with which training ends" if limited else "")
    if min(validated) < 0.9 * validated[-1]:
        rises = "probably overfitting: the validation loss rises while the training loss falls"
        return f"{rises}; {'lower max_steps' if limited else 'train for fewer epochs'}"
    more = "a larger max_steps, with which training ends, a higher learning_rate" if limited else "more epochs"
    return f"probably too few steps, or classes too unequal: try {more}, or class_weights: balanced"
