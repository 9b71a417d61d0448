"""Several labels an item: metrics, intervals and paired differences from a predictions table.

`gold` and `predicted` hold the labels of an item joined by `|`, the empty text for none; `p_<label>` are independent
probabilities, which need not sum to 1. An answer that is null or whose status is not `ok` is unparsed and wrong in
every metric: a miss of each of its labels, right in no label. Study files declare one label an item; this function is
for tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.errors import ClinfitError
from clinfit.evaluation.answers import read_probabilities
from clinfit.evaluation.classification import NO_PROBABILITIES, resampled
from clinfit.evaluation.comparison import bootstrap_p, check_same_items, holm
from clinfit.evaluation.intervals import UNDEFINED_LIMIT, Resamples, delong, delong_interval, percentile, wilson
from clinfit.evaluation.label_metrics import divide, mean_of_defined
from clinfit.evaluation.metric import Metric, undefined
from clinfit.evaluation.multilabel_results import (
    MultilabelComparison,
    MultilabelDifference,
    MultilabelResults,
    MultilabelSystem,
)
from clinfit.evaluation.probability_metrics import Ranking
from clinfit.evaluation.scoring import LEVELS, Values
from clinfit.evaluation.system_results import ClassResult
from clinfit.evaluation.systems import KEY

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SEPARATOR = "|"
#: Metrics of a system as a whole, in the order of the table; their definitions are in `definitions.MULTILABEL`.
OVERALL = (
    "micro_f1",
    "macro_f1",
    "macro_auroc",
    "subset_accuracy",
    "hamming_loss",
    "jaccard",
    "example_f1",
    "unparsed",
)
BY_LABEL = ("precision", "recall", "f1", "auroc", "auprc", "brier")


@dataclass(frozen=True)
class LabelSets:
    """One system's answers. gold, predicted: (n, K). parsed: (n,); the row of an unparsed answer is all False.

    probabilities: (n, K), a row of nan where the system gave none.
    """

    labels: tuple[str, ...]
    gold: Bools
    predicted: Bools
    parsed: Bools
    probabilities: Floats

    def __len__(self) -> int:
        return len(self.gold)

    @cached_property
    def answered(self) -> Bools:
        """(n,) whether the system gave probabilities for the item."""
        return np.asarray(np.isfinite(self.probabilities).all(axis=1))

    def scores(self, label: int) -> Floats:
        """(n,) P(label); an item without probabilities ranks on the wrong side of all others (-1 or 2)."""
        return np.where(self.answered, self.probabilities[:, label], np.where(self.gold[:, label], -1.0, 2.0))


def evaluate_multilabel(
    table: pd.DataFrame,
    labels: Sequence[str],
    *,
    reference: str | None = None,
    confidence: float = 0.95,
    bootstrap: int = 2000,
) -> MultilabelResults:
    """Every system of the table's test split on the same items under the same resamples.

    table: as in `clinfit.predictions`, with sets of labels as described above. labels: all that may occur. reference:
    name of the system that all others are compared with; None compares nothing. When items share a `group`, whole
    groups are resampled. Raises ClinfitError for labels that are not declared, for systems that did not answer the same
    items, and for an unknown reference.
    """
    parts = _systems(table.loc[table["split"] == "test"])
    first_name, first = next(iter(parts.items()))
    for name, part in parts.items():
        check_same_items(first_name, first["id"].tolist(), name, part["id"].tolist())
    answers = {name: _read(name, part, labels) for name, part in parts.items()}
    _check_gold(answers)
    groups = pd.factorize(first["group"].where(first["group"].notna(), first["id"]))[0].astype(np.int64)
    grouped = len(np.unique(groups)) < len(groups)
    resamples = Resamples(np.zeros(len(first), dtype=np.int64), groups if grouped else None, bootstrap)
    scored = {name: _Scored(sets, resamples, confidence) for name, sets in answers.items()}
    if reference is not None and reference not in scored:
        raise ClinfitError(f"there is no system {reference!r} to compare with", expected=f"one of {', '.join(scored)}")
    others = [name for name in scored if reference is not None and name != reference]
    return MultilabelResults(
        labels=list(labels),
        n=len(first),
        groups=int(groups.max()) + 1 if grouped else None,
        confidence=confidence,
        bootstrap=bootstrap,
        systems=[_system(name, item) for name, item in scored.items()],
        comparisons=_compare(scored, reference, others) if reference is not None else [],
    )


# ---------------------------------------------------------------- reading


def _systems(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of each system sorted by id, in the order of the table; a model with several runs carries seed and stage."""
    if not len(table):
        raise ClinfitError("there are no test predictions", expected="rows whose split is test")
    keys = table[KEY].drop_duplicates()
    several = pd.Series(keys["model"]).duplicated(keep=False)
    names = {
        tuple(row): f"{row[0]} (seed {row[1]}, stage {row[2]})" if many else str(row[0])
        for row, many in zip(keys.itertuples(index=False, name=None), several, strict=True)
    }
    parts = {key: part.sort_values("id", kind="stable") for key, part in table.groupby(KEY, sort=False)}
    return {name: parts[key] for key, name in names.items()}


