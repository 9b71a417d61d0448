"""The files of deploy/: their commands are ones that clinfit takes, nothing is root, Redis keeps what it is told."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from clinfit.cli import app

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


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def test_compose_runs_commands_that_exist(compose: dict[str, Any]) -> None:
    for name in ("api", "worker"):
        check_command(compose["services"][name]["command"])
    assert "--no-worker" in compose["services"]["api"]["command"]
    assert "--keys" in compose["services"]["api"]["command"], "it listens to other machines"


def test_compose_gives_nobody_more_than_is_needed(compose: dict[str, Any]) -> None:
    for name in ("api", "worker", "redis"):
        service = compose["services"][name]
        assert service["user"] not in ("0", "root") and service["read_only"] and service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"] and "ports" not in service
    assert compose["networks"]["inside"] == {"internal": True}
    assert compose["services"]["redis"]["networks"] == compose["services"]["worker"]["networks"] == ["inside"]


def test_redis_keeps_what_it_is_told(compose: dict[str, Any]) -> None:
    words = compose["services"]["redis"]["command"]
    settings = dict(zip(words[1::2], words[2::2], strict=True))
    assert settings["--appendonly"] == "yes" and settings["--maxmemory-policy"] == "noeviction"
    assert "redis:/data" in compose["services"]["redis"]["volumes"]


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
    assert settings["User"] != "root" and settings["NoNewPrivileges"] == "true" and settings["UMask"] == "0077"
    assert settings["RestartPreventExitStatus"] == "2"


def test_the_image_is_built_from_the_source_alone() -> None:
    lines = (DEPLOY.parent / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines and kept == {"src", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
