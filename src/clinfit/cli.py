"""The command line: one short function a verb. What a verb needs is imported in it, so that `--help` stays fast."""

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clinfit import __version__
from clinfit.errors import ClinfitError

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(
    name="clinfit",
    help="Fit language models to clinical text and patient data, and show whether they fit.",
    epilog="--debug, anywhere, shows the whole traceback when something unexpected happens.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="the study file (YAML)")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder: runs/<study>/<hash>")]
Online = Annotated[bool, typer.Option("--online", help="allow fetching bases from the hub; default: offline")]


@app.command()
def run(
    study: StudyFile,
    out: Annotated[Path | None, typer.Option(help="run folder; default: runs/<study>/<hash>")] = None,
    models: Annotated[list[str] | None, typer.Option(metavar="NAME...", help="only these models")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="reuse no models of other runs of this study")] = False,
    online: Online = False,
) -> None:
    """Train, evaluate and compare the models of a study; run it again to continue where it stopped."""
    allow_online(online)
    from clinfit.runs.execute import run as run_study

    result = run_study(study, out=out, models=models, fresh=fresh, debug=DEBUG in sys.argv)
    if result.failed:
        raise typer.Exit(2 if all(failure.fixable for failure in result.failed.values()) else 1)


@app.command()
def check(
    study: StudyFile,
    no_record: Annotated[bool, typer.Option("--no-record", help="do not show the first record's text")] = False,
    online: Online = False,
) -> None:
    """Check a study: its data, findings, the first prompt with its answer, memory and time. Errors give exit code 2."""
    allow_online(online)
    from clinfit.check import check_study
    from clinfit.study import load_study

    findings = check_study(load_study(study), show_record=not no_record)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(2)  # whatever it finds is in the study or its data, so it is the user's to fix


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="where to write the starter study")],
    data: Annotated[Path | None, typer.Option(help="data file to describe in it")] = None,
) -> None:
    """Write a starter study, from a data file where one is given."""
    from clinfit.starter import write_starter

    write_starter(path, data)
    typer.echo(f"wrote {path}; next: clinfit check {path}")