def _read(name: str, table: pd.DataFrame, labels: Sequence[str]) -> LabelSets:
    parsed = np.asarray((table["status"] == "ok") & table["predicted"].notna())
    without = int(np.asarray(table["gold"].isna()).sum())
    if without:
        raise ClinfitError(
            f"{without} items of {name} have no gold labels",
            expected="labels joined by |, and the empty text for an item that has none of them",
        )
    gold = _indicator(name, "gold", pd.Series(table["gold"]), labels)
    predicted = _indicator(name, "predicted", pd.Series(table["predicted"]).where(parsed, ""), labels)
    return LabelSets(tuple(labels), gold, predicted, parsed, read_probabilities(table, labels))


def _indicator(name: str, column: str, values: pd.Series, labels: Sequence[str]) -> Bools:
    """(n, K) which labels each text names."""
    place, texts = pd.factorize(values)
    sets = [set(str(text).split(SEPARATOR)) - {""} for text in texts]
    unknown = np.array([bool(named - set(labels)) for named in sets], dtype=bool)
    if unknown.any():
        raise ClinfitError(
            f"{int(unknown[place].sum())} items of {name} have labels in {column!r} that are not declared",
            expected=f"labels joined by |, out of {', '.join(labels)}",
            fix="declare every label that occurs; upper and lower case differ",
        )
    return np.array([[label in named for label in labels] for named in sets], dtype=bool)[place]


def _check_gold(answers: dict[str, LabelSets]) -> None:
    first = next(iter(answers))
    for name, sets in answers.items():
        differing = int((sets.gold != answers[first].gold).any(axis=1).sum())
        if differing:
            raise ClinfitError(
                f"{name} and {first} have different gold labels in {differing} items",
                expected="predictions of the same test items",
                fix="run both models on the same split again",
            )


# ---------------------------------------------------------------- scoring


@dataclass(frozen=True)
class _Scored:
    """One system with the estimate and the resampled values of every metric; both from sums over units."""

    sets: LabelSets
    resamples: Resamples
    confidence: float
    estimates: dict[str, float] = field(init=False)
    replicates: Values = field(init=False)

    def __post_init__(self) -> None:
        everything = np.zeros(len(self.sets), dtype=np.int64)
        exact = _Scorer(self.sets, everything, None)(np.ones((1, 1)))
        estimates = {name: float(value[0]) for name, value in exact.items()}
        scorer = _Scorer(self.sets, self.resamples.units, LEVELS)
        parts = [scorer(weights) for weights in self.resamples.unit_weights()]
        drawn = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        merged = scorer(np.ones((scorer.n_units, 1)))
        for name in drawn:
            if name.startswith(("auroc:", "auprc:", "macro_auroc")):
                # Rankings are merged into levels for the resamples; what that changes is taken off again.
                drawn[name] = np.clip(drawn[name] + (estimates[name] - merged[name][0]), 0.0, 1.0)
        object.__setattr__(self, "estimates", estimates)
        object.__setattr__(self, "replicates", drawn)

    @property
    def grouped(self) -> bool:
        return self.resamples.clusters is not None


