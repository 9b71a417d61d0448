"""What works on run folders: `clinfit status`, `stop`, `compare`, `freeze`, `score`, and `clinfit run --detach`."""

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
    log: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="the last N lines of the logs; default: a few of what failed"),
    ] = None,
) -> None:
    """Show how far a run is, and what it takes; works from another terminal."""
    from clinfit.runs.control.status import is_running, new_console, status_lines
    from clinfit.runs.folder import existing_run

    folder = existing_run(run)
    console, shown = new_console(), ""
    while True:
        text = "\n".join(status_lines(folder, log))
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
    from clinfit.runs.control.stop import stop_run
    from clinfit.runs.folder import existing_run

    typer.echo(stop_run(existing_run(run)))


def detached(folder: Path, words: Sequence[str]) -> None:
    """Start clinfit with the words of a command line in a process of its own, and say where to look.

    folder: the run folder that it will write.
    """
    from clinfit.runs.control.detach import start

    pid, log = start(folder, words)
    typer.echo(f"started as process {pid}; its output goes to {log}")
    typer.echo(f"how far it is: clinfit status {folder} --watch\nto stop it:    clinfit stop {folder}")


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="run folders with the same test items")],
    out: Annotated[Path, typer.Option(help="folder for comparison.json and comparison.html")] = Path("comparison"),
    pair: Annotated[
        list[str] | None,
        typer.Option(metavar="NEW=REFERENCE", help="compare these two systems; default: each with the best simple one"),
    ] = None,
) -> None:
    """Compare the systems of several runs on the same test items, from saved predictions; no model is loaded."""
    from clinfit.report.across import print_comparison
    from clinfit.runs.compare import compare_runs
    from clinfit.runs.control.status import new_console

    results = compare_runs(runs, out, pair or ())
    print_comparison(results, new_console())
    typer.echo(out / "comparison.html")


def freeze(
    study: Annotated[Path, typer.Argument(metavar="STUDY_OR_RUN", help="a study file or a run folder")],
    out: Annotated[Path | None, typer.Option(help="run folder of a study; default: runs/<study>/<hash>")] = None,
) -> None:
    """Declare what will be evaluated before the test split is opened: metric, rules, subgroups, comparisons, data."""
    from clinfit.runs.freeze import freeze_study

    path, frozen = freeze_study(study, out)
    if frozen.opened:
        typer.echo("The test split was opened before: the report will call this freeze late.")
    typer.echo(f"frozen {frozen.time}, SHA-256 {frozen.sha256}\n{path}")


def score(
    run: RunPath,
    parser: Annotated[str, typer.Option(help="how to read them: strict, first-word or json")] = "strict",
    models: Annotated[list[str] | None, typer.Option(metavar="NAME...", help="only these models")] = None,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="which task; default: all that were answered freely")
    ] = None,
) -> None:
    """Read the free answers that a run saved again, without the model, and evaluate them beside the run."""
    from clinfit.locks import locked
    from clinfit.report.summary import print_summary, summary_table
    from clinfit.runs.control.status import new_console
    from clinfit.runs.folder import existing_run
    from clinfit.runs.rescore import Asked, score_run
    from clinfit.study.load import load_study

    folder = existing_run(run)
    command = f"clinfit score {run} --parser {parser}" + (f" --models {' '.join(models)}" if models else "")
    command += f" --task {task}" if task else ""
    with locked(folder.path):
        scored = score_run(folder, load_study(folder.study), parser, Asked(models, task), command)
    console = new_console()
    typer.echo("The run, by label probability:")
    for name in scored.results["tasks"]:
        console.print(summary_table(name, scored.before["tasks"][name], scored.before["confidence"]))
    typer.echo(f"Free answers, read by {parser}:")
    print_summary(scored.results, console)
    typer.echo(scored.folder / "report.html")
