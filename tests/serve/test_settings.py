"""Settings come from the command line, else from the environment; the password of Redis is in neither log nor error."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import clinfit
from clinfit.cli import app
from clinfit.cli_serve import options, variables
from clinfit.errors import ClinfitError
from clinfit.serve.models import Computing
from clinfit.serve.run import BEAT, Place
from clinfit.serve.settings import FileSettings, Settings, read_settings, variable
from clinfit.serve.stores import with_password

from .conftest import Served
from .services import Program, RedisServer, free_port, needs_redis, refused, soon, wait_until_ready

PASSWORD = "Zaunkönig:7/@x"


def test_every_setting_has_its_variable_and_the_command_line_wins() -> None:
    told = {variable(name): str(7 + k) for k, name in enumerate(Settings.model_fields)}
    found = read_settings(told, variables())
    for k, name in enumerate(Settings.model_fields):
        assert str(getattr(found, name)).removesuffix(".0") == str(7 + k)
    assert read_settings(told, variables(), lease=30.0).lease == 30.0
    assert read_settings({variable("items"): ""}, variables()) == Settings()


def test_every_option_of_the_commands_can_be_set_in_the_environment() -> None:
    found = {option.opts[0] for option in options().values()}
    assert {"--host", "--port", "--keys", "--redis", "--redis-password-file", "--worker", "--lease"} <= found


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CLINFIT_SERVE_ITEM", "3", "did you mean CLINFIT_SERVE_ITEMS"),
        ("CLINFIT_SERVE_ITEMS", "many", "CLINFIT_SERVE_ITEMS cannot be"),
        ("CLINFIT_SERVE_ITEMS", "0", "greater than or equal to 1"),
        ("CLINFIT_SERVE_BODY_SECONDS", "inf", "finite"),
    ],
)
def test_what_is_no_setting_is_refused(name: str, value: str, said: str) -> None:
    with pytest.raises(ClinfitError, match=said):
        read_settings({name: value}, variables())


# ---------------------------------------------------------------- a file


@dataclass
class Begun:
    """What `clinfit serve` would have begun."""

    place: Place
    settings: Settings
    works: bool
    computing: Computing


@pytest.fixture
def serves(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Begun]:
    """Types `clinfit serve`; the service is not begun."""
    begun: list[Begun] = []

    def begin(packs: Any, place: Place, settings: Settings, say: Any, *, works: bool, computing: Computing) -> None:
        begun.append(Begun(place, settings, works, computing))

    monkeypatch.setattr("clinfit.serve.run.serve", begin)

    def serve(*words: object, **environment: str) -> Begun:
        done = CliRunner().invoke(app, ["serve", "pack", *map(str, words)], env=environment)
        assert done.exception is None, (done.output, done.exception)
        return begun[-1]

    return serve


FILE = """\
host: 0.0.0.0
port: 8080
allow_host: [models.hospital.example, models]
keys: keys.json
jobs: /var/lib/clinfit/jobs.sqlite
worker: false
engine: auto
engine_change: 0.005
audit: logs/audit.jsonl
per_minute: 600
keep_days: 2
items: 16
drain: 5
"""


def test_a_file_sets_what_neither_the_command_line_nor_the_environment_does(
    tmp_path: Path, serves: Callable[..., Begun]
) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(FILE, encoding="utf-8")
    found = serves("--settings", file)
    assert (found.place.host, found.place.port, found.works) == ("0.0.0.0", 8080, False)
    assert found.place.hosts == ("models.hospital.example", "models")
    assert found.place.keys == tmp_path / "keys.json", "a path is from the file's folder"
    assert found.place.jobs == Path("/var/lib/clinfit/jobs.sqlite")
    assert (found.computing.engine, found.computing.change) == ("auto", 0.005)
    told = {"audit": tmp_path / "logs" / "audit.jsonl", "per_minute": 600, "keep_days": 2, "items": 16, "drain": 5}
    assert found.settings == Settings(**told)
    nearer = {"CLINFIT_SERVE_ITEMS": "7", "CLINFIT_SERVE_PORT": "9000", "CLINFIT_SERVE_HOST": "10.0.0.1"}
    over = serves("--settings", file, "--host", "::1", "--worker", "--keep-days", 7, **nearer)
    assert (over.place.host, over.place.port, over.works) == ("::1", 9000, True)
    assert (over.settings.items, over.settings.keep_days, over.settings.drain) == (7, 7.0, 5.0)
    assert serves(CLINFIT_SERVE_SETTINGS=str(file)).place.port == 8080
    assert serves().settings == Settings()


def test_a_worker_reads_the_file_of_its_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    monkeypatch.setattr("clinfit.serve.run.work", lambda *given: begun.append(given))
    file = tmp_path / "serve.yaml"
    file.write_text("port: 8080\nredis: redis://queue\nlease: 5\ntries: 2\nengine: auto\n")
    done = CliRunner().invoke(app, ["worker", "pack", "--settings", str(file)], env={"CLINFIT_SERVE_TRIES": "4"})
    assert done.exception is None, done.output
    _, redis, settings, _, computing, _, _ = begun[0]
    assert (redis, settings, computing.engine) == ("redis://queue", Settings(lease=5, tries=4), "auto")
    file.write_text("item: 3")
    assert "item is no setting of the service" in refused("worker", tmp_path, "--settings", file)


def test_a_file_may_be_json(tmp_path: Path, serves: Callable[..., Begun]) -> None:
    file = tmp_path / "serve.json"
    file.write_text('{\n  "redis": "redis://queue", "port": 0, "per_minute": null\n}')
    assert (serves("--settings", file).place.redis, serves("--settings", file).place.port) == ("redis://queue", 0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("item: 3", "serve.yaml: item is no setting of the service"),
        ("item: 3", "did you mean items?"),
        ("colour: red", "host, port, allow_host"),
        ("items: many", "serve.yaml: items cannot be"),
        ("items: '3'", "serve.yaml: items cannot be"),
        ("items: 0", "greater than or equal to 1"),
        ("port: 70000", "less than or equal to 65535"),
        ("engine: Zaunk", "serve.yaml: engine cannot be"),
        ("redis: [Zaunk]", "serve.yaml: redis cannot be"),
        ("drain: .inf", "finite"),
        ("items: 3\nitems: 4", "items stands twice"),
        ("redis: {Zaunk", "serve.yaml:1"),
        ("keys: ~nobody123/Zaunk", "serve.yaml: keys begins with the home folder (~) of a user who has none here"),
        ("2024-01-01: Zaunk", "serve.yaml: 2024-01-01 is no setting of the service"),
        ("allow_host: &a [*a]", "serve.yaml: allow_host cannot be"),
        ("host: {2024-01-01: Zaunk}", "serve.yaml: host cannot be"),
        ('{"host": "\\ud800Zaunk"}', "serve.yaml: host cannot be"),
        ('{"\\ud800": 1}', "is no setting of the service"),
        ("[" * 3000, "serve.yaml is nested too deep"),
        ("host: " + "[" * 300 + "]" * 300, "serve.yaml: host cannot be"),
        ("audit: !!binary WmF1bms=", "serve.yaml: audit cannot be"),
        ("audit: !!set {Zaunk}", "serve.yaml: audit cannot be"),
        ('keys: ""', "serve.yaml: keys is an empty path"),
        ("redis_password_file: Zaunk", "the password of a Redis server is named, and no server"),
        ("[host]", "no block of settings"),
        ("", "no block of settings"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, content: str, said: str) -> None:
    """Without its values: one of them may be the address of Redis, with a password."""
    file = tmp_path / "serve.yaml"
    file.write_text(content)
    found = refused("serve", tmp_path, "--settings", file)
    assert said in found and "Zaunk" not in found


def test_what_a_file_sets_without_effect_is_told(tmp_path: Path, serves: Callable[..., Begun]) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("redis: redis://queue\njobs: jobs.sqlite\naudit: 2024-01-01\n")
    begun = serves("--settings", file)
    assert begun.settings.audit == tmp_path / "2024-01-01", "a date may be a name"
    done = CliRunner().invoke(app, ["serve", "pack", "--settings", str(file)])
    assert f"warning: jobs are in Redis, and {tmp_path / 'jobs.sqlite'} (--jobs) is not used" in done.output
    file.write_text("jobs: jobs.sqlite\n")
    assert "warning" not in CliRunner().invoke(app, ["serve", "pack", "--settings", str(file)]).output
    assert "and no server" in refused("serve", "pack", "--redis-password-file", file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "cannot be read" in refused("serve", tmp_path, "--settings", tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("host: Größe".encode("latin-1"))
    assert "not text in UTF-8" in refused("serve", tmp_path, "--settings", tmp_path / "latin.yaml")


def test_a_file_may_set_every_option_and_limit(tmp_path: Path) -> None:
    own = {option.name for option in get_command(app).commands["serve"].params if option.envvar}  # type: ignore[attr-defined]
    assert FileSettings.model_fields.keys() == (own - {"settings"}) | Settings.model_fields.keys()


# ---------------------------------------------------------------- the password of Redis


def test_the_password_of_a_file_stands_in_the_address(tmp_path: Path) -> None:
    from redis.connection import parse_url

    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n", encoding="utf-8")
    for url in ("redis://bob@queue:6380/2", "rediss://queue:6380/2", "unix:///run/redis.sock"):
        read = parse_url(with_password(url, file))
        assert read.pop("password") == PASSWORD
        assert read == parse_url(url)
    with pytest.raises(ClinfitError, match="named as well") as both:
        with_password(f"redis://:{'secret'}@queue", file)
    assert "secret" not in str(both.value)
    file.write_text(" \n")
    with pytest.raises(ClinfitError, match="is empty"):
        with_password("redis://queue", file)
    with pytest.raises(ClinfitError, match="cannot be read"):
        with_password("redis://queue", tmp_path)
    with pytest.raises(ClinfitError, match="address of the Redis server cannot be read"):
        with_password("redis://[queue", file)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("guarded"), password=PASSWORD)
    server.start()
    yield server
    server.kill()


@needs_redis
@pytest.mark.slow
def test_the_environment_leads_to_redis_and_the_password_is_told_nobody(
    small: Served, guarded: RedisServer, tmp_path: Path, programs: Callable[..., Program]
) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD, encoding="utf-8")
    port = free_port()
    told = {"CLINFIT_REDIS_URL": guarded.url, "CLINFIT_REDIS_PASSWORD_FILE": str(file)}
    own = {"CLINFIT_SERVE_PORT": str(port), "CLINFIT_SERVE_WORKER": "false", "CLINFIT_SERVE_CHUNK": "7"}
    service = programs("serve", small.pack, **told, **own)
    worker = programs("worker", small.pack, **told, CLINFIT_SERVE_LEASE="2")
    wait_until_ready(service, f"http://127.0.0.1:{port}")
    for program in (service, worker):
        words = Path(f"/proc/{program.process.pid}/cmdline")
        assert not words.exists() or PASSWORD.encode() not in words.read_bytes()
    with clinfit.Client(f"http://127.0.0.1:{port}") as client:
        job = client.submit_table(small.data)
        assert client.wait(job["id"])["state"] == "succeeded"
        assert b"\nclinfit_chunks_done_total 0\n" in client._http.get("/metrics").content
    assert service.stop() == worker.stop() == 0
    wrong = with_password(guarded.url.replace("redis://", "redis://other@"), file)
    told_so = refused("worker", small.pack, CLINFIT_REDIS_URL=wrong)
    typed = refused("worker", small.pack, "--redis", wrong)
    assert f"Redis at 127.0.0.1:{guarded.port}, database 0, does not answer" in told_so and "every user" not in told_so
    assert "every user of this machine can read the password" in typed
    said = told_so + typed + "".join(path.read_text() for path in tmp_path.glob("program-*.log"))
    assert PASSWORD not in said and "Zaunk" not in said


def test_a_missing_server_is_told_with_its_variable() -> None:
    done = subprocess.run([sys.executable, "-m", "clinfit", "worker", "x"], capture_output=True, text=True)
    assert done.returncode == 2 and "CLINFIT_REDIS_URL" in done.stderr


@needs_redis
@pytest.mark.slow
def test_a_worker_says_that_it_is_well_while_it_is(
    small: Served, tmp_path: Path, programs: Callable[..., Program]
) -> None:
    server = RedisServer(tmp_path)
    server.start()
    file = tmp_path / "health"
    worker = programs("worker", small.pack, "--redis", server.url, "--health", file)
    assert soon(file.exists, 120)
    assert soon(lambda: time.time() - file.stat().st_mtime > 2, 20), "not at every look"
    assert soon(lambda: time.time() - file.stat().st_mtime < 2, 20)
    server.kill()
    assert soon(lambda: time.time() - file.stat().st_mtime > 3 * BEAT, 60), "it grows old while Redis is away"
    assert worker.process.poll() is None
    server.start()
    assert soon(lambda: time.time() - file.stat().st_mtime < BEAT, 60)
    assert worker.stop() == 0 and not file.exists()
    assert "--health" in refused("worker", small.pack, "--redis", server.url, "--health", tmp_path / "no" / "file")
    server.kill()
