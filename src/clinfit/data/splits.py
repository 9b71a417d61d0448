"""Which record belongs to which split.

By ratio, records are divided label by label (stratified) or all together; where several records share a group
(patient, document), whole groups are divided. A record with several labels counts as one of the rarest that it has,
so that rare labels are spread evenly and common ones follow by chance. By time, the order of a column decides. By
column or by file, the study says itself. Everything follows from the seed and the order of the records.
"""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clinfit.data.label_sets import divide_sets
from clinfit.data.records import SPLITS, Split, Target, labels_in
from clinfit.data.values import (
    EXAMPLES,
    as_category,
    as_number,
    as_text,
    is_missing,
    may_be_text,
    read_cells,
    shown_ids,
)
from clinfit.errors import ClinfitError, nearest
from clinfit.study.data import SplitRule


def assign_splits(
    targets: Sequence[Target], groups: Sequence[str], labels: Sequence[str], rule: SplitRule
) -> list[Split]:
    """The split of each record by the rule's ratios. labels: those that every split should hold, if stratified.

    One record a group: each split's size is within one record of its share, and each label's within two (of records
    with several labels: that of records of which it is the rarest). Several records a group: whole groups go where
    their labels are needed most, so sizes are as near as the groups allow. A label that at least as many groups hold as
    there are splits is in every split, unless other labels need the same groups. Raises ClinfitError when there is too
    little to divide.
    """
    ratios = np.array([rule.train, rule.validation, rule.test])
    if ratios[0] == 0 or ratios[2] == 0:
        raise ClinfitError(
            "data.split gives nothing to train or nothing to test",
            expected="a share above 0 for both",
            fix="split: {train: 0.6, validation: 0.2, test: 0.2}",
        )
    rng = np.random.default_rng(rule.seed)
    return [SPLITS[code] for code in _divided(targets, groups, labels, ratios, rule.stratify, rng, ("split", ""))]


def assign_folds(
    targets: Sequence[Target], groups: Sequence[str], labels: Sequence[str], rule: SplitRule
) -> list[NDArray[np.int64]]:
    """For each repeat of a cross-validation the fold of each record, (n,) codes from 0: divided as by `assign_splits`
    into equal parts, but records of several labels by all of these (label_sets.py), unless they come in groups; each
    repeat by draws of its own."""
    folds = rule.folds or 0
    ratios = np.full(folds, 1 / folds)
    draws = [np.random.default_rng([rule.seed, repeat]) for repeat in range(rule.repeats)]
    sets = any(isinstance(target, tuple) for target in targets)
    codes = [_divided(targets, groups, labels, ratios, rule.stratify, rng, ("fold", ""), sets) for rng in draws]
    alike = len(codes) - len({tuple(pd.factorize(one)[0].tolist()) for one in codes})
    if alike:
        raise ClinfitError(
            f"{alike} of {rule.repeats} repeats divide the records as another one does",
            expected=f"records ({len(set(groups))} groups) that can be divided into {folds} folds in several ways",
            fix="write split: {repeats: 1}, or fewer folds",
        )
    return codes


def _divided(
    targets: Sequence[Target],
    groups: Sequence[str],
    labels: Sequence[str],
    ratios: NDArray[np.float64],
    stratify: bool,
    rng: np.random.Generator,
    part: tuple[str, str],
    sets: bool = False,
) -> NDArray[np.int64]:
    """(n,) part of each record, by the ratios of the parts. part: what messages call one, and where they are. sets:
    whether to spread all labels of a record, not the rarest alone."""
    wanted = np.flatnonzero(ratios)
    units = len(set(groups))
    _enough_units(units, len(targets), len(wanted), part)
    if stratify:
        _enough_of_each_label(targets, groups, labels, len(wanted), part)
    if sets and stratify and units == len(targets):
        return divide_sets(np.array([[name in labels_in(one) for name in labels] for one in targets]), ratios, rng)
    strata = np.array(_strata(targets, labels) if stratify else [0] * len(targets))
    if units == len(targets):
        return _by_record(strata, ratios, rng)
    codes = _by_group(strata, groups, ratios, rng)
    return _with_every_label(codes, targets, groups, labels if stratify else [], wanted)


def _strata(targets: Sequence[Target], labels: Sequence[str]) -> list[int]:
    """The number of each record's label, in the order of `labels` and then of names; of several the rarest.

    Records without any label are one more stratum.
    """
    held = [labels_in(target) for target in targets]
    counts = Counter(label for several in held for label in several)
    order = {label: at for at, label in enumerate(dict.fromkeys([*labels, *sorted(counts)]))}
    rarest = (min(several, key=lambda label: (counts[label], order[label]), default=None) for several in held)
    return [len(order) if label is None else order[label] for label in rarest]


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
    due = ratios[:, None] * content.sum(axis=0)
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


