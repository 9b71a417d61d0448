"""Answers of which declared fields are asked: how many are valid objects, what is wrong with the others, each field."""

import numpy as np

from clinfit.data.fields import FAULTS
from clinfit.evaluation.analyses.language import quartiles, rows_on_test
from clinfit.evaluation.answers import numbers
from clinfit.evaluation.claims.wording import count_of
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.field_answers import FieldAnswers
from clinfit.evaluation.system_results import ExtractedDict, FieldResult
from clinfit.findings import Finding
from clinfit.study.tasks import Extraction

#: Share of invalid answers from which it is told.
INVALID = 0.01


def extracted(context: MeasuredContext, item: Measured) -> Outcome:
    """The answers of a system in counts, and its fields; a finding on invalid answers, of systems that are no rules."""
    answers: FieldAnswers = item.answers
    task = context.task
    assert isinstance(task, Extraction)
    rows = rows_on_test(context.table, item.system)
    metrics = context.engine.by_label(item.scored)
    section = ExtractedDict(
        n=len(answers),
        valid=_count(answers, "valid_output"),
        faults={fault: _count(answers, fault) for fault in FAULTS},
        cut_off=_count(answers, "cut_off"),
        tokens=quartiles(numbers(rows, "output_tokens")) if item.system.language_model else None,
        fields=[
            FieldResult(
                field=name,
                type=field.type,
                true=int(answers.score(f"true:{name}").sum()),
                given=int(answers.score(f"given:{name}").sum()),
                metrics={metric: value.as_dict() for metric, value in metrics[name].items()},
            )
            for name, field in task.declared.items()
        ],
    )
    return section, [] if item.system.rule else _invalid(item, section)


def _invalid(item: Measured, section: ExtractedDict) -> list[Finding]:
    invalid, n = section["n"] - section["valid"], section["n"]
    if not n or invalid / n < INVALID:
        return []
    why = "; ".join(f"{what}: {section['faults'][fault]}" for fault, what in FAULTS.items() if section["faults"][fault])
    cut = f"; {section['cut_off']} ended at the limit of tokens" if section["cut_off"] else ""
    return [
        Finding(
            "warn" if item.system.trained else "info",
            "invalid-answers",
            f"{item.name}: {count_of(invalid, n)} of its answers are no object of the declared fields",
            why + cut,
            "they count as wrong in every figure, and nothing is put right: "
            + ("raise max_new_tokens, or train longer" if section["cut_off"] else "train longer, or ask for less"),
            item.name,
        )
    ]


def _count(answers: FieldAnswers, metric: str) -> int:
    return int((np.nan_to_num(answers.score(metric)) > 0).sum())
