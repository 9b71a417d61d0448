"""What the model of a task gets wrong: by label and answer, and how sure it was. Ids, never the text."""

import numpy as np

from clinfit.evaluation.answers import UNPARSED
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.results import ErrorAnalysis, Mistake, WrongAnswers

#: Lower edges of the ranges of probability in which wrong answers are counted, and their names.
EDGES = (0.5, 0.7, 0.9)
BANDS = ["below 0.5", "0.5 to 0.7", "0.7 to 0.9", "0.9 and above"]

#: The most confident mistakes that are listed.
LISTED = 20


def errors(context: MeasuredContext) -> Outcome:
    """Of the model of the task; none in a study without any trained system."""
    return (error_analysis(context.model) if context.trained else None), []


def error_analysis(item: Measured) -> ErrorAnalysis:
    """Counts of wrong answers and the ids of the most confident ones; ties in the order of the ids."""
    answers, ids = item.answers, item.system.test.ids
    wrong = np.flatnonzero(answers.predicted != answers.gold)
    answered = wrong[answers.predicted[wrong] != UNPARSED]
    p = answers.probabilities[answered, answers.predicted[answered]]
    answered, p = answered[np.isfinite(p)], p[np.isfinite(p)]
    pairs = []
    for gold, label in enumerate(answers.labels):
        for code, predicted in [*enumerate(answers.labels), (UNPARSED, "unparsed")]:
            n = int(((answers.gold == gold) & (answers.predicted == code)).sum())
            if gold == code or not n:
                continue
            here = (answers.gold[answered] == gold) & (answers.predicted[answered] == code)
            counts = np.bincount(np.searchsorted(EDGES, p[here], side="right"), minlength=len(BANDS))
            pairs.append(WrongAnswers(label=label, predicted=predicted, n=n, confidence=counts.tolist()))
    order = np.argsort(-p, kind="stable")
    _, first = np.unique(ids[answered[order]].to_numpy(dtype=str), return_index=True)  # an item once, of all repeats
    order = order[np.sort(first)][:LISTED]
    confident = [
        Mistake(
            id=str(ids[at]),
            label=answers.labels[answers.gold[at]],
            predicted=answers.labels[answers.predicted[at]],
            p_predicted=float(value),
        )
        for at, value in zip(answered[order], p[order], strict=True)
    ]
    return ErrorAnalysis(
        system=item.name, n=len(answers), wrong=len(wrong), bands=list(BANDS), pairs=pairs, confident=confident
    )
