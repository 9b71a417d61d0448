"""Whether a system finds true texts likelier than the same texts with one fault in them (`runs/steps/contrast.py`).

Of each kind of fault: the share of the references that it fits to which the model gives a larger mean log-likelihood a
token than to the reference with the fault, given the prompt. A model that knows nothing is at about a half where a
number, drug or problem is another; one that reads the source should be far above. A denial that is put in or taken out
changes the length of a text, and with it the mean, whatever a model knows: there only a comparison with the model
before training says anything. How a fault is worded may give it away, or hide it, so this is a proxy.
"""

import numpy as np
import pandas as pd

from clinfit.evaluation.answers import group_codes, numbers
from clinfit.evaluation.claims.wording import count_of
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.metrics.metric import Metric, undefined
from clinfit.evaluation.metrics.proportions import proportion_metrics
from clinfit.evaluation.metrics.text.faults import FAULTS
from clinfit.evaluation.statistics.bootstrap import Resamples
from clinfit.evaluation.system_results import ContrastRow
from clinfit.findings import Finding

#: What a system that knows nothing reaches, with faults that leave the length of a text about as it is.
CHANCE = 0.5
OF_LIKE_LENGTH = ("number", "drug", "problem")


def contrast(context: MeasuredContext, item: Measured) -> Outcome:
    """Of systems that were asked; every kind of fault has a row."""
    table = context.facts.contrast.get((item.system.run, item.system.stage))
    if table is None:
        return None, []
    found = {fault: _likelier(context, table.loc[table["fault"] == fault]) for fault in FAULTS}
    rows = [ContrastRow(fault=fault, likelier=metric.as_dict()) for fault, metric in found.items()]
    return rows, _findings(item, found)


def _likelier(context: MeasuredContext, pairs: pd.DataFrame) -> Metric:
    if pairs.empty:
        return undefined("no reference that the fault fits", 0, 0)
    true = numbers(pairs, "nats") / numbers(pairs, "tokens")
    faulty = numbers(pairs, "faulty_nats") / numbers(pairs, "faulty_tokens")
    codes, n = group_codes(pairs), len(pairs)
    clusters = codes if len(np.unique(codes)) < n else None
    plan = Resamples(np.zeros(n, dtype=np.int64), clusters, context.bootstrap)
    return proportion_metrics({"likelier": (true < faulty, np.ones(n, dtype=bool))}, plan, context.confidence)[
        "likelier"
    ]


def _findings(item: Measured, found: dict[str, Metric]) -> list[Finding]:
    """Of trained systems: the faults that are not shown to make a text less likely."""
    unseen = [
        f"{fault}: {count_of(metric.events or 0, metric.n)}"
        for fault in OF_LIKE_LENGTH
        for metric in [found[fault]]
        if metric.n and (metric.low is None or metric.low <= CHANCE)
    ]
    if not item.system.trained or not unseen:
        return []
    return [
        Finding(
            "info",
            "faults-not-less-likely",
            f"{item.name} is not shown to find true texts likelier than those with a fault",
            f"true text likelier, {'; '.join(unseen)}; by chance half of them",
            "it may write such faults as readily as the truth: read its texts for them",
            item.name,
        )
    ]
