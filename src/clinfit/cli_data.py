"""`clinfit data`: the catalogue of public sets."""

from typing import Annotated

import typer

data_app = typer.Typer(no_args_is_help=True, help="Public sets: list them, see what is known of one, get its files.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="a set of the catalogue, as `clinfit data list` shows it")]


@data_app.command("list")
def list_sets() -> None:
    """List all sets, and whether their files are here."""
    from rich.table import Table

    from clinfit.data.catalog.describe import listed
    from clinfit.data.catalog.files import mirror_folder
    from clinfit.runs.control.status import new_console

    table = Table("name", "here", "records", "splits", "what", caption=f"files lie in {mirror_folder()}")
    for row in listed():
        table.add_row(*row)
    new_console().print(table)


@data_app.command("show")
def show_set(name: Name) -> None:
    """Show all that is known of a set: licence, splits, columns, what to beware of, pretraining, files."""
    from clinfit.data.catalog.describe import described
    from clinfit.data.catalog.sets import CATALOG, own_name

    name = own_name(name, "clinfit data show")
    entry = CATALOG[name]
    typer.echo(f"{name}: {entry.title}")
    for heading, lines in described(name, entry).items():
        typer.echo(f"\n{heading}")
        for line in lines:
            typer.echo(f"  {line}")


@data_app.command("get")
def get_sets(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="sets of the catalogue")],
    online: Annotated[bool, typer.Option("--online", help="fetch what is not here; default: offline")] = False,
) -> None:
    """Check the files of sets by their checksums, and fetch with --online what is not here; goes on after a break."""
    from clinfit.data.catalog.download import get_set
    from clinfit.data.catalog.sets import CATALOG, own_name

    for name in [own_name(name, "clinfit data get") for name in names]:
        get_set(name, CATALOG[name], typer.echo, online=online)
        typer.echo(f"{name} is here; in a study: path: catalog:{name}")
