"""Writes docs/sets.md from the catalogue of public sets.

    python scripts/make_sets_page.py

tests/test_docs.py fails while the page differs from what this script would write.
"""

from collections.abc import Iterator
from pathlib import Path

from clinfit.data.catalog.describe import described, splits_of
from clinfit.data.catalog.sets import CATALOG

PAGE = Path(__file__).parents[1] / "docs" / "sets.md"

HEAD = """\
# Public sets

Made from the catalogue by `python scripts/make_sets_page.py`; edit `src/clinfit/data/catalog/`, not this page.

A study names a set as `path: catalog:NAME`, and reads the same records as everybody who names it: files are taken only
with the checksum that stands here. Exceptions are UNCHECKED_SETS: the checksums of some files
are not known, and these are taken unchecked from a revision that moves, so that two people may read other records;
`clinfit data get` and the study folder tell the checksums that were found. Files lie in the folder that the setting
`CLINFIT_DATA` names, else in `~/.cache/clinfit/data` (in the folder `data` of `CLINFIT_CACHE`, where that is set). None
of them is part of clinfit.

```text
clinfit data list                     all sets, and whether their files are here
clinfit data show pubmedqa            what stands below
clinfit data get pubmedqa             checks the files that are here, offline
clinfit data get pubmedqa --online    fetches what is not, goes on where a broken line ended, compares known checksums
```

- **Splits.** A set that was published with a split has it in the column `split`; `split: {column: split,
  validation_of_train: 0.2}` takes it, with validation out of training where there is none. Where none was published
  and one is needed, it is made from the SHA-256 of each question or disease (60, 20, 20 %), and called *by hash*: the
  same for everybody, and comparable among clinfit's studies only. A study that does not use a published split is told
  so.
- **What is left out.** Test records all stay, so that figures are those of the published test. What stands in test too,
  or cannot be read, is left out of training and validation, and counted: here, and in `data/<task>.json` of the study
  folder (`sets`), with the checksums of the files as they were found.
- **Beware.** Every number below was counted in the files, and a test counts it again, unless *Records* says that the
  files were not at hand.
- **Pretraining.** Whether a base has seen a set before is told as a finding wherever the two meet. What `clinfit/tiny`
  saw is known; what other bases saw is not, and is told as not known.
- Sets whose answer is a text (a summary, an answer, a section of a note) are for tasks of kind `generation`.
"""


def page() -> str:
    unchecked = [name for name, entry in CATALOG.items() if not all(file.sha256 for file in entry.files)]
    head = HEAD.replace("UNCHECKED_SETS", " and ".join(f"`{name}`" for name in unchecked))
    return "\n".join([head, *_table(), *(line for name in CATALOG for line in _section(name))])


def _table() -> Iterator[str]:
    yield "| set | what | records | splits |"
    yield "|---|---|---|---|"
    for name, entry in CATALOG.items():
        yield f"| [`{name}`](#{name}) | {entry.title} | {entry.records:,} | {splits_of(entry) or 'none'} |"
    yield ""


def _section(name: str) -> Iterator[str]:
    entry = CATALOG[name]
    yield from (f"## {name}", "", f"{entry.title}.", "")
    for heading, lines in described(name, entry).items():
        if len(lines) == 1:
            yield f"- **{heading}**: {lines[0]}"
        else:
            yield f"- **{heading}**:"
            yield from (f"  - {line}" for line in lines)
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(PAGE.parents[1])}")
