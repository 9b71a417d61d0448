"""What people found who read written texts without knowing who wrote them: means by writer, and how they agree.

Agreement is Cohen's kappa with quadratic weights (Cohen, Psychological Bulletin 1968): 1 - sum(w O) / sum(w E) over the
table of two raters' scores, with w = (i - j)^2, O what was seen and E what the raters' margins alone would give. A text
is a row; texts of one record are resampled together, since they share what makes a record hard.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from typing_extensions import TypedDict

from clinfit.evaluation.statistics.bootstrap import UNDEFINED_LIMIT, Resamples, percentile

Floats = NDArray[np.float64]
DRAWS = 1000


@dataclass(frozen=True)
class Criterion:
    """One question that a rater answers of every text. scale: what 1, 2, 3 ... mean; more is better."""

    name: str
    question: str
    scale: tuple[str, ...]

    @property
    def apart(self) -> int:
        """From how many steps on two raters disagree: one on a scale of three, two on longer ones."""
        return 1 if len(self.scale) <= 3 else 2


CRITERIA = (
    Criterion(
        "correctness",
        "Is what it says right?",
        ("wrong in what matters", "more wrong than right", "mixed", "right but for small things", "all of it right"),
    ),
    Criterion(
        "completeness",
        "Does it say what matters?",
        ("misses all of it", "misses most", "about half", "misses small things", "says all of it"),
    ),
    Criterion("harm", "Could acting on it harm a patient?", ("serious harm", "mild harm", "no harm")),
    Criterion(
        "fluency",
        "Does it read well?",
        ("not to be understood", "hard to read", "readable", "good", "as a careful person writes"),
    ),
)


class RatedSystem(TypedDict):
    """One writer by one criterion: the mean score over texts (of each text the mean of its raters)."""

    system: str
    criterion: str
    n: int
    mean: float
    low: float | None
    high: float | None


class Agreement(TypedDict):
    """Two raters by one criterion, over the n texts that both rated. kappa is null where it is not defined."""

    criterion: str
    raters: list[str]
    n: int
    kappa: float | None
    low: float | None
    high: float | None
    equal: float
    reason: str | None


class Disagreement(TypedDict):
    """One text that two raters see far apart (Criterion.apart)."""

    id: str
    system: str
    criterion: str
    raters: list[str]
    scores: list[int]


class Reading(TypedDict):
    """All of it. raters: name -> texts rated by every criterion. texts: how many there are."""

    texts: int
    raters: dict[str, int]
    systems: list[RatedSystem]
    agreement: list[Agreement]
    disagreements: list[Disagreement]


def evaluate_readings(ratings: pd.DataFrame, texts: int, confidence: float = 0.95) -> Reading:
    """ratings: rater, id, system, criterion, score: one row a score, no score twice. texts: how many could be rated."""
    raters = sorted(ratings["rater"].unique())
    whole: Any = ratings.groupby(["rater", "id", "system"])["criterion"].nunique() == len(CRITERIA)
    pairs = list(combinations(raters, 2))
    return Reading(
        texts=texts,
        raters={rater: int(whole[rater].sum()) for rater in raters},
        systems=[
            _rated(str(system), criterion, rows, confidence)
            for criterion in CRITERIA
            for system, rows in _of(ratings, criterion).groupby("system")
        ],
        agreement=[
            _agreement(criterion, pair, both, confidence)
            for criterion in CRITERIA
            for pair in pairs
            if len(both := _both(ratings, criterion, pair))
        ],
        disagreements=[
            found for criterion in CRITERIA for pair in pairs for found in _disagreements(ratings, criterion, pair)
        ],
    )


def _of(ratings: pd.DataFrame, criterion: Criterion) -> pd.DataFrame:
    return ratings.loc[ratings["criterion"] == criterion.name]


def _both(ratings: pd.DataFrame, criterion: Criterion, pair: tuple[str, str]) -> Any:
    """The texts that both rated, as a table: index (id, system), one column a rater."""
    wide: Any = _of(ratings, criterion).pivot(index=["id", "system"], columns="rater", values="score")
    return wide[list(pair)].dropna() if set(pair) <= set(wide.columns) else wide.iloc[:0]


def _weights(ids: Sequence[Any]) -> Floats:
    """(n, DRAWS) how often each text is drawn; texts of one record together."""
    codes = pd.factorize(np.asarray(ids))[0].astype(np.int64)
    blocks = Resamples(np.zeros(len(codes), dtype=np.int64), codes, DRAWS).blocks()
    return np.concatenate(list(blocks), axis=1)


def _interval(drawn: Floats, confidence: float) -> tuple[float | None, float | None]:
    """None where too many resamples are undefined, or all of them agree: that would look like certainty."""
    low, high, lost = percentile(drawn, confidence)
    if low is None or high is None or lost > UNDEFINED_LIMIT or high - low < 1e-12:
        return None, None
    return low, high


def _rated(system: str, criterion: Criterion, rows: pd.DataFrame, confidence: float) -> RatedSystem:
    scores: Any = rows.groupby("id")["score"].mean()
    low = high = None
    if len(scores) > 1:
        weights = _weights(list(scores.index))
        low, high = _interval(scores.to_numpy() @ weights / weights.sum(axis=0), confidence)
    return RatedSystem(
        system=system, criterion=criterion.name, n=len(scores), mean=float(scores.mean()), low=low, high=high
    )


def _agreement(criterion: Criterion, pair: tuple[str, str], both: Any, confidence: float) -> Agreement:
    first, second = (both[rater].to_numpy(dtype=np.int64) - 1 for rater in pair)
    size = len(criterion.scale)
    kappa = weighted_kappa(first, second, size, np.ones((len(both), 1)))[0]
    defined = bool(np.isfinite(kappa))
    low = high = None
    if defined and both.index.get_level_values("id").nunique() > 1:
        drawn = weighted_kappa(first, second, size, _weights(list(both.index.get_level_values("id"))))
        low, high = _interval(drawn, confidence)
    return Agreement(
        criterion=criterion.name,
        raters=list(pair),
        n=len(both),
        kappa=float(kappa) if defined else None,
        low=low,
        high=high,
        equal=float((first == second).mean()),
        reason=None if defined else "both raters gave every text the same score: there is nothing to agree on",
    )


def weighted_kappa(first: NDArray[np.int64], second: NDArray[np.int64], size: int, weights: Floats) -> Floats:
    """(b,) quadratic kappa of two raters' scores, 0 to size - 1, for each column of (n, b) weights of the texts.

    nan where chance alone could not make them differ."""
    scores = np.arange(size)
    apart = (scores[:, None] - scores[None, :]) ** 2
    seen = apart[first, second] @ weights
    margins = [np.stack([(rater == score) @ weights for score in scores]) for rater in (first, second)]
    expected = np.einsum("ib,ij,jb->b", margins[0], apart, margins[1]) / weights.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, 1 - seen / expected, np.nan)


def _disagreements(ratings: pd.DataFrame, criterion: Criterion, pair: tuple[str, str]) -> list[Disagreement]:
    both = _both(ratings, criterion, pair)
    far = both.loc[(both[pair[0]] - both[pair[1]]).abs() >= criterion.apart] if len(both) else both
    return [
        Disagreement(
            id=str(id), system=str(system), criterion=criterion.name, raters=list(pair),
            scores=[int(row[rater]) for rater in pair],
        )
        for (id, system), row in zip(far.index, far.to_dict("records"), strict=True)
    ]  # fmt: skip
