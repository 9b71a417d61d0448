"""The files of deploy/: their commands are ones that clinfit takes, nothing is root, Redis keeps what it is told."""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from clinfit.cli import app
from clinfit.cli_serve import variables
from clinfit.serve.settings import Settings, read_settings
from clinfit.serve.worker import REST

from .services import free_port, needs_redis, soon

DEPLOY = Path(__file__).parents[2] / "deploy"


def options(command: str) -> set[str]:
    """The options of a command of clinfit."""
    found: Any = get_command(app)
    parameters = found.commands[command].params
    return {name for parameter in parameters for name in [*parameter.opts, *parameter.secondary_opts]}


def check_command(words: list[str]) -> None:
    command, *rest = words
    unknown = {word for word in rest if word.startswith("--")} - options(command)
    assert command in {"serve", "worker"} and unknown == set(), words


def check_settings(environment: dict[str, str]) -> None:
    own = {name: value for name, value in environment.items() if name.startswith("CLINFIT")}
    assert own and all(name in variables() for name in own), own
    read_settings(own, variables())


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def test_compose_runs_commands_that_exist(compose: dict[str, Any]) -> None:
    for name in ("api", "worker"):
        check_command(compose["services"][name]["command"])
        check_settings(compose["services"][name]["environment"])
        assert "redis-password" in compose["services"][name]["secrets"]
    assert "--no-worker" in compose["services"]["api"]["command"]
    assert "CLINFIT_SERVE_KEYS" in compose["services"]["api"]["environment"], "it listens to other machines"


def test_compose_gives_nobody_more_than_is_needed(compose: dict[str, Any]) -> None:
    for name in ("api", "worker", "redis"):
        service = compose["services"][name]
        assert service["user"] not in ("0", "root") and service["read_only"] and service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"] and "ports" not in service
    assert compose["networks"]["inside"] == {"internal": True}
    assert compose["services"]["redis"]["networks"] == compose["services"]["worker"]["networks"] == ["inside"]


def test_redis_keeps_what_it_is_told(compose: dict[str, Any]) -> None:
    words = shlex.split(compose["services"]["redis"]["command"][2].partition("<<")[0])[2:]
    settings = dict(zip(words[1::2], words[2::2], strict=True))
    assert settings["--appendonly"] == "yes" and settings["--maxmemory-policy"] == "noeviction"
    assert "redis:/data" in compose["services"]["redis"]["volumes"]


@needs_redis
def test_redis_begins_with_the_password_of_the_file_and_its_health_check_knows_it(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    service = compose["services"]["redis"]
    (tmp_path / "redis-password").write_text("s3cret\n")
    port = str(free_port())

    def put(command: str) -> str:
        """As compose hands it to the shell, with the test's own file and port."""
        command = command.replace("$$", "$").replace("/run/secrets", str(tmp_path))
        return command.replace("redis-server -", f"redis-server - --port {port}").replace(
            "redis-cli", f"redis-cli -p {port}"
        )

    sh, flag, script = service["command"]
    server = subprocess.Popen([sh, flag, put(script)], cwd=tmp_path, stdout=subprocess.DEVNULL)
    kind, check = service["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    try:
        assert soon(lambda: subprocess.run(put(check), shell=True).returncode == 0, 20)
        assert subprocess.run(put(check).replace("redis-password", "none"), shell=True).returncode != 0
        words = Path(f"/proc/{server.pid}/cmdline")
        assert not words.exists() or b"s3cret" not in words.read_bytes()
    finally:
        server.terminate()
        assert server.wait(20) == 0, "the signal reaches Redis, which ends by itself"


def test_the_health_check_of_a_worker_wants_a_young_file(compose: dict[str, Any], tmp_path: Path) -> None:
    service = compose["services"]["worker"]
    file = tmp_path / "health"
    assert service["command"][-2:] == ["--health", "/tmp/health"]
    kind, _, *words = service["healthcheck"]["test"]
    assert kind == "CMD"
    check = [sys.executable, *(word.replace("/tmp/health", str(file)) for word in words)]

    def healthy() -> bool:
        return subprocess.run(check, stderr=subprocess.DEVNULL).returncode == 0

    assert not healthy()
    file.touch()
    assert healthy()
    os.utime(file, (time.time() - 60, time.time() - 60))
    assert not healthy()


def test_the_container_is_not_root_and_says_how_it_is() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    last = text.rpartition("\nFROM ")[2]
    steps = re.findall(r"^([A-Z]+) (.*)$", last, re.MULTILINE)
    names = [name for name, _ in steps]
    assert ("USER", "10001") in steps and names.index("USER") < names.index("CMD")
    assert "HEALTHCHECK" in names and "/ready" in dict(steps)["HEALTHCHECK"]
    check_command(yaml.safe_load(dict(steps)["CMD"]))
    assert dict(steps)["STOPSIGNAL"] == "SIGTERM"


def test_the_unit_runs_a_command_that_exists_and_stops_gently() -> None:
    text = (DEPLOY / "clinfit.service").read_text(encoding="utf-8")
    settings = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    program, *words = shlex.split(settings["ExecStart"])
    assert program.endswith("/clinfit")
    check_command(words)
    assert settings["EnvironmentFile"] == "/etc/clinfit/clinfit.env"
    told = re.findall(r"^#?(CLINFIT_\w+)=(.+)$", (DEPLOY / "clinfit.env").read_text(encoding="utf-8"), re.MULTILINE)
    check_settings(dict(told))
    assert settings["User"] != "root" and settings["NoNewPrivileges"] == "true" and settings["UMask"] == "0077"
    assert settings["RestartPreventExitStatus"] == "2"


def test_a_stop_has_the_time_that_it_takes(compose: dict[str, Any]) -> None:
    """The drain, what is given back, the sweeper, and a little to end."""
    takes = Settings().drain + REST + 5 + 5
    unit = re.search(r"^TimeoutStopSec=(\d+)$", (DEPLOY / "clinfit.service").read_text(encoding="utf-8"), re.MULTILINE)
    assert unit is not None and float(unit[1]) >= takes
    for name in ("api", "worker"):
        assert float(compose["services"][name]["stop_grace_period"].removesuffix("s")) >= takes


def test_the_image_is_built_from_the_source_alone() -> None:
    lines = (DEPLOY.parent / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines and kept == {"src", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
