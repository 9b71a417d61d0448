"""The verdict box: a few sentences, each derived from the numbers, none saying more than they support."""

from collections.abc import Sequence

import numpy as np

from clinfit.evaluation.claims import Unbeaten
from clinfit.evaluation.comparison import paired_difference
from clinfit.evaluation.definitions import LOWER_IS_BETTER, METRICS
from clinfit.evaluation.measure import Measured
from clinfit.evaluation.results import Comparison
from clinfit.evaluation.wording import evidence, number, with_interval
from clinfit.findings import Finding

#: Before-after and declared comparisons in the verdict, each; the rest stand in the comparison table.
SHOWN_GAINS = 2


def withheld_verdict(errors: Sequence[Finding]) -> list[str]:
    """Why there are no headline numbers."""
    lines = ["No headline numbers are given, because the evaluation found an error."]
    for error in errors[:4]:
        lines.append(f"{error.title}: {error.evidence}." if error.evidence else f"{error.title}.")
    return lines


def verdict(
    measured: Sequence[Measured],
    ranking: Sequence[str],
    obstacles: dict[str, Unbeaten | None],
    comparisons: Sequence[Comparison],
    primary: str,
    baseline: str | None,
) -> list[str]:
    """Three to six sentences: the winner, whether its lead is supported, the language models, the gain of training.

    Comparisons that the study declared come beside these, up to SHOWN_GAINS of them.
    """
    by_name = {item.name: item for item in measured}
    top = by_name[next((name for name in ranking if obstacles[name] is None), ranking[0])]
    rivals = [item for item in measured if top.name == ranking[0] or obstacles[item.name] is None]
    lines = [
        _winner(top, rivals, primary, alone=top.name == ranking[0]),
        *_lead(top, ranking, by_name, obstacles, primary),
    ]
    lines += _language_models(ranking, by_name, comparisons, baseline)
    gains = [item for item in comparisons if item["kind"] == "before-after"]
    lines += [f"Fine-tuning: {item['rows'][0]['sentence']}" for item in gains[:SHOWN_GAINS]]
    lines = [*lines, *_caution(top)][:6]
    declared = [item for item in comparisons if item["kind"] == "declared"]
    return lines + [f"Declared comparison: {_with_margin(item)}" for item in declared[:SHOWN_GAINS]]


def _with_margin(comparison: Comparison) -> str:
    """The sentence of the primary metric, and non-inferiority where it is shown and says more than that."""
    sentence, within = comparison["rows"][0]["sentence"], comparison["non_inferiority"]
    if within is None or not within["shown"] or comparison["rows"][0]["direction"] == "better":
        return sentence
    return f"{sentence} {within['sentence']}"


def _winner(top: Measured, rivals: Sequence[Measured], primary: str, *, alone: bool) -> str:
    """What stands first, and among how many. alone: no other system ranks higher, useful or not."""
    answers = top.answers
    support = np.bincount(answers.gold, minlength=len(answers.labels))
    counts = ", ".join(f"{count} {label!r}" for label, count in zip(answers.labels, support, strict=True))
    metric = top.metrics.get(primary)
    title = METRICS[primary].title
    if metric is None or metric.value is None:
        reason = metric.reason if metric is not None else "it is not defined for this task"
        return f"On {len(answers)} test items ({counts}) no system has an estimable {title}: {reason}."
    best = with_interval(primary, metric, top.scored.confidence)
    most = "lowest" if primary in LOWER_IS_BETTER else "highest"
    among = f"{len(rivals)} systems" + ("" if alone else " shown to be better than a constant answer")
    start = f"On {len(answers)} test items ({counts}), "
    values = [item.metrics[primary].value for item in rivals if same_model(item, top) and primary in item.metrics]
    known = [value for value in values if value is not None]
    if len(known) > 1:
        mean, spread = number(primary, float(np.mean(known))), number(primary, float(np.std(known, ddof=1)))
        return (
            f"{start}{top.system.model} has the {most} mean {title} over {len(known)} seeds, {mean} (standard "
            f"deviation between seeds {spread}, which is not in the intervals), of {among} "
            f"on this test set; {top.name}: {best}."
        )
    of = f" of {among}" if len(rivals) > 1 else ""
    return f"{start}{top.name} has the {most} {title}{of} on this test set: {best}."


def same_model(one: Measured, other: Measured) -> bool:
    """Whether two systems differ in nothing but the seed."""
    return (one.system.model, one.system.stage) == (other.system.model, other.system.stage)


def _lead(
    top: Measured,
    ranking: Sequence[str],
    by_name: dict[str, Measured],
    obstacles: dict[str, Unbeaten | None],
    primary: str,
) -> list[str]:
    """Whether the winner beats the trivial answers, and the next system."""
    obstacle = obstacles[top.name]
    if obstacle is not None:
        value = number(obstacle.metric, obstacle.value)
        rivals = [name for name in ranking if by_name[name].system.family != "baseline"]
        who = "no system" if all(obstacles[name] is not None for name in rivals) else top.name
        verb = "is shown" if who == "no system" else "is not shown"
        majority = _majority_accuracy(top, obstacle)
        return [
            f"On these {len(top.answers)} items {who} {verb} to be better than {obstacle.name} "
            f"({METRICS[obstacle.metric].title} {value}{majority})."
        ]
    place = list(ranking).index(top.name)
    second = next((by_name[name] for name in ranking[place + 1 :] if not same_model(by_name[name], top)), None)
    if second is None:
        return []
    found = paired_difference(primary, second.scored, top.scored)
    shown = found.gain > 0 and (found.p is None or found.p < 1 - top.scored.confidence)
    facts = evidence(found, None, top.scored.confidence)
    if shown:
        return [
            f"The next is {second.name}: {facts}. The winner was picked on this test set, so the p value is too small "
            "and no lead is claimed."
        ]
    return [f"It is not shown to be better than the next, {second.name}: {facts}."]


def _majority_accuracy(top: Measured, obstacle: Unbeaten) -> str:
    """Accuracy of the trivial answer, for a reader to whom its primary metric says little."""
    if obstacle.metric == "accuracy":
        return ""
    share = np.bincount(top.answers.gold, minlength=len(top.answers.labels)) / len(top.answers)
    label = next(label for label in top.answers.labels if obstacle.name.endswith(repr(label)))
    return f", accuracy {100 * share[top.answers.labels.index(label)]:.1f} %"


def _language_models(
    ranking: Sequence[str], by_name: dict[str, Measured], comparisons: Sequence[Comparison], baseline: str | None
) -> list[str]:
    """The best trained language model against the simple baseline."""
    best = next((n for n in ranking if by_name[n].system.language_model and by_name[n].system.trained), None)
    if best is None or baseline is None:
        return []
    for comparison in comparisons:
        if comparison["new"] == best and comparison["kind"] == "versus-baseline":
            return [f"Language models against simple ones: {_with_margin(comparison)}"]
    return []


def _caution(top: Measured) -> list[str]:
    smallest = int(np.bincount(top.answers.gold, minlength=len(top.answers.labels)).min())
    if smallest >= 100:
        return []
    return [f"The smallest class has {smallest} test items, so every number here is uncertain: read the intervals."]
