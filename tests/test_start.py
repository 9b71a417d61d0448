"""What a command loads before it has anything to do: what a user waits for in the first minutes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import clinfit
from clinfit.study.schema import json_schema
from small_study import write_study

SOURCE = str(Path(clinfit.__file__).parents[1])
TORCH = {"torch", "transformers", "peft", "accelerate"}


def start(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=inherited | {"PYTHONPATH": SOURCE} | environment,
    )


def loaded(*words: object, cwd: Path) -> set[str]:
    """The packages that a command imports, as Python itself tells."""
    return loaded_and_said(*words, cwd=cwd)[0]


def loaded_and_said(*words: object, cwd: Path) -> tuple[set[str], str]:
    """What a command imports, and what it prints."""
    done = start("-X", "importtime", "-m", "clinfit", *words, cwd=cwd)
    assert done.returncode == 0, done.stderr[-500:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}, done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    write_study(folder)
    done = start("-m", "clinfit", "run", "study.yaml", "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_help_loads_no_tables_and_says_all_that_a_command_does(folder: Path) -> None:
    packages, text = loaded_and_said("--help", cwd=folder)
    assert not packages & {*TORCH, "pandas", "numpy", "scipy", "sklearn"}
    said = " ".join(text.split())
    assert "..." not in said.partition("Commands:")[2]
    assert "asking, and which label it leans to." in said and "run it again to continue where it stopped." in said


def test_status_and_init_load_no_statistics(folder: Path) -> None:
    assert not loaded("status", "run", cwd=folder) & {*TORCH, "scipy", "sklearn", "matplotlib"}
    assert not loaded("init", "new.yaml", "--data", "data.csv", cwd=folder) & {*TORCH, "scipy", "sklearn", "matplotlib"}
    # Editors find the schema beside what init writes.
    assert (folder / "new.yaml").read_text().splitlines()[0] == "# yaml-language-server: $schema=clinfit.schema.json"
    assert json.loads((folder / "clinfit.schema.json").read_text()) == json_schema()


@pytest.mark.parametrize(
    "command",
    [
        ["check", "study.yaml"],
        ["run", "study.yaml", "--dry-run"],
        ["evaluate", "run"],
        ["predict", "run/models/tfidf-seed42/pack", "--input", "data.csv", "--output", "answers.csv"],
    ],
    ids=lambda words: words[0],
)
def test_a_study_without_a_network_loads_no_torch(folder: Path, command: list[str]) -> None:
    assert not loaded(*command, cwd=folder) & TORCH


# ---------------------------------------------------------------- busy machines

POLICY = "import os, sys, clinfit; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"


def test_threads_that_wait_sleep_unless_the_user_says_otherwise(folder: Path) -> None:
    """OpenMP reads the setting when torch loads it, so that it must be there before; children inherit it."""
    assert start("-c", POLICY, cwd=folder).stdout.split() == ["PASSIVE", "False"]
    assert start("-c", POLICY, cwd=folder, OMP_WAIT_POLICY="ACTIVE").stdout.split() == ["ACTIVE", "False"]


# ---------------------------------------------------------------- Python


def test_dir_shows_what_clinfit_offers() -> None:
    assert {*clinfit.__all__} <= {*dir(clinfit)}


# ---------------------------------------------------------------- the shell


def test_the_shell_completes_commands(folder: Path) -> None:
    asked = {"_CLINFIT_COMPLETE": "complete_bash", "COMP_WORDS": "clinfit ch", "COMP_CWORD": "1"}
    assert start("-m", "clinfit", cwd=folder, **asked).stdout.split() == ["check"]
