"""What a worker asks of the node that it is put on, and whether any node has it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clinfit.runs.steps.demands import memory_demands
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


def thread_settings(environment: Mapping[str, Any]) -> dict[str, str]:
    """Environment variables that give a worker as many threads as this process has: their number decides in which order
    numbers are added, and so their last bits. environment: of this process (environment.py)."""
    threads = environment["torch"]["threads"] if environment.get("torch") else None
    count = str(threads or environment["processor"]["usable_cores"])
    return {"OMP_NUM_THREADS": count} | {name: os.environ[name] for name in THREAD_SETTINGS if name in os.environ}


def demands(place: Place, steps: Sequence[Step], nodes: Sequence[Mapping[str, Any]]) -> dict[str, Demand]:
    """By worker key. CPUs: one a thread, but no more than the largest node has that is large enough otherwise. A neural
    model asks for a GPU where the cluster has any, and for the memory that `clinfit check` estimates; for as many of
    both as it has processes."""
    gpus = int(has_gpus(nodes))
    asked = {step.run for step in steps}
    specs = {run.spec.name: run.spec for run in runs_of(place.study) if run.name in asked}
    processes: dict[str, int] = {}
    for spec in specs.values():
        processes[worker_key(spec)] = max(processes.get(worker_key(spec), 1), spec.processes)
    memory = memory_demands(place, steps)
    of_neural = {worker_key(spec) for spec in specs.values() if isinstance(spec, Neural)}
    threads = int(thread_settings(place.environment)["OMP_NUM_THREADS"])
    return {
        key: with_cpus(Demand(1, gpus * processes[key] if key in of_neural else 0, memory.get(key, 0)), threads, nodes)
        for key in dict.fromkeys(step.worker for step in steps)
    }


def has_gpus(nodes: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any node has a GPU."""
    return any(node["Resources"].get("GPU", 0) >= 1 for node in nodes if node["Alive"])


def with_cpus(demand: Demand, threads: int, nodes: Sequence[Mapping[str, Any]]) -> Demand:
    """The demand with a CPU for each thread, but no more than the largest node has that is large enough otherwise."""
    largest = max((int(node["Resources"]["CPU"]) for node in nodes if demand.fits(node)), default=1)
    return replace(demand, cpus=min(threads, largest))


def seats(demand: Iterable[Demand], nodes: Sequence[Mapping[str, Any]]) -> int:
    """How many workers the cluster holds at the same time, by their CPUs."""
    cpus = max((one.cpus for one in demand), default=1)
    return max(1, sum(int(node["Resources"].get("CPU", 0) // cpus) for node in nodes if node["Alive"]))
