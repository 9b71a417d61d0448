"""Faster engines for a pack: tried against the answers that the pack carries, and refused where they are others.

torch, one record at a time, is the reference: only its answers are those of the evaluation bit for bit. Another engine
may answer in its place where somebody asked for one, and where on the pack's probes no probability changes by more
than is allowed and no decision flips; `auto` takes the fastest, where it is faster than torch. What was found is told
either way.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clinfit.errors import ClinfitError
from clinfit.models.engines import LARGEST_CHANGE, Wanted
from clinfit.packs.decide import ask, said
from clinfit.packs.probes import PROBE_TOKENS, TaskParity
from clinfit.packs.read import Pack
from clinfit.study.tasks import MultipleChoice

if TYPE_CHECKING:
    from clinfit.models.causal import CausalModel, Kept
    from clinfit.models.encoder import EncoderModel
    from clinfit.models.engines.base import Engine, Kind

#: Times that each engine answers the longest probe; the best of them counts.
ROUNDS = 5
#: Times that the texts of the longest probe (about 230 words) stand in a record that no model reads whole.
TIMES = 40


@dataclass(frozen=True)
class Trial:
    """What an engine did on the probes. tasks: how its answers differ. longest: task -> change of a probability, and
    whether the decision is another, of a record that is as long as the model reads. seconds, reference: for the longest
    probe, its own and those of torch. allowed: the largest change of a probability."""

    engine: str
    tasks: dict[str, TaskParity]
    longest: dict[str, tuple[float, bool]]
    seconds: float
    reference: float
    allowed: float

    @property
    def change(self) -> float:
        of_probes = [parity.change or 0.0 for parity in self.tasks.values()]
        return max(*of_probes, *(change for change, _ in self.longest.values()))

    @property
    def flipped(self) -> int:
        return sum(parity.flipped for parity in self.tasks.values()) + sum(other for _, other in self.longest.values())

    @property
    def passed(self) -> bool:
        near = all(parity.passed(self.allowed) for parity in self.tasks.values())
        return near and not self.flipped and self.change <= self.allowed

    @property
    def faster(self) -> float:
        """Times as fast as torch."""
        return self.reference / self.seconds

    def line(self, outcome: str) -> str:
        return (
            f"engine {self.engine}: {self.faster:.1f} times as fast as torch, largest change of a probability "
            f"{self.change:.2g} (allowed {self.allowed:g}), decisions flipped: {self.flipped}; {outcome}"
        )


@dataclass(frozen=True)
class Outcome:
    """lines: what was tried. engine: what answers, by its name in `Wanted`; None: torch."""

    lines: list[str]
    engine: str | None = None


#: Lets something compute the pack's answers from now on.
Use = Callable[[], None]
#: Makes an engine of the pack, where it needs one in a new folder; what lets it answer.
Build = Callable[[Path], Use]


def use_engine(pack: Pack, wanted: Wanted, allowed: float | None = None, folder: Path | None = None) -> Outcome:
    """Let an engine compute the pack's answers from now on.

    allowed: the largest change of a probability, at most LARGEST_CHANGE; None: what the pack declares, and no more than
    that. folder: where engines are written, `<name>/<number of the part>` each; None: they are written for this
    process alone. Raises ClinfitError where a named engine is not installed, cannot compute the model, or is refused;
    `auto` leaves torch where none passes or none is faster, and so does every pack that the engine is not for.
    """
    if wanted == "torch":
        return Outcome([])
    if (reason := _stays(pack, wanted)) is not None:
        return Outcome([f"engine {pack.engine}: it answers, since {reason}"])
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="clinfit-engines-") as own:
            return use_engine(pack, wanted, allowed, Path(own))
    limit = largest_change(pack, allowed)
    if wanted == "auto":
        return _fastest(pack, _installed(pack), limit, folder)
    trial, use = _tried(pack, _build(pack, wanted), limit, folder / wanted)
    if not trial.passed:
        raise ClinfitError(
            f"{pack.content.run}: {trial.line('refused')}",
            expected=f"a change of at most {limit:g}, and no decision that flips",
            fix="serve with --engine torch, or allow more with --engine-change (at most 0.01)",
        )
    use()
    return Outcome([trial.line("it answers")], wanted)


def largest_change(pack: Pack, allowed: float | None) -> float:
    """Of a probability, by another engine. allowed: what the user allows; None: what the pack declares."""
    return min(pack.content.tolerance if allowed is None else allowed, LARGEST_CHANGE)


def _stays(pack: Pack, wanted: Wanted) -> str | None:
    """Why nothing else is tried; None where something may be."""
    family = pack.content.model.family
    if family == "causal":
        return None if wanted in ("auto", "prefix-cache") else f"{wanted} is for encoders"
    if family != "encoder":
        return "other engines are for encoders and causal models"
    if wanted == "prefix-cache":
        return "a prefix cache is for causal models"
    if _encoder(pack).parts()[0].model.device.type != "cpu":
        return "other engines are for the processor"
    return None


def _fastest(pack: Pack, builds: Mapping[str, Build], limit: float, folder: Path) -> Outcome:
    lines: list[str] = []
    found: dict[str, tuple[Trial, Use]] = {}
    for name, build in builds.items():
        try:
            found[name] = _tried(pack, build, limit, folder / name)
        except ClinfitError as error:
            lines.append(f"engine {name}: {error.found}; not used")
    passed = [name for name, (trial, _) in found.items() if trial.passed and trial.faster > 1]
    best = min(passed, key=lambda name: found[name][0].seconds, default=None)
    for name, (trial, _) in found.items():
        lines.append(trial.line("it answers" if name == best else "not used" if trial.passed else "refused"))
    if best is not None:
        found[best][1]()
    elif not builds:
        lines.append(f"engine {pack.engine}: it answers, since no other is installed (extras openvino and onnx)")
    else:
        lines.append(f"engine {pack.engine}: it answers")
    return Outcome(lines, best)


def _tried(pack: Pack, build: Build, limit: float, folder: Path) -> tuple[Trial, Use]:
    """An engine, measured; torch answers again afterwards."""
    reference = _reference(pack)
    try:
        use = build(folder)
        use()
        name = pack.engine
        tasks = {task: pack.parity(task) for task in pack.tasks}
        longest = {task: _on_the_longest(pack, task, use, reference) for task in pack.tasks}
        seconds = _seconds(pack, [use, reference])
    except ClinfitError:  # its packages are not installed
        raise
    except Exception as error:  # an exporter raises whatever it meets in an architecture that it does not know
        raise ClinfitError(f"it cannot compute this model ({type(error).__name__})") from error
    finally:
        reference()
    return Trial(name, tasks, longest, seconds[0], seconds[1], limit), use


def _on_the_longest(pack: Pack, task: str, use: Use, reference: Use) -> tuple[float, bool]:
    """How far two ways differ on a record that fills `max_length`: rounding adds up over a row, probes are short."""
    served, record = pack.tasks[task], pack.probes.records[task][-1]
    options = served.task.options if isinstance(served.task, MultipleChoice) else []  # no model shortens these
    names = [name for name in served.task.text_inputs if name not in options]
    texts = {name: " ".join([str(record.inputs[name])] * TIMES) for name in names}
    found = []
    for way in (use, reference):
        way()
        long = replace(record, inputs={**record.inputs, **texts})
        found.append(said(served, ask(pack.model, task, [long], PROBE_TOKENS), 1))
    one, other = found
    change = np.abs(one.probabilities - other.probabilities).max(initial=0.0)
    return float(change), one.decided != other.decided


def _seconds(pack: Pack, ways: Sequence[Use]) -> list[float]:
    """Least seconds for the longest probe, of each way; in turns, so that a busy moment does not meet one alone."""
    task, record = next(iter(pack.tasks)), pack.probes.records[next(iter(pack.tasks))][-1]
    least = [float("inf")] * len(ways)
    for _ in range(ROUNDS):
        for k, use in enumerate(ways):
            use()
            began = time.perf_counter()
            ask(pack.model, task, [record])
            least[k] = min(least[k], time.perf_counter() - began)
    return least


# ---------------------------------------------------------------- what may answer, by family


def _installed(pack: Pack) -> dict[str, Build]:
    if pack.content.model.family == "causal":
        return {"prefix-cache": partial(_with_kept_beginnings, pack)}
    from clinfit.models.engines.base import KINDS

    return {name: partial(_with_engine, pack, kind) for name, kind in KINDS.items() if not kind.missing}


def _build(pack: Pack, wanted: str) -> Build:
    if wanted == "prefix-cache":
        return partial(_with_kept_beginnings, pack)
    from clinfit.models.engines.base import KINDS

    return partial(_with_engine, pack, KINDS[wanted])


def _reference(pack: Pack) -> Use:
    """Lets torch answer as it was evaluated."""
    if pack.content.model.family == "causal":
        return partial(_keep, pack, [None for _ in _causal(pack).parts()])
    return partial(_put, pack, [part.engine for part in _encoder(pack).parts()])


def _with_engine(pack: Pack, kind: "Kind", folder: Path) -> Use:
    """An encoder, computed by an engine of this kind."""
    import torch

    engines: list[Engine] = []
    for number, part in enumerate(_encoder(pack).parts()):
        kind.write(part.merged(), folder / str(number))
        engines.append(kind.read(folder / str(number), torch.get_num_threads()))
    return partial(_put, pack, engines)


def _put(pack: Pack, engines: "Sequence[Engine]") -> None:
    for part, engine in zip(_encoder(pack).parts(), engines, strict=True):
        part.engine = engine


def _with_kept_beginnings(pack: Pack, folder: Path) -> Use:
    """A causal model of which what all prompts of a task begin with is read once. Raises ClinfitError where there is
    nothing that may be kept."""
    kept = [part.beginnings() for part in _causal(pack).parts()]
    if not any(scoring.found for scoring, _ in kept):
        raise ClinfitError("there is nothing to keep: prompts begin with the record, or the architecture cannot")
    return partial(_keep, pack, kept)


def _keep(pack: Pack, kept: "Sequence[Kept | None]") -> None:
    for part, own in zip(_causal(pack).parts(), kept, strict=True):
        part.keep(own)


def _encoder(pack: Pack) -> "EncoderModel":
    from clinfit.models.encoder import EncoderModel

    assert isinstance(pack.model, EncoderModel)
    return pack.model


def _causal(pack: Pack) -> "CausalModel":
    from clinfit.models.causal import CausalModel

    assert isinstance(pack.model, CausalModel)
    return pack.model
