"""What multiple-choice tasks have beside one label an item: chance, ways of scoring, position bias."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from clinfit.evaluation.analyses.language import rows_on_test
from clinfit.evaluation.answers import Floats, LabelAnswers, confusion, in_order, numbers
from clinfit.evaluation.claims.wording import p_value
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.metrics.engine import Scored
from clinfit.evaluation.metrics.fold_scorer import of_a_repeat
from clinfit.evaluation.metrics.metric import Metric
from clinfit.evaluation.metrics.proportions import proportion_metrics
from clinfit.evaluation.statistics.marginal_homogeneity import marginal_homogeneity
from clinfit.evaluation.system_results import PositionsDict, ScoringDict
from clinfit.findings import Finding
from clinfit.study.tasks import SCORINGS, MultipleChoice

#: Letters answered that differ from letters right by more than this, in total variation and not by chance, are told.
POSITION_BIAS = 0.10


def chance(context: MeasuredContext) -> Outcome:
    """What an even guess reaches with K options: accuracy 1 / K, log loss log K, summed Brier score 1 - 1 / K."""
    k = len(context.task.labels)
    return {"accuracy": 1 / k, "log_loss": float(np.log(k)), "brier_sum": 1 - 1 / k}, []


def scorings(context: MeasuredContext, item: Measured) -> Outcome:
    """The options scored as letters, as texts, and as texts by length, where the system gives these probabilities."""
    assert isinstance(context.task, MultipleChoice)
    table, labels = in_order(rows_on_test(context.table, item.system)), context.task.labels
    found = {name: p for name in SCORINGS if (p := _columns(table, name, labels)) is not None}
    answers = [
        replace(context.engine.most_probable(labels, None, item.answers.gold, p), folds=item.answers.folds)
        for p in found.values()
    ]
    scored = context.engine.score(answers, item.scored.resamples, context.confidence)
    made = [
        _scoring(name, one, item.scored, name == context.task.answer) for name, one in zip(found, scored, strict=True)
    ]
    return made or None, []


def _columns(table: pd.DataFrame, scoring: str, labels: Sequence[str]) -> Floats | None:
    """(n, K) probabilities by one way of scoring; None where any item has none."""
    names = [f"{scoring}_{label}" for label in labels]
    if not set(names) <= set(table.columns):
        return None
    values = np.column_stack([numbers(table, name) for name in names])
    return values if len(values) and np.isfinite(values).all() else None


def _scoring(name: str, scored: Scored, answered: Scored, is_answer: bool) -> ScoringDict:
    metrics = scored.engine.metrics(scored)
    return ScoringDict(
        scoring=name,
        answer=is_answer,
        accuracy=metrics["accuracy"].as_dict(),
        log_loss=metrics["log_loss"].as_dict(),
        agreement=_agreement(scored.answers, answered).as_dict(),
    )


def _agreement(answers: LabelAnswers, answered: Scored) -> Metric:
    same = answers.predicted == answered.answers.predicted
    everything = np.ones(len(same), dtype=bool)
    shares = proportion_metrics({"agreement": (same, everything)}, answered.resamples, answered.confidence)
    return of_a_repeat(answers, shares["agreement"])


def positions(context: MeasuredContext, item: Measured) -> Outcome:
    """Whether the system prefers letters, whatever they say; among the answers that could be read."""
    if item.system.rule:
        return None, []
    answers: LabelAnswers = item.answers
    counts = confusion(answers)[:, :-1]  # of the answers that could be read
    given, right, n = counts.sum(0), counts.sum(1), int(counts.sum())
    distance = float(np.abs(given - right).sum() / (2 * n)) if n else None
    if item.scored.grouped:
        several = "items share groups" if answers.folds is None else "the models of several folds answer"
        return PositionsDict(distance=distance, p=None, reason=f"{several}, and the test needs single answers"), []
    p = marginal_homogeneity(counts)
    reason = None if p is not None else "all answers are right, or too few letters are answered"
    section = PositionsDict(distance=distance, p=p, reason=reason)
    if distance is None or distance <= POSITION_BIAS or p is None or p >= 1 - context.confidence:
        return section, []
    shares = zip(answers.labels, given, right, strict=True)
    return section, [
        Finding(
            "warn" if item.system.trained else "info",
            "position-bias",
            f"{item.name} prefers some letters whatever their options say",
            ", ".join(f"{label} {100 * g / n:.0f} % answered, {100 * r / n:.0f} % right" for label, g, r in shares)
            + f" (Stuart-Maxwell, {p_value(p)})",
            "score the options' texts (answer: texts-normalised), or train longer",
            item.name,
        )
    ]
