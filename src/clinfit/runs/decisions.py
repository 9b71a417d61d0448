"""decisions/<task>.parquet: what every system decided on the test records, as the report counts it.

Predictions files hold what a model said, before a threshold is chosen on validation; here is what became of it. The
columns are those of a predictions file of any tool, so that `clinfit evaluate` gives the figures of the report again.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from clinfit.evaluation.decisions.recalibration import Recalibration
from clinfit.evaluation.results import Results
from clinfit.evaluation.system_results import SystemResult
from clinfit.files import write_parquet
from clinfit.packs.answer import threshold_cell
from clinfit.packs.decide import DECIDE, Served, decide, thresholds_of
from clinfit.predictions import PROBABILITY, answer_text
from clinfit.runs.folder import RunFolder
from clinfit.study.schema import Study
from clinfit.study.tasks import Task

#: What is taken from the predictions.
KEPT = ["model", "seed", "stage", "repeat", "fold", "split", "id", "group", "gold", "predicted"]


def write_decisions(folder: RunFolder, study: Study, results: Results, tables: pd.DataFrame) -> None:
    """One file a task; of a task whose numbers are withheld none, and what an earlier run wrote goes.

    tables: predictions of all systems and splits.
    """
    for name, task in results["tasks"].items():
        path = folder.decisions(name)
        if task["withheld"] or task["kind"] not in DECIDE:  # of a text nothing is decided
            path.unlink(missing_ok=True)
            continue
        rows = tables.loc[(tables["task"] == name) & (tables["split"] == "test")]
        of_systems = [
            decided(study.tasks[name], system, own) for system in task["systems"] if len(own := _own(rows, system))
        ]
        write_parquet(path, pd.concat(of_systems, ignore_index=True))


def _own(rows: pd.DataFrame, system: SystemResult) -> pd.DataFrame:
    same = (rows["model"] == system["model"]) & (rows["seed"] == system["seed"]) & (rows["stage"] == system["stage"])
    return pd.DataFrame(rows.loc[same])


def decided(task: Task, system: SystemResult, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one system with recalibrated probabilities, `predicted` (the most probable label), `decision` (the
    label under the threshold) and `threshold` (null where there is none); in a cross-validation each fold's own."""
    made = system["sections"]
    if (folds := made.get("folds")) is not None:
        return pd.concat(
            [
                _under(task, rows.loc[(rows["repeat"] == one["repeat"]) & (rows["fold"] == one["fold"])], one)
                for one in folds
            ],
            ignore_index=True,
        )
    return _under(task, rows, made)


def _under(task: Task, rows: pd.DataFrame, made: Mapping[str, Any]) -> pd.DataFrame:
    """The rows under the recalibration and the threshold of these sections."""
    fitted, threshold = made.get("recalibration"), made.get("label_thresholds", made.get("threshold"))
    served = Served(
        task,
        Recalibration() if fitted is None else Recalibration.from_dict(fitted),
        thresholds_of(task.kind, None if threshold is None else {**threshold}),
        None,
        {},
    )
    names = [PROBABILITY + label for label in task.labels]
    decisions = decide(served, rows.filter(items=names).to_numpy(dtype=np.float64))
    table = rows.filter(items=KEPT).reset_index(drop=True)
    for k, name in enumerate(names):
        table[name] = decisions.probabilities[:, k]
    table["predicted"] = [answer_text(one) for one in decisions.predicted]
    table["decision"] = [answer_text(one) for one in decisions.decided]
    table["threshold"] = threshold_cell(served.used_thresholds)
    return table
