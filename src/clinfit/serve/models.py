"""The models of a service: each task of each pack, under a name, loaded once and tested before anybody asks."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.files import followed
from clinfit.models.base import Heard
from clinfit.models.engines import Wanted
from clinfit.packs.answer import Answer
from clinfit.packs.content import Content, read_content
from clinfit.packs.decide import Served
from clinfit.packs.engines import use_engine
from clinfit.packs.lean import lean_pack
from clinfit.packs.read import Pack, load_pack
from clinfit.study.tasks import Extraction, Task

if TYPE_CHECKING:
    from clinfit.models.bases.pretrained import Bases

#: Families that stand on a base.
NEURAL = ("causal", "encoder", "mlx")


@dataclass(frozen=True, eq=False)
class ServedModel:
    """One task of one pack. name: `<run>/<task>`, such as `tiny-seed42/fall`; with `@` and the beginning of the pack's
    SHA-256 where a pack that was named before has that name, as the new one and the old one while both are served."""

    name: str
    pack: Pack
    task_name: str

    @property
    def served(self) -> Served:
        return self.pack.tasks[self.task_name]

    @property
    def task(self) -> Task:
        return self.served.task

    @property
    def kind(self) -> str:
        return self.task.kind

    @property
    def labels(self) -> Sequence[str]:
        return self.task.labels

    @property
    def fields(self) -> Sequence[str]:
        """Of extraction."""
        return list(self.task.fields) if isinstance(self.task, Extraction) else ()

    @property
    def has_sets(self) -> bool:
        return self.served.has_sets

    @property
    def sha256(self) -> str:
        """The pack's identity."""
        return self.pack.content.sha256

    @property
    def whole_names(self) -> tuple[str, str]:
        """By which it is asked for, whatever else is served."""
        run = self.pack.content.run
        return f"{run}/{self.task_name}", f"{self.pack.content.study.name}/{run}/{self.task_name}"

    @property
    def short_names(self) -> tuple[str, str, str]:
        """By which it is asked for where no other model has them."""
        run = self.pack.content.run
        return self.task_name, run, f"{self.pack.content.study.name}/{run}"

    @property
    def queue(self) -> str:
        """What chunks of jobs for this model are filed under: only a worker with the same pack may answer them."""
        return f"{self.sha256[:16]}:{self.task_name}"

    def answer(self, records: Sequence[Record], heard: Heard | None = None) -> list[Answer]:
        return self.pack.answer(self.task_name, records, heard=heard)


class Models:
    """The models by name, in the order of the packs and their tasks."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        """Raises ClinfitError where a pack is given twice."""
        given = Counter((pack.content.sha256, pack.content.run) for pack in packs)
        if twice := [run for (_, run), times in given.items() if times > 1]:
            raise ClinfitError(f"a pack of {twice[0]} is named twice", expected="each pack once", fix="name it once")
        runs = Counter(run for run, _ in {(pack.content.run, pack.content.study.name) for pack in packs})
        self.by_name: dict[str, ServedModel] = {}
        for pack in packs:
            run, study = pack.content.run, pack.content.study.name
            prefix = run if runs[run] == 1 else f"{study}/{run}"
            for task in pack.tasks:
                name = f"{prefix}/{task}"
                if name in self.by_name:
                    name += f"@{pack.content.sha256[:8]}"
                self.by_name[name] = ServedModel(name, pack, task)

    def all(self) -> list[ServedModel]:
        return list(self.by_name.values())

    def find(self, asked: str | None) -> ServedModel | None:
        """The model of this name; None where there is none, or where several could be meant.

        asked: its name, with or without its study, or its task or run where only one has it, all of them with `@` and
        the beginning of the pack's SHA-256 where nothing else will do; None where there is one model only. Of packs
        with the same names the one that was named first is meant where no SHA-256 is.
        """
        if asked in self.by_name:
            return self.by_name[asked]
        name, _, digest = (asked or "").partition("@")
        found = [
            model for model in self.all() if (model.sha256.startswith(digest) if digest else "@" not in model.name)
        ]
        if asked is not None:
            found = [model for model in found if name in model.whole_names] or [
                model for model in found if name in model.short_names
            ]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True)
class Computing:
    """What is to compute the answers (packs/engines.py). change: the largest of a probability that is allowed; None:
    what the pack declares."""

    engine: Wanted = "torch"
    change: float | None = None


#: torch, as every pack was evaluated.
REFERENCE = Computing()


#: What packs say of themselves, by their folders.
Contents = Mapping[Path, Content]


def read_contents(folders: Sequence[Path]) -> Contents:
    """Raises ClinfitError for a folder that is no pack."""
    return {folder: read_content(followed(folder)) for folder in folders}


def load_models(
    folders: Sequence[Path],
    say: Callable[[str], None],
    computing: Computing = REFERENCE,
    contents: Contents | None = None,
) -> Models:
    """All packs, with one copy of a base that several stand on, after their self-tests, which warm them up as well.

    contents: of `read_contents`, where these were read before.

    Raises ClinfitError for a folder that is no pack, for a pack that does not answer as where it was written, and where
    another engine than torch was named and may not answer.
    """
    contents = read_contents(folders) if contents is None else contents
    encoders = [folder for folder in folders if contents[folder].model.family == "encoder"]
    other = computing.engine != "torch"
    packs = {folder: _lean(folder, contents[folder].run, computing, say) for folder in encoders if other}
    rest = [folder for folder in folders if packs.get(folder) is None]
    bases = _new_bases() if any(contents[folder].model.family in NEURAL for folder in rest) else None
    for folder in rest:
        pack = packs[folder] = load_pack(folder, bases)
        _tell(pack, (tested := pack.self_test()).lines(), say)
        tested.check()
        if other and folder not in encoders:
            _tell(pack, use_engine(pack, computing.engine, computing.change).lines, say)
    models = Models([pack for folder in folders if (pack := packs[folder]) is not None])
    if not models.all():
        raise ClinfitError("the packs answer no task", expected="a pack with a task that is not withheld")
    return models


def _lean(folder: Path, run: str, computing: Computing, say: Callable[[str], None]) -> Pack | None:
    """The pack with another engine; None where torch is to answer."""
    found = lean_pack(folder, computing.engine, computing.change)
    for line in (*(found.tested if found.pack else ()), *found.lines):
        say(f"{run}: {line}")
    return found.pack


def _tell(pack: Pack, lines: Sequence[str], say: Callable[[str], None]) -> None:
    for line in lines:
        say(f"{pack.content.run}: {line}")


def _new_bases() -> "Bases":
    """Imported only where a pack needs torch anyway."""
    from clinfit.models.bases.pretrained import Bases

    return Bases()
