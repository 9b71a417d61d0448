"""Which record belongs to which split.

By ratio, records are divided label by label (stratified) or all together; where several records share a group
(patient, document), whole groups are divided. By column or by file, the study says itself. Everything follows from
the seed and the order of the records.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clinfit.data.records import SPLITS, Split
from clinfit.data.values import EXAMPLES, as_text, may_be_text, shown_ids
from clinfit.errors import ClinfitError
from clinfit.study import SplitRule


def assign_splits(targets: Sequence[str], groups: Sequence[str], labels: Sequence[str], rule: SplitRule) -> list[Split]:
    """The split of each record by the rule's ratios.

    One record a group: each split's size is within one record of its share, and each label's within two. Several
    records a group: whole groups go where their labels are needed most, so sizes are as near as the groups allow.
    A label with at least as many records as there are splits is in every split. Raises ClinfitError when there is too
    little to divide.
    """
    ratios = np.array([rule.train, rule.validation, rule.test])
    wanted = np.flatnonzero(ratios)
    units = len(set(groups))
    _enough_units(units, len(targets), len(wanted), ratios)
    rng = np.random.default_rng(rule.seed)
    strata = [labels.index(target) for target in targets] if rule.stratify else [0] * len(targets)
    if rule.stratify:
        _enough_of_each_label(targets, groups, labels, len(wanted))
    if units == len(targets):
        codes = _by_record(np.array(strata), ratios, rng)
    else:
        codes = _by_group(np.array(strata), groups, ratios, rng)
    return [SPLITS[code] for code in codes]


def _by_record(strata: NDArray[np.int64], ratios: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) split codes. Each stratum is shuffled and cut; what rounding gave one split too much is carried on.

    Largest remainders, rarest stratum first: the carried error stays below one record a split, and the commonest
    stratum absorbs what the rare ones were given so as to be in every split.
    """
    codes = np.zeros(len(strata), dtype=np.int64)
    carried = np.zeros(len(ratios))
    sizes = np.bincount(strata)
    for stratum in sorted(np.flatnonzero(sizes), key=lambda s: (sizes[s], s)):
        due = ratios * sizes[stratum] + carried
        counts = _rounded(due, int(sizes[stratum]), ratios)
        carried = due - counts
        members = rng.permutation(np.flatnonzero(strata == stratum))
        codes[members] = np.repeat(np.arange(len(ratios)), counts)
    return codes


