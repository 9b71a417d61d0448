"""Records that say the same: exactly, up to case and punctuation, or nearly.

Near duplicates are texts whose sets of five-word shingles have a Jaccard similarity of at least 0.8 (Broder, 1997).
Candidates come from MinHash signatures cut into bands (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
chapter 3); each candidate pair is then verified on the shingles themselves, so that none is reported by chance. With
16 bands of 4 a pair at 0.8 is missed with a probability of 0.0002. Scripts that are written without spaces count each
character as a word.
"""

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb, prod

import numpy as np
from numpy.typing import NDArray

from clinfit.data.clean import normalised, same_inputs_key, words_of
from clinfit.data.records import Record, Value

SHINGLE = 5
SIMILARITY = 0.8
BANDS, ROWS = 16, 4

#: Shorter texts have too few shingles to be alike by anything but chance or template.
LEAST_WORDS = 10

#: Texts of one template can all be alike; each is then compared with this many of them, training records first.
COMPARED = 50


#: A table whose inputs can make only one different record for this many records, or fewer, repeats by necessity.
COARSE = 5
#: So does one of at least this many records in which no input tells half of them apart, and in which pairs are alike no
#: more than CORRELATED times as often as if inputs had nothing to do with each other: they do hang together.
COARSE_RECORDS, CORRELATED = 50, 20


@dataclass(frozen=True)
class Duplicates:
    """Positions of records that repeat each other.

    exact: groups of two or more with the same normalised inputs. near: pairs of such groups (or of single records)
    with nearly the same text. combinations: how many different records the inputs can make, where they are so coarse
    that repeats are no sign of anything (then `exact` and `near` are empty); else None.
    """

    exact: list[list[int]]
    near: list[tuple[list[int], list[int]]]
    combinations: int | None = None


def find_duplicates(records: Sequence[Record]) -> Duplicates:
    """All exact duplicates, and all near duplicates: long texts that are alike, with the other inputs equal."""
    long = _long_text_inputs(records)
    nodes: dict[tuple[Value, ...], list[int]] = defaultdict(list)
    for at, record in enumerate(records):
        nodes[same_inputs_key(record.inputs.values())].append(at)
    if not long and _repeats_by_chance(records, [len(node) for node in nodes.values()]):
        return Duplicates([], [], _combinations(records))
    members = sorted(nodes.values(), key=lambda node: (all(records[at].split != "train" for at in node), node[0]))
    texts: list[str] = []
    others: list[tuple[Value, ...]] = []
    for node in members:
        inputs = records[node[0]].inputs
        texts.append(normalised(" ".join(str(inputs[name]) for name in long if inputs[name] is not None)))
        others.append(tuple(value for name, value in inputs.items() if name not in long))
    near = [(members[i], members[j]) for i, j in _near_pairs(texts) if others[i] == others[j]]
    return Duplicates(exact=[node for node in members if len(node) > 1], near=near)


def _long_text_inputs(records: Sequence[Record]) -> list[str]:
    """Inputs that hold running text: some value has at least LEAST_WORDS words. The rest are features of a table."""
    return sorted(
        {
            name
            for record in records
            for name, value in record.inputs.items()
            if isinstance(value, str) and len(words_of(value)) >= LEAST_WORDS
        }
    )


def _combinations(records: Sequence[Record]) -> int:
    """Product of the numbers of different values that each input takes."""
    rows = [tuple(record.inputs.values()) for record in records]
    return prod(len(set(column)) for column in zip(*rows, strict=True)) if rows else 0


def _repeats_by_chance(records: Sequence[Record], alike: Sequence[int]) -> bool:
    """Whether repeats of a table are no sign of anything. alike: how many records each different one stands for."""
    n = len(records)
    if 0 < _combinations(records) * COARSE <= n:
        return True
    columns = [Counter(column) for column in zip(*(record.inputs.values() for record in records), strict=True)]
    if n < COARSE_RECORDS or len(columns) < 2 or max(map(len, columns)) > n / 2:
        return False
    expected = comb(n, 2) * prod(_pairs(counts.values()) / comb(n, 2) for counts in columns)
    return expected >= 1 and _pairs(alike) <= CORRELATED * expected


def _pairs(counts: Iterable[int]) -> int:
    return sum(comb(count, 2) for count in counts)


def leaked_test_ids(records: Sequence[Record]) -> set[str]:
    """Ids of test records that repeat a training record, exactly or nearly."""
    return leaked_ids(records, find_duplicates(records))


def leaked_ids(records: Sequence[Record], duplicates: Duplicates) -> set[str]:
    """As `leaked_test_ids`, from duplicates that were found before."""
    leaked: set[str] = set()
    for first, second in [*((group, group) for group in duplicates.exact), *duplicates.near]:
        for one, other in ((first, second), (second, first)):
            if any(records[at].split == "train" for at in one):
                leaked |= {records[at].id for at in other if records[at].split == "test"}
    return leaked


def _near_pairs(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs i < j of texts at or above SIMILARITY, apart from texts of fewer than LEAST_WORDS words."""
    long = [at for at, text in enumerate(texts) if text.count(" ") >= LEAST_WORDS - 1]

    @lru_cache(maxsize=10_000)
    def shingle_set(at: int) -> frozenset[str]:
        return frozenset(shingles(texts[at]))

    for i, j in sorted({(long[a], long[b]) for a, b in _candidates(_signatures([texts[at] for at in long]))}):
        if jaccard(shingle_set(i), shingle_set(j)) >= SIMILARITY:
            yield i, j


def shingles(text: str) -> set[str]:
    """The runs of five words in a normalised text."""
    words = text.split(" ")
    return {" ".join(words[at : at + SHINGLE]) for at in range(max(1, len(words) - SHINGLE + 1))}


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Size of the intersection over size of the union."""
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def _signatures(texts: Sequence[str]) -> NDArray[np.uint64]:
    """(n, BANDS * ROWS) MinHash values."""
    from datasketch import MinHash  # scipy.integrate, a quarter of what a worker that looks for none would import

    signatures = np.empty((len(texts), BANDS * ROWS), dtype=np.uint64)
    contents = ([shingle.encode() for shingle in shingles(text)] for text in texts)
    for at, sketch in enumerate(MinHash.generator(contents, num_perm=BANDS * ROWS, hashfunc=zlib.crc32)):
        signatures[at] = sketch.hashvalues
    return signatures


def _candidates(signatures: NDArray[np.uint64]) -> set[tuple[int, int]]:
    """Pairs i < j whose signatures agree in a whole band.

    Bands are sorted one after the other instead of being kept in hash tables (datasketch.MinHashLSH): for 180,000
    texts that is 12 MB at a time instead of about a gigabyte.
    """
    pairs: set[tuple[int, int]] = set()
    for band in range(BANDS if len(signatures) else 0):
        rows = signatures[:, band * ROWS : (band + 1) * ROWS]
        order = np.lexsort(rows.T)  # stable: equal rows stay in the order of the texts
        starts = np.flatnonzero(np.r_[True, (rows[order][1:] != rows[order][:-1]).any(axis=1)])
        for bucket in np.split(order, starts[1:]):
            if len(bucket) > 1:
                pairs.update(_bucket_pairs(bucket.tolist()))
    return pairs


def _bucket_pairs(bucket: list[int]) -> Iterator[tuple[int, int]]:
    if len(bucket) <= COMPARED:
        yield from combinations(bucket, 2)
        return
    for at, second in enumerate(bucket):
        for first in bucket[: min(at, COMPARED)]:
            yield first, second
