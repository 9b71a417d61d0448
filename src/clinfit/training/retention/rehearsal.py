"""Rehearsal: a share of the earlier tasks' training records is learned again (Robins, 1995).

    records of a stage = its own, all of them + round(share x n) of each earlier task's n

The share is drawn by label, so that a rare one is not lost by chance, and with the seed alone, so that a resumed stage
and another run of the study rehearse the same records. They count in the loss as they did when they were learned first.
Rehearsal needs the right to keep the earlier patients' records.
"""

from collections.abc import Collection, Sequence

import numpy as np

from clinfit.data.records import Record, labels_in


def rehearse(records: Sequence[Record], tasks: Collection[str], share: float, seed: int) -> list[Record]:
    """The records, of `tasks` only a share of each task's, in their order."""
    kept = {
        id(record)
        for task in tasks
        for record in stratified_share([record for record in records if record.task == task], share, seed)
    }
    return [record for record in records if record.task not in tasks or id(record) in kept]


def stratified_share(records: Sequence[Record], share: float, seed: int) -> list[Record]:
    """round(share x n) of n records, each label's part as near to its share as whole records allow, and at least one
    record of a label where there is room; in their order."""
    n = round(share * len(records))
    strata: dict[tuple[str, ...], list[int]] = {}
    for at, record in enumerate(records):
        strata.setdefault(labels_in(record.target), []).append(at)
    rng = np.random.default_rng(seed)
    # Every stratum in an order drawn at random; then strata take turns, the one that has least of its due first.
    queues = [list(rng.permutation(members)) for _, members in sorted(strata.items())]
    taken: list[list[int]] = [[] for _ in queues]
    for _ in range(n):
        due = [
            (len(done) / len(queue) if done else -len(queue), at) if len(done) < len(queue) else (np.inf, at)
            for at, (done, queue) in enumerate(zip(taken, queues, strict=True))
        ]
        at = min(due)[1]
        taken[at].append(int(queues[at][len(taken[at])]))
    return [records[at] for at in sorted(at for done in taken for at in done)]
