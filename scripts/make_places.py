"""Writes the list of places in docs/architecture.md: every folder and file of the package with the first words of its
docstring, so that the page cannot name what is not there.

    python scripts/make_places.py

tests/test_docs.py fails while the page differs from what this script would write.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
SOURCE = ROOT / "src" / "clinfit"
BEGIN, END = "<!-- places: made by scripts/make_places.py -->\n", "<!-- end of places -->\n"


def says(path: Path) -> str:
    """What a file says of itself: its docstring up to the first full stop, colon included, on one line."""
    words = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split())
    return re.split(r"\.(?:\s|$)", words, maxsplit=1)[0].replace("|", "\\|")


def files(folder: Path) -> list[Path]:
    """The files of a folder, by name; what `__init__.py` says is the folder's own."""
    own = [folder / "__init__.py"] if folder != SOURCE else []
    return [path for path in sorted(folder.glob("*.py")) if path not in own]


def folders() -> list[Path]:
    """The package and the folders below it that hold Python files, parents first."""
    return [SOURCE, *sorted(path for path in SOURCE.rglob("*/") if path.is_dir() and any(path.glob("*.py")))]


def places() -> str:
    """The table: a bold row for each folder, then its files."""
    rows = ["| place | what it says of itself |", "|---|---|"]
    for folder in folders():
        name = folder.relative_to(SOURCE).as_posix()
        rows += [f"| **{name}/** | {says(folder / '__init__.py')} |"] if name != "." else []
        rows += [f"| `{path.relative_to(SOURCE).as_posix()}` | {says(path)} |" for path in files(folder)]
    return "\n".join(rows) + "\n"


def page() -> str:
    """The whole page with its list renewed."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    return head + BEGIN + "\n" + places() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