def _rounded(due: NDArray[np.float64], total: int, ratios: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers near `due` that sum to `total`: largest remainders, and none at zero where it can be helped."""
    least = np.where((ratios > 0) & (total >= np.count_nonzero(ratios)), 1, 0)
    counts = np.maximum(np.floor(due + 1e-9).astype(np.int64), least)
    while counts.sum() != total:
        missing = np.where(ratios > 0, due - counts, -np.inf)
        if counts.sum() < total:
            counts[int(np.argmax(missing))] += 1
        else:
            counts[int(np.argmin(np.where(counts > least, due - counts, np.inf)))] -= 1
    return counts


def _by_group(
    strata: NDArray[np.int64], groups: Sequence[str], ratios: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """(n,) split codes by whole groups, the largest first, each to the split that lacks most of its labels.

    What a split lacks is counted as a share of what is due to it, so that large groups do not all go to the largest
    split; a split that a group would overfill is passed over while another has room. (The greedy idea is that of
    scikit-learn's StratifiedGroupKFold, here for unequal shares.)
    """
    names, unit = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    content = np.zeros((len(names), int(strata.max()) + 1))
    np.add.at(content, (unit, strata), 1)
    frequency = np.maximum(content.sum(axis=0), 1)
    due = ratios[:, None] * frequency
    have = np.zeros_like(due)
    share_due = np.where(ratios > 0, ratios, np.inf)[:, None] * frequency
    order = rng.permutation(len(names))
    order = order[np.argsort(-content[order].sum(axis=1), kind="stable")]
    placed = np.zeros(len(names), dtype=np.int64)
    for group in order:
        labels = content[group]
        lack = (((due - have) / share_due) * (labels / frequency)).sum(axis=1)
        room = due.sum(axis=1) - have.sum(axis=1) - labels.sum()
        fits = room >= -0.5
        score = np.where(fits, lack, -np.inf) if fits.any() else room
        score = np.where(ratios > 0, score, -np.inf)
        best = np.flatnonzero(score >= score.max() - 1e-12)
        placed[group] = best[np.argmax(room[best])]
        have[placed[group]] += labels
    return placed[unit]


# ---------------------------------------------------------------- by column


def splits_from_column(cells: Sequence[object], rule: SplitRule) -> list[Split]:
    """The split that the file's own column names; an unknown or missing value is an error."""
    names: dict[str, Split] = {str(name): name for name in SPLITS}
    mapped: dict[str, Split] = {key.strip(): split for key, split in (rule.map or {}).items()}
    texts = [as_text(cell) or "missing" for cell in cells]
    splits: list[Split | None] = [
        mapped.get(text) if rule.map is not None else names.get(text.casefold()) for text in texts
    ]
    lost = [at for at, split in enumerate(splits) if split is None]
    unknown = Counter(texts[at][:40] for at in lost)
    if may_be_text({texts[at] for at in lost}):
        raise ClinfitError(
            f"split column {rule.column!r}: {len(lost)} of {len(cells)} rows name no split, in "
            f"{shown_ids([f'row {at + 1}' for at in lost])}; the values are not shown, as they look like free text",
            expected=f"one of {', '.join(mapped or SPLITS)}",
            fix="name the column that holds the splits, or take `column` out of data.split",
        )
    if unknown:
        shown = ", ".join(f"{value} ({count} x)" for value, count in unknown.most_common(EXAMPLES))
        first = next((value for value in unknown if value != "missing"), "dev")
        raise ClinfitError(
            f"split column {rule.column!r}: {unknown.total()} of {len(cells)} rows name no split: {shown}",
            expected=f"one of {', '.join(mapped or SPLITS)}",
            fix=f"split: {{column: {rule.column}, map: {{{first}: validation, ...}}}}",
        )
    return [split for split in splits if split is not None]


# ---------------------------------------------------------------- checks


def check_splits(
    splits: Sequence[Split], targets: Sequence[str], labels: Sequence[str], needed: Sequence[Split]
) -> None:
    """Stop when a needed split is empty, or when training would never see a declared label."""
    sizes = Counter(splits)
    for split in needed:
        if not sizes[split]:
            raise ClinfitError(
                f"the {split} split has no records ({', '.join(f'{name} {sizes[name]}' for name in SPLITS)})",
                expected="at least one record in each split",
                fix="give it a share in data.split, or records of its own",
            )
    seen = {target for target, split in zip(targets, splits, strict=True) if split == "train"}
    unseen = [label for label in labels if label not in seen]
    if unseen:
        raise ClinfitError(
            f"no record of the train split has the label {', '.join(map(repr, unseen))}",
            expected="training records of every declared label",
            fix="add records, take the label out of `labels`, or raise `limit` if it is set",
        )


def groups_that_straddle(groups: Sequence[str], splits: Sequence[Split | None]) -> list[str]:
    """The groups with records in more than one split, in order of appearance."""
    first: dict[str, Split | None] = {}
    straddling = {
        group: None for group, split in zip(groups, splits, strict=True) if first.setdefault(group, split) != split
    }
    return list(straddling)


def _enough_units(units: int, records: int, splits: int, ratios: NDArray[np.float64]) -> None:
    if ratios[0] == 0 or ratios[2] == 0:
        raise ClinfitError(
            "data.split gives nothing to train or nothing to test",
            expected="a share above 0 for both",
            fix="split: {train: 0.6, validation: 0.2, test: 0.2}",
        )
    if units < splits:
        what = f"{records} record{'s' * (records != 1)}" + (f" in {units} group(s)" if units != records else "")
        raise ClinfitError(
            f"the data hold {what}, too few for {splits} splits",
            expected=f"at least {splits}, and some hundreds for figures that mean something",
            fix="check data.path and data.limit",
        )


def _enough_of_each_label(targets: Sequence[str], groups: Sequence[str], labels: Sequence[str], splits: int) -> None:
    holders: dict[str, set[str]] = {}
    for target, group in zip(targets, groups, strict=True):
        holders.setdefault(target, set()).add(group)
    rare = [label for label in labels if 0 < len(holders.get(label, ())) < splits]
    if rare:
        grouped = len(set(groups)) != len(groups)
        counts = ", ".join(
            f"{label!r} {Counter(targets)[label]} time(s)" + (f" in {len(holders[label])} group(s)" if grouped else "")
            for label in rare
        )
        raise ClinfitError(
            f"too few records for a stratified split: the label {counts}",
            expected=f"at least {splits} {'groups' if grouped else 'records'} of each label, one a split",
            fix="add records, take the label out, or write split: {stratify: false}",
        )
