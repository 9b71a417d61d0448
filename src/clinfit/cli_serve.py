"""`clinfit serve`, `clinfit worker` and `clinfit key`: packs as a service."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from clinfit.errors import ClinfitError
from clinfit.models.engines import LARGEST_CHANGE, Wanted

#: What the extra `serve` brings and nothing else does.
NEEDED = ("fastapi", "uvicorn", "redis")

Packs = Annotated[list[Path], typer.Argument(metavar="PACK...", help="pack folders, as `clinfit run` writes them")]
KeepDays = Annotated[float, typer.Option(min=0.01, help="days for which results of a job are kept")]
Lease = Annotated[
    float, typer.Option(min=1, help="seconds after which a silent worker's chunk of a job goes to another")
]
Engine = Annotated[
    Wanted,
    typer.Option(
        help="what computes the answers of encoders: torch, exactly as evaluated; auto: the fastest of openvino and "
        "onnx that passes its comparison with torch, which is printed"
    ),
]
EngineChange = Annotated[
    float | None,
    typer.Option(
        min=0, max=LARGEST_CHANGE, help="largest change of a probability by --engine; default: what the pack declares"
    ),
]


def serve(
    packs: Packs,
    host: Annotated[str, typer.Option(help="address to listen to; others than this machine's own need --keys")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")] = 8000,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="a name by which the service is called; may be repeated")
    ] = None,
    keys: Annotated[Path | None, typer.Option(help="file of API keys, as `clinfit key` writes it")] = None,
    jobs: Annotated[
        Path | None, typer.Option(help="SQLite file of the jobs; default: ~/.local/state/clinfit/jobs.sqlite")
    ] = None,
    redis: Annotated[
        str | None, typer.Option(metavar="URL", help="keep jobs in Redis instead, for workers on many machines")
    ] = None,
    works: Annotated[bool, typer.Option("--worker/--no-worker", help="whether this process works on jobs")] = True,
    audit: Annotated[Path | None, typer.Option(help="file that every request is noted in, without its text")] = None,
    per_minute: Annotated[float | None, typer.Option(min=1, help="records a minute and key; default: no limit")] = None,
    keep_days: KeepDays = 7.0,
    lease: Lease = 30.0,
    engine: Engine = "torch",
    engine_change: EngineChange = None,
) -> None:
    """Serve packs: an API, jobs that survive a crash, and a page. Needs the extra `serve`."""
    _installed()
    from clinfit.serve.models import Computing
    from clinfit.serve.run import Place, serve
    from clinfit.serve.settings import Settings

    settings = Settings(audit=audit, per_minute=per_minute, keep_days=keep_days, lease=lease)
    place = Place(host, port, tuple(allow_host or ()), redis, jobs, keys)
    serve(packs, place, settings, typer.echo, works=works, computing=Computing(engine, engine_change))


def worker(
    packs: Packs,
    redis: Annotated[str, typer.Option(metavar="URL", help="the Redis server that the services use")],
    lease: Lease = 30.0,
    engine: Engine = "torch",
    engine_change: EngineChange = None,
) -> None:
    """Work on the jobs of services with the same packs, on any number of machines."""
    _installed()
    from clinfit.serve.models import Computing
    from clinfit.serve.run import work
    from clinfit.serve.settings import Settings

    work(packs, redis, Settings(lease=lease), typer.echo, Computing(engine, engine_change))


def key(
    name: Annotated[str, typer.Argument(help="who will use it")],
    keys: Annotated[Path, typer.Option(help="file that it is added to, as a hash")],
    scopes: Annotated[str, typer.Option(metavar="A,B", help="of classify, jobs, metrics")] = "classify,jobs",
    expires: Annotated[str | None, typer.Option(metavar="DATE", help="last day of the key, such as 2026-12-31")] = None,
) -> None:
    """Make an API key for `clinfit serve --keys`; it is shown once."""
    from clinfit.serve.security import SCOPES, Scope, new_key

    named = set(scopes.split(","))
    wanted: list[Scope] = [scope for scope in SCOPES if named & {scope}]
    if unknown := sorted(named - set(SCOPES)):
        raise ClinfitError(f"there is no scope {', '.join(unknown)}", expected=f"some of {', '.join(SCOPES)}")
    typer.echo(new_key(keys, name, wanted, expires))


def _installed() -> None:
    """Raise ClinfitError where the extra `serve` is absent; and stay offline."""
    if missing := [package for package in NEEDED if find_spec(package) is None]:
        raise ClinfitError(
            f"{', '.join(missing)} is not installed", expected="the extra `serve`", fix="pip install 'clinfit[serve]'"
        )
    os.environ["HF_HUB_OFFLINE"] = "1"


def add_commands(app: typer.Typer) -> None:
    for command in (serve, worker, key):
        app.command()(command)
