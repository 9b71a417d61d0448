"""`clinfit predict --executor`: a file is answered in shards, and its answers are those of one process, bit for bit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from clinfit.data.load import canonical_records
from clinfit.data.seen import as_seen
from clinfit.errors import ClinfitError
from clinfit.files import followed, read_json
from clinfit.models.saved import FILE
from clinfit.packs.content import MODEL, Content
from clinfit.packs.read import answered_table, refuse_unseen, without_value
from clinfit.packs.tasks import read_tasks
from clinfit.runs.batch.answerer import first_order
from clinfit.runs.batch.crew import Crew, answer_shards
from clinfit.runs.batch.shards import Shards
from clinfit.runs.control.status import Bars
from clinfit.runs.steps.executors import Executor, Processes

#: Records of a shard, unless it is said: a worker that dies costs so many.
SHARD = 500


def predict_sharded(
    folder: Path,
    source: Path,
    output: Path,
    executor: Executor,
    bars: Bars,
    *,
    task: str | None = None,
    size: int = SHARD,
    strict: bool = False,
    self_test: bool = False,
) -> tuple[pd.DataFrame, Callable[[], None]]:
    """The table that `Pack.predict` gives of a file, and what is to be called once it is written.

    executor: names who works (`executor_named`); not inline. output: beside it finished shards are kept, so that the
    same command goes on after a kill. size: records of a shard. Raises ClinfitError for what `Pack.predict` refuses,
    and where workers cannot go on.
    """
    folder = followed(folder).resolve()
    tasks = read_tasks(folder)
    name = tasks.named(task)
    served = tasks.served(name)
    given = canonical_records(served.task, tasks.records(name, source))
    if not given:
        raise ClinfitError(f"{source} holds no records")
    empty = without_value(given, strict=strict)
    records = [record for at, record in enumerate(given) if at not in empty]
    if strict:
        refuse_unseen([as_seen(record, served.seen, served.task.data.columns) for record in records])
    shards = Shards.beside(output, tasks.content.sha256, name, records, size)
    left, title = shards.left(), f"answering {len(records)} records in {shards.count} shards"
    if len(left) < shards.count:
        bars.say(f"{shards.count - len(left)} of {shards.count} shards are answered already")
    if left:
        with _crew(executor, folder, tasks.content, self_test=self_test) as crew:
            bars.begin(title, title)
            try:
                answer_shards(crew, shards, lambda done: bars.advance(title, done, len(records), ""), bars.say)
            finally:
                bars.end(title)
    answers = shards.answers()
    if len(engines := sorted({answer.engine for answer in answers})) > 1:
        bars.say(f"records were answered by different engines ({'; '.join(engines)}): last digits may differ")
    return answered_table(served, answers, bars.say, empty), shards.remove


@contextmanager
def _crew(executor: Executor, folder: Path, content: Content, *, self_test: bool) -> Iterator[Crew]:
    """Workers as the executor has them."""
    if isinstance(executor, Processes):
        from clinfit.runs.batch.processes import Processes as Workers

        yield Workers(first_order(folder, {}, self_test=self_test), executor.at_once)
        return
    from clinfit.runs.cluster.connect import connected
    from clinfit.runs.cluster.executor import Ray

    assert isinstance(executor, Ray)
    with connected(executor.address) as ray:
        yield _nodes(ray, executor.at_once, folder, content, self_test=self_test)


def _nodes(ray: Any, at_once: int | None, folder: Path, content: Content, *, self_test: bool) -> Crew:
    from clinfit.runs.batch.nodes import PACK, Nodes
    from clinfit.runs.cluster.demands import Demand, has_gpus, thread_settings, with_cpus
    from clinfit.runs.cluster.parcels import pack
    from clinfit.runs.cluster.shipping import base_parcel, known_bases
    from clinfit.runs.steps.environment import describe_environment

    base = read_json(folder / MODEL / FILE).get("base") if content.model.spec.get("base") else None
    bases = known_bases({(base["name"], base["revision"])} if base else set())
    settings = thread_settings(describe_environment(neural=base is not None))
    nodes = ray.nodes()
    demand = Demand(1, int(base is not None and has_gpus(nodes)), 0)
    return Nodes(
        ray,
        with_cpus(demand, int(settings["OMP_NUM_THREADS"]), nodes),
        [pack({PACK: folder}), *(base_parcel(known) for known in bases.values() if known["folder"])],
        bases,
        settings,
        at_once,
        self_test=self_test,
    )
