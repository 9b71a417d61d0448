"""Agreement of the labels that titles give (catalogue set `cancer-types`) with those of a labelled collection.

    CLINFIT_DATA=<data mirror> python scripts/measure_title_labels.py

The collection (`mirna-cancer-types`) holds abstracts on colorectal or on pancreatic cancer; its makers said which by
the file that an abstract stands in. Titles are read by the lexicon `cancer-types`, exactly as the labels of the set
`cancer-types` are, and abstracts beside them, as the rule `lexicon` reads them. Prints what docs/guide.md shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from clinfit.data.catalog.cancer_types import COLLECTED, title_types
from clinfit.data.catalog.sets import read_catalog


@dataclass(frozen=True)
class Agreement:
    """Of one type: abstracts that the rule gives it, that the collection does, and that both do."""

    type: str
    ruled: int
    collected: int
    both: int

    @property
    def row(self) -> str:
        precision = f"{self.both / self.ruled:.1%}" if self.ruled else "none"
        recall = f"{self.both / self.collected:.1%}" if self.collected else "none"
        return f"| {self.type} | {self.collected} | {self.ruled} | {precision} | {recall} |"


def agreements(named: Sequence[str], collected: Sequence[str]) -> list[Agreement]:
    """named: the types that the rule gives each abstract, joined by |. collected: the one of the collection."""
    sets = [set(cell.split("|")) - {""} for cell in named]
    return [
        Agreement(
            label,
            sum(label in found for found in sets),
            collected.count(label),
            sum(label in found and label == true for found, true in zip(sets, collected, strict=True)),
        )
        for label in sorted(set(collected))
    ]


def outcomes(named: Sequence[str], collected: Sequence[str]) -> dict[str, int]:
    """Abstracts by what the rule says: the type of the collection alone, with others, others alone, none."""
    counts: dict[str, int] = dict.fromkeys(("the type alone", "the type and others", "others alone", "none"), 0)
    for cell, true in zip(named, collected, strict=True):
        found = set(cell.split("|")) - {""}
        others = bool(found - {true})
        counts[
            ("the type and others" if others else "the type alone")
            if true in found
            else ("others alone" if others else "none")
        ] += 1
    return counts


def main() -> None:
    table = read_catalog("mirna-cancer-types")
    collected = [COLLECTED[name] for name in table["cancer"]]
    for what in ("title", "abstract"):
        named = title_types(list(table[what]))
        print(f"By the {what}:\n\n| type | of the collection | by the rule | precision | recall |")
        print("|---|---|---|---|---|")
        print("\n".join(found.row for found in agreements(named, collected)))
        print(", ".join(f"{words}: {count}" for words, count in outcomes(named, collected).items()), "\n")
    silent = read_catalog("cancer-abstracts")
    other = silent[silent["label"] == "0"]
    print(f"Titles not on cancer that name a type: {sum(map(bool, title_types(list(other['title']))))} of {len(other)}")


if __name__ == "__main__":
    main()