def _with_every_label(
    codes: NDArray[np.int64],
    targets: Sequence[Target],
    groups: Sequence[str],
    labels: Sequence[str],
    wanted: NDArray[np.int64],
) -> NDArray[np.int64]:
    """(n,) split codes with the smallest groups moved that bring a label into a wanted split that lacks it.

    The label of fewest groups comes first. A group stays where a label of its own would be lost by its going.
    """
    place = dict(zip(groups, codes.tolist(), strict=True))
    sizes = Counter(groups)
    holders: dict[str, set[str]] = {label: set() for label in labels}
    for target, group in zip(targets, groups, strict=True):
        for label in holders.keys() & set(labels_in(target)):
            holders[label].add(group)

    def is_last(group: str) -> bool:
        return any(
            group in held and sum(place[other] == place[group] for other in held) == 1 for held in holders.values()
        )

    for held in sorted(holders.values(), key=len):
        for split in wanted.tolist() if len(held) >= len(wanted) else ():
            if all(place[group] != split for group in held):
                movable = [group for group in sorted(held) if not is_last(group)]
                if movable:
                    place[min(movable, key=sizes.__getitem__)] = split
    return np.array([place[group] for group in groups], dtype=np.int64)


def carve_validation(
    splits: Sequence[Split],
    targets: Sequence[Target],
    groups: Sequence[str],
    labels: Sequence[str],
    rule: SplitRule,
    within: str = "",
) -> list[Split]:
    """The splits with `rule.validation_of_train` of the training records as validation, divided as by `assign_splits`.

    within: what messages say of the training records. The test records stay. Raises ClinfitError where validation has
    records already, or training has too few.
    """
    if "validation" in splits:
        raise ClinfitError(
            f"split column {rule.column!r} names validation records, and validation_of_train takes more from train",
            expected="one of the two",
            fix="take validation_of_train out of data.split",
        )
    train = [at for at, split in enumerate(splits) if split == "train"]
    share = rule.validation_of_train
    # Two parts, the second of which has the code of test.
    ratios, rng = np.array([1 - share, 0.0, share]), np.random.default_rng(rule.seed)
    own, of = [targets[at] for at in train], [groups[at] for at in train]
    parts = [SPLITS[code] for code in _divided(own, of, labels, ratios, rule.stratify, rng, ("split", within))]
    carved = list(splits)
    for at, part in zip(train, parts, strict=True):
        carved[at] = "validation" if part == "test" else "train"
    return carved


# ---------------------------------------------------------------- a quick run


def quick_splits(
    splits: Sequence[Split],
    targets: Sequence[Target],
    groups: Sequence[str],
    labels: Sequence[str],
    most: int,
    rule: SplitRule,
) -> list[Split | None]:
    """About `most` of the training records, divided anew by the usual shares, with the seed of the rule and by label
    where it says so; None for every other record.

    Validation and test records of the study stay closed, so that nothing is chosen by what a quick run shows.
    """
    train = [at for at, split in enumerate(splits) if split == "train"]
    share = most / len(train) if train else 1.0
    usual = SplitRule(seed=rule.seed, stratify=rule.stratify)

    def divided(places: Sequence[int], rule: SplitRule) -> list[Split]:
        given = [targets[at] for at in places], [groups[at] for at in places], labels
        try:
            return assign_splits(*given, rule)
        except ClinfitError:  # too few of a label for each part to have one
            return assign_splits(*given, rule.model_copy(update={"stratify": False}))

    if share < 1:  # two parts, of which `assign_splits` calls the second one test
        parts = divided(train, usual.model_copy(update={"train": 1 - share, "validation": 0.0, "test": share}))
        train = [at for at, part in zip(train, parts, strict=True) if part == "test"]
    drawn = dict(zip(train, divided(train, usual), strict=True))
    return [drawn.get(at) for at in range(len(splits))]


# ---------------------------------------------------------------- by time


