"""Whether a system declines where it should, and whether it is surest where it is best.

A run asks some test records again without their context, or with another record's (`runs/steps/abstention.py`). The
surest answers are those to which the model itself gives the largest mean log-likelihood a token; the risk of an answer
is 1 less its primary metric. The area under the risk-coverage curve is the mean risk over all coverages (Geifman et
al., 2019): where it is no smaller than the mean risk, the likelihood does not tell good answers from poor ones.
"""

import numpy as np
import pandas as pd

from clinfit.evaluation.answers import group_codes, numbers
from clinfit.evaluation.claims.wording import count_of
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.decisions.selective import risk_coverage, risk_coverage_area, thinned
from clinfit.evaluation.metrics.metric import Metric, resampled, undefined
from clinfit.evaluation.metrics.proportions import Mask, proportion_metrics
from clinfit.evaluation.statistics.bootstrap import Resamples
from clinfit.evaluation.system_results import AbstentionDict, AskedAgain, MetricDict
from clinfit.evaluation.text_answers import TextAnswers
from clinfit.findings import Finding
from clinfit.study.evaluation import Abstention, GenerationEvaluation

#: Share of the records without their own context from which a system that answers them is warned of.
ANSWERED_LIMIT = 0.9
#: Share of the records with their context that may be declined.
DECLINED_LIMIT = 0.05
#: Most resamples of the area under the curve: each sorts the items.
DRAWS = 500
CONFIDENCE = "mean log-likelihood a token of the system's own answer, end of turn included"


def abstention(context: MeasuredContext, item: Measured) -> Outcome:
    """Of systems that were asked again."""
    table = context.facts.abstention.get((item.system.run, item.system.stage))
    settings = context.settings
    if table is None or not isinstance(settings, GenerationEvaluation) or settings.abstention is None:
        return None, []
    section = _section(context, item, table, settings.abstention)
    return section, _findings(item, section)


def _section(context: MeasuredContext, item: Measured, table: pd.DataFrame, asked: Abstention) -> AbstentionDict:
    condition, declined, empty = (table[name].to_numpy() for name in ("condition", "declined", "empty"))
    said = {"declined": declined, "answered": ~declined & ~empty, "empty": empty}
    own = table["context"].to_numpy(dtype=bool)  # a record that never had a context may well be declined
    masks: dict[str, tuple[Mask, Mask]] = {
        f"{name} {what}": (hits, (condition == name) & own)
        for name in ("given", "removed", "swapped")
        for what, hits in said.items()
    }
    shares = {
        name: found.as_dict()
        for name, found in proportion_metrics(masks, _plan(context, table), context.confidence).items()
    }
    again = {name: _again(shares, name) for name in ("removed", "swapped")}
    risk, aurc, curve = _curve(context, item, table.loc[condition == "given"])
    return AbstentionDict(
        inputs=asked.inputs,
        phrases=asked.phrases,
        given=shares["given declined"],
        removed=again["removed"],
        swapped=again["swapped"],
        confidence=CONFIDENCE,
        risk=risk.as_dict(),
        aurc=aurc.as_dict(),
        risk_coverage=curve,
    )


def _again(shares: dict[str, MetricDict], name: str) -> AskedAgain:
    declined, answered, empty = (shares[f"{name} {what}"] for what in ("declined", "answered", "empty"))
    return AskedAgain(declined=declined, answered=answered, empty=empty)


def _plan(context: MeasuredContext, table: pd.DataFrame) -> Resamples:
    """By group where one has several records; a record that was asked twice is one."""
    codes = group_codes(table)
    grouped = len(set(table["group"])) < len(set(table["id"]))
    return Resamples(np.zeros(len(table), dtype=np.int64), codes if grouped else None, context.bootstrap)


def _curve(context: MeasuredContext, item: Measured, given: pd.DataFrame) -> tuple[Metric, Metric, list[list[float]]]:
    """Mean risk, area under the curve, and its points, over the items that have a primary metric and a likelihood."""
    answers: TextAnswers = item.answers
    place = given.set_index("id").reindex(item.system.test.ids.astype(str))
    confidence = -numbers(place, "nats") / numbers(place, "tokens")
    risk = 1 - answers.score(context.primary)
    known = np.isfinite(risk) & np.isfinite(confidence)
    risk, confidence, n = risk[known], confidence[known], int(known.sum())
    if n < 2:
        why = undefined("fewer than two answers have a likelihood and a primary metric", n)
        return why, why, []
    groups = item.system.test.groups[known]
    clusters = pd.factorize(groups)[0].astype(np.int64) if len(np.unique(groups)) < n else None
    plan = Resamples(np.zeros(n, dtype=np.int64), clusters, min(DRAWS, context.bootstrap))
    drawn = [
        (float(np.average(risk, weights=weights)), risk_coverage_area(risk, confidence, weights))
        for block in plan.blocks()
        for weights in block.T
    ]
    curve = risk_coverage(risk, confidence)
    means, areas = np.array(drawn).T
    return (
        resampled(Metric(float(risk.mean()), n=n), means, plan, context.confidence),
        resampled(Metric(float(curve[:, 1].mean()), n=n), areas, plan, context.confidence),
        thinned(curve),
    )


def _findings(item: Measured, section: AbstentionDict) -> list[Finding]:
    level = "warn" if item.system.trained else "info"
    context, found = " and ".join(section["inputs"]), list[Finding]()
    for shares, how in (
        (section["removed"], f"without their {context}"),
        (section["swapped"], f"with the {context} of another"),
    ):
        answered, n = shares["answered"]["events"] or 0, shares["answered"]["n"]
        if n and answered / n >= ANSWERED_LIMIT:
            named = f"{item.name} answers all the same: {count_of(answered, n)} of the records asked {how}"
            declined = count_of(shares["declined"]["events"] or 0, n)
            advice = "do not rely on it to notice that it was given nothing, or the wrong thing: check the input"
            found.append(Finding(level, "answers-without-context", named, f"declined: {declined}", advice, item.name))
    given = section["given"]
    if given["value"] is not None and given["value"] > DECLINED_LIMIT:
        declined = count_of(given["events"] or 0, given["n"])
        named = f"{item.name} declines {declined} of the records that have their {context}"
        advice = "a declined answer counts as it is written, mostly as a poor one"
        found.append(Finding(level, "declines-with-context", named, "", advice, item.name))
    return found
