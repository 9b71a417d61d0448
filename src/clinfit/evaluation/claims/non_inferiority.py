"""Non-inferiority: whether a system is at most a declared margin worse than another on the same items.

Shown when the whole paired interval lies on the better side of the margin (Piaggio et al., 2012). The interval is the
study's two-sided one, so that at 95 % the one-sided error is 2.5 % a pair. Without a margin nothing is said: no
difference shown is not equivalence.
"""

from clinfit.evaluation.claims.paired import PairedDifference
from clinfit.evaluation.claims.wording import change, title, unit
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.evaluation.results import NonInferiority


def non_inferiority(
    new: str, reference: str, found: PairedDifference, margin: float, unbeaten: str | None, confidence: float
) -> NonInferiority:
    """The margin of the primary metric applied to one comparison.

    unbeaten: a constant answer that the new system is not shown to beat, in words: not being inferior then says little.
    """
    worst = found.worst
    shown = worst is not None and worst > -margin
    claim = f"{new} is not inferior to {reference} by more than {margin_words(found.name, margin)}"
    if found.low is None or found.high is None:
        why = found.reason or "there is no interval"
    else:
        low, high = change(found.metric, found.low), change(found.metric, found.high)
        why = f"the {100 * confidence:g} % interval of the difference is {low} to {high}{unit(found.metric)}"
    if not shown:
        sentence = f"{title(found.metric)}: that {claim} is not shown; {why}."
    elif unbeaten is None:
        sentence = f"{title(found.metric)}: {claim}; {why}."
    else:
        limit = f"this says little, since {new} is not shown to be better than {unbeaten} either"
        sentence = f"{title(found.metric)}: {claim}; {why}; {limit}."
    return NonInferiority(metric=found.metric, margin=margin, low=worst, shown=shown, sentence=sentence)


def margin_words(metric: str, margin: float) -> str:
    """2 points; 0.02."""
    return f"{100 * margin:g} points" if METRICS[metric].percent else f"{margin:g}"