def splits_by_time(cells: Sequence[object], groups: Sequence[str], rule: SplitRule) -> list[Split]:
    """The earliest records for training, the latest for test, by the rule's ratios.

    A group goes where its latest record belongs, and records of one time stay together, so that sizes are as near as
    these allow. Raises ClinfitError for cells that are neither dates (2026-01-31) nor numbers.
    """
    column = str(rule.by)
    rows = [f"row {at}" for at in range(1, len(cells) + 1)]
    fix = f"write the dates of {column} as 2026-01-31, and leave no cell empty"
    times = read_cells(cells, _time, column, rows, expected="a date (2026-01-31) or a number in every row", fix=fix)
    latest: dict[str, float] = {}
    for group, time in zip(groups, times, strict=True):
        latest[group] = max(time, latest.get(group, time))
    placed = np.array([latest[group] for group in groups])
    earlier = np.searchsorted(np.sort(placed), placed, side="left") / len(placed)
    ends = np.cumsum([rule.train, rule.validation]) - 1e-9
    return [SPLITS[int(np.searchsorted(ends, share, side="right"))] for share in earlier]


def dates(cells: Sequence[object]) -> list[float | None] | None:
    """The times of a column of dates (2026-01-31), None for missing cells; None when any other cell is no date."""
    times: list[float | None] = []
    for cell in cells:
        if is_missing(cell):
            times.append(None)
            continue
        try:
            times.append(_date(cell))
        except (TypeError, ValueError):
            return None
    return times


def _time(cell: object) -> float:
    try:
        number = as_number(cell)
    except (TypeError, ValueError):
        return _date(cell)
    if number is None:
        raise ValueError("no date")
    return number


def _date(cell: object) -> float:
    text = as_text(cell) or ""
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("no date")  # Python reads 20260131 as one as well
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


# ---------------------------------------------------------------- by column


def splits_from_column(cells: Sequence[object], rule: SplitRule) -> list[Split]:
    """The split that the file's own column names; an unknown or missing value is an error.

    With `held_out` these values are the test split, each of which must stand there, and all others are training; a
    missing value is an error there too, since its row may be of a site that is held out.
    """
    if rule.held_out is not None:
        return _held_out([as_category(cell) for cell in cells], rule)
    names: dict[str, Split] = {str(name): name for name in SPLITS}
    mapped: dict[str, Split] = {as_text(key) or "": split for key, split in (rule.map or {}).items()}
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


def _held_out(values: Sequence[str | None], rule: SplitRule) -> list[Split]:
    if missing := [f"row {at}" for at, value in enumerate(values, 1) if value is None]:
        raise ClinfitError(
            f"split column {rule.column!r} is empty in {len(missing)} of {len(values)} rows, {shown_ids(missing)}",
            expected="a value in every row: one without may belong to what is held out",
            fix="fill the values in, or take these rows out",
        )
    held = {as_category(value) for value in rule.held_out or ()}
    present = set(map(str, values))
    if absent := sorted(str(value) for value in held - present):
        near = nearest(absent[0], present)
        raise ClinfitError(
            f"split column {rule.column!r} has no value {', '.join(map(repr, absent))} to be held out",
            fix=f"did you mean {near!r}?" if near else "write a value of the column",
        )
    return ["test" if value in held else "train" for value in values]


# ---------------------------------------------------------------- checks


def check_splits(
    splits: Sequence[Split], targets: Sequence[Target], labels: Sequence[str], needed: Sequence[Split]
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
    seen = {
        label for target, split in zip(targets, splits, strict=True) if split == "train" for label in labels_in(target)
    }
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


def _enough_units(units: int, records: int, parts: int, part: tuple[str, str]) -> None:
    if units < parts:
        what = f"{records} record{'s' * (records != 1)}" + (f" in {units} group(s)" if units != records else "")
        raise ClinfitError(
            f"the data hold {what}, too few for {parts} {part[0]}s{part[1]}",
            expected=f"at least {parts}, and some hundreds for figures that mean something",
            fix="check data.path and data.limit",
        )


def _enough_of_each_label(
    targets: Sequence[Target], groups: Sequence[str], labels: Sequence[str], parts: int, part: tuple[str, str]
) -> None:
    counts = Counter(label for target in targets for label in labels_in(target))
    holders: dict[str, set[str]] = {}
    for target, group in zip(targets, groups, strict=True):
        for label in labels_in(target):
            holders.setdefault(label, set()).add(group)
    rare = [label for label in labels if 0 < len(holders.get(label, ())) < parts]
    if rare:
        grouped = len(set(groups)) != len(groups)
        told = ", ".join(
            f"{label!r} {counts[label]} time(s)" + (f" in {len(holders[label])} group(s)" if grouped else "")
            for label in rare
        )
        raise ClinfitError(
            f"too few records for a stratified division into {parts} {part[0]}s{part[1]}: the label {told}",
            expected=f"at least {parts} {'groups' if grouped else 'records'} of each label, one a {part[0]}",
            fix="add records, take the label out, or write split: {stratify: false}",
        )
