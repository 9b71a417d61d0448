"""`--executor`: the executor that a word of the command line names."""

from clinfit.errors import ClinfitError, nearest
from clinfit.runs.steps.executors import Executor, Inline, Processes

CLUSTER = "ray://"


def executor_named(name: str, workers: int | None, *, debug: bool = False) -> Executor:
    """Raises ClinfitError for a name that is none, and for ray where it is not installed. workers: at the same time."""
    if name == "inline":
        return Inline(debug)
    if name == "processes":
        return Processes(workers or 1)
    if name == "ray" or name.startswith(CLUSTER):
        from clinfit.runs.cluster.executor import Ray

        return Ray(name.removeprefix(CLUSTER) if name.startswith(CLUSTER) else None, workers)
    close = nearest(name, ["inline", "processes", "ray"])
    raise ClinfitError(
        f"--executor {name}: there is no such executor",
        expected="inline, processes, ray, ray://HOST:PORT or ray://auto",
        fix=f"did you mean {close}?" if close else "",
    )
