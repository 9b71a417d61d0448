"""A pack with another engine than torch, in a process that never imports torch.

What torch is needed for - the reference that the engine is measured against, and the export of the weights - is done by
another process, which ends before the pack is read here:

    python -m clinfit.packs.lean PACK ENGINE CHANGE FOLDER

It writes the engines, and `told.json` with what was found and what torch said of the made-up records, into FOLDER.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from clinfit.errors import ClinfitError
from clinfit.files import followed, read_json, write_json
from clinfit.models.engines import Wanted
from clinfit.packs.content import MODEL
from clinfit.packs.engines import Outcome, largest_change, use_engine
from clinfit.packs.nearness import difference, requirement, said_of_made_up_records
from clinfit.packs.read import Pack, load_pack, pack_of
from clinfit.packs.tasks import read_tasks

TOLD = "told.json"


@dataclass(frozen=True)
class Lean:
    """What came of it. pack: None where torch is to answer. tested: of the self-test, by torch. lines: of engines."""

    pack: Pack | None
    tested: list[str]
    lines: list[str]


def lean_pack(folder: Path, wanted: Wanted, allowed: float | None) -> Lean:
    """The pack with the engine that is wanted, where it may answer (packs/engines.py). Raises ClinfitError as
    `use_engine` does, and where a self-test fails."""
    with tempfile.TemporaryDirectory(prefix="clinfit-engines-") as own:
        place, change = Path(own), "" if allowed is None else str(allowed)
        command = [sys.executable, "-m", "clinfit.packs.lean", str(folder), wanted, change, own]
        code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
        if not (place / TOLD).is_file():
            raise ClinfitError(
                f"the engines of {folder.name} could not be tried: the process that does so ended with {code}",
                expected="enough memory for the pack in PyTorch, and an engine of it",
                fix="serve with --engine torch",
            )
        told: dict[str, Any] = read_json(place / TOLD)
        if "error" in told:
            raise ClinfitError(told["error"]["found"], expected=told["error"]["expected"], fix=told["error"]["fix"])
        pack = None
        if told["engine"] is not None:
            pack = _read(followed(folder), told["engine"], place, told["threads"])
            try:
                check_again(pack, told["torch"], allowed)
            except ClinfitError as error:
                if wanted != "auto":
                    raise
                return Lean(None, told["tested"], [*told["lines"], f"{error.found}; torch answers"])
        return Lean(pack, told["tested"], told["lines"])


def _read(folder: Path, name: str, engines: Path, threads: int) -> Pack:
    from clinfit.models.engines.base import KINDS
    from clinfit.models.engines.encoder import EngineEncoder
    from clinfit.models.saved import read_saved
    from clinfit.study.models import Encoder

    places = ["", *dict.fromkeys(read_saved(folder / MODEL, Encoder).others.values())]
    read = {place: KINDS[name].read(engines / name / str(number), threads) for number, place in enumerate(places)}
    return pack_of(folder, read_tasks(folder), EngineEncoder.load(folder / MODEL, read.__getitem__))


def check_again(pack: Pack, torch: dict[str, Any], allowed: float | None) -> None:
    """The made-up records once more, by the engine as it is here; it is warm then. torch: what torch said of them, by
    task. Raises ClinfitError where the engine's answers are not near enough any more."""
    limit = largest_change(pack, allowed)
    reference = {name: np.array(said, dtype=np.float64) for name, said in torch.items()}
    try:
        found = difference(pack, reference, said_of_made_up_records(pack))
    except ClinfitError as error:
        said = f"{pack.content.run}: engine {pack.engine}: it says what is no answer: {error.found}"
        raise ClinfitError(said, expected=error.expected, fix="serve with --engine torch") from error
    if not found.within(limit):
        raise ClinfitError(
            f"{pack.content.run}: engine {pack.engine}: it answers otherwise here than when it was tried: "
            + found.line(limit),
            expected=requirement(limit),
            fix="serve with --engine torch",
        )


def _try(folder: Path, wanted: Wanted, allowed: float | None, place: Path) -> dict[str, Any]:
    import torch

    pack = load_pack(folder)
    tested = pack.self_test()
    tested.check()
    outcome: Outcome = use_engine(pack, wanted, allowed, place)
    said = {name: np.asarray(each).tolist() for name, each in (outcome.torch or {}).items()}
    return {
        "tested": tested.lines(),
        "lines": outcome.lines,
        "engine": outcome.engine,
        "threads": torch.get_num_threads(),
        "torch": said,
    }


def main() -> None:
    folder, wanted, change, place = sys.argv[1:]
    try:
        told = _try(Path(folder), cast(Wanted, wanted), float(change) if change else None, Path(place))
    except ClinfitError as error:
        told = {"error": {"found": error.found, "expected": error.expected, "fix": error.fix}}
    write_json(Path(place) / TOLD, told)


if __name__ == "__main__":
    main()
