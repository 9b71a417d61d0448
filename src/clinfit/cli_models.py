"""`clinfit models`: the model blocks that a study can use by name. `clinfit import`: models that others have listed."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

models_app = typer.Typer(
    no_args_is_help=True, help="Model blocks that a study uses by name (`use: NAME`): list them, see one."
)


@models_app.command("list")
def list_models() -> None:
    """List all model blocks, with the memory of their weights at 16 and 4 bits, estimated."""
    from rich.table import Table

    from clinfit.models.estimates.described import listed_blocks
    from clinfit.runs.control.status import new_console

    table = Table("name", "base", "size", "16 / 4 bits, estimated", "licence", caption="in a study: use: NAME")
    for row in listed_blocks():
        table.add_row(*row)
    new_console().print(table)


@models_app.command("show")
def show_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a block, as `clinfit models list` shows it")],
) -> None:
    """Show all that is known of a model block, and what it fills in."""
    from clinfit.models.estimates.described import described_block
    from clinfit.study.blocks import block_of, filled
    from clinfit.study.load import dump_yaml

    block = block_of(name)
    typer.echo(f"{name}: {block.title}")
    for heading, lines in described_block(block).items():
        typer.echo(f"\n{heading}")
        for line in lines:
            typer.echo(f"  {line}")
    typer.echo(f"\n`use: {name}` stands for\n")
    typer.echo(dump_yaml(filled({}, name)).rstrip())


def import_configs(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a list of fine-tunings, such as model_configs.json")],
    path: Annotated[Path, typer.Argument(metavar="STUDY", help="where to write the study")],
    data: Annotated[Path | None, typer.Option(help="data file to describe in it")] = None,
    family: Annotated[Literal["mlx", "causal"], typer.Option(help="what computes the models")] = "mlx",
) -> None:
    """Write a starter study with the models of a list of MLX fine-tunings (model_configs.json)."""
    from clinfit.runs.model_configs import import_models

    written = import_models(file, path, data, family)
    for line in written.moved:
        typer.echo(f"output_dir of {line}")
    typer.echo(f"wrote {written.study}; next: clinfit check {shlex.quote(str(written.study))}")
