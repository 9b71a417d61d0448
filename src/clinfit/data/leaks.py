"""Which test records a model may know from training or validation: the ids that evaluation counts out."""

from collections.abc import Sequence

from clinfit.data.duplicates import Duplicates
from clinfit.data.records import Record
from clinfit.data.splits import groups_that_straddle


def leaking_tests(records: Sequence[Record], duplicates: Duplicates) -> dict[str, list[str]]:
    """Kind of leak -> ids of test records, in their order; kinds without any are left out.

    group: its group has records in another split. exact: the same inputs stand in another split. near: nearly the same
    text does, and not the same inputs. Validation counts as well as training: thresholds and checkpoints are chosen
    on it.
    """
    straddling = set(groups_that_straddle([r.group for r in records], [r.split for r in records]))
    exact = {at for node in duplicates.exact for at in _tests_beside(records, node, node)}
    near = {
        at
        for first, second in duplicates.near
        for one, other in ((first, second), (second, first))
        for at in _tests_beside(records, one, other)
    }
    kinds = {
        "group": {at for at, record in enumerate(records) if record.split == "test" and record.group in straddling},
        "exact": exact,
        "near": near - exact,
    }
    return {kind: [records[at].id for at in sorted(found)] for kind, found in kinds.items() if found}


def _tests_beside(records: Sequence[Record], node: Sequence[int], others: Sequence[int]) -> list[int]:
    """The test records of a node when the others hold a record of another split."""
    if all(records[at].split == "test" for at in others):
        return []
    return [at for at in node if records[at].split == "test"]
