"""Faster engines for a pack: tried against the answers that the pack carries, and refused where they are others.

torch, one record at a time, is the reference: only its answers are those of the evaluation bit for bit. Another engine
may answer in its place where somebody asked for one, and where on the pack's probes no probability changes by more
than is allowed and no decision flips; `auto` takes the fastest, where it is faster than torch. What was found is told
either way.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from clinfit.errors import ClinfitError
from clinfit.models.base import LabelOutputs
from clinfit.models.engines import LARGEST_CHANGE, Wanted
from clinfit.packs.decide import decide
from clinfit.packs.probes import TaskParity
from clinfit.packs.read import Pack

if TYPE_CHECKING:
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


def use_engine(pack: Pack, wanted: Wanted, allowed: float | None = None) -> list[str]:
    """Let an engine compute the pack's answers from now on; what was tried, a line each.

    allowed: the largest change of a probability, at most LARGEST_CHANGE; None: what the pack declares, and no more than
    that. Raises ClinfitError where a named engine is not installed, cannot compute the model, or is refused; `auto`
    leaves torch where none passes or none is faster, and so does every pack that is no encoder on a processor.
    """
    if wanted == "torch":
        return []
    if (reason := _stays(pack)) is not None:
        return [f"engine {pack.engine}: {reason}"]
    from clinfit.models.engines.base import KINDS

    limit = min(pack.content.tolerance if allowed is None else allowed, LARGEST_CHANGE)
    if wanted != "auto":
        trial, engines = _tried(pack, KINDS[wanted], limit)
        if not trial.passed:
            raise ClinfitError(
                f"{pack.content.run}: {trial.line('refused')}",
                expected=f"a change of at most {limit:g}, and no decision that flips",
                fix="serve with --engine torch, or allow more with --engine-change (at most 0.01)",
            )
        _put(pack, engines)
        return [trial.line("it answers")]
    return _fastest(pack, {name: kind for name, kind in KINDS.items() if not kind.missing}, limit)


def _stays(pack: Pack) -> str | None:
    """Why no other engine is tried; None where one may be."""
    if pack.content.model.family != "encoder":
        return "it answers, since other engines are for encoders"
    if _encoder(pack).parts()[0].model.device.type != "cpu":
        return "it answers, since other engines are for the processor"
    return None


def _fastest(pack: Pack, kinds: "dict[str, Kind]", limit: float) -> list[str]:
    lines: list[str] = []
    found: list[tuple[Trial, Sequence[Engine]]] = []
    for name, kind in kinds.items():
        try:
            found.append(_tried(pack, kind, limit))
        except ClinfitError as error:
            lines.append(f"engine {name}: {error.found}; not used")
    best = min((pair for pair in found if pair[0].passed), key=lambda pair: pair[0].seconds, default=None)
    if best is not None and best[0].faster <= 1:
        best = None
    for trial, engines in found:
        chosen = best is not None and best[1] is engines
        lines.append(trial.line("it answers" if chosen else "not used" if trial.passed else "refused"))
    if best is not None:
        _put(pack, best[1])
    elif not kinds:
        lines.append(f"engine {pack.engine}: it answers, since no other is installed (extras openvino and onnx)")
    else:
        lines.append(f"engine {pack.engine}: it answers")
    return lines


def _tried(pack: Pack, kind: "Kind", limit: float) -> "tuple[Trial, Sequence[Engine]]":
    """An engine, measured; torch answers again afterwards."""
    parts = _encoder(pack).parts()
    reference = [part.engine for part in parts]
    try:
        make = kind.maker()
        engines = [make(part.merged()) for part in parts]
        _put(pack, engines)
        tasks = {name: pack.parity(name) for name in pack.tasks}
        longest = {name: _on_the_longest(pack, name, [engines, reference]) for name in pack.tasks}
        seconds = _seconds(pack, [engines, reference])
    except ClinfitError:  # its packages are not installed
        raise
    except Exception as error:  # an exporter raises whatever it meets in an architecture that it does not know
        raise ClinfitError(f"it cannot compute this model ({type(error).__name__})") from error
    finally:
        _put(pack, reference)
    return Trial(engines[0].name, tasks, longest, seconds[0], seconds[1], limit), engines


def _on_the_longest(pack: Pack, task: str, ways: "Sequence[Sequence[Engine]]") -> tuple[float, bool]:
    """How far two ways differ on a record that fills `max_length`: rounding adds up over a row, probes are short."""
    served, record = pack.tasks[task], pack.probes.records[task][-1]
    texts = {name: " ".join([str(record.inputs[name])] * TIMES) for name in served.task.text_inputs}
    found = []
    for way in ways:
        _put(pack, way)
        outputs = pack.model.predict(task, [replace(record, inputs={**record.inputs, **texts})])
        assert isinstance(outputs, LabelOutputs)
        found.append(decide(served, outputs.probabilities))
    one, other = found
    return float(np.abs(one.probabilities - other.probabilities).max()), one.decided != other.decided


def _seconds(pack: Pack, ways: "Sequence[Sequence[Engine]]") -> list[float]:
    """Least seconds for the longest probe, of each way; in turns, so that a busy moment does not meet one alone."""
    task, record = next(iter(pack.tasks)), pack.probes.records[next(iter(pack.tasks))][-1]
    least = [float("inf")] * len(ways)
    for _ in range(ROUNDS):
        for k, way in enumerate(ways):
            _put(pack, way)
            began = time.perf_counter()
            pack.model.predict(task, [record])
            least[k] = min(least[k], time.perf_counter() - began)
    return least


def _put(pack: Pack, engines: "Sequence[Engine]") -> None:
    for part, engine in zip(_encoder(pack).parts(), engines, strict=True):
        part.engine = engine


def _encoder(pack: Pack) -> "EncoderModel":
    from clinfit.models.encoder import EncoderModel

    assert isinstance(pack.model, EncoderModel)
    return pack.model
