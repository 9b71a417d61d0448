"""How much a system needs each input, and the coefficients of linear models; on validation, of the trained models.

The importance of an input is how far AUROC falls when its values are shuffled among the records (`runs/steps/`
asks the models): the mean over shuffles, with the percentile bootstrap over records (groups, where they repeat) of that
mean. AUROC and not the primary metric, since a threshold was chosen on these very records. An input that another one
says as well is not needed, however much the outcome depends on it.
"""

from typing import Any

import numpy as np
import pandas as pd

from clinfit.evaluation.answers import group_codes
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.facts import Importance
from clinfit.evaluation.metrics.engine import replicates
from clinfit.evaluation.metrics.metric import Metric, undefined
from clinfit.evaluation.statistics.bootstrap import Resamples, percentile
from clinfit.evaluation.system_results import ImportanceDict, ImportanceRow

#: Resamples of an interval: each costs inputs x shuffles metrics.
DRAWS = 200
METRICS = ("auroc", "macro_auroc")


def importance(context: MeasuredContext, item: Measured) -> Outcome:
    """Of systems whose inputs were shuffled."""
    known = _of_system(context, item)
    if known is None:
        return None, []
    tables = dict(iter(known["answers"].groupby("input", sort=False)))
    return (_section(context, known["answers"], tables) if tables else None), []


def weights(context: MeasuredContext, item: Measured) -> Outcome:
    """Of linear models."""
    known = _of_system(context, item)
    return (None if known is None else known["weights"]), []


def _of_system(context: MeasuredContext, item: Measured) -> Importance | None:
    """What is known of the trained model behind the system; stages before the last were not asked."""
    known = context.facts.importance.get(item.system.run)
    return known if known is not None and known["stage"] == item.system.stage else None


def _section(context: MeasuredContext, every: pd.DataFrame, tables: dict[Any, pd.DataFrame]) -> ImportanceDict | None:
    plain = every.loc[every["input"].isna()]
    shuffles = [[rows for _, rows in table.groupby("repeat")] for table in tables.values()]
    answers = [_read(context, table) for table in [plain, *(rows for repeats in shuffles for rows in repeats)]]
    codes = group_codes(plain)
    clusters = codes if len(np.unique(codes)) < len(codes) else None
    resamples = Resamples(answers[0].strata, clusters, min(DRAWS, context.bootstrap))
    engine = context.engine
    values = [engine.estimates(each) for each in answers]
    metric = next((name for name in METRICS if name in values[0]), None)
    if metric is None:
        return None
    drawn = [each[metric] for each in replicates(engine.scorer, answers, resamples)]
    rows: list[ImportanceRow] = []
    at = 1
    for name, repeats in zip(tables, shuffles, strict=True):
        places = range(at, at + len(repeats))
        at += len(repeats)
        drop = values[0][metric] - float(np.mean([values[place][metric] for place in places]))
        spread = drawn[0] - np.mean([drawn[place] for place in places], axis=0)
        fall = _metric(drop, spread, resamples, context, len(plain))
        rows.append(ImportanceRow(input=str(name), drop=fall.as_dict()))
    rows.sort(key=_size)
    value = values[0][metric]
    return ImportanceDict(
        metric=metric,
        value=None if np.isnan(value) else value,
        n=len(plain),
        repeats=max(map(len, shuffles)),
        rows=rows,
    )


def _read(context: MeasuredContext, table: pd.DataFrame) -> Any:
    return context.engine.read(table, context.task.labels, context.task.positive_label)[0]


def _metric(drop: float, spread: Any, resamples: Resamples, context: MeasuredContext, n: int) -> Metric:
    if np.isnan(drop):
        return undefined("AUROC needs records with and without a label on validation", n)
    low, high, _ = percentile(spread, context.confidence)
    return Metric(drop, low, high, resamples.method, n)


def _size(row: ImportanceRow) -> float:
    value = row["drop"]["value"]
    return float("inf") if value is None else -value
