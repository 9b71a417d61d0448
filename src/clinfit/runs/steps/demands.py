"""How much memory a worker asks for: one contract for worker processes of this machine and for those of a cluster."""

from collections.abc import Mapping, Sequence

from clinfit.machine import available_memory_bytes
from clinfit.runs.steps.place import Place
from clinfit.runs.steps.plan import Step, runs_of, worker_key
from clinfit.study.models import Neural


def memory_demands(place: Place, steps: Sequence[Step]) -> dict[str, int]:
    """Bytes by worker key: the most that a neural model of the key takes by the estimate of `clinfit check`, as often
    as it has processes. What is not known, of other models and of those that cannot be estimated, is left out: why one
    cannot run is told where it fails."""
    asked = {step.run for step in steps}
    specs = {run.spec.name: run.spec for run in runs_of(place.study) if run.name in asked}
    neural = [spec for spec in specs.values() if isinstance(spec, Neural)]
    if not neural:
        return {}
    from clinfit.runs.checking.models import prepared_models  # torch, which other models do not need

    found: dict[str, int] = {}
    for model in prepared_models(place.study, place.data, neural):
        key = worker_key(model.spec)
        found[key] = max(found.get(key, 0), int(model.estimate.memory) * model.spec.processes)
    return found


class Room:
    """What workers of this machine may take together; built only when a second one is to begin, since it asks the
    models of all of them."""

    def __init__(self, place: Place, steps: Sequence[Step]) -> None:
        self.demands = memory_demands(place, steps)

    def fits(self, key: str, held: Mapping[str, int]) -> bool:
        """Whether a worker fits beside others. held: by their keys, the bytes that they hold by now; each may still
        come to what it asks for."""
        asked = self.demands.get(key, 0)
        if not asked:
            return True
        whole, held = memory_there(held)
        return asked + sum(max(self.demands.get(other, 0), bytes_) for other, bytes_ in held.items()) <= whole


def memory_there(held: Mapping[str, int]) -> tuple[float, Mapping[str, int]]:
    """The bytes that models may take in all, and what workers hold of them: of the memory of a processor what is free
    or theirs; of an accelerator all of its own, of which nothing is known."""
    from clinfit.models.estimates.room import room
    from clinfit.training.precision import default_device

    device = default_device()
    if device.type == "cpu":
        return available_memory_bytes() + sum(held.values()), held
    return room(device)[0], dict.fromkeys(held, 0)
