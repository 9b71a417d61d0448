"""`python -m clinfit.runs.batch.answerer`: a process that holds a pack and answers the shards that it is given."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from clinfit.packs.read import Pack, load_pack
from clinfit.runs.batch.shards import answers_as_json, records_of
from clinfit.runs.steps.channel import Channel, Order, work
from clinfit.runs.steps.failures import failure_of
from clinfit.runs.steps.place import put_bases

MODULE = "clinfit.runs.batch.answerer"


def first_order(pack: Path, bases: dict[str, Any], *, self_test: bool) -> dict[str, Any]:
    """What such a process is told first. bases: as `put_bases` takes them; none where they are found by their names."""
    return {"pack": str(pack), "bases": bases, "self_test": self_test}


def begin(order: Order, channel: Channel) -> Pack:
    """The pack of a first order; raises ClinfitError where it does not answer here as where it was written."""
    put_bases(order["bases"])
    pack = load_pack(Path(order["pack"]))
    if order["self_test"]:
        pack.self_test().check()
    return pack


def answer(pack: Pack, order: Order, channel: Channel) -> dict[str, Any]:
    """The answers to a shard, or how they failed."""
    try:
        return {"answers": answers_as_json(pack.answer(order["task"], records_of(order))), "failure": None}
    except Exception as error:
        return {"answers": [], "failure": asdict(failure_of(error))}


if __name__ == "__main__":
    work(begin, answer)