@app.command()
def predict(
    pack: Annotated[Path, typer.Argument(metavar="PACK", help="a pack folder, as `clinfit run` writes it")],
    source: Annotated[Path, typer.Option("--input", help="data file with the task's columns")],
    target: Annotated[Path, typer.Option("--output", help="answers: .csv, .tsv, .jsonl or .parquet")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing output file")] = False,
    online: Online = False,
) -> None:
    """Answer for new records with a pack: probabilities and decisions as in the evaluation."""
    allow_online(online)
    check_output(target, overwrite, source)
    from clinfit.runs.pack import load_pack

    table = load_pack(pack).predict(source, typer.echo)
    write_table(table, target)
    typer.echo(f"wrote {len(table)} answers to {target}")


@app.command()
def evaluate(
    sources: Annotated[list[Path], typer.Argument(metavar="RUN | FILE...", help="a run folder, or predictions files")],
    labels: Annotated[str | None, typer.Option(metavar="A,B", help="files: all labels, in their order")] = None,
    positive: Annotated[str | None, typer.Option(metavar="B", help="files: the positive label; default: last")] = None,
    name: Annotated[str | None, typer.Option(help="files: title of the report")] = None,
    out: Annotated[Path | None, typer.Option(help="files: folder for the report; default: <name>-report")] = None,
    study: Annotated[Path | None, typer.Option(help="files: study with labels and settings of the evaluation")] = None,
) -> None:
    """Make metrics, report and packs again from a run's saved predictions, or report on files from any tool.

    A predictions file (.csv, .tsv, .parquet, .jsonl) has the columns id, gold, and predicted or p_<label> for each
    label; model, split, group, status and raw are read where present. No model is loaded.
    """
    if any(source.is_file() for source in sources):
        return evaluate_files(sources, labels, positive, name, out, study)
    if len(sources) > 1 or any((labels, positive, name, out, study)):
        raise ClinfitError(
            f"{sources[0]} is no file", expected="one run folder without options, or predictions files with them"
        )
    from clinfit.report.summary import print_summary
    from clinfit.runs.folder import existing_run, locked
    from clinfit.runs.outcome import evaluate_run
    from clinfit.runs.pack import write_packs
    from clinfit.runs.progress import new_console
    from clinfit.study import load_study

    folder = existing_run(sources[0])
    with locked(folder.path):
        settings = load_study(folder.study)
        results = evaluate_run(folder, settings, f"clinfit evaluate {sources[0]}")
        write_packs(folder, settings, results, typer.echo)
    print_summary(results, new_console())
    typer.echo(folder.report)
    return None


def evaluate_files(
    files: list[Path], labels: str | None, positive: str | None, name: str | None, out: Path | None, study: Path | None
) -> None:
    """The other half of `evaluate`."""
    from shlex import join

    from clinfit.report.summary import print_summary
    from clinfit.runs.bare import evaluate_files as evaluate_tables
    from clinfit.runs.progress import new_console
    from clinfit.study import load_study

    if study is not None and any((labels, positive, name)):
        raise ClinfitError("--study comes with --labels, --positive or --name", expected="the study says these itself")
    settings = load_study(study) if study else None
    title = settings.name if settings else name or files[0].stem
    folder = out or Path(f"{title}-report")
    options = {"labels": labels, "positive": positive, "name": name, "out": out, "study": study}
    words = [word for option, value in options.items() if value for word in (f"--{option}", str(value))]
    results = evaluate_tables(
        files,
        folder,
        labels=[label.strip() for label in labels.split(",")] if labels else [],
        positive=positive,
        name=title,
        study=settings,
        command=join(["clinfit", "evaluate", *map(str, files), *words]),
    )
    print_summary(results, new_console())
    typer.echo(folder / "report.html")


@app.command()
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
    from clinfit.runs.progress import new_console

    results = compare_runs(runs, out, pair or ())
    print_comparison(results, new_console())
    typer.echo(out / "comparison.html")


@app.command()
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


@app.command()
def score(
    run: RunPath,
    parser: Annotated[str, typer.Option(help="how to read them: strict, first-word or json")] = "strict",
    models: Annotated[list[str] | None, typer.Option(metavar="NAME...", help="only these models")] = None,
) -> None:
    """Read the free answers that a run saved again, without the model, and evaluate them beside the run."""
    from clinfit.report.summary import print_summary, summary_table
    from clinfit.runs.folder import existing_run, locked
    from clinfit.runs.progress import new_console
    from clinfit.runs.score import score_run
    from clinfit.study import load_study

    folder = existing_run(run)
    command = f"clinfit score {run} --parser {parser}" + (f" --models {' '.join(models)}" if models else "")
    with locked(folder.path):
        scored = score_run(folder, load_study(folder.study), parser, models, command)
    console = new_console()
    typer.echo("The run, by label probability:")
    for name, task in scored.before["tasks"].items():
        console.print(summary_table(name, task, scored.before["confidence"]))
    typer.echo(f"Free answers, read by {parser}:")
    print_summary(scored.results, console)
    typer.echo(scored.folder / "report.html")


@app.command()
def diagnose(
    run: RunPath,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="which model; default: the first causal")] = None,
    records: Annotated[int, typer.Option(min=1, help="how many test records to ask about")] = 3,
    show_text: Annotated[bool, typer.Option("--show-text", help="show what it writes; may quote records")] = False,
    online: Online = False,
) -> None:
    """Show how a trained language model answers under several ways of asking, and which label it leans to."""
    allow_online(online)
    from clinfit.runs.diagnose import diagnose_run
    from clinfit.runs.folder import existing_run
    from clinfit.study import load_study

    folder = existing_run(run)
    for line in diagnose_run(folder, load_study(folder.study), model, records, show_text):
        typer.echo(line)


