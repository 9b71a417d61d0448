"""The catalogue as text: one line a set for the terminal, and all that is known of one, for terminal and page."""

from collections.abc import Mapping

from clinfit.data.catalog.entry import CatalogEntry
from clinfit.data.catalog.files import mirror_folder
from clinfit.data.catalog.sets import CATALOG, kin

#: What stands in place of a checksum that is not known.
UNCHECKED = "checksum not known, so that it is taken unchecked from a revision that moves"


def is_here(entry: CatalogEntry) -> bool:
    """Whether all files of a set lie on this disk; their checksums are compared when they are read."""
    folder = mirror_folder()
    return all(
        (folder / file.path).is_file() or (file.extract is not None and (folder / file.extract.path).is_file())
        for file in entry.files
    )


def listed() -> list[list[str]]:
    """Name, whether it is here, records, splits and title of every set."""
    return [
        [name, "yes" if is_here(entry) else "no", f"{entry.records:,}", splits_of(entry), entry.title]
        for name, entry in CATALOG.items()
    ]


def splits_of(entry: CatalogEntry) -> str:
    """`train 500, test 500 (official)`, or nothing."""
    if not entry.splits:
        return ""
    counts = ", ".join(f"{split} {count:,}" for split, count in entry.splits.items())
    return f"{counts} ({'official' if entry.official else 'by hash'})"


def described(name: str, entry: CatalogEntry) -> Mapping[str, list[str]]:
    """Heading -> lines of text."""
    counted = "" if entry.counted else "; so its makers say: the files were not at hand when this was written"
    files = [
        f"{file.path}, {f'SHA-256 {file.sha256}' if file.sha256 else UNCHECKED}, from {file.source}"
        for file in entry.files
    ]
    others = kin(name)
    pretrained = [f"{base} saw {seen}." for base, seen in entry.pretrained_on.items()]
    return {
        "In a study": [f"path: catalog:{name}"],
        "Source": [entry.source],
        "Citation": [entry.citation],
        "Licence": [entry.licence],
        "Records": [f"{entry.records:,}{counted}"],
        "Splits": [*filter(None, [splits_of(entry)]), entry.division],
        **({"Group": [f"{entry.group}: {entry.columns[entry.group]}"]} if entry.group else {}),
        **(
            {"Same origin": [f"{', '.join(others)}: made of the same files or documents, in part or whole"]}
            if others
            else {}
        ),
        "Columns": [f"{column}: {meaning}" for column, meaning in entry.columns.items()],
        "Beware": list(entry.traps),
        **({"Pretraining": pretrained} if pretrained else {}),
        "Files": files or ["none: it comes with a package that is installed"],
    }
