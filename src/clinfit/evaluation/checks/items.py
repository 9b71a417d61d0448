"""What makes every number wrong: labels outside the schema, items that do not match; and too few items or groups."""

import numpy as np

from clinfit.data.support import check_support, few_test_questions, few_test_texts, set_support
from clinfit.evaluation.answers import items_of
from clinfit.evaluation.context import Context, Outcome
from clinfit.evaluation.metrics.text.definitions import KNOWN
from clinfit.evaluation.metrics.text.overlap import ROUGE_TYPES
from clinfit.evaluation.systems import System
from clinfit.findings import Finding

#: Fewest groups for which resampling whole groups gives an interval that can be trusted (Cameron & Miller, 2015).
FEW_GROUPS = 30


def check_labels(context: Context) -> Outcome:
    """Gold labels and answers that the task does not declare."""
    found = []
    for system in context.systems:
        undeclared = system.test.undeclared
        if undeclared.gold or undeclared.predicted:
            n = len(system.test)
            evidence = f"{undeclared.gold} gold labels and {undeclared.predicted} predictions of {n} items"
            found.append(
                Finding(
                    "error",
                    "labels-outside-schema",
                    f"{system.name}: some labels are not among the declared labels",
                    f"{evidence}; declared: {', '.join(context.task.labels)}",
                    "map every value of the label column to a declared label; the types must match too",
                    system.name,
                )
            )
    return None, found


def check_same_items(context: Context) -> Outcome:
    """Whether all systems were tested on the same items."""
    first = context.systems[0]
    return None, [found for system in context.systems for found in _misaligned(system, first)]


def _misaligned(system: System, first: System) -> list[Finding]:
    rows, others = system.test, first.test
    repeated = len(rows) - int(rows.keys.nunique())
    same = rows.keys.equals(others.keys)
    differing = 0 if same else len({*rows.keys} ^ {*others.keys})
    golds = differing_golds(system, first) if same else 0
    divided = same and not rows.divided_as(others)
    if not repeated and same and not golds and not divided:
        return []
    folds = ", the same items in other folds" if divided else ""
    return [
        Finding(
            "error",
            "misaligned-items",
            f"{system.name} was not tested on the same items as {first.name}, each once",
            f"{differing} ids in one of the two only, {repeated} repeated ids, {golds} different gold labels{folds}",
            "predict the same test split with every model",
            system.name,
        )
    ]


def differing_golds(system: System, other: System) -> int:
    """Test items to which the two give another truth; both have the same items."""
    one, two = system.test.answers.gold, other.test.answers.gold
    return int((one != two).reshape(len(one), -1).any(axis=1).sum())


def check_test_labels(context: Context) -> Outcome:
    """Whether every label has enough test items."""
    answers = context.systems[0].test.answers
    counts = dict(zip(context.task.labels, answers.support.tolist(), strict=True))
    return None, list(check_support("test", counts))


def check_test_label_sets(context: Context) -> Outcome:
    """Whether every label of a multilabel task has enough test items; items need not have any."""
    answers = context.systems[0].test.answers
    counts = dict(zip(context.task.labels, answers.support.tolist(), strict=True))
    return None, list(set_support("test", items_of(answers), counts))


def check_test_questions(context: Context) -> Outcome:
    """Whether there are enough questions; which letter is right does not matter."""
    return None, list(few_test_questions(items_of(context.systems[0].test.answers)))


def check_test_texts(context: Context) -> Outcome:
    """Whether there are enough records of which a text is asked."""
    return None, list(few_test_texts(items_of(context.systems[0].test.answers)))


def check_scored(context: Context) -> Outcome:
    """Systems whose texts were not scored: without the records nobody can do that here."""
    return None, [
        Finding(
            "error",
            "texts-not-scored",
            f"the texts of {system.name} have no item scores",
            f"{items_of(system.test.answers)} items",
            "run the study again: the step that scores items is then done",
            system.name,
        )
        for system in context.systems
        if not system.test.answers.names
    ]


def check_unscored(context: Context) -> Outcome:
    """Items of which the primary metric says nothing, whoever writes: it cannot read their references."""
    known = KNOWN.get(context.primary)
    asked = [system.test.answers for system in context.systems if context.primary in system.test.answers.names]
    if known is None or known.needs != "reference" or not asked or len({len(answers) for answers in asked}) > 1:
        return None, []
    answered = np.stack([answers.parsed for answers in asked])
    scored = answered & np.stack([np.isfinite(answers.score(context.primary)) for answers in asked])
    rows = np.flatnonzero(answered.any(axis=0) & ~scored.any(axis=0))
    silent = len({context.systems[0].test.ids[at] for at in rows.tolist()})
    if not silent:
        return None, []
    of_latin = context.primary in ROUGE_TYPES
    return None, [
        Finding(
            "warn",
            "items-not-scored",
            f"{known.title} has no value for {silent} of {items_of(asked[0])} test items",
            "ROUGE compares words of a-z and 0-9, and most letters of their references are others"
            if of_latin
            else "the metric is not defined for their references",
            "primary: chrf, which reads all scripts" if of_latin else "choose a metric that is defined for all of them",
        )
    ]


def check_groups(context: Context) -> Outcome:
    """Whether there are enough groups to resample."""
    groups = context.systems[0].test.groups
    n, items = len(np.unique(groups)), items_of(context.systems[0].test.answers)
    if n == items or n >= FEW_GROUPS:
        return None, []
    return None, [
        Finding(
            "warn",
            "few-groups",
            f"The {items} test items come from {n} groups only",
            f"intervals and tests resample whole groups; with fewer than {FEW_GROUPS} the intervals are too narrow",
            "test on more groups (patients, documents), not on more items of the same ones",
        )
    ]
