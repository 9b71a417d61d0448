"""Free answers beside label likelihoods: how many can be read, how many are right, how often both modes agree.

The likelihood stays the answer that everything else is computed from; a free answer is what a chat window would show.
Answers that cannot be read stay in every denominator, as wrong and as not agreeing.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.evaluation.answers import UNPARSED, label_codes, numbers
from clinfit.evaluation.intervals import Resamples, percentile, wilson
from clinfit.evaluation.metric import Metric, undefined
from clinfit.evaluation.system_results import GeneratedDict
from clinfit.evaluation.wording import share_of
from clinfit.findings import Finding
from clinfit.scoring.parse import PARSERS, Parsed, Parser
from clinfit.study_evaluation import Evaluation

Bools = NDArray[np.bool_]

#: Free answers below these shares are worth a warning: read by the parser, and equal to the likelihood's answer.
READ_LIMIT = 0.99
AGREEMENT_LIMIT = 0.95
NOTHING_WRITTEN = "no answer"


def read_answers(raw: Sequence[object], labels: Sequence[str], parser: Parser) -> list[Parsed]:
    """Each text as the parser reads it; no text at all is unparsed too."""
    return [parser.read(text, labels) if isinstance(text, str) else Parsed(None, NOTHING_WRITTEN) for text in raw]


def generated_result(
    table: pd.DataFrame, labels: Sequence[str], limit: int, evaluation: Evaluation, parser: Parser = PARSERS["strict"]
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
    groups = pd.factorize(table["group"].where(table["group"].notna(), table["id"]))[0].astype(np.int64)
    parsed = answer != UNPARSED
    shares = Shares(gold, groups, evaluation)
    return GeneratedDict(
        n=len(table),
        parser=parser.title,
        parsed=shares.of(parsed).as_dict(),
        parsed_by_label={label: shares.of(parsed, gold == k).as_dict() for k, label in enumerate(labels)},
        accuracy=shares.of(parsed & (answer == gold)).as_dict(),
        agreement=shares.of(parsed & (answer == likelihood)).as_dict(),
        reasons=dict(Counter(found.reason for found in read if found.label is None).most_common()),
        cut_off=int((numbers(table, "output_tokens") >= limit).sum()),
    )


@dataclass(frozen=True)
class Shares:
    """Shares of the same items with their intervals: Wilson, or a bootstrap over groups where items share one."""

    gold: NDArray[np.int64]
    groups: NDArray[np.int64]
    evaluation: Evaluation

    def of(self, hit: Bools, among: Bools | None = None) -> Metric:
        """The share of hits among some items (default: all)."""
        among = np.ones(len(hit), dtype=bool) if among is None else among
        n, events = int(among.sum()), int((hit & among).sum())
        if n == 0:
            return undefined("no such items in the test set")
        found = Metric(events / n, n=n, events=events)
        if n < 2:
            return replace(found, reason="one item: no interval")
        if len(np.unique(self.groups)) < len(self.groups):
            return self._by_group(found, hit & among, among)
        low, high = wilson(events, n, self.evaluation.confidence)
        return replace(found, low=low, high=high, method="Wilson")

    def _by_group(self, found: Metric, hit: Bools, among: Bools) -> Metric:
        plan = Resamples(self.gold, self.groups, self.evaluation.bootstrap)
        with np.errstate(invalid="ignore"):
            drawn = [hit.astype(float) @ weights / (among.astype(float) @ weights) for weights in plan.blocks()]
        low, high, _ = percentile(np.concatenate(drawn), self.evaluation.confidence)
        if low is None or high is None or high - low < 1e-12:
            return replace(found, reason="all resamples agree, so they give no interval")
        return replace(found, low=low, high=high, method=plan.method)


def check_generated(name: str, trained: bool, generated: GeneratedDict) -> list[Finding]:
    """Warnings about a system's free answers; before training they are for information, since nothing is claimed."""
    level = "warn" if trained else "info"
    n, found = generated["n"], []
    read, agreement = generated["parsed"], generated["agreement"]
    if read["value"] is not None and read["value"] < READ_LIMIT:
        title = f"{name}: {share_of(n - (read['events'] or 0), n)} of its free answers hold no clear label"
        evidence = ", ".join(f"{reason}: {count}" for reason, count in generated["reasons"].items())
        if generated["cut_off"]:
            evidence += f"; {generated['cut_off']} answers were cut off at the token limit"
        advice = "its label probabilities are not affected; `clinfit diagnose RUN` shows how it answers"
        found.append(Finding(level, "free-answers-unread", title, evidence, advice, name))
    if agreement["value"] is not None and agreement["value"] < AGREEMENT_LIMIT:
        differing = n - (agreement["events"] or 0)
        unread = n - (read["events"] or 0)
        title = f"{name}: {share_of(differing, n)} of its free answers are not its most probable label"
        evidence = f"{differing - unread} of {n} name another label, {unread} none"
        advice = "what it writes in a chat is not what was evaluated; serve it by label probability, as its pack does"
        found.append(Finding(level, "free-answers-differ", title, evidence, advice, name))
    return found
