"""Faster engines for a pack: tried on made-up records beside torch, and refused where they say something else.

torch, one record at a time, is the reference: only its answers are those of the evaluation bit for bit. Another engine
may answer in its place where somebody asked for one and its answers are near enough (packs/nearness.py); `auto` takes
the fastest, where it is faster than torch. What was found is told either way.
"""

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from clinfit.errors import ClinfitError
from clinfit.models.engines import LARGEST_CHANGE, Wanted
from clinfit.packs.decide import ask
from clinfit.packs.nearness import Difference, difference, requirement, said_of_made_up_records
from clinfit.packs.probes import References
from clinfit.packs.read import Pack

if TYPE_CHECKING:
    from clinfit.models.causal import CausalModel, Kept
    from clinfit.models.encoder import EncoderModel
    from clinfit.models.engines.base import Engine, Kind

#: Times that each engine answers the longest probe; the best of them counts.
ROUNDS = 5


@dataclass(frozen=True)
class Trial:
    """What an engine did on made-up records, beside torch. seconds, reference: for the longest probe, its own and those
    of torch. allowed: see `Difference.within`."""

    engine: str
    difference: Difference
    seconds: float
    reference: float
    allowed: float

    @property
    def passed(self) -> bool:
        return self.difference.within(self.allowed)

    @property
    def faster(self) -> float:
        """Times as fast as torch."""
        return self.reference / self.seconds

    def line(self, outcome: str) -> str:
        return (
            f"engine {self.engine}: {self.faster:.1f} times as fast as torch; {self.difference.line(self.allowed)}; "
            f"{outcome}"
        )


@dataclass(frozen=True)
class Outcome:
    """lines: what was tried. engine: what answers, by its name in `Wanted`; None: torch. torch: what torch says of the
    made-up records; None where it was not asked."""

    lines: list[str]
    engine: str | None = None
    torch: dict[str, References] | None = None


#: Lets something compute the pack's answers from now on.
Use = Callable[[], None]
#: Makes an engine of the pack, where it needs one in a new folder; what lets it answer.
Build = Callable[[Path], Use]


def use_engine(pack: Pack, wanted: Wanted, allowed: float | None = None, folder: Path | None = None) -> Outcome:
    """Let an engine compute the pack's answers from now on.

    allowed: the largest change of a probability near 0.5, at most LARGEST_CHANGE; None: what the pack declares, and no
    more than that. folder: where engines are written, `<name>/<number of the part>` each; None: they are written for
    this process alone. Raises ClinfitError where a named engine is not installed, cannot compute the model, or is
    refused; `auto` leaves torch where none passes or none is faster, and so does every pack that the engine is not for.
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
    torch = cache(partial(said_of_made_up_records, pack))
    try:
        trial, use = _tried(pack, _build(pack, wanted), limit, folder / wanted, torch)
    except ClinfitError as error:
        found = f"{pack.content.run}: engine {wanted}: {error.found}"
        raise ClinfitError(found, expected=error.expected, fix=error.fix or "serve with --engine torch") from error
    if not trial.passed:
        raise _refusal(pack, trial)
    use()
    return Outcome([trial.line("it answers")], wanted, torch())


def _refusal(pack: Pack, trial: Trial) -> ClinfitError:
    needed = math.ceil(1000 * trial.difference.largest) / 1000
    helps = not trial.difference.flipped and needed <= LARGEST_CHANGE
    return ClinfitError(
        f"{pack.content.run}: {trial.line('refused')}",
        expected=requirement(trial.allowed),
        fix="serve with --engine torch" + (f", or allow this with --engine-change {needed:g}" if helps else ""),
    )


def largest_change(pack: Pack, allowed: float | None) -> float:
    """Of a probability near 0.5, by another engine. allowed: what the user allows; None: what the pack declares."""
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
    torch = cache(partial(said_of_made_up_records, pack))
    for name, build in builds.items():
        try:
            found[name] = _tried(pack, build, limit, folder / name, torch)
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
    return Outcome(lines, best, None if best is None else torch())


def _tried(
    pack: Pack, build: Build, limit: float, folder: Path, torch: Callable[[], dict[str, References]]
) -> tuple[Trial, Use]:
    """An engine, measured; torch answers again afterwards. torch: what it says of the made-up records. Raises
    ClinfitError where the engine is not installed, cannot compute the model, or says what is no answer."""
    reference = _reference(pack)
    try:
        use = build(folder)
    except ClinfitError:  # its packages are not installed, or there is nothing to make it of
        raise
    except Exception as error:  # an exporter raises whatever it meets in an architecture that it does not know
        raise ClinfitError(f"it cannot compute this model ({type(error).__name__})") from error
    before = torch()  # by now it is known that there is something to compare with
    try:
        use()
        name = pack.engine
        found = difference(pack, before, said_of_made_up_records(pack))
        seconds = _seconds(pack, [use, reference])
    except ClinfitError as error:
        raise ClinfitError(f"it says what is no answer: {error.found}", expected=error.expected) from error
    except Exception as error:  # and a runtime whatever it meets in what was exported
        raise ClinfitError(f"it cannot compute this model ({type(error).__name__})") from error
    finally:
        reference()
    return Trial(name, found, seconds[0], seconds[1], limit), use


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

    return {
        name: partial(_with_engine, pack, kind) for name, kind in KINDS.items() if not (kind.missing or kind.named_only)
    }


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
