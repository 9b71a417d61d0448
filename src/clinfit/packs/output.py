"""The files that answers are written to."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clinfit.errors import ClinfitError
from clinfit.files import new_file, write_parquet

OUTPUTS = (".csv", ".tsv", ".jsonl", ".parquet")


def check_output(path: Path, overwrite: bool, source: Path, suffixes: Sequence[str] = OUTPUTS) -> None:
    """Refuse an output that cannot be written, before the work is done."""
    if path.suffix not in suffixes:
        raise ClinfitError(
            f"--output {path} ends in {path.suffix!r}", expected=f"a name ending in {', '.join(suffixes)}"
        )
    if path.is_dir():
        raise ClinfitError(f"--output {path} is a folder", expected="a file name")
    if path.exists() and source.exists() and path.samefile(source):
        raise ClinfitError(f"--output {path} is the input file", expected="another name", fix="give another --output")
    if path.exists() and not overwrite:
        raise ClinfitError(f"{path} exists already", fix="give another name, or add --overwrite")


def write_table(table: pd.DataFrame, path: Path) -> None:
    """The table in the format of the file's suffix, whole or not at all; floats keep all their digits."""
    if path.suffix == ".parquet":
        write_parquet(path, table)
        return
    with new_file(path) as temporary:
        if path.suffix == ".jsonl":
            cells = table.astype(object).where(table.notna(), None)  # a missing one is null
            rows = cells.to_dict(orient="records")  # to_json would round the probabilities
            temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        else:
            table.to_csv(temporary, index=False, sep="\t" if path.suffix == ".tsv" else ",")
