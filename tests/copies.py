"""Copies of a table as other programs would make them: read by pandas in all its ways, and saved in every format."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

READ: dict[str, Callable[[Path], pd.DataFrame]] = {
    "types guessed": lambda path: pd.read_csv(path),
    "all text": lambda path: pd.read_csv(path, dtype=str),
    "nullable types": lambda path: pd.read_csv(path, dtype_backend="numpy_nullable"),
    "arrow types": lambda path: pd.read_csv(path, dtype_backend="pyarrow"),
    "objects": lambda path: pd.read_csv(path).astype(object),
    "categories": lambda path: pd.read_csv(path).astype("category"),
    "empty cells kept": lambda path: pd.read_csv(path, keep_default_na=False),
}
SAVED: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    ".xlsx": lambda table, path: table.to_excel(path, index=False),
    ".jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    ".parquet": lambda table, path: table.to_parquet(path, index=False),
}


def copies(path: Path) -> Iterator[tuple[str, pd.DataFrame | Path]]:
    """What each copy is, and the table or the file. path: a csv file."""
    for how, read in READ.items():
        yield how, read(path)
    for suffix, save in SAVED.items():
        for how in ("types guessed", "all text"):
            copy = path.with_name(f"copy{suffix}")
            save(READ[how](path), copy)
            yield f"{how}, saved as {suffix}", copy
    yield "read back from xlsx", pd.read_excel(path.with_name("copy.xlsx"))
