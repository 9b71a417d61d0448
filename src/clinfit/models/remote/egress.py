"""Whether texts may leave this machine: only where that was typed on the command line."""

import os
from collections.abc import Sequence
from importlib.util import find_spec

from clinfit.errors import ClinfitError
from clinfit.study.models import ModelSpec
from clinfit.study.remote import Remote

FLAG = "--allow-egress"
#: Set by the command line at every start, so that no environment allows it once and for all; workers inherit it.
_ALLOWED = "_CLINFIT_EGRESS_TYPED"


def allow_egress(allowed: bool) -> None:
    """Note for this process, and for the workers that it starts, whether the flag was typed."""
    os.environ[_ALLOWED] = "1" if allowed else "0"


def egress_allowed() -> bool:
    """Whether the flag was typed."""
    return os.environ.get(_ALLOWED) == "1"


def check_egress(specs: Sequence[ModelSpec]) -> list[str]:
    """Warnings that name where texts go. Raises ClinfitError where they would leave this machine unasked, where a key
    is missing, or where there is nothing to ask with."""
    remote = [spec for spec in specs if isinstance(spec, Remote)]
    for spec in remote:
        check_allowed(spec)
        api_key(spec)
        if find_spec("httpx2") is None:
            raise ClinfitError(
                f"model {spec.name} is asked over HTTP, and httpx2 is not installed",
                fix="pip install 'clinfit[remote]'",
            )
    return [
        f"Warning: texts of records leave this machine: {spec.name} sends them to {spec.host} ({spec.url})"
        for spec in remote
        if spec.leaves_machine
    ]


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
