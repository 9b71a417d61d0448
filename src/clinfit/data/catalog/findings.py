"""What a reader must know of a study on public sets: the published split that it does not use, rows that belong
together, and whether a base has seen the set before."""

from collections.abc import Iterable, Iterator

from clinfit.data.catalog.entry import CATALOG_PREFIX, CatalogEntry
from clinfit.data.catalog.sets import entry_of
from clinfit.findings import Finding
from clinfit.study.models import ModelSpec, Neural
from clinfit.study.remote import Remote
from clinfit.study.tasks import Task

#: Bases whose training texts are all known: what a set does not list under their name, they have not seen.
DOCUMENTED_BASES = frozenset({"clinfit/tiny"})


def sets_of(task: Task) -> dict[str, CatalogEntry]:
    """The sets of the catalogue that a task reads, by name."""
    sources = [task.data.path] if task.data.path is not None else [*(task.data.files or {}).values()]
    names = [source.removeprefix(CATALOG_PREFIX) for source in sources if source.startswith(CATALOG_PREFIX)]
    return {name: entry_of(name) for name in dict.fromkeys(names)}


def set_findings(task: Task) -> Iterator[Finding]:
    """A published split that is not used, and a column of what belongs together that is not named."""
    for name, entry in sets_of(task).items():
        if entry.official and not _official_split(task, entry):
            counts = ", ".join(f"{split} {count:,}" for split, count in entry.splits.items())
            yield Finding(
                "warn",
                "official-split-unused",
                f"catalog:{name} was published with a split, and this study divides the records by itself",
                counts,
                "its figures cannot be set beside published ones: split: {column: split, validation_of_train: 0.2}",
            )
        if entry.group is not None and task.data.group is None:
            yield Finding(
                "warn",
                "group-not-declared",
                f"several rows of catalog:{name} belong together, and no `group` is declared",
                f"column {entry.group}: {entry.columns[entry.group]}",
                f"write group: {entry.group}, so that validation holds none of training and intervals are wide enough",
            )


def contamination(task: Task, models: Iterable[ModelSpec]) -> Iterator[Finding]:
    """For each base and each set of the task, what is known of its having seen the set in pretraining.

    Where it has seen a part, that is a note with the published split, whose test items the sentence of the set speaks
    of, and a warning where a study divides the records by itself, so that any of them may be tested.
    """
    bases: dict[str, list[str]] = {}
    for model in models:
        if isinstance(model, Neural):
            bases.setdefault(model.base, []).append(model.name)
        elif isinstance(model, Remote):
            bases.setdefault(f"{model.model} at {model.url}", []).append(model.name)
    for name, entry in sets_of(task).items():
        for base, users in bases.items():
            seen = entry.pretrained_on.get(base)
            if seen is not None:
                official = _official_split(task, entry)
                yield Finding(
                    "info" if official else "warn",
                    "contamination-known",
                    f"{base} was trained on a part of catalog:{name}",
                    f"{', '.join(users)}: it saw {seen}",
                    "compare with it before fine-tuning, and with models that have not seen it"
                    if official
                    else "test on the published split, or leave the models on this base out",
                )
            elif base not in DOCUMENTED_BASES:
                yield Finding(
                    "info",
                    "contamination-unknown",
                    f"it is not known whether {base} saw catalog:{name} in pretraining",
                    f"{', '.join(users)}: the set is public, and the base's training texts are not listed",
                    "trust what fine-tuning adds more than the level, and confirm it on records that were never public",
                )


def _official_split(task: Task, entry: CatalogEntry) -> bool:
    return bool(entry.splits) and task.data.split.column == "split"
