"""`clinfit reading`: people read what models wrote, without knowing who wrote it."""

from pathlib import Path
from typing import Annotated

import typer

from clinfit.cli_runs import RunPath

reading_app = typer.Typer(
    no_args_is_help=True, help="People read written texts side by side: make the page, evaluate the scores."
)


@reading_app.command("page")
def page(
    run: RunPath,
    out: Annotated[Path, typer.Option(metavar="FILE", help="where the page goes; it shows text of records")],
    task: Annotated[str | None, typer.Option(metavar="NAME", help="which task; default: the one with texts")] = None,
    models: Annotated[list[str] | None, typer.Option(metavar="NAME...", help="only these models")] = None,
    records: Annotated[int, typer.Option(min=1, help="how many test records are drawn")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="of the draw of records and of the order of texts")] = 1,
) -> None:
    """Write one HTML file on which people score the texts of all models, in random order and without names."""
    from clinfit.runs.folder import existing_run
    from clinfit.runs.reading import Wanted, write_reading
    from clinfit.study.load import load_study

    folder = existing_run(run)
    made = write_reading(folder, load_study(folder.study), Wanted(task, models, records, seed), out)
    typer.echo(f"{made.path} shows the text of {made.records} records: treat it as you treat the data")
    typer.echo(f"{len(made.systems)} texts a record, by {', '.join(made.systems)}; who wrote which stays in the run")
    typer.echo(f"next: each rater opens it, scores, saves; then: clinfit reading result {run} ratings-*.json")


@reading_app.command("result")
def result(
    run: RunPath,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="scores that raters saved, one file each")],
) -> None:
    """Say how the models were scored, how far the raters agree, and where they do not."""
    from clinfit.report.reading_result import reading_lines
    from clinfit.runs.folder import existing_run
    from clinfit.runs.reading import read_ratings

    for line in reading_lines(read_ratings(existing_run(run), files)):
        typer.echo(line)
