"""pack.json: what a pack says of itself (format clinfit-pack/5), and the check that a pack is as it was written."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from clinfit.data.seen import SeenCategories, SeenNumbers
from clinfit.data.values import EXAMPLES
from clinfit.errors import ClinfitError
from clinfit.files import hash_files, hash_json, read_json

FORMAT = "clinfit-pack/5"
OLD_FORMATS = ("clinfit-pack/1", "clinfit-pack/2", "clinfit-pack/3", "clinfit-pack/4")
CONTENT = "pack.json"
PROBES = "probes.json"
CARD = "README.md"
MODEL = "model"


@dataclass(frozen=True)
class StudyEntry:
    """The study that trained the model, by name and by the hash of its resolved file."""

    name: str
    sha256: str


@dataclass(frozen=True)
class ModelEntry:
    """The trained model. spec: its block of the study. stage: the last one. sha256: of the folder `model`.

    details: what the trainer really used.
    """

    family: str
    spec: dict[str, Any]
    seed: int
    stage: int
    sha256: str
    details: dict[str, Any]


@dataclass(frozen=True)
class Update:
    """A recalibration of a pack on records from elsewhere (`clinfit recalibrate`).

    pack, data: SHA-256 of the pack that was recalibrated and of the file with the records. method: by which name it was
    asked for. recalibration: of the probabilities as that pack gave them, as `Recalibration.as_dict`. threshold:
    whether it was chosen on these records, or kept as it was. n: records; events: those with each label. folds: of the
    cross-fitting that the figures of the pack are of. before: what was measured on the same records before.
    """

    pack: str
    data: str
    method: str
    recalibration: dict[str, Any]
    threshold: Literal["kept", "chosen"]
    n: int
    events: dict[str, int]
    folds: int
    before: dict[str, Any]


@dataclass(frozen=True)
class TaskEntry:
    """A task that the pack answers.

    task: its block of the study, with the prompt's text and without the place of the training data. recalibration: of
    the probabilities, as `Recalibration.as_dict`. threshold: `ThresholdChoice.as_dict`; for a multilabel task label ->
    such a threshold; null where there is none. referral: as `Referral.as_dict`; null when nothing is handed to a
    person. seen: what training has seen of each input (data/seen.py), as far as no patient is known by it. n, metrics:
    test records and what was measured on them. cross_validation: null where that is of this very model; of one that was
    refitted on all records, the cross-validation, in words, whose models gave these figures, out of fold. updates: what
    the pack was recalibrated on, in order; n and metrics are then of the records of the last, cross-fitted, and
    threshold and referral as chosen there.
    """

    task: dict[str, Any]
    recalibration: dict[str, Any]
    threshold: dict[str, Any] | None
    referral: dict[str, Any] | None
    seen: dict[str, SeenCategories | SeenNumbers]
    n: int
    metrics: dict[str, Any]
    cross_validation: str | None = None
    updates: list[Update] = field(default_factory=list)

    @property
    def recalibrated(self) -> str | None:
        """What the figures of a recalibrated pack are of, in words; None of every other."""
        return recalibrated_on(self.updates[-1].n, self.updates[-1].folds) if self.updates else None


@dataclass(frozen=True)
class WithheldEntry:
    """A task that the model learned and the pack does not answer. withheld: why."""

    withheld: str


@dataclass(frozen=True)
class Content:
    """pack.json. clinfit: the version that wrote it. run: `<model>-seed<seed>`, of a refitted model
    with `-refit` behind it. tasks: by name.

    tolerance: the largest change of a probability of a probe, on another machine or with other versions, with which the
    pack still counts as the one that was evaluated. files: path -> SHA-256 of every other file. sha256: of all that
    stands here but itself, the pack's identity.
    """

    format: Literal["clinfit-pack/5"]
    clinfit: str
    study: StudyEntry
    run: str
    model: ModelEntry
    tasks: dict[str, TaskEntry | WithheldEntry]
    tolerance: float
    files: dict[str, str]
    sha256: str

    @property
    def answered(self) -> dict[str, TaskEntry]:
        """The tasks that the pack answers."""
        return {name: entry for name, entry in self.tasks.items() if isinstance(entry, TaskEntry)}

    @property
    def withheld(self) -> dict[str, str]:
        """Task -> why the pack does not answer it."""
        return {name: entry.withheld for name, entry in self.tasks.items() if isinstance(entry, WithheldEntry)}


_CONTENT: TypeAdapter[Content] = TypeAdapter(Content)


def recalibrated_on(n: int, folds: int) -> str:
    """What cross-fitted figures are of, in words."""
    return f"the {n} records that it was recalibrated on, cross-fitted in {folds} folds"


def json_schema() -> dict[str, Any]:
    """JSON Schema of pack.json."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_CONTENT.json_schema()}


def read_content(folder: Path) -> Content:
    """What the pack in a folder says of itself; raises ClinfitError when it is no pack or not as it was written."""
    if not (folder / CONTENT).is_file():
        raise _no_pack(folder)
    values = read_json(folder / CONTENT)
    _check_format(folder, values)
    try:
        content = _CONTENT.validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ClinfitError(f"{folder / CONTENT} is damaged at {place}: {first['msg']}", fix="copy it again") from None
    _check_files(folder, values)
    return content


def _no_pack(folder: Path) -> ClinfitError:
    """An error that names the packs below the folder, where it is one of those around them."""
    around = (CONTENT, f"pack/{CONTENT}", f"*/pack/{CONTENT}", f"models/*/pack/{CONTENT}")
    found = sorted({str(content.parent) for pattern in around for content in folder.glob(pattern)})
    some = " or ".join(found[:EXAMPLES]) + (f" or one of {len(found) - EXAMPLES} more" if len(found) > EXAMPLES else "")
    return ClinfitError(
        f"{folder} is not a pack: it holds no {CONTENT}" if folder.is_dir() else f"there is no folder {folder}",
        expected="a folder that `clinfit run` wrote, such as runs/<study>/<hash>/models/<model>-seed42/pack",
        fix=f"name the pack: {some}" if found else "",
    )


def seal(values: dict[str, Any]) -> str:
    """SHA-256 of the content without its own seal."""
    return hash_json({key: value for key, value in values.items() if key != "sha256"})


def _check_format(folder: Path, values: Any) -> None:
    found = values.get("format") if isinstance(values, dict) else None
    if found == FORMAT:
        return
    if found in OLD_FORMATS:
        raise ClinfitError(
            f"{folder} is a pack of an older format ({found})",
            expected=FORMAT,
            fix="run its study again with this version of clinfit, or use the version that wrote the pack",
        )
    raise ClinfitError(
        f"{folder / CONTENT} has format {found!r}", expected=FORMAT, fix="use the clinfit that wrote it, or a newer one"
    )


def _check_files(folder: Path, values: dict[str, Any]) -> None:
    """Raise ClinfitError that names the files that are not as they were written."""
    found = {name: digest for name, digest in hash_files(folder).items() if name != CONTENT and not _is_hidden(name)}
    written: dict[str, str] = values["files"]
    wrong = {name for name in found.keys() | written.keys() if found.get(name) != written.get(name)}
    if values["sha256"] != seal(values):
        wrong.add(CONTENT)
    if wrong:
        raise ClinfitError(
            f"the pack {folder} is not as it was written: {', '.join(sorted(wrong))} changed, missing or added",
            expected="the files whose SHA-256 the pack lists",
            fix="copy the pack again, or run the study again",
        )


def _is_hidden(name: str) -> bool:
    """Files such as .DS_Store, which systems leave behind and no model reads."""
    return any(part.startswith(".") for part in name.split("/"))