@app.command()
def status(run: RunPath) -> None:
    """Show how far a run is; works from another terminal."""
    from clinfit.runs.folder import existing_run
    from clinfit.runs.progress import status_lines

    typer.echo("\n".join(status_lines(existing_run(run))))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the study file, for editors."""
    import json

    from clinfit.study import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=print_version, help="print the version")
    ] = False,
) -> None: ...


# ---------------------------------------------------------------- what verbs share

OUTPUTS = (".csv", ".tsv", ".jsonl", ".parquet")


def allow_online(online: bool) -> None:
    """Decide before anything is imported that could reach for the network."""
    os.environ["HF_HUB_OFFLINE"] = "0" if online else "1"


def check_output(path: Path, overwrite: bool, source: Path) -> None:
    """Refuse an output that cannot be written, before the work is done."""
    if path.suffix not in OUTPUTS:
        raise ClinfitError(
            f"--output {path} ends in {path.suffix!r}", expected=f"a name ending in {', '.join(OUTPUTS)}"
        )
    if path.is_dir():
        raise ClinfitError(f"--output {path} is a folder", expected="a file name")
    if path.exists() and source.exists() and path.samefile(source):
        raise ClinfitError(f"--output {path} is the input file", expected="another name", fix="give another --output")
    if path.exists() and not overwrite:
        raise ClinfitError(f"{path} exists already", fix="give another name, or add --overwrite")


def write_table(table: "pd.DataFrame", path: Path) -> None:
    """The table in the format of the file's suffix, whole or not at all; floats keep all their digits."""
    import json

    from clinfit.runs.folder import new_file

    with new_file(path) as temporary:
        match path.suffix:
            case ".parquet":
                table.to_parquet(temporary, index=False)
            case ".jsonl":
                rows = table.to_dict(orient="records")  # to_json would round the probabilities
                temporary.write_text(
                    "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
                )
            case suffix:
                table.to_csv(temporary, index=False, sep="\t" if suffix == ".tsv" else ",")


# ---------------------------------------------------------------- the way in

DEBUG = "--debug"
STOPPED = 130  # the shell's code for Ctrl-C, and what typer makes of KeyboardInterrupt


def main() -> None:
    """Run the command line. Exit codes: 0 fine, 1 failed, 2 for the user to fix, 130 stopped by Ctrl-C or SIGTERM."""
    quiet_libraries()
    arguments = one_flag_a_model([word for word in sys.argv[1:] if word != DEBUG])
    try:
        app(arguments, prog_name="clinfit")
    except ClinfitError as error:
        fail("clinfit: " + "\n".join(error.lines()), error, 2)
    except SystemExit as end:
        if end.code == STOPPED:
            typer.echo("Stopped.", err=True)
        raise
    except Exception as error:
        from clinfit.runs.failures import failure_of, save_traceback

        log = save_traceback(error)
        where = f"traceback in {log}" if log else f"{DEBUG} shows the traceback"
        fail(f"clinfit: unexpected {failure_of(error).reason}; {where}", error, 1)


def quiet_libraries() -> None:
    """Leave the terminal to clinfit: what libraries say of their own insides is of no use to a user."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if DEBUG not in sys.argv:
        warnings.filterwarnings("ignore", module=r"(peft|transformers)\.")


def one_flag_a_model(words: list[str]) -> list[str]:
    """`--models a b` as `--models a --models b`, which is what the parser understands."""
    result: list[str] = []
    naming = False
    for word in words:
        if word.startswith("-") or word.endswith((".yaml", ".yml")):
            naming = word == "--models"
        elif naming and result[-1] != "--models":
            result.append("--models")
        result.append(word)
    return result


def fail(message: str, error: Exception, code: int) -> None:
    if DEBUG in sys.argv:
        raise error
    typer.echo(message, err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
