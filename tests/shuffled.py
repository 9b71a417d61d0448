"""What a run would know of inputs that matter, from made-up predictions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clinfit.evaluation.facts import Importance
from clinfit.evaluation.system_results import WeightRow, WeightsDict
from clinfit.predictions import PROBABILITY


def importance_of(
    table: pd.DataFrame, run: str, stage: int, inputs: Sequence[str] = ("needed", "spare"), weights: bool = True
) -> dict[str, Importance]:
    """The model needs the first input, whose shuffling gives it the answers to other records, and no other one."""
    rows = table.loc[(table["run"] == run) & (table["stage"] == stage) & (table["split"] == "validation")]
    parts = [rows.assign(input=None, repeat=0)]
    for name in inputs:
        for repeat in range(3):
            part = rows.assign(input=name, repeat=repeat)
            if name == inputs[0]:
                order = np.random.default_rng(repeat).permutation(len(rows))
                answers = [column for column in rows if column.startswith(PROBABILITY) or column == "predicted"]
                part[answers] = rows[answers].to_numpy()[order]
                for column in answers[1:]:
                    part[column] = part[column].astype(float)
            parts.append(part)
    labels = [column.removeprefix(PROBABILITY) for column in rows if column.startswith(PROBABILITY)]
    answers = pd.concat(parts, ignore_index=True).astype({"input": "string"})
    return {run: Importance(stage=stage, answers=answers, weights=weights_of(labels[-1]) if weights else None)}


def weights_of(label: str) -> WeightsDict:
    def row(name: str, term: str, coefficient: float, ratio: float | None, step: float | None) -> WeightRow:
        return WeightRow(label=label, input=name, term=term, coefficient=coefficient, odds_ratio=ratio, step=step)

    rows = [
        row("age", "", 0.7, 2.01, 9.5),
        row("site", "missing", -0.2, 0.82, None),
        row("text", "mass", 1.5, None, None),
    ]
    return WeightsDict(penalty="L1", rows=rows, unnamed=4, more=2, zero=3, hidden=0)
