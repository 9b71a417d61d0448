"""How near another engine's answers are to torch's, on made-up records: the probes, one that no model reads whole, and
everyday prose.

Two things count. No decision may be another: no label, no set of labels, nobody to whom it is referred, no text. And no
log-odds may move by what could change a probability by more than is allowed: a change d of the log-odds changes a
probability by tanh(|d| / 4) at most, which is that of one that goes from below 0.5 to as far above it. A model is sure
of most made-up records, where a probability hardly moves whatever an engine does: ONNX Runtime's 8 bits changed the
probes' by 0.004, and one of a real abstract by 0.38. It is asked of the model's own probabilities, and of those that
are answered unless recalibration is isotonic, whose steps have no log-odds to move.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logit

from clinfit.data.records import Record, Target
from clinfit.evaluation.decisions.recalibration import NEAREST
from clinfit.packs.decide import Decisions, Floats, Served, decide
from clinfit.packs.probes import References, ask_probes
from clinfit.packs.read import Pack
from clinfit.predictions import check_probabilities
from clinfit.scoring.passages import passages
from clinfit.study.tasks import MultipleChoice

#: Times that the texts of the longest probe (about 230 words) stand in a record that no model reads whole.
TIMES = 40


@dataclass(frozen=True)
class Difference:
    """change: largest of a probability that is answered. possible: the largest that the same change of log-odds makes
    to any probability. Both None where texts alone are written. flipped: decisions and texts that are others."""

    change: float | None
    possible: float | None
    flipped: int

    @property
    def largest(self) -> float:
        return max(self.change or 0.0, self.possible or 0.0)

    def within(self, allowed: float) -> bool:
        return not self.flipped and self.largest <= allowed

    def line(self, allowed: float) -> str:
        if self.possible is None or self.change is None:
            return f"made-up records that get another text: {self.flipped} (allowed 0)"
        return (
            f"on made-up records a probability changes by {self.change:.2g} at most, and one near 0.5 would by "
            f"{self.possible:.2g} (allowed {allowed:g}), decisions flipped: {self.flipped} (allowed 0)"
        )


def requirement(allowed: float) -> str:
    """What an engine is refused for, as the user reads what was expected."""
    return f"a change of at most {allowed:g} of a probability near 0.5, and decisions that are the same"


def said_of_made_up_records(pack: Pack) -> dict[str, References]:
    """What the pack's model says now, by task, one record at a time and before recalibration. Raises ClinfitError where
    that are no probabilities."""
    found = {task: ask_probes(pack.model, task, made_up_records(pack, task)) for task in pack.tasks}
    for task, said in found.items():
        if not isinstance(said, list):
            check_probabilities(said, len(said), pack.tasks[task].task)
    return found


def made_up_records(pack: Pack, task: str) -> list[Record]:
    """Beside the probes one that fills `max_length`, since rounding adds up over a row, and for an encoder everyday
    prose, whose words a number format may suit less."""
    asked, probes = pack.tasks[task].task, pack.probes.records[task]
    options = asked.options if isinstance(asked, MultipleChoice) else []  # no model shortens these
    names = [name for name in asked.text_inputs if name not in options]
    texts = [{name: " ".join([str(probes[-1].inputs[name])] * TIMES) for name in names}]
    if names and pack.content.model.family == "encoder":
        texts += [dict.fromkeys(names, passage) for passage in passages()]
    return [*probes, *(replace(probes[-1], inputs=probes[-1].inputs | each) for each in texts)]


def difference(pack: Pack, torch: Mapping[str, References], here: Mapping[str, References]) -> Difference:
    """Of what two engines say of the made-up records, over all tasks."""
    found = [_of_task(served, torch[name], here[name]) for name, served in pack.tasks.items()]
    changes = [each.change for each in found if each.change is not None]
    possible = [each.possible for each in found if each.possible is not None]
    return Difference(max(changes, default=None), max(possible, default=None), sum(each.flipped for each in found))


def _of_task(served: Served, torch: References, here: References) -> Difference:
    if isinstance(torch, list) or isinstance(here, list):
        return Difference(None, None, sum(one != other for one, other in zip(torch, here, strict=True)))
    before, after = decide(served, torch), decide(served, here)
    possible = _possible(torch, here)
    if all(each.kind != "isotonic" for each in (served.recalibration, *served.updates)):  # steps move no log-odds
        possible = max(possible, _possible(before.probabilities, after.probabilities))
    flipped = sum(one != other for one, other in zip(_decisions(before), _decisions(after), strict=True))
    return Difference(float(np.abs(after.probabilities - before.probabilities).max()), possible, flipped)


def _possible(torch: Floats, here: Floats) -> float:
    """Of (n, K) probabilities each."""
    moved = [logit(np.clip(each, NEAREST, 1 - NEAREST)) for each in (torch, here)]
    return float(np.tanh(np.abs(moved[1] - moved[0]) / 4).max())


def _decisions(of: Decisions) -> list[tuple[Target, bool, list[bool]]]:
    """What must be the same of each record: what is decided, whether a person decides, and the set of labels."""
    sets: list[list[bool]] = [[]] * len(of.decided) if of.sets is None else of.sets.tolist()
    return list(zip(of.decided, of.referred.tolist(), sets, strict=True))
