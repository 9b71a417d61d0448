"""A Ray cluster of several nodes on this machine, for tests."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None and os.environ.get("CI") != "true", reason="the extra ray is not installed"
)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def raylet(node: Any) -> int:
    """The process that is a node."""
    return node.all_processes["raylet"][0].process.pid


def several_nodes(cluster: Any) -> None:
    """Two nodes that work, whatever was killed before."""
    while len(cluster.worker_nodes) < 2:
        cluster.add_node(num_cpus=1)


@contextmanager
def killed_once_named(cluster: Any, held: Path) -> Iterator[None]:
    """Meanwhile the node whose raylet's process a file names is killed, as soon as it does."""

    def kill() -> None:
        while not (held.exists() and held.read_text()):
            time.sleep(0.1)
        (node,) = (node for node in cluster.worker_nodes if raylet(node) == int(held.read_text()))
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    yield
    killer.join()
