"""The records of a task as its `split` block divides them: once, or for a cross-validation once for each fold."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from clinfit.data.records import SPLITS, Split, Target
from clinfit.data.splits import (
    assign_folds,
    assign_splits,
    carve_validation,
    check_splits,
    quick_splits,
    splits_by_time,
    splits_from_column,
)
from clinfit.data.targets import labels_to_learn
from clinfit.data.values import cells_of
from clinfit.study.data import SplitRule
from clinfit.study.tasks import Task, Writing


def divide(
    task: Task,
    rows: pd.DataFrame,
    files: Sequence[Split | None],
    groups: Sequence[str],
    targets: Sequence[Target],
    kept: Sequence[int],
) -> list[dict[int, Split]]:
    """Position -> split of each record that is kept, for each fold of each repeat in order, and last for a model that
    learns from all records (`refit`); one division where there are no folds."""
    if task.data.split.folds is not None:
        return _folds(task, groups, targets, kept)
    splits = _splits(task, rows, files, groups, targets, kept)
    if task.data.quick is not None:
        splits = _quick_splits(task, groups, targets, splits, task.data.quick)
    return [splits]


def first_rows(table: pd.DataFrame, most: int, column: str | None) -> pd.DataFrame:
    """The first `most` rows; where a column says what is train and test, the first of each of its values, as many as
    its share of all rows and one at least: files are often in the order of their splits."""
    if column is None or len(table) <= most:
        return table.head(most)
    values = table[column].astype(str).tolist()
    sizes = Counter(values)
    due = {value: size * most / len(table) for value, size in sizes.items()}
    counts = {value: max(1, int(share)) for value, share in due.items()}
    left = max(0, most - sum(counts.values()))
    for value in sorted(due, key=lambda value: counts[value] - due[value])[:left]:
        counts[value] += 1
    seen, kept = Counter[str](), []
    for at, value in enumerate(values):
        seen[value] += 1
        if seen[value] <= counts[value]:
            kept.append(at)
    return table.iloc[kept]


def _rule(task: Task) -> SplitRule:
    """How the task's records are divided: by label, but for texts, no two of which are alike. To divide these one by
    one would let what the references say decide the order."""
    rule = task.data.split
    return rule.model_copy(update={"stratify": False}) if isinstance(task, Writing) else rule


def _folds(task: Task, groups: Sequence[str], targets: Sequence[Target], kept: Sequence[int]) -> list[dict[int, Split]]:
    rule, labels = _rule(task), labels_to_learn(task)
    kept_targets, kept_groups = [targets[at] for at in kept], [groups[at] for at in kept]
    divisions = []
    for repeat, codes in enumerate(assign_folds(kept_targets, kept_groups, labels, rule), start=1):
        for fold in range(rule.folds or 0):
            splits: list[Split] = ["test" if code == fold else "train" for code in codes]
            if rule.validation_of_train:
                within = f" (training and validation of repeat {repeat}, fold {fold + 1})"
                splits = carve_validation(splits, kept_targets, kept_groups, labels, rule, within)
            check_splits(splits, kept_targets, labels, ["train", "test"])
            divisions.append(dict(zip(kept, splits, strict=True)))
    return [*divisions, dict(zip(kept, _undivided(kept_targets, kept_groups, labels, rule), strict=True))]


def _undivided(
    targets: Sequence[Target], groups: Sequence[str], labels: Sequence[str], rule: SplitRule
) -> Sequence[Split]:
    """All records for training, with a fold's share of validation."""
    splits: list[Split] = ["train"] * len(targets)
    if rule.validation_of_train:
        splits = carve_validation(splits, targets, groups, labels, rule, " (training and validation of all records)")
    check_splits(splits, targets, labels, ["train"])
    return splits


def _splits(
    task: Task,
    rows: pd.DataFrame,
    files: Sequence[Split | None],
    groups: Sequence[str],
    targets: Sequence[Target],
    kept: Sequence[int],
) -> dict[int, Split]:
    """Position -> split of each record that is kept."""
    rule, labels = _rule(task), labels_to_learn(task)
    kept_targets = [targets[at] for at in kept]
    needed: list[Split]
    if task.data.files is not None:
        splits: list[Split] = [split for at in kept if (split := files[at])]
        needed = [split for split in SPLITS if split in task.data.files]
    elif rule.column is not None:
        named = splits_from_column(cells_of(rows[rule.column]), rule)
        splits = [named[at] for at in kept]
        needed = ["train", "test"]
    elif rule.by is not None:
        cells = cells_of(rows[rule.by])
        splits = splits_by_time([cells[at] for at in kept], [groups[at] for at in kept], rule)
        needed = [split for split in SPLITS if getattr(rule, split) > 0]
    else:
        splits = assign_splits(kept_targets, [groups[at] for at in kept], labels, rule)
        needed = [split for split in SPLITS if getattr(rule, split) > 0]
    if rule.validation_of_train:
        splits = carve_validation(splits, kept_targets, [groups[at] for at in kept], labels, rule)
        needed = list(SPLITS)
    check_splits(splits, kept_targets, labels, needed)
    return dict(zip(kept, splits, strict=True))


def _quick_splits(
    task: Task, groups: Sequence[str], targets: Sequence[Target], splits: Mapping[int, Split], most: int
) -> dict[int, Split]:
    """Position -> split of the few records of a quick run."""
    kept = list(splits)
    drawn = quick_splits(
        list(splits.values()),
        [targets[at] for at in kept],
        [groups[at] for at in kept],
        labels_to_learn(task),
        most,
        _rule(task),
    )
    return {at: split for at, split in zip(kept, drawn, strict=True) if split is not None}
