"""`clinfit status` and `clinfit stop`, and `clinfit run --detach`: runs that another process works on."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder: runs/<study>/latest, or another")]

#: Seconds between two looks at a run.
EVERY = 2.0


def status(
    run: RunPath,
    watch: Annotated[bool, typer.Option("--watch", help="go on showing it until the run ends; Ctrl-C leaves")] = False,
) -> None:
    """Show how far a run is; works from another terminal."""
    from clinfit.runs.folder import existing_run
    from clinfit.runs.status import is_running, new_console, status_lines

    folder = existing_run(run)
    console, shown = new_console(), ""
    while True:
        text = "\n".join(status_lines(folder))
        if text != shown:
            if console.is_terminal and watch:
                console.clear()
            typer.echo(text)
            shown = text
        if not watch or not is_running(folder):
            return
        time.sleep(EVERY)


def stop(run: RunPath) -> None:
    """Stop a run that another process of this machine works on, as Ctrl-C would; what is finished is kept."""
    from clinfit.runs.folder import existing_run
    from clinfit.runs.stop import stop_run

    typer.echo(stop_run(existing_run(run)))


def detached(folder: Path, words: Sequence[str]) -> None:
    """Start clinfit with the words of a command line in a process of its own, and say where to look.

    folder: the run folder that it will write.
    """
    from clinfit.runs.detach import start

    pid, log = start(folder, words)
    typer.echo(f"started as process {pid}; its output goes to {log}")
    typer.echo(f"how far it is: clinfit status {folder} --watch\nto stop it:    clinfit stop {folder}")
