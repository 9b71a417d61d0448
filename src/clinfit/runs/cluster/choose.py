"""`--executor`: the executor that a word of the command line names."""

from clinfit.errors import ClinfitError, nearest
from clinfit.runs.steps.executors import Executor, Inline, Processes

CLUSTER = "ray://"


def executor_named(name: str, workers: int | None, *, memory: float | None = None, debug: bool = False) -> Executor:
    """workers: at the same time. memory: GB that each of them may hold.

    Raises ClinfitError for a name that is none, for ray where it is not installed, and for a number of workers or a
    limit of memory that nobody would keep.
    """
    if name == "inline" and (workers or 1) > 1:
        raise ClinfitError(
            f"--workers {workers}: --executor inline is this process alone",
            expected="--workers with --executor processes or ray",
            fix=f"--executor processes --workers {workers}",
        )
    if memory is not None and name != "processes":
        raise ClinfitError(
            f"--memory limits a worker process, and --executor {name} starts none that clinfit could end alone",
            expected="--memory with --executor processes",
            fix=f"--executor processes --memory {memory:g}",
        )
    if name == "inline":
        return Inline(debug)
    if name == "processes":
        return Processes(workers or 1, memory)
    if name == "ray" or name.startswith(CLUSTER):
        from clinfit.runs.cluster.executor import Ray

        if name == CLUSTER:
            raise ClinfitError(
                "--executor ray:// names no cluster",
                expected="ray://HOST:PORT, ray://auto, or ray alone for this machine",
            )
        return Ray(name.removeprefix(CLUSTER) if name.startswith(CLUSTER) else None, workers)
    close = nearest(name, ["inline", "processes", "ray"])
    raise ClinfitError(
        f"--executor {name}: there is no such executor",
        expected="inline, processes, ray, ray://HOST:PORT or ray://auto",
        fix=f"did you mean {close}?" if close else "",
    )
