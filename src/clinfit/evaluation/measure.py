"""Systems to scores: answers under each system's decision rule, one bootstrap for all, every metric."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from clinfit.evaluation.answers import Floats, Rows
from clinfit.evaluation.context import Context, Measured
from clinfit.evaluation.decisions.decide import Decided
from clinfit.evaluation.metrics.definitions import LOWER_IS_BETTER
from clinfit.evaluation.metrics.engine import Engine, Scored
from clinfit.evaluation.results import SplitCounts
from clinfit.evaluation.statistics.bootstrap import Resamples
from clinfit.evaluation.systems import MAJORITY, System
from clinfit.study.models import Baseline

#: A kind's way from probabilities to answers: (settings of the task, system).
Decide = Callable[[Any, System], Decided]


def measure(context: Context, decide: Decide, systems: Sequence[System]) -> list[Measured]:
    """All systems on the same test items under the same resamples."""
    engine, rows = context.engine, systems[0].test
    decided = [decide(context.settings, system) for system in systems]
    resamples = resamples_of(rows, context.bootstrap)
    scored = engine.score([item.test for item in decided], resamples, context.confidence)
    return [
        Measured(
            item.system,
            item.decision,
            scores,
            engine.metrics(scores),
            item.validation,
            _primary(engine, item.validation, context.primary),
        )
        for item, scores in zip(decided, scored, strict=True)
    ]


def resamples_of(rows: Rows, draws: int) -> Resamples:
    """By item, by group where groups repeat; in a cross-validation all answers to an item together."""
    if not rows.grouped:
        return Resamples(rows.answers.strata, None, draws)
    alone = rows.answers.folds is not None and len(np.unique(rows.groups)) == rows.ids.nunique()
    return Resamples(rows.answers.strata, rows.groups, draws, unit="item" if alone else "group")


def _primary(engine: Engine, answers: Any, primary: str) -> float | None:
    """The primary metric, larger is better; None where it cannot be estimated."""
    if not len(answers):
        return None
    value = engine.estimates(answers).get(primary, float("nan"))
    if np.isnan(value):
        return None
    return -value if primary in LOWER_IS_BETTER else value


def with_majority(context: Context) -> list[System]:
    """The systems, with the majority answer added when the study has none: no table without a trivial row."""
    if not context.task.labels or any(system.majority for system in context.systems):
        return list(context.systems)  # of texts none is the most frequent one
    first = context.systems[0]
    proportions = label_proportions(context.task.labels, context.counts)
    name = MAJORITY[any(system.model == MAJORITY[0] for system in context.systems)]

    def answer(rows: Rows) -> Rows:
        n = len(rows)
        majority = next(iter(context.engine.constant(rows.answers, proportions).values()))
        return replace(rows, answers=majority, seconds=np.zeros(n), prompt_tokens=np.full(n, np.nan))

    spec = Baseline(name="majority", family="baseline", kind="majority")
    return [
        System(name, name, first.seed, 0, None, spec, answer(first.test), answer(first.validation)),
        *context.systems,
    ]


def label_proportions(labels: Sequence[str], counts: dict[str, SplitCounts]) -> Floats:
    """(K,) share of the records that have each label, in the first split that has counts: training, else validation,
    else test."""
    split = next(name for name in ("train", "validation", "test") if name in counts and counts[name]["n"])
    found = counts[split]["labels"]
    return np.array([found.get(label, 0) for label in labels]) / counts[split]["n"]


def constant_answers(context: Context, template: Scored) -> dict[str, Scored]:
    """The constant answers on the items of `template`: what an informative system beats."""
    answers = context.engine.constant(template.answers, label_proportions(context.task.labels, context.counts))
    known = next((system.validation.answers for system in context.systems if len(system.validation)), None)
    answers |= {} if known is None else context.engine.usual(template.answers, known)
    scored = context.engine.score(list(answers.values()), template.resamples, template.confidence)
    return dict(zip(answers, scored, strict=True))
