"""Free answers beside label likelihoods: how many can be read, how many are right, how often both modes agree.

The likelihood stays the answer that everything else is computed from; a free answer is what a chat window would show.
Answers that cannot be read stay in every denominator, as wrong and as not agreeing.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from clinfit.evaluation.analyses.language import rows_on_test
from clinfit.evaluation.answers import UNPARSED, group_codes, label_codes, numbers
from clinfit.evaluation.claims.wording import count_of
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.metrics.proportions import proportion_metrics
from clinfit.evaluation.statistics.bootstrap import Resamples
from clinfit.evaluation.system_results import GeneratedDict
from clinfit.findings import Finding
from clinfit.scoring.parse import PARSERS, Parsed, Parser
from clinfit.study.models import LanguageModel

#: Free answers below these shares are worth a warning: read by the parser, and equal to the likelihood's answer.
READ_LIMIT = 0.99
AGREEMENT_LIMIT = 0.95
NOTHING_WRITTEN = "no answer"
#: The finding that says that a report is of free answers alone, read again from a run.
SCORED = "free-answers-scored"


def read_answers(raw: Sequence[object], labels: Sequence[str], parser: Parser) -> list[Parsed]:
    """Each text as the parser reads it; no text at all is unparsed too."""
    return [parser.read(text, labels) if isinstance(text, str) else Parsed(None, NOTHING_WRITTEN) for text in raw]


def generated(context: MeasuredContext, item: Measured) -> Outcome:
    """Free answers of a language model that was asked for some."""
    spec = item.system.spec
    if not isinstance(spec, LanguageModel) or not spec.generate:
        return None, []
    table, labels = rows_on_test(context.table, item.system), context.task.labels
    found = generated_result(table, labels, spec.generate, context.bootstrap, context.confidence)
    return found, [] if found is None else check_generated(item.name, item.system.trained, found)


def generated_result(
    table: pd.DataFrame,
    labels: Sequence[str],
    limit: int,
    bootstrap: int,
    confidence: float,
    parser: Parser = PARSERS["strict"],
) -> GeneratedDict | None:
    """Free answers of one system on test against gold labels and most probable labels; None when it wrote none.

    table: the system's test rows (predictions.py), `predicted` being the most probable label. limit: most tokens that
    it could write.
    """
    if not any(isinstance(text, str) for text in table["raw"]):
        return None
    table = table.sort_values("id", kind="stable")
    gold, likelihood = (label_codes(pd.Series(table[name]), labels) for name in ("gold", "predicted"))
    read = read_answers(table["raw"].tolist(), labels, parser)
    answer = label_codes([found.label or "" for found in read], labels)
    groups = group_codes(table)
    parsed = answer != UNPARSED
    everything = np.ones(len(table), dtype=bool)
    masks = {
        "parsed": (parsed, everything),
        "accuracy": (parsed & (answer == gold), everything),
        "agreement": (parsed & (answer == likelihood), everything),
        **{f"parsed:{label}": (parsed, gold == k) for k, label in enumerate(labels)},
    }
    grouped = len(np.unique(groups)) < len(groups)
    plan = Resamples(gold, groups if grouped else None, bootstrap)
    shares = {name: metric.as_dict() for name, metric in proportion_metrics(masks, plan, confidence).items()}
    return GeneratedDict(
        n=len(table),
        parser=parser.title,
        parsed=shares["parsed"],
        parsed_by_label={label: shares[f"parsed:{label}"] for label in labels},
        accuracy=shares["accuracy"],
        agreement=shares["agreement"],
        reasons=dict(Counter(found.reason for found in read if found.label is None).most_common()),
        cut_off=int((numbers(table, "output_tokens") >= limit).sum()),
    )


def check_generated(name: str, trained: bool, generated: GeneratedDict) -> list[Finding]:
    """Warnings about a system's free answers; before training they are for information, since nothing is claimed."""
    level = "warn" if trained else "info"
    n, found = generated["n"], []
    read, agreement = generated["parsed"], generated["agreement"]
    if read["value"] is not None and read["value"] < READ_LIMIT:
        title = f"{name}: {count_of(n - (read['events'] or 0), n)} of its free answers hold no clear label"
        evidence = ", ".join(f"{reason}: {count}" for reason, count in generated["reasons"].items())
        if generated["cut_off"]:
            evidence += f"; {generated['cut_off']} answers were cut off at the token limit"
        advice = "its label probabilities are not affected; `clinfit diagnose RUN` shows how it answers"
        found.append(Finding(level, "free-answers-unread", title, evidence, advice, name))
    if agreement["value"] is not None and agreement["value"] < AGREEMENT_LIMIT:
        differing = n - (agreement["events"] or 0)
        unread = n - (read["events"] or 0)
        title = f"{name}: {count_of(differing, n)} of its free answers are not its most probable label"
        evidence = f"{differing - unread} of {n} name another label, {unread} none"
        advice = "what it writes in a chat is not what was evaluated; serve it by label probability, as its pack does"
        found.append(Finding(level, "free-answers-differ", title, evidence, advice, name))
    return found
