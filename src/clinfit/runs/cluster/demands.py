"""What a worker asks of the node that it is put on, and whether any node has it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clinfit.runs.steps.environment import THREAD_SETTINGS
from clinfit.runs.steps.place import Place
from clinfit.runs.steps.plan import Step, runs_of, worker_key
from clinfit.study.models import Neural


@dataclass(frozen=True)
class Demand:
    """cpus, gpus; memory in bytes, 0: none is asked for."""

    cpus: int
    gpus: int
    memory: int

    def fits(self, node: Mapping[str, Any]) -> bool:
        """Whether a node is alive and large enough, were it empty."""
        has = node["Resources"]
        return bool(
            node["Alive"]
            and has.get("CPU", 0) >= self.cpus
            and has.get("GPU", 0) >= self.gpus
            and has.get("memory", 0) >= self.memory
        )

    def __str__(self) -> str:
        parts = [f"{self.cpus} CPU"] + ([f"{self.gpus} GPU"] if self.gpus else [])
        return ", ".join(parts + ([f"{self.memory / 1e9:.1f} GB of memory"] if self.memory else []))


def thread_settings(place: Place) -> dict[str, str]:
    """Environment variables that give a worker as many threads as this process has: their number decides in which order
    numbers are added, and so their last bits."""
    threads = place.environment["torch"]["threads"] if place.environment.get("torch") else None
    count = str(threads or place.environment["processor"]["usable_cores"])
    return {"OMP_NUM_THREADS": count} | {name: os.environ[name] for name in THREAD_SETTINGS if name in os.environ}


def demands(place: Place, steps: Sequence[Step], nodes: Sequence[Mapping[str, Any]]) -> dict[str, Demand]:
    """By worker key. CPUs: one a thread, but no more than the largest node has that is large enough otherwise. A neural
    model asks for a GPU where the cluster has any, and for the memory that `clinfit check` estimates."""
    gpus = int(any(node["Resources"].get("GPU", 0) >= 1 for node in nodes if node["Alive"]))
    asked = {step.run for step in steps}
    specs = {run.spec.name: run.spec for run in runs_of(place.study) if run.name in asked}
    neural = [spec for spec in specs.values() if isinstance(spec, Neural)]
    memory = _memory(place, neural) if neural else {}
    of_neural = {worker_key(spec) for spec in neural}
    threads = int(thread_settings(place)["OMP_NUM_THREADS"])
    found = {}
    for key in dict.fromkeys(step.worker for step in steps):
        demand = Demand(1, gpus if key in of_neural else 0, memory.get(key, 0))
        largest = max((int(node["Resources"]["CPU"]) for node in nodes if demand.fits(node)), default=1)
        found[key] = replace(demand, cpus=min(threads, largest))
    return found


def _memory(place: Place, specs: Sequence[Neural]) -> dict[str, int]:
    """The most that a model of a key is estimated to take. One that cannot be estimated asks for nothing: why it cannot
    run is told where it fails."""
    from clinfit.runs.checking.models import prepare

    study = place.study.model_copy(update={"models": list(specs)})
    first = next(iter(study.folds or [None]))
    prepared, _ = prepare(study, {name: data.of(first) for name, data in place.data.items()})
    found: dict[str, int] = {}
    for one in prepared:
        key = worker_key(one.spec)
        found[key] = max(found.get(key, 0), int(one.estimate.memory))
    return found


def seats(demand: Iterable[Demand], nodes: Sequence[Mapping[str, Any]]) -> int:
    """How many workers the cluster holds at the same time, by their CPUs."""
    cpus = max((one.cpus for one in demand), default=1)
    return max(1, sum(int(node["Resources"].get("CPU", 0) // cpus) for node in nodes if node["Alive"]))
