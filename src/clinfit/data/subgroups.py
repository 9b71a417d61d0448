"""The columns by which results are shown: who a record is about, never what a model sees.

They travel beside the records, so that neither the data's fingerprint nor the identity of a trained model depends on
them: the same model can be looked at by other groups without training it again.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from clinfit.data.values import as_category, as_number, cells_of, read_cells
from clinfit.errors import ClinfitError
from clinfit.study.evaluation import Subgroup

#: The group of records that have no value.
MISSING = "missing"

#: More groups of one column than this cannot be read, and small ones point to a person.
MOST_GROUPS = 20

#: A value of more characters than this is no name of a group.
LONGEST_NAME = 60


def read_subgroups(
    rows: pd.DataFrame, columns: Sequence[Subgroup], ids: Sequence[str], kept: Sequence[int], id_column: str | None
) -> pd.DataFrame:
    """The kept rows' groups: `id`, and one column of group names for each subgroup.

    Raises ClinfitError for a column that is named twice or is the id, values that cannot be read, and more than
    MOST_GROUPS groups.
    """
    names = [subgroup.column for subgroup in columns]
    for name in names:
        if name in ("id", id_column) or names.count(name) > 1:
            raise ClinfitError(
                f"evaluation.subgroups: column {name!r} "
                + ("is named twice" if names.count(name) > 1 else "tells every record apart"),
                expected="columns that each put records into a few groups",
                fix=f"take {name} out of evaluation.subgroups",
            )
    groups = {subgroup.column: _groups(cells_of(rows[subgroup.column]), subgroup, ids) for subgroup in columns}
    return pd.DataFrame(
        {"id": [ids[at] for at in kept]} | {name: [values[at] for at in kept] for name, values in groups.items()}
    )


def bin_names(edges: Sequence[float]) -> list[str]:
    """[40, 65] gives below 40, 40 to 65, 65 and above; a value at an edge belongs to the group above it."""
    between = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [f"below {edges[0]:g}", *between, f"{edges[-1]:g} and above"]


def in_order(subgroup: Subgroup, groups: Sequence[str]) -> list[str]:
    """The distinct groups as a reader expects them: bins from low to high, names by alphabet, missing last."""
    present = set(groups)
    named = sorted(present - {MISSING}) if subgroup.bins is None else bin_names(subgroup.bins)
    return [name for name in [*named, MISSING] if name in present]


def _groups(cells: Sequence[object], subgroup: Subgroup, ids: Sequence[str]) -> list[str]:
    if subgroup.bins is not None:
        return _binned(cells, subgroup.column, subgroup.bins, ids)
    values = read_cells(
        cells, as_category, subgroup.column, ids, expected="one value a cell", fix="flatten the column before"
    )
    groups = [MISSING if value is None else value for value in values]
    distinct = set(groups)
    if len(distinct) > MOST_GROUPS:
        raise ClinfitError(
            f"subgroup column {subgroup.column!r} has {len(distinct)} different values",
            expected=f"at most {MOST_GROUPS} groups: smaller ones show nothing and may point to a person",
            fix=f"for a number give bins, such as {{column: {subgroup.column}, bins: [40, 65]}}; "
            "else group the values in the file",
        )
    if any(len(value) > LONGEST_NAME for value in distinct):
        raise ClinfitError(
            f"subgroup column {subgroup.column!r} holds values of more than {LONGEST_NAME} characters",
            expected="short names of groups, which the report can show",
            fix="name a column of categories; running text is never shown",
        )
    return groups


def _binned(cells: Sequence[object], column: str, edges: Sequence[float], ids: Sequence[str]) -> list[str]:
    if any(low >= high for low, high in pairwise(edges)) or len(edges) >= MOST_GROUPS:
        raise ClinfitError(
            f"subgroup column {column!r} has the bins {list(edges)}",
            expected=f"at most {MOST_GROUPS - 1} edges from low to high",
            fix=f"bins: {sorted(set(edges))[: MOST_GROUPS - 1]}",
        )
    numbers = read_cells(
        cells, as_number, column, ids, expected="numbers, since the study gives bins", fix="correct these cells"
    )
    names = bin_names(edges)
    return [MISSING if x is None else names[int(np.searchsorted(edges, x, side="right"))] for x in numbers]
