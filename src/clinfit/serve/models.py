"""The models of a service: each task of each pack, under a name, loaded once and tested before anybody asks."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.files import followed
from clinfit.models.engines import Wanted
from clinfit.packs.answer import Answer
from clinfit.packs.content import read_content
from clinfit.packs.decide import Served
from clinfit.packs.engines import use_engine
from clinfit.packs.read import Pack, load_pack
from clinfit.study.tasks import Task

if TYPE_CHECKING:
    from clinfit.models.bases.pretrained import Bases

#: Families that stand on a base.
NEURAL = ("causal", "encoder", "mlx")


@dataclass(frozen=True, eq=False)
class ServedModel:
    """One task of one pack. name: `<run>/<task>`, such as `tiny-seed42/fall`."""

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
    def sha256(self) -> str:
        """The pack's identity."""
        return self.pack.content.sha256

    @property
    def queue(self) -> str:
        """What chunks of jobs for this model are filed under: only a worker with the same pack may answer them."""
        return f"{self.sha256[:16]}:{self.task_name}"

    def answer(self, records: Sequence[Record]) -> list[Answer]:
        return self.pack.answer(self.task_name, records)


class Models:
    """The models by name, in the order of the packs and their tasks."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        """Raises ClinfitError where one pack is given twice."""
        runs = Counter(pack.content.run for pack in packs)
        self.by_name: dict[str, ServedModel] = {}
        for pack in packs:
            run, study = pack.content.run, pack.content.study.name
            prefix = run if runs[run] == 1 else f"{study}/{run}"
            for task in pack.tasks:
                name = f"{prefix}/{task}"
                if name in self.by_name:
                    raise ClinfitError(
                        f"two packs are called {prefix}",
                        expected="packs of models with names of their own",
                        fix="serve them by two services, or give their studies different names",
                    )
                self.by_name[name] = ServedModel(name, pack, task)

    def all(self) -> list[ServedModel]:
        return list(self.by_name.values())

    def find(self, asked: str | None) -> ServedModel | None:
        """The model of this name; None where there is none, or where several could be meant.

        asked: its name, or its task or run where only one has it, all of them with `@` and the beginning of the pack's
        SHA-256 where nothing else will do; None where there is one model only.
        """
        name, _, digest = (asked or "").partition("@")
        found = [model for model in self.all() if model.sha256.startswith(digest)]
        if name in {model.name for model in found}:
            return self.by_name[name]
        if asked is not None:
            found = [model for model in found if name in (model.task_name, model.name.rpartition("/")[0])]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True)
class Computing:
    """What is to compute the answers (packs/engines.py). change: the largest of a probability that is allowed; None:
    what the pack declares."""

    engine: Wanted = "torch"
    change: float | None = None


#: torch, as every pack was evaluated.
REFERENCE = Computing()


def load_models(folders: Sequence[Path], say: Callable[[str], None], computing: Computing = REFERENCE) -> Models:
    """All packs, with one copy of a base that several stand on, after their self-tests, which warm them up as well.

    Raises ClinfitError for a folder that is no pack, for a pack that does not answer as where it was written, and where
    another engine than torch was named and may not answer.
    """
    contents = [read_content(followed(folder)) for folder in folders]
    bases = _new_bases() if any(content.model.family in NEURAL for content in contents) else None
    packs = []
    for folder in folders:
        pack = load_pack(folder, bases)
        tested = pack.self_test()
        for line in tested.lines():
            say(f"{pack.content.run}: {line}")
        tested.check()
        for line in use_engine(pack, computing.engine, computing.change):
            say(f"{pack.content.run}: {line}")
        packs.append(pack)
    models = Models(packs)
    if not models.all():
        raise ClinfitError("the packs answer no task", expected="a pack with a task that is not withheld")
    return models


def _new_bases() -> "Bases":
    """Imported only where a pack needs torch anyway."""
    from clinfit.models.bases.pretrained import Bases

    return Bases()
