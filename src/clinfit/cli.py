"""The command line: one short function a verb. What a verb needs is imported in it, so that `--help` stays fast."""

import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from clinfit import __version__
from clinfit.cli_data import data_app
from clinfit.cli_files import FileOptions, evaluate_files, evaluate_pack, is_pack
from clinfit.cli_models import import_configs, models_app
from clinfit.cli_packs import Online, allow_online, explain, export, predict, recalibrate
from clinfit.cli_reading import reading_app
from clinfit.cli_runs import RunPath, compare, detached, freeze, score, status, stop
from clinfit.cli_serve import add_commands
from clinfit.errors import ClinfitError


class Whole(TyperGroup):
    """Shows what each command does in full, on as many lines as it takes; click would cut it off."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        texts = {
            name: " ".join((command.help or "").partition("\n\n")[0].split()) for name, command in self.commands.items()
        }
        with formatter.section("Commands"):
            formatter.write_dl(list(texts.items()))


app = typer.Typer(
    name="clinfit",
    cls=Whole,
    help="Fit language models to clinical text and patient data, and show whether they fit.",
    epilog="--debug, anywhere, shows the whole traceback when something unexpected happens.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")
app.add_typer(models_app, name="models")
app.add_typer(reading_app, name="reading")

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="the study file (YAML)")]


@app.command()
def run(
    study: StudyFile,
    out: Annotated[Path | None, typer.Option(help="run folder; default: runs/<study>/<hash>")] = None,
    models: Annotated[list[str] | None, typer.Option(metavar="NAME...", help="only these models")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="reuse no models of other runs of this study")] = False,
    executor: Annotated[
        str,
        typer.Option(
            metavar="inline|processes|ray|ray://ADDRESS",
            help="who trains and answers: this process, one process for each base and precision, or a Ray cluster: of "
            "this machine alone, at HOST:PORT, or the one that this machine is a node of (ray://auto)",
        ),
    ] = "inline",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="how many work at the same time; default: processes 1, ray as many as there is room"),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="GB", help="executor processes: end a worker that holds more, and go on"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="few records and one epoch, to see in a minute what a run gives")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=2, help="only the first N records of every task; a study of its own")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="only what failed last time; without it, all that is left is done")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="go on in the background, with a log beside the run folder")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show every step and what is left to do; do none")] = False,
    egress: Annotated[
        bool,
        typer.Option("--allow-egress", help="let models of `family: remote` send texts of records to other machines"),
    ] = False,
    online: Online = False,
) -> None:
    """Train, evaluate and compare the models of a study; run it again to continue where it stopped."""
    allow_online(online)
    allow_egress(egress)
    from clinfit.runs.cluster.choose import executor_named

    chosen = executor_named(executor, workers, memory=memory, debug=DEBUG in sys.argv)
    if dry_run or detach:
        from clinfit.runs.execute import as_asked
        from clinfit.study.load import load_study

        asked = as_asked(load_study(study), quick, limit)
        if dry_run:
            from clinfit.runs.steps.dry_run import print_plan

            return print_plan(asked, out, models, fresh, retry_failed=retry_failed)
        from clinfit.models.remote.egress import check_egress
        from clinfit.runs.inputs import choose_models, only_failed, prepare

        prepared = prepare(asked, out, models, fresh)  # what is wrong is told before anything is started
        folder = (only_failed(prepared) if retry_failed else prepared).folder.path
        check_egress(choose_models(asked, models), chosen.elsewhere)
        return detached(folder, [word for word in sys.argv[1:] if word != "--detach"])
    from clinfit.runs.execute import run as run_study

    result = run_study(
        study,
        out=out,
        models=models,
        fresh=fresh,
        quick=quick,
        limit=limit,
        retry_failed=retry_failed,
        executor=chosen,
    )
    if result.failed:
        raise typer.Exit(2 if all(failure.fixable for failure in result.failed.values()) else 1)
    return None


@app.command()
def check(
    study: StudyFile,
    no_record: Annotated[bool, typer.Option("--no-record", help="do not show the first record's text")] = False,
    online: Online = False,
) -> None:
    """Check a study: its data, findings, the first prompt with its answer, memory and time. Errors give exit code 2."""
    allow_online(online)
    from clinfit.runs.checking.check import check_study
    from clinfit.study.load import load_study

    findings = check_study(load_study(study), show_record=not no_record)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(2)  # whatever it finds is in the study or its data, so it is the user's to fix


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="where to write the starter study")],
    data: Annotated[Path | None, typer.Option(help="data file to describe in it")] = None,
) -> None:
    """Write a starter study, from a data file where one is given."""
    from clinfit.runs.starter import write_starter

    write_starter(path, data)
    typer.echo(f"wrote {path}; next: clinfit check {shlex.quote(str(path))}")


for command in (predict, explain, export):
    app.command()(command)


@app.command()
def evaluate(
    sources: Annotated[
        list[Path], typer.Argument(metavar="RUN | FILE... | PACK", help="a run folder, predictions files, or a pack")
    ],
    labels: Annotated[str | None, typer.Option(metavar="A,B", help="files: all labels, in their order")] = None,
    positive: Annotated[str | None, typer.Option(metavar="B", help="files: the positive label; default: last")] = None,
    name: Annotated[str | None, typer.Option(help="files: title of the report")] = None,
    data: Annotated[Path | None, typer.Option(help="pack: data file with new records and their answers")] = None,
    out: Annotated[Path | None, typer.Option(help="files, pack: folder for the report; default: <name>-report")] = None,
    study: Annotated[Path | None, typer.Option(help="files: study with labels and settings of the evaluation")] = None,
    kind: Annotated[
        Literal["classification", "multilabel"] | None, typer.Option(help="files: one label an item, or any number")
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="NAME", help="files, pack: which task")] = None,
    export: Annotated[
        bool,
        typer.Option("--export", help="also write every figure (SVG, PDF, PNG) and table (CSV, LaTeX, HTML) as files"),
    ] = False,
) -> None:
    """Make metrics, report and packs again from a run's saved predictions, or report on files from any tool, or on a
    pack that answers new records (--data).

    A predictions file (.csv, .tsv, .parquet, .jsonl) has the columns id, gold, and predicted or p_<label> for each
    label; model, split, group, status and raw are read where present. No model is loaded, but that of a pack.
    """
    from clinfit.files import followed

    options = FileOptions(labels, positive, kind, name, out, study, task)
    sources = [followed(source) for source in sources]
    if data is not None or is_pack(sources):
        return evaluate_pack(sources, data, options, export)
    if any(source.is_file() for source in sources):
        return evaluate_files(sources, options, export)
    if len(sources) > 1 or options.given:
        raise ClinfitError(
            f"{sources[0]} is no file", expected="one run folder without options, or predictions files with them"
        )
    from clinfit.locks import locked
    from clinfit.report.summary import print_summary
    from clinfit.runs.control.status import new_console
    from clinfit.runs.finish import evaluate_run
    from clinfit.runs.folder import existing_run
    from clinfit.runs.packs import write_run_packs
    from clinfit.study.load import load_study

    folder = existing_run(sources[0])
    with locked(folder.path):
        settings = load_study(folder.study)
        results = evaluate_run(folder, settings, f"clinfit evaluate {sources[0]}", files=export)
        write_run_packs(folder, settings, results, typer.echo)
    print_summary(results, new_console())
    typer.echo(folder.report)
    return None


@app.command()
def diagnose(
    run: RunPath,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="which model; default: the first causal")] = None,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="which task; default: all with one answer a record")
    ] = None,
    records: Annotated[int, typer.Option(min=1, help="how many test records to ask about")] = 3,
    show_text: Annotated[bool, typer.Option("--show-text", help="show what it writes; may quote records")] = False,
    online: Online = False,
) -> None:
    """Show how a trained language model answers under several ways of asking, and which label it leans to."""
    allow_online(online)
    from clinfit.runs.diagnose import diagnose_run
    from clinfit.runs.folder import existing_run
    from clinfit.study.load import load_study

    folder = existing_run(run)
    for line in diagnose_run(folder, load_study(folder.study), model, task, records, show_text):
        typer.echo(line)


for command in (recalibrate, compare, freeze, score, status, stop):
    app.command()(command)


app.command(name="import")(import_configs)
add_commands(app)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the study file, for editors."""
    import json

    from clinfit.study.schema import json_schema

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


def allow_egress(egress: bool) -> None:
    """Note whether texts may leave this machine, for this process and the workers that it starts."""
    from clinfit.models.remote import egress as typed

    typed.allow_egress(egress)


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
        from clinfit.runs.steps.failures import failure_of, save_traceback

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
