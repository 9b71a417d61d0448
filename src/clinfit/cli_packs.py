"""What is done with a pack: `clinfit predict`, `explain`, `export`, `recalibrate`."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from clinfit.errors import ClinfitError

Online = Annotated[bool, typer.Option("--online", help="allow fetching bases from the hub; default: offline")]


def allow_online(online: bool) -> None:
    """Decide before anything is imported that could reach for the network."""
    os.environ["HF_HUB_OFFLINE"] = "0" if online else "1"


def predict(
    pack: Annotated[Path, typer.Argument(metavar="PACK", help="a pack folder, as `clinfit run` writes it")],
    source: Annotated[Path, typer.Option("--input", help="data file with the task's columns")],
    target: Annotated[Path, typer.Option("--output", help="answers: .csv, .tsv, .jsonl or .parquet")],
    task: Annotated[str | None, typer.Option(metavar="NAME", help="which task; needed where there are several")] = None,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="first ask the pack's made-up records, and stop where answers changed")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="refuse records with values that training has not seen, and write nothing")
    ] = False,
    executor: Annotated[
        str,
        typer.Option(
            metavar="inline|processes|ray|ray://ADDRESS",
            help="who answers: this process, or in shards processes of this machine or workers of a Ray cluster, as of "
            "`clinfit run`; the same command goes on after a kill",
        ),
    ] = "inline",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="how many answer at the same time; default: processes 1, ray as many as there is room"
        ),
    ] = None,
    shard_size: Annotated[
        int | None, typer.Option(min=1, help="records of a shard, which is what a worker that dies costs; default: 500")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing output file")] = False,
    online: Online = False,
) -> None:
    """Answer for new records with a pack: probabilities and decisions as in the evaluation."""
    allow_online(online)
    from clinfit.packs.output import check_output, write_table

    check_output(target, overwrite, source)
    if executor == "inline":
        if workers is not None or shard_size is not None:
            raise ClinfitError(
                "--workers and --shard-size say how a file is divided, and one process answers it whole",
                fix="add --executor processes, or ray",
            )
        from clinfit.packs.read import load_pack

        opened = load_pack(pack)
        if self_test:
            tested = opened.self_test()
            typer.echo("\n".join(tested.lines()))
            tested.check()
        table = opened.predict(source, task, typer.echo, strict=strict)
        write_table(table, target)
    else:
        from clinfit.runs.batch.predict import SHARD, predict_sharded
        from clinfit.runs.cluster.choose import executor_named
        from clinfit.runs.control.status import Bars, new_console

        table, done = predict_sharded(
            pack,
            source,
            target,
            executor_named(executor, workers),
            Bars(new_console()),
            task=task,
            size=shard_size or SHARD,
            strict=strict,
            self_test=self_test,
        )
        write_table(table, target)
        done()
    noted = sum(note != "" for note in table["notes"])
    more = f"; of {noted} of them there is something to know: see the column notes" if noted else ""
    typer.echo(f"wrote {len(table)} answers to {target}{more}")


def explain(
    pack: Annotated[Path, typer.Argument(metavar="PACK", help="a pack folder, as `clinfit run` writes it")],
    source: Annotated[Path, typer.Option("--data", "--input", help="data file with the task's columns")],
    id: Annotated[str, typer.Option("--id", help="the record's id; its row number, where the file has no ids")],
    task: Annotated[str | None, typer.Option(metavar="NAME", help="which task; needed where there are several")] = None,
    label: Annotated[
        str | None, typer.Option(help="whose probability; default: the positive label, else the most probable one")
    ] = None,
    unit: Annotated[
        Literal["sentences", "words"] | None,
        typer.Option("--by", help="parts of texts; default: sentences where there are several, else words"),
    ] = None,
    method: Annotated[
        Literal["occlusion", "gradient"],
        typer.Option(
            help="occlusion: what the answer is without each value and part; gradient: what an encoder or a causal "
            "model looked at in the texts"
        ),
    ] = "occlusion",
    rationale: Annotated[
        int,
        typer.Option(
            metavar="TOKENS",
            min=0,
            help="let a causal model also write, in so many tokens at most, why it answered; unverified",
        ),
    ] = 0,
    target: Annotated[
        Path | None, typer.Option("--output", help="also write it, values and text of the record included: .json")
    ] = None,
    no_record: Annotated[
        bool, typer.Option("--no-record", help="neither show nor write values and text of the record")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing output file")] = False,
    online: Online = False,
) -> None:
    """Show why a pack gave one record its answer: an explanation of the model, not of the disease."""
    allow_online(online)
    from clinfit.files import write_json
    from clinfit.packs.output import check_output

    if target is not None:
        check_output(target, overwrite, source, (".json",))
    from clinfit.packs.read import load_pack

    explained = load_pack(pack).explain(source, id, task, label=label, unit=unit, method=method, rationale=rationale)
    typer.echo("\n".join(explained.lines(show_record=not no_record)))
    if target is not None:
        write_json(target, explained.as_dict(show_record=not no_record))
        typer.echo(f"wrote {target}")


def export(
    pack: Annotated[Path, typer.Argument(metavar="PACK", help="a pack folder, as `clinfit run` writes it")],
    out: Annotated[Path, typer.Option(help="new folder; with --gguf the file beside it is called so, with .gguf")],
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], typer.Option(help="of the weights that are written")
    ] = "bf16",
    gguf: Annotated[bool, typer.Option("--gguf", help="also one GGUF file, by llama.cpp's converter")] = False,
    converter: Annotated[Path | None, typer.Option(help="convert_hf_to_gguf.py; default: the one on the path")] = None,
    online: Online = False,
) -> None:
    """Write a pack's language model with its adapter merged in, for other tools; what was evaluated is the pack."""
    allow_online(online)
    from clinfit.packs.export import export_gguf, export_merged, find_converter

    file = out.with_name(out.name + ".gguf")
    tool = find_converter(converter, file) if gguf else None
    for change in export_merged(pack, out, precision):
        typer.echo(f"against the pack, {change.line()}")
    typer.echo(f"wrote {out}")
    if tool is not None:
        export_gguf(out, file, tool)
        typer.echo(f"wrote {file}")


def recalibrate(
    pack: Annotated[Path, typer.Argument(metavar="PACK", help="a pack folder, as `clinfit run` writes it")],
    data: Annotated[Path, typer.Option(help="data file with records of the new place and their answers")],
    out: Annotated[Path, typer.Option("--output", help="the new pack, a new folder")],
    method: Annotated[
        Literal["intercept", "intercept-slope", "temperature"] | None,
        typer.Option(
            help="intercept: recalibration in the large; intercept-slope: logistic recalibration; temperature: any "
            "labels; default: intercept-slope, of more than two labels temperature"
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="NAME", help="which task; needed where there are several")] = None,
    keep_threshold: Annotated[
        bool,
        typer.Option(
            "--keep-threshold", help="leave the threshold as it is; default: one that was chosen is chosen again"
        ),
    ] = False,
) -> None:
    """Make a new pack of a pack, with probabilities that are right on records of another place; the model stays."""
    from clinfit.runs.external.recalibrate import recalibrate_pack

    made = recalibrate_pack(pack, data, out, task=task, method=method, keep_threshold=keep_threshold)
    typer.echo("\n".join(made.lines))
    typer.echo(
        f"wrote {out}, the pack {made.content.sha256[:16]}; test it on other records: clinfit evaluate {out} --data"
    )
