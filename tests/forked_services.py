"""Services and workers for tests that start many: processes of their own, forked from one that has imported what they
need, so that each begins at once. Where forking is not safe (macOS), Python starts them anew."""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

IMPORTED = [
    "clinfit.cli", "clinfit.models.classical", "clinfit.packs.read", "clinfit.serve.run", "clinfit.serve.stores.redis",
    "clinfit.serve.stores.sqlite", "clinfit.serve.streaming",
]  # fmt: skip
#: Libraries that begin threads when they are imported, which a fork would not have.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def start(words: Sequence[str], log: Path, environment: dict[str, str], code: str) -> BaseProcess:
    """`clinfit WORDS...` in a process of its own, which runs some code before; what it says is appended to a file."""
    forks = sys.platform == "linux"
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        before = dict(os.environ)
        os.environ.update(ONE_THREAD)
        try:
            context.set_forkserver_preload(IMPORTED)
            forkserver.ensure_running()
        finally:
            os.environ.clear()
            os.environ.update(before)
    process = context.Process(target=become, args=(list(words), str(log), environment, code), daemon=True)
    process.start()
    return process


def become(words: list[str], log: str, environment: dict[str, str], code: str) -> None:
    """Be the command, in the new process."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.environ.update(environment)
    exec(code, {})
    sys.argv = ["clinfit", *words]
    from clinfit.cli import main

    main()
