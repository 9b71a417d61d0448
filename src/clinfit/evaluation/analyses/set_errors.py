"""What the model of a multilabel task gets wrong: labels missed and labels added. Ids, never the text."""

import numpy as np

from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.label_sets import LabelSets
from clinfit.evaluation.results import LabelMistakes, SetErrors, SetMistake

#: Wrong sets that are listed.
LISTED = 20


def set_errors(context: MeasuredContext) -> Outcome:
    """Of the model of the task; none in a study without any trained system."""
    return (set_error_analysis(context.model) if context.trained else None), []


def set_error_analysis(item: Measured) -> SetErrors:
    """Counts of wrong sets, and the ids of those with most wrong labels; ties in the order of the ids."""
    answers: LabelSets = item.answers
    ids = item.system.test.ids
    missed, added = answers.gold & ~answers.predicted, answers.predicted & ~answers.gold
    misses, adds = missed.any(axis=1) & answers.parsed, added.any(axis=1)
    wrong = (missed | added).sum(axis=1)
    order = np.argsort(-wrong, kind="stable")
    _, first = np.unique(ids[order].to_numpy(dtype=str), return_index=True)  # an item once, of all repeats
    worst = [at for at in order[np.sort(first)][:LISTED] if wrong[at]]
    return SetErrors(
        system=item.name,
        n=len(answers),
        wrong=int((~answers.right).sum()),
        missing=int((misses & ~adds).sum()),
        extra=int((adds & ~misses).sum()),
        both=int((misses & adds).sum()),
        unparsed=int((~answers.parsed).sum()),
        labels=[
            LabelMistakes(label=label, missed=int(missed[:, k].sum()), added=int(added[:, k].sum()))
            for k, label in enumerate(answers.labels)
        ],
        worst=[
            SetMistake(
                id=str(ids[at]),
                missed=[label for label, holds in zip(answers.labels, missed[at], strict=True) if holds],
                added=[label for label, holds in zip(answers.labels, added[at], strict=True) if holds],
            )
            for at in worst
        ],
    )
