"""Rehearsal: a share of the earlier tasks' training records is learned again (Robins, 1995).

    records of a stage = its own, all of them + round(share x n) of each earlier task's n, at least one of each

The share is drawn by label, so that a rare one is not lost by chance, and of texts, no two of which are alike, by
chance alone; with the seed alone, so that a resumed stage and another run of the study rehearse the same records. They
count in the loss as they did when they were learned first. Rehearsal needs the right to keep the earlier patients'
records.
"""

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush

import numpy as np

from clinfit.data.records import Record, labels_in
from clinfit.study.tasks import Task, Writing


def rehearse(records: Sequence[Record], tasks: Mapping[str, Task], share: float, seed: int) -> list[Record]:
    """The records, of `tasks` only a share of each task's, in their order. Same seed, same draw; n log(labels) time."""
    kept = set[int]()
    for name, task in tasks.items():
        draw = drawn_share if isinstance(task, Writing) else stratified_share
        kept |= {id(record) for record in draw([each for each in records if each.task == name], share, seed)}
    return [record for record in records if record.task not in tasks or id(record) in kept]


def size_of_share(n: int, share: float) -> int:
    """round(share x n), and one at least where a share is asked for: 0.1 of four records is not none."""
    return min(n, max(round(share * n), 1 if share > 0 else 0))


def drawn_share(records: Sequence[Record], share: float, seed: int) -> list[Record]:
    """`size_of_share` of n records, each as likely as any other; in their order."""
    drawn = np.random.default_rng(seed).permutation(len(records))[: size_of_share(len(records), share)]
    return [records[at] for at in sorted(drawn.tolist())]


def stratified_share(records: Sequence[Record], share: float, seed: int) -> list[Record]:
    """`size_of_share` of n records, each label's part as near to its share as whole records allow, and at least one
    record of a label where there is room; in their order."""
    strata: dict[tuple[str, ...], list[int]] = {}
    for at, record in enumerate(records):
        strata.setdefault(labels_in(record.target), []).append(at)
    rng = np.random.default_rng(seed)
    # Every stratum in an order drawn at random; then strata take turns, the one that has least of its due first.
    queues = [rng.permutation(members).tolist() for _, members in sorted(strata.items())]
    turns = [(-float(len(queue)), at, 0) for at, queue in enumerate(queues)]
    heapify(turns)
    taken: list[int] = []
    for _ in range(size_of_share(len(records), share)):
        _, at, done = heappop(turns)
        taken.append(queues[at][done])
        if done + 1 < len(queues[at]):
            heappush(turns, ((done + 1) / len(queues[at]), at, done + 1))
    return [records[at] for at in sorted(taken)]
