"""What language models read on test, beside the metrics that every system has."""

import numpy as np
import pandas as pd

from clinfit.evaluation.answers import Floats, numbers
from clinfit.evaluation.context import Measured, MeasuredContext, Outcome
from clinfit.evaluation.system_results import CutDict, LanguageDict, PiecesDict
from clinfit.evaluation.systems import System

#: Items that are named as those that lost most of their text.
MOST_CUT = 200


def language(context: MeasuredContext, item: Measured) -> Outcome:
    """Of language models."""
    return (language_facts(rows_on_test(context.table, item.system)) if item.system.language_model else None), []


def language_facts(rows: pd.DataFrame) -> LanguageDict:
    """Spread of prompt lengths and label mass, and the items whose text was shortened; rows: of one system on test, in
    a repeated cross-validation several an item, of which the first tells what was read of it."""
    items = rows.drop_duplicates("id")
    dropped = numbers(items, "dropped_tokens") if "dropped_tokens" in items else np.array([])
    known = dropped[np.isfinite(dropped)]
    return LanguageDict(
        n=len(items),
        prompt_tokens=quartiles(numbers(items, "prompt_tokens")),
        label_mass=quartiles(numbers(rows, "label_mass")) if "label_mass" in rows else None,
        shortened=int((known > 0).sum()) if len(known) else None,
        cut=_cut(items) if len(known) else [],
        pieces=_in_pieces(items),
    )


def _cut(rows: pd.DataFrame) -> list[CutDict]:
    """The items that lost text, by tokens lost, then by id."""
    known = zip(rows["id"].astype(str), numbers(rows, "dropped_tokens"), numbers(rows, "prompt_tokens"), strict=True)
    lost = sorted((item for item in known if item[1] > 0), key=lambda item: (-item[1], item[0]))
    return [
        CutDict(id=id, dropped_tokens=int(dropped), prompt_tokens=int(read) if np.isfinite(read) else None)
        for id, dropped, read in lost[:MOST_CUT]
    ]


def _in_pieces(rows: pd.DataFrame) -> PiecesDict | None:
    """None where no record may be read in pieces."""
    pieces, rounds = (numbers(rows, name) if name in rows else np.array([]) for name in ("pieces", "rounds"))
    known = np.isfinite(pieces)
    if not known.any():
        return None
    cut = numbers(rows, "cut_pieces")[known] if "cut_pieces" in rows else np.array([np.nan])
    return PiecesDict(
        records=int((pieces[known] > 0).sum()),
        pieces=int(pieces[known].sum()),
        cut=int(cut.sum()) if np.isfinite(cut).all() else None,
        most_rounds=int(rounds[known].max()),
    )


def rows_on_test(table: pd.DataFrame, system: System) -> pd.DataFrame:
    """The system's rows of the test split, as they stand in the table."""
    same = (
        (table["model"] == system.model)
        & (table["seed"] == system.seed)
        & (table["stage"] == system.stage)
        & (table["split"] == "test")
    )
    return table.loc[same]


def quartiles(values: Floats) -> list[float] | None:
    """Minimum, quartiles and maximum of the known values; None when there are none."""
    known = values[np.isfinite(values)]
    return np.quantile(known, [0, 0.25, 0.5, 0.75, 1]).tolist() if len(known) else None
