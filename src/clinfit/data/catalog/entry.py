"""What the catalogue says of a public set: where it comes from, what it holds, and what to beware of.

Each set has a file of its own in this folder: how its files become rows, and one `CatalogEntry`.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from clinfit.data.records import Split

#: What a study writes before the name of a set.
CATALOG_PREFIX = "catalog:"


@dataclass(frozen=True)
class CatalogFile:
    """One file of a set: its place in the mirror, its public address and its checksum.

    sha256: of the file's bytes; of an archive, of what it holds (`files.digest`), so that anyone can pack it; None
    where it is not known, so that nothing can be compared and what was found is told. members: of a file that is packed
    from a published archive (the source), a pattern of the names there, with the group `name` for those here. extract:
    what the set needs of it, which is taken where the mirror holds that.
    """

    path: str
    source: str
    sha256: str | None
    members: str | None = None
    extract: "CatalogFile | None" = None


@dataclass(frozen=True)
class CatalogEntry:
    """One public set.

    source: where its makers publish it. read: the set's checked files, in the order of `files`, to one table of rows;
    rows that it leaves out are counted by `leave_out`. columns: name -> what stands there; a name that ends in `*` is
    that of several. records: rows that `read` gives. splits: records of each split, where the set has the column
    `split`. official: whether that split is the one that its makers published. division: how it is divided, or how a
    study should divide it. group: the column that must not straddle splits, where one row is not one group. traps: what
    is easily done wrong with it, a plain sentence each, with counts that the tests verify, and what is done about it.
    counted: whether records and traps were counted in the files; else they are what its makers say, and the reader was
    tried on made-up files. corpus: what its documents are taken from, where another set of the catalogue is made of the
    same ones in other files. pretrained_on: base -> what its makers say that it saw of this set.
    """

    title: str
    licence: str
    source: str
    citation: str
    read: Callable[[Sequence[Path]], pd.DataFrame]
    columns: Mapping[str, str]
    records: int
    division: str
    splits: Mapping[str, int] = field(default_factory=dict)
    official: bool = False
    group: str | None = None
    traps: tuple[str, ...] = ()
    counted: bool = True
    corpus: str | None = None
    pretrained_on: Mapping[str, str] = field(default_factory=dict)
    files: tuple[CatalogFile, ...] = ()


def table_of(rows: Sequence[Sequence[object]], columns: Sequence[str]) -> pd.DataFrame:
    """Rows of Python's own values as a table."""
    return pd.DataFrame(rows, columns=pd.Index(list(columns)), dtype=object)


def hashed_splits(keys: Sequence[str]) -> list[Split]:
    """60 % train, 20 % validation, 20 % test, by the SHA-256 of each key.

    For sets without a published split: everybody gets the same one, whatever the order or number of the rows, and rows
    with one key are in one split.
    """
    shares = [int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32 for key in keys]
    return ["train" if share < 0.6 else "validation" if share < 0.8 else "test" for share in shares]


def read_csv(path: Path) -> pd.DataFrame:
    """A csv file as text cells; nothing is taken for missing here."""
    return pd.read_csv(path, dtype=object, na_filter=False)


def leave_out(table: Any, reasons: Mapping[str, Any]) -> pd.DataFrame:
    """The rows to which no reason holds, numbered anew; `left_out` tells how many went for which, the first counts.

    table: a DataFrame, of whose selections its types know too little. reasons: reason -> (n,) whether it holds.
    """
    gone = pd.Series(False, index=table.index)
    counts: dict[str, int] = {}
    for reason, holds in reasons.items():
        now = pd.Series(list(holds), index=table.index) & ~gone
        counts[reason] = int(now.sum())
        gone |= now
    kept = table.loc[~gone].reset_index(drop=True)
    kept.attrs["left out"] = counts
    return kept


def left_out(table: pd.DataFrame) -> dict[str, int]:
    """Reason -> rows of the set's files that its reader left out."""
    return table.attrs.get("left out", {})


@dataclass(frozen=True)
class SetNote:
    """What a study folder says of a set that was read.

    files: path below the mirror -> SHA-256 as found. records: rows of the set. left_out: reason -> rows of its files
    that are none of them.
    """

    name: str
    title: str
    files: dict[str, str]
    records: int
    left_out: dict[str, int]


def note_of(table: pd.DataFrame) -> SetNote | None:
    """The note of a table that is from the catalogue."""
    return table.attrs.get("set")
