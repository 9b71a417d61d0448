"""A connection to a Ray cluster: one that is there, or one on this machine that begins and ends with the run."""

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from clinfit.errors import ClinfitError
from clinfit.runs.cluster.station import SweptFolder

#: Of an address: the cluster that this machine is a node of.
HERE = "auto"
#: Seconds until an address that does not answer is given up.
PATIENCE = 10.0
#: Seconds before each further try where the client server could not begin its process for this client.
WAITS = (2.0, 8.0, 20.0)
#: What Ray reads from the environment. It reports how it is used unless it is told not to; a busy machine takes longer
#: than its half minute to bring a node up; and workers are to have the priority of the run, as they have elsewhere.
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "180", "RAY_worker_niceness": "0"}


def check_installed() -> None:
    """Raise ClinfitError when Ray is not installed."""
    if find_spec("ray") is None:
        raise ClinfitError(
            "--executor ray needs the package ray, which is not installed",
            fix="pip install 'clinfit[ray]', on this machine and on every node of the cluster",
        )


@contextmanager
def connected(address: str | None) -> Iterator[ModuleType]:
    """Ray, connected. address: None is a cluster of this machine alone, which ends with the block; HERE; or HOST:PORT
    of a cluster's client server. A process that is connected already stays so.

    Raises ClinfitError when there is no such cluster, or when it has another Ray or Python.
    """
    check_installed()
    os.environ.update({name: value for name, value in SETTINGS.items() if name not in os.environ})
    if address not in (None, HERE):
        _knock(str(address))
    with _own_token() if address is None else nullcontext():
        import ray

        if ray.is_initialized():
            yield ray
            return
        with _kept_signals():
            folder = _begin(ray, address)
        try:
            yield ray
        finally:
            ray.shutdown()
            if folder is not None:
                folder.remove()


def _begin(ray: ModuleType, address: str | None) -> SweptFolder | None:
    """Connect; the folder of a cluster that was begun here."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address is None:
        folder = SweptFolder("clinfit-ray-")
        # On the loopback address: nobody else has a business with it.
        options |= {"include_dashboard": False, "_temp_dir": str(folder.path), "_node_ip_address": "127.0.0.1"}
        try:
            ray.init(address="local", **options)
        except Exception as error:
            folder.remove()
            raise ClinfitError(
                f"--executor ray: Ray does not start on this machine: {type(error).__name__}: {_one_line(error)}",
                fix="--executor processes does the same without it",
            ) from error
        return folder
    try:
        if address == HERE:
            ray.init(address="auto", **options)
        else:
            _ask_client_server(ray, f"ray://{address}", options)
    except Exception as error:
        ray.shutdown()  # or Ray goes on to take this process for one of a client that is connected
        raise _unable(address, error) from error
    return None


def _ask_client_server(ray: ModuleType, address: str, options: dict[str, Any]) -> None:
    """Connect. The client server begins a process for each connection, which on a busy machine may come too late or
    not at all: one that was aborted is asked for again."""
    for wait in WAITS:
        try:
            ray.init(address=address, **options)
            return
        except ConnectionAbortedError:
            ray.shutdown()
            time.sleep(wait)
    ray.init(address=address, **options)


def _knock(address: str) -> None:
    """Raise ClinfitError where nothing answers; Ray itself would try for minutes, and say less."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ClinfitError(
            f"--executor ray://{address}: no address of a cluster",
            expected="ray://HOST:PORT, the port of Ray's client server (10001 unless it was set); ray://auto for the "
            "cluster that this machine is a node of; or ray alone for this machine",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise ClinfitError(
            f"--executor ray://{address}: nothing answers there ({type(error).__name__})",
            expected="the client server of a running cluster, as `ray start --head` begins it",
            fix="look at the address and at firewalls; the port is 10001 unless --ray-client-server-port set another",
        ) from error


def _unable(address: str, error: Exception) -> ClinfitError:
    """Why Ray would not connect. Its message names versions and addresses, and no record."""
    said = _one_line(error)
    if "ersion mismatch" in said or "Python minor versions differ" in said or "Python versions differ" in said:
        return ClinfitError(
            f"--executor ray://{address}: the cluster has another version of Ray or Python: {said}",
            expected="the same Python, Ray and clinfit on this machine and on every node",
        )
    return ClinfitError(
        f"--executor ray://{address}: cannot connect: {type(error).__name__}: {said}",
        expected="a running cluster: `ray start --head` on one machine, `ray start --address=HOST:6379` on the others",
        fix="for ray://HOST:PORT, the port is that of the client server (10001), and both sides need pip install "
        "'clinfit[ray]'; where the cluster asks for a token, set RAY_AUTH_TOKEN",
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


@cache
def _token() -> str:
    """One for all clusters of this process: Ray reads it once."""
    return secrets.token_hex(32)


@contextmanager
def _own_token() -> Iterator[None]:
    """A token of this run alone for its own cluster; Ray would write one into the home folder."""
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=_token())
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Ray sets how SIGTERM is heard; here it goes on to be Ctrl-C (execute.py)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