class _Scorer:
    """Sums once over the items of each unit; then (units, b) weights give (b,) values of every metric."""

    def __init__(self, sets: LabelSets, units: Ints, levels: int | None) -> None:
        self.sets = sets
        self.n_units = int(units.max(initial=-1)) + 1
        gold, predicted = sets.gold, sets.predicted
        right = gold & predicted

        def sums(columns: Floats | Bools) -> Floats:
            """(n, c) to (c, units)."""
            rows = [np.bincount(units, column, self.n_units) for column in columns.T.astype(np.float64)]
            return np.array(rows, dtype=np.float64)

        self._right, self._support, self._given = sums(right), sums(gold), sums(predicted)
        self._items = sums(_item_terms(sets))
        self._brier: Floats | None = None
        self._rankings: list[Ranking] = []
        if sets.answered.any():
            error = (sets.probabilities - gold) ** 2
            self._brier = sums(np.where(sets.answered[:, None], error, 1.0))
            self._rankings = [
                Ranking(gold[:, k], sets.scores(k), levels, units) for k in range(len(sets.labels))
            ]  # fmt: skip

    def __call__(self, weights: Floats) -> Values:
        labels = self.sets.labels
        right, support, given = self._right @ weights, self._support @ weights, self._given @ weights
        total, *means = self._items @ weights
        f1 = np.where(support > 0, divide(2 * right, support + given), np.nan)
        columns = {"precision": divide(right, given), "recall": divide(right, support), "f1": f1}
        values: Values = {
            "micro_f1": divide(2 * right.sum(0), support.sum(0) + given.sum(0)),
            "macro_f1": mean_of_defined(f1.T),
        }
        names = ("subset_accuracy", "hamming_loss", "jaccard", "example_f1", "unparsed")
        values |= {name: divide(mean, total) for name, mean in zip(names, means, strict=True)}
        if self._brier is not None:
            columns["brier"] = divide(self._brier @ weights, total[None])
            both = [ranking.auroc_and_precision(weights) for ranking in self._rankings]
            columns["auroc"], columns["auprc"] = (np.stack(part) for part in zip(*both, strict=True))
            values["macro_auroc"] = mean_of_defined(columns["auroc"].T)
        return values | {
            f"{name}:{label}": rows[k] for name, rows in columns.items() for k, label in enumerate(labels)
        }  # fmt: skip


def _item_terms(sets: LabelSets) -> Floats:
    """(n, 6) of each item: 1, exact set, share of wrong labels, Jaccard index, F1, unparsed."""
    gold, predicted, lost = sets.gold, sets.predicted, ~sets.parsed
    common, either = (gold & predicted).sum(1), (gold | predicted).sum(1)
    # Two empty sets are the same set.
    jaccard = np.divide(common, either, out=np.ones(len(sets)), where=either > 0)
    f1 = 2 * jaccard / (1 + jaccard)
    terms = np.column_stack([(gold == predicted).all(1), (gold != predicted).mean(1), jaccard, f1])
    terms[lost] = [0.0, 1.0, 0.0, 0.0]
    return np.column_stack([np.ones(len(sets)), terms, lost]).astype(np.float64)


# ---------------------------------------------------------------- metrics


def _system(name: str, scored: _Scored) -> MultilabelSystem:
    sets = scored.sets
    n, given = len(sets), sets.predicted.sum(0)
    classes = [
        ClassResult(
            label=label,
            support=int(sets.gold[:, k].sum()),
            predicted=int(given[k]),
            prevalence=float(sets.gold[:, k].mean()),
            predicted_share=float(given[k] / n),
            metrics={metric: _of_label(scored, metric, k).as_dict() for metric in BY_LABEL},
        )
        for k, label in enumerate(sets.labels)
    ]
    return MultilabelSystem(
        name=name,
        n=n,
        unparsed=int((~sets.parsed).sum()),
        metrics={metric: _overall(scored, metric).as_dict() for metric in OVERALL},
        classes=classes,
    )


def _overall(scored: _Scored, name: str) -> Metric:
    sets = scored.sets
    n, value = len(sets), scored.estimates.get(name, float("nan"))
    if np.isnan(value):
        if name == "macro_auroc":
            return undefined("no label has both kinds of items" if sets.answered.any() else NO_PROBABILITIES, n)
        return undefined("no item has a label" if name == "macro_f1" else "no labels, given or true", n)
    base = Metric(value, n=n)
    if name in ("subset_accuracy", "unparsed"):
        base = replace(base, events=round(value * n))
        if not scored.grouped:
            return _with_wilson(base, scored.confidence)
    if name in ("macro_f1", "macro_auroc"):
        absent = [label for k, label in enumerate(sets.labels) if not sets.gold[:, k].any()]
        base = replace(base, reason=f"without {', '.join(absent)}: no such items in the test set" if absent else None)
    return resampled(base, scored.replicates[name], scored.resamples, scored.confidence)


