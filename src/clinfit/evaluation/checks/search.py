"""Whether a search for hyperparameters could tell its points apart.

The best of many points on one split is partly the luckiest, the more so the fewer records and the more points there are
(Cawley and Talbot, 2010, J Mach Learn Res 11:2079-2107). A value that lies within one standard error of the best may be
the better one on other records.
"""

from dataclasses import dataclass
from statistics import median
from typing import cast

from clinfit.evaluation.context import Context, Outcome
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.evaluation.search_results import SearchOutcome, TrialDict
from clinfit.findings import Finding

#: Points that must have been tried to the end, and how many the spread of the best is taken over.
FEWEST, BEST = 3, 5


@dataclass(frozen=True)
class Noise:
    """error: standard error of the value on validation, the median of the best points, since that of the very best is
    too small near the limit of a metric. spread: between the best `best` points. within: points
    that lie within one standard error of the best, itself among them, of all `done`."""

    error: float
    spread: float
    best: int
    within: int
    done: int

    @property
    def hides(self) -> bool:
        """Whether most points cannot be told from the best; at the limit of a metric, whether any other cannot."""
        return self.within > (1 if self.error == 0 else self.done / 2)


def noise(outcome: SearchOutcome) -> Noise | None:
    """How far the points of a search lie apart; None where too few were tried, or the standard error is not known."""
    done = [trial for trial in outcome["trials"] if trial["state"] == "done" and trial["same_as"] is None]
    best = value_of(outcome["trials"][outcome["chosen"]])
    away = sorted((abs(value_of(trial) - best), trial["error"]) for trial in done if trial["error"] is not None)
    if len(away) < FEWEST:
        return None
    first = away[:BEST]
    error = median(error for _, error in first)
    return Noise(error, first[-1][0], len(first), sum(distance <= error for distance, _ in away), len(away))


def value_of(trial: TrialDict) -> float:
    return cast(float, trial["value"])


def metric_title(outcome: SearchOutcome) -> str:
    return "loss" if outcome["metric"] == "loss" else METRICS[outcome["metric"]].title


def shown(outcome: SearchOutcome, value: float) -> str:
    """A value in the words of its metric."""
    percent = outcome["metric"] != "loss" and METRICS[outcome["metric"]].percent
    return f"{100 * value:.2f} %" if percent else f"{value:.4f}"


def told(outcome: SearchOutcome, found: Noise) -> str:
    """The standard error beside the spread, in a sentence."""
    if found.error == 0:
        return (
            f"Resampled validation records all give the same {metric_title(outcome)}, as at the limit of a metric, and "
            f"{found.within} of {found.done} points reach it on these {outcome['records']}"
        )
    return (
        f"The standard error of {metric_title(outcome)} on {outcome['records']} validation records is "
        f"{shown(outcome, found.error)} (median of the best {found.best}); the best {found.best} points lie "
        f"{shown(outcome, found.spread)} apart, and {found.within} of {found.done} lie within one standard error of "
        "the best"
    )


def check_search(context: Context) -> Outcome:
    """Searches whose points mostly lie within the standard error of the best."""
    findings: dict[str, Finding] = {}
    for run, facts in context.facts.models.items():
        outcome = facts.get("search")
        model = run.rpartition("-seed")[0]
        if outcome is None or model in findings or not any(one.model == model for one in context.systems):
            continue
        if (found := noise(outcome)) is not None and found.hides:
            findings[model] = Finding(
                "warn",
                "search-within-noise",
                f"{model}: the search could not tell the best point from others",
                told(outcome, found),
                "the value of the chosen point on validation is too good, and its settings mean little: judge by test, "
                "and take more validation records, fewer trials, or split: {folds: 5}",
                run,
            )
    return None, list(findings.values())
