"""`clinfit serve`, `clinfit worker` and `clinfit key`: packs as a service."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from typer.main import get_command

from clinfit.errors import ClinfitError
from clinfit.models.engines import LARGEST_CHANGE, Wanted

#: What the extra `serve` brings and nothing else does; where jobs are in Redis also the package of that name.
NEEDED = ("fastapi", "uvicorn")

Packs = Annotated[list[Path], typer.Argument(metavar="PACK...", help="pack folders, as `clinfit run` writes them")]
KeepDays = Annotated[
    float, typer.Option(min=0.01, envvar="CLINFIT_SERVE_KEEP_DAYS", help="days for which results of a job are kept")
]
Lease = Annotated[
    float,
    typer.Option(
        min=1,
        envvar="CLINFIT_SERVE_LEASE",
        help="seconds after which a silent worker's chunk of a job goes to another",
    ),
]
#: Where the address of a Redis server, and its password, are looked for. An argument is for every user of a machine to
#: see (`ps`), an environment for its own user.
REDIS = "CLINFIT_REDIS_URL"
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        envvar="CLINFIT_REDIS_PASSWORD_FILE", metavar="FILE", help="file that holds the password of the Redis server"
    ),
]
Engine = Annotated[
    Wanted,
    typer.Option(
        envvar="CLINFIT_SERVE_ENGINE",
        help="what computes the answers: torch, exactly as evaluated; of encoders openvino, onnx or onnx-int8; of "
        "causal models prefix-cache; auto: the fastest that passes its comparison with torch, which is printed",
    ),
]
EngineChange = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=LARGEST_CHANGE,
        envvar="CLINFIT_SERVE_ENGINE_CHANGE",
        help="what --engine may change of a probability near 0.5; default: what the pack declares",
    ),
]


def _from_file(context: typer.Context, file: Path | None) -> Path | None:
    """What the file says is the default of the options, so that the command line and the environment win."""
    if file is not None:
        from clinfit.serve.settings import read_file

        context.default_map = read_file(file)
    return file


SettingsFile = Annotated[
    Path | None,
    typer.Option(
        envvar="CLINFIT_SERVE_SETTINGS",
        metavar="FILE",
        callback=_from_file,
        is_eager=True,
        help="YAML file of options and limits by their names, for what is set neither here nor in the environment",
    ),
]


def serve(
    context: typer.Context,
    packs: Packs,
    settings: SettingsFile = None,
    host: Annotated[
        str,
        typer.Option(
            envvar="CLINFIT_SERVE_HOST", help="address to listen to; others than this machine's own need --keys"
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, envvar="CLINFIT_SERVE_PORT", help="0: any free one")] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            envvar="CLINFIT_SERVE_ALLOW_HOST",
            metavar="NAME",
            help="a name by which the service is called; may be repeated",
        ),
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(envvar="CLINFIT_SERVE_KEYS", help="file of API keys, as `clinfit key` writes it")
    ] = None,
    jobs: Annotated[
        Path | None,
        typer.Option(
            envvar="CLINFIT_SERVE_JOBS", help="SQLite file of the jobs; default: ~/.local/state/clinfit/jobs.sqlite"
        ),
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(envvar=REDIS, metavar="URL", help="keep jobs in Redis instead, for workers on many machines"),
    ] = None,
    redis_password_file: PasswordFile = None,
    worker: Annotated[
        bool,
        typer.Option("--worker/--no-worker", envvar="CLINFIT_SERVE_WORKER", help="whether this process works on jobs"),
    ] = True,
    audit: Annotated[
        Path | None,
        typer.Option(envvar="CLINFIT_SERVE_AUDIT", help="file that every request is noted in, without its text"),
    ] = None,
    per_minute: Annotated[
        float | None,
        typer.Option(min=1, envvar="CLINFIT_SERVE_PER_MINUTE", help="records a minute and key; default: no limit"),
    ] = None,
    keep_days: KeepDays = 7.0,
    lease: Lease = 30.0,
    engine: Engine = "torch",
    engine_change: EngineChange = None,
) -> None:
    """Serve packs: an API, jobs that survive a crash, and a page. Needs the extra `serve`.

    Every option and every limit can be set in the environment, or in a file; docs/reference.md lists the names.
    """
    _installed(redis)
    from clinfit.serve.models import Computing
    from clinfit.serve.run import Place, serve
    from clinfit.serve.settings import read_settings

    given = {"audit": audit, "per_minute": per_minute, "keep_days": keep_days, "lease": lease}
    limits = read_settings(os.environ, variables(), context.default_map, **given)
    place = Place(host, port, tuple(allow_host or ()), _redis(context, redis, redis_password_file), jobs, keys)
    if place.redis is not None and jobs is not None:
        typer.echo(f"warning: jobs are in Redis, and {jobs} (--jobs) is not used")
    serve(packs, place, limits, typer.echo, works=worker, computing=Computing(engine, engine_change))


def worker(
    context: typer.Context,
    packs: Packs,
    redis: Annotated[str, typer.Option(envvar=REDIS, metavar="URL", help="the Redis server that the services use")],
    settings: SettingsFile = None,
    redis_password_file: PasswordFile = None,
    input_stream: Annotated[
        str | None,
        typer.Option(
            envvar="CLINFIT_SERVE_INPUT_STREAM",
            metavar="NAME",
            help="answer the records in this Redis Stream, instead of jobs",
        ),
    ] = None,
    output_stream: Annotated[
        str | None,
        typer.Option(
            envvar="CLINFIT_SERVE_OUTPUT_STREAM",
            metavar="NAME",
            help="where their answers go; default: NAME:answers of the input",
        ),
    ] = None,
    group: Annotated[
        str,
        typer.Option(
            envvar="CLINFIT_SERVE_GROUP",
            metavar="NAME",
            help="consumer group at the stream: workers of one group share its records",
        ),
    ] = "clinfit",
    model: Annotated[
        str | None,
        typer.Option(
            envvar="CLINFIT_SERVE_MODEL",
            metavar="NAME",
            help="which model answers the stream; needed where there are several",
        ),
    ] = None,
    health: Annotated[
        Path | None,
        typer.Option(
            envvar="CLINFIT_SERVE_HEALTH",
            metavar="FILE",
            help="file that is touched every few seconds while the worker is well, for health checks of containers",
        ),
    ] = None,
    lease: Lease = 30.0,
    engine: Engine = "torch",
    engine_change: EngineChange = None,
) -> None:
    """Work on the jobs of services with the same packs, or on a stream of records, on any number of machines.

    The file of settings may be the services' own: what a worker has no use for is passed over.
    """
    if input_stream is None and (output_stream, group, model) != (None, "clinfit", None):
        raise ClinfitError(
            "--output-stream, --group and --model are of a stream, and none is named",
            expected="the stream that records come from",
            fix="clinfit worker PACK --redis URL --input-stream NAME",
        )
    _installed(redis)
    from clinfit.serve.models import Computing
    from clinfit.serve.run import Flow, work
    from clinfit.serve.settings import read_settings
    from clinfit.serve.stores import Names

    flow = None if input_stream is None else Flow(Names(input_stream, output_stream, group), model)
    limits = read_settings(os.environ, variables(), context.default_map, lease=lease)
    place = _redis(context, redis, redis_password_file)
    assert place is not None
    work(packs, place, limits, typer.echo, Computing(engine, engine_change), flow, health)


def key(
    name: Annotated[str, typer.Argument(help="who will use it")],
    keys: Annotated[Path, typer.Option(help="file that it is added to, as a hash")],
    scopes: Annotated[str, typer.Option(metavar="A,B", help="of classify, jobs, metrics")] = "classify,jobs",
    expires: Annotated[str | None, typer.Option(metavar="DATE", help="last day of the key, such as 2026-12-31")] = None,
) -> None:
    """Make an API key for `clinfit serve --keys`; it is shown once."""
    from clinfit.serve.security import SCOPES, Scope, key_command, new_key

    named = {scope.strip() for scope in scopes.split(",")} - {""}
    wanted: list[Scope] = [scope for scope in SCOPES if named & {scope}]
    if not named:
        raise ClinfitError(
            "--scopes names no scope: the key would open nothing",
            expected=f"some of {', '.join(SCOPES)}, with commas between them",
            fix=key_command(keys, name, "classify", expires or ""),
        )
    if unknown := sorted(named - set(SCOPES)):
        raise ClinfitError(f"there is no scope {', '.join(unknown)}", expected=f"some of {', '.join(SCOPES)}")
    typer.echo(new_key(keys, name, wanted, expires))


def options() -> dict[str, Any]:
    """The options of `clinfit serve` and `clinfit worker` that the environment may hold, by their variable."""
    app = typer.Typer()
    add_commands(app)
    commands: Any = get_command(app)
    found = [option for name in ("serve", "worker") for option in commands.commands[name].params]
    return {option.envvar: option for option in found if option.envvar}


def variables() -> list[str]:
    return list(options())


def _redis(context: typer.Context, url: str | None, password: Path | None) -> str | None:
    """The address of the Redis server, with its password where a file holds that."""
    from clinfit.serve.stores import with_password

    if url is None:
        if password is not None:
            raise ClinfitError(
                "a file with the password of a Redis server is named, and no server",
                expected="the address of the server as well; without it jobs are in a file of this machine",
                fix=f"name it: --redis URL, {REDIS}, or redis in the file of settings; or take the password's file out",
            )
        return None
    source = context.get_parameter_source("redis")
    if source is not None and source.name == "COMMANDLINE" and _has_password(url):
        typer.echo(
            f"warning: every user of this machine can read the password in --redis (ps): set {REDIS}, or name a "
            "--redis-password-file"
        )
    return url if password is None else with_password(url, password)


def _has_password(url: str) -> bool:
    try:
        return urlsplit(url).password is not None
    except ValueError:
        return False  # told by whoever opens it


def _installed(redis: str | None) -> None:
    """Raise ClinfitError where the extra `serve` is absent; and stay offline. redis: None: jobs are in a file."""
    needed = NEEDED if redis is None else (*NEEDED, "redis")
    if missing := [package for package in needed if find_spec(package) is None]:
        raise ClinfitError(
            f"{', '.join(missing)} is not installed", expected="the extra `serve`", fix="pip install 'clinfit[serve]'"
        )
    os.environ["HF_HUB_OFFLINE"] = "1"


def add_commands(app: typer.Typer) -> None:
    for command in (serve, worker, key):
        app.command()(command)
