"""`clinfit evaluate FILE...` and `clinfit evaluate PACK --data FILE`: reports on what is no run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

from clinfit.errors import ClinfitError


@dataclass(frozen=True)
class FileOptions:
    """What `evaluate` says of predictions files, by the names of its options; None where it was not given."""

    labels: str | None
    positive: str | None
    kind: Literal["classification", "multilabel"] | None
    name: str | None
    out: Path | None
    study: Path | None
    task: str | None

    @property
    def given(self) -> dict[str, str]:
        return {option: str(value) for option, value in vars(self).items() if value is not None}


def evaluate_files(files: list[Path], options: FileOptions, export: bool) -> None:
    """The other half of `evaluate`."""
    from shlex import join

    from clinfit.report.summary import print_summary
    from clinfit.runs.control.status import new_console
    from clinfit.runs.external.answers import evaluate_files as evaluate_tables
    from clinfit.study.load import load_study

    said = [f"--{name}" for name in ("labels", "positive", "kind", "name") if name in options.given]
    if options.study and said:
        raise ClinfitError(f"--study comes with {', '.join(said)}", expected="the study says these itself")
    if options.task and not options.study:
        raise ClinfitError("--task comes without --study", expected="a study that has this task")
    study = load_study(options.study) if options.study else None
    title = study.name if study else options.name or files[0].stem
    folder = options.out or Path(f"{title}-report")
    words = [word for name, value in options.given.items() for word in (f"--{name}", value)]
    results = evaluate_tables(
        files,
        folder,
        labels=[label.strip() for label in (options.labels or "").split(",") if label.strip()],
        positive=options.positive,
        kind=options.kind or "classification",
        name=title,
        study=study,
        task=options.task,
        command=join(["clinfit", "evaluate", *map(str, files), *words]),
        files=export,
    )
    print_summary(results, new_console())
    typer.echo(folder / "report.html")


def is_pack(sources: list[Path]) -> bool:
    """Whether the one source is a pack."""
    return len(sources) == 1 and (sources[0] / "pack.json").is_file()


def evaluate_pack(sources: list[Path], data: Path | None, options: FileOptions, export: bool) -> None:
    """A pack on new records: external validation."""
    from shlex import join

    from clinfit.report.summary import print_summary
    from clinfit.runs.control.status import new_console
    from clinfit.runs.external.pack import evaluate_pack as evaluate_on

    if data is None:
        raise ClinfitError(
            f"{sources[0]} is a pack, and no records are named", fix=f"clinfit evaluate {sources[0]} --data new.csv"
        )
    if not is_pack(sources):
        raise ClinfitError(f"--data {data} is for a pack, and {sources[0]} is none", expected="one pack folder")
    if odd := options.given.keys() - {"out", "task"}:
        raise ClinfitError(f"--{min(odd)} comes with a pack", expected="the pack says this itself")
    folder = options.out or Path(f"{data.stem}-report")
    words = [word for name, value in options.given.items() for word in (f"--{name}", value)]
    command = join(["clinfit", "evaluate", str(sources[0]), "--data", str(data), *words])
    results = evaluate_on(sources[0], data, folder, task=options.task, command=command, files=export)
    print_summary(results, new_console())
    for task in results["tasks"].values():
        found = task["sections"].get("external")
        if not found:
            continue
        for row in found["large"]:
            ratio = "" if row["ratio"] is None else f" = {row['ratio']:.2f}"
            typer.echo(f"{row['label']}: observed / expected {row['observed']} / {row['expected']:.1f}{ratio}")
        if found["recalibrate"] is not None:
            typer.echo(f"a pack that is recalibrated on these records: {found['recalibrate']}")
    typer.echo(folder / "report.html")
