"""A worker process and whoever asked for it, as the worker sees it: orders come in on standard input, messages go out
on standard output, one JSON object a line. The other end is worker_process.py."""

import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from queue import Queue
from typing import Any, TypeVar

from clinfit.files import DiskError
from clinfit.runs.steps.failures import failure_of

Held = TypeVar("Held")
Order = dict[str, Any]


class Channel:
    """The way back to the process that asked: one JSON object a line. Nothing in them is text of a record."""

    def __init__(self) -> None:
        """Take standard output; what libraries print goes to standard error from here on."""
        self._file = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def send(self, event: str, **values: Any) -> None:
        self._file.write(json.dumps({"event": event, **values}) + "\n")
        self._file.flush()

    def say(self, text: str) -> None:
        self.send("tell", how="say", what=[text])

    def begin(self, step: str, title: str) -> None:
        self.send("tell", how="begin", what=[step, title])

    def advance(self, step: str, done: int, total: int, text: str) -> None:
        self.send("tell", how="advance", what=[step, done, total, text])

    def end(self, step: str) -> None:
        self.send("tell", how="end", what=[step])


class Orders:
    """What is asked for, from standard input. When that ends before an order is finished, whoever asked is gone, and so
    is this process: what it was writing has a temporary name."""

    def __init__(self) -> None:
        self._queue: Queue[str | None] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            self._queue.put(line)
        if self._queue.unfinished_tasks:
            os._exit(1)
        self._queue.put(None)

    def next(self) -> Order | None:
        """The next order, None when there are no more."""
        line = self._queue.get()
        return None if line is None else json.loads(line)

    def finished(self) -> None:
        """The order that was taken last is done, or cannot be."""
        self._queue.task_done()


def work(begin: Callable[[Order, Channel], Held], answer: Callable[[Held, Order, Channel], Mapping[str, Any]]) -> None:
    """A worker process, from its first order, from which `begin` makes what it holds, to the last of the others, to
    each of which it says what `answer` does. SIGTERM ends it."""
    warnings.filterwarnings("ignore")  # what libraries say of their own insides is of no use to a user
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    channel = Channel()
    try:
        _serve(channel, Orders(), begin, answer)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)


def _serve(
    channel: Channel,
    orders: Orders,
    begin: Callable[[Order, Channel], Held],
    answer: Callable[[Held, Order, Channel], Mapping[str, Any]],
) -> None:
    order = orders.next()
    if order is None:
        return
    try:
        held = begin(order, channel)
    except Exception as error:
        orders.finished()
        channel.send("unable", failure=asdict(failure_of(error)))
        return
    orders.finished()
    channel.send("ready")
    while order := orders.next():
        try:
            said = answer(held, order, channel)
        except DiskError as error:
            channel.send("disk", found=error.found, expected=error.expected, fix=error.fix)
            return
        orders.finished()
        channel.send("done", **said)
