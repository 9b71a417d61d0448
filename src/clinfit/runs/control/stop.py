"""`clinfit stop RUN`: SIGTERM to the process that holds a study folder, which ends as with Ctrl-C."""

import os
import signal
import time

from clinfit.errors import ClinfitError
from clinfit.files import read_json
from clinfit.locks import holder
from clinfit.machine import this_host
from clinfit.runs.folder import RunFolder

#: Seconds that the process gets to end.
PATIENCE = 30.0


def stop_run(folder: RunFolder, patience: float = PATIENCE) -> str:
    """Stop the process that works on a study folder and wait until it has let go of it; what to tell of it.

    Raises ClinfitError when none works on it, when it runs on another host, or when it does not end in time.
    """
    known = read_json(folder.status) if folder.status.is_file() else {}
    if known.get("state") == "running" and known.get("host", this_host()) != this_host():
        raise ClinfitError(
            f"{folder.path} is worked on by another host ({known['host']}, process {known['pid']})",
            fix="type the same command there",
        )
    pid = holder(folder.path)
    if pid is None:
        raise ClinfitError(f"no process works on {folder.path}", fix=f"see how it stands: clinfit status {folder.path}")
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise ClinfitError(f"process {pid} belongs to another user", fix="ask them to stop it") from None
    except ProcessLookupError:
        pass  # it ended meanwhile
    end = time.monotonic() + patience
    while holder(folder.path) == pid:
        if time.monotonic() > end:
            raise ClinfitError(
                f"process {pid} was told to stop and still works on {folder.path}",
                fix=f"wait for it (clinfit status {folder.path} --watch), or end it: kill -9 {pid}; nothing is lost",
            )
        time.sleep(0.1)
    return f"stopped process {pid}; what is finished is kept, and running the study again continues"