def _of_label(scored: _Scored, name: str, k: int) -> Metric:
    sets = scored.sets
    label, n, support, given = sets.labels[k], len(sets), int(sets.gold[:, k].sum()), int(sets.predicted[:, k].sum())
    right = int((sets.gold[:, k] & sets.predicted[:, k]).sum())
    value = scored.estimates.get(f"{name}:{label}", float("nan"))
    base = Metric(value, n=n, events=support)
    if name in ("precision", "recall"):
        base = Metric(value, n=given if name == "precision" else support, events=right)
    if np.isnan(value):
        return undefined(_why_undefined(scored, name, k), base.n, base.events)
    if name in ("precision", "recall") and not scored.grouped:
        return _with_wilson(base, scored.confidence)
    missing = n - int(sets.answered.sum())
    if missing and name in ("auroc", "auprc", "brier"):
        base = replace(base, reason=f"{missing} items without probabilities are counted as wrong with certainty")
    if name == "auroc" and not scored.grouped:
        low, high = delong_interval(delong(sets.gold[:, k], sets.scores(k)), scored.confidence)
        if low is None or low == high:
            why = "no interval: AUROC of 0 or 1, or a single item of one class"
            return replace(base, reason=base.reason or why)
        return replace(base, low=low, high=high, method="DeLong, logit scale")
    return resampled(base, scored.replicates[f"{name}:{label}"], scored.resamples, scored.confidence)


def _with_wilson(base: Metric, confidence: float) -> Metric:
    low, high = wilson(base.events or 0, base.n, confidence)
    return replace(base, reason="one item: no interval") if low is None else replace(
        base, low=low, high=high, method="Wilson"
    )  # fmt: skip


def _why_undefined(scored: _Scored, name: str, k: int) -> str:
    sets = scored.sets
    label, support = sets.labels[k], int(sets.gold[:, k].sum())
    if name == "precision":
        return f"never predicts {label!r}"
    if name in ("auroc", "auprc", "brier") and not sets.answered.any():
        return NO_PROBABILITIES
    return f"no items labelled {label!r} in the test set" if not support else f"every item is labelled {label!r}"


# ---------------------------------------------------------------- differences


def _compare(scored: dict[str, _Scored], reference: str, others: Sequence[str]) -> list[MultilabelComparison]:
    """All systems against the reference; Holm runs over these comparisons, separately for each metric."""
    labels = scored[reference].sets.labels
    metrics = [*(name for name in OVERALL if name != "unparsed"), *(f"f1:{label}" for label in labels)]
    rows = {new: [_difference(name, scored[reference], scored[new]) for name in metrics] for new in others}
    for place in range(len(metrics)):
        family = [rows[new][place] for new in others if rows[new][place]["p"] is not None]
        for row, p in zip(family, holm([row["p"] or 0.0 for row in family]), strict=True):
            row["p_holm"] = p
    n = len(scored[reference].sets)
    return [MultilabelComparison(reference=reference, new=new, n=n, rows=rows[new]) for new in others]


def _difference(name: str, reference: _Scored, new: _Scored) -> MultilabelDifference:
    """One metric, new minus reference, with the paired bootstrap's interval and p value."""
    before, after = (item.estimates.get(name, float("nan")) for item in (reference, new))
    row = MultilabelDifference(
        metric=name,
        reference=None if np.isnan(before) else before,
        new=None if np.isnan(after) else after,
        difference=None,
        low=None,
        high=None,
        method=None,
        p=None,
        p_holm=None,
        reason=None,
    )
    if np.isnan(before) or np.isnan(after):
        row["reason"] = "not estimable for both systems"
        return row
    row["difference"] = after - before
    drawn = new.replicates[name] - reference.replicates[name]
    low, high, lost = percentile(drawn, new.confidence)
    if low is None or high is None or lost > UNDEFINED_LIMIT:
        row["reason"] = f"undefined in {100 * lost:.0f} % of the resamples"
    elif high - low < 1e-12 and abs(after - before) > 1e-12:
        row["reason"] = "all resamples agree: no interval"
    else:
        row["low"], row["high"], row["p"] = low, high, bootstrap_p(drawn)
        row["method"] = f"paired {new.resamples.method}"
    return row
