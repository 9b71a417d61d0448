"""Whether texts may leave this machine: only where that was typed on the command line."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from clinfit.errors import ClinfitError
from clinfit.study.models import ModelSpec
from clinfit.study.remote import Remote

FLAG = "--allow-egress"
#: Kept in this process alone, so that no environment allows it once and for all; a worker is told in its first order.
_typed = False


def allow_egress(allowed: bool) -> None:
    """Note for this process, and for the workers that it starts, whether the flag was typed."""
    global _typed
    _typed = allowed


def egress_allowed() -> bool:
    """Whether the flag was typed."""
    return _typed


def check_egress(specs: Sequence[ModelSpec], elsewhere: bool = False) -> list[str]:
    """Warnings that name where texts go. elsewhere: whether models work on other machines than this one.

    Raises ClinfitError where texts would leave this machine unasked, where a key is missing, where flag or key would
    have to travel, or where there is nothing to ask with.
    """
    remote = [spec for spec in specs if isinstance(spec, Remote)]
    for spec in remote:
        check_allowed(spec)
        if elsewhere and (spec.leaves_machine or spec.api_key_env):
            raise ClinfitError(
                f"model {spec.name} cannot be asked from a cluster: neither {FLAG} nor a key travels to its nodes",
                expected="--executor inline or processes for models that need either",
                fix="clinfit run STUDY --executor processes",
            )
        api_key(spec)
        if find_spec("httpx2") is None:
            raise ClinfitError(
                f"model {spec.name} is asked over HTTP, and httpx2 is not installed",
                fix="pip install 'clinfit[remote]'",
            )
    return [
        f"Warning: texts of records leave this machine: {spec.name} sends them to {spec.host} ({spec.url})"
        + (f" by way of the proxy {proxy}" if (proxy := _proxy(spec)) else "")
        for spec in remote
        if spec.leaves_machine
    ]


def _proxy(spec: Remote) -> str | None:
    """Host and port of the proxy that the environment puts before a server; None without one."""
    found = getproxies()
    named = found.get(urlsplit(spec.url).scheme) or found.get("all")
    if not named or proxy_bypass(spec.host):
        return None
    return urlsplit(named if "//" in named else f"//{named}").netloc.rpartition("@")[2]


def check_allowed(spec: Remote) -> None:
    """Raise ClinfitError where the model is on another machine and the flag was not typed."""
    if spec.leaves_machine and not egress_allowed():
        raise ClinfitError(
            f"model {spec.name} would send texts of records to {spec.host}, which is not this machine",
            expected=f"{FLAG} on the command line, where the records may be sent there",
            fix=f"clinfit run STUDY {FLAG}",
        )


def api_key(spec: Remote) -> str | None:
    """The key that the study's variable holds; None where the study names none."""
    if spec.api_key_env is None:
        return None
    if not (key := os.environ.get(spec.api_key_env, "").strip()):
        raise ClinfitError(
            f"model {spec.name} takes its API key from the environment variable {spec.api_key_env}, which is empty",
            fix=f"export {spec.api_key_env}=...",
        )
    return key
