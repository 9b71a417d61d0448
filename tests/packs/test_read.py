"""Reading a pack: what it loads, what it refuses, what every answer says."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import clinfit
from clinfit.errors import ClinfitError
from clinfit.files import hash_file, read_json, write_json
from clinfit.packs.content import json_schema, seal

StudyMaker = Callable[..., Path]
MAJORITY = {"name": "majority", "family": "baseline", "kind": "majority"}


@pytest.fixture
def pack(make_study: StudyMaker) -> Path:
    return clinfit.run(make_study(models=[MAJORITY]), console=Console(quiet=True)).packs["majority-seed42"]


#: Nothing of these is needed to answer.
UNWANTED = (
    "clinfit.report",
    "clinfit.runs",
    "clinfit.evaluation.evaluate",
    "clinfit.evaluation.claims",
    "clinfit.evaluation.analyses",
    "clinfit.evaluation.statistics",
    "clinfit.packs.write",
    "matplotlib",
    "torch",
)


def loaded(code: str) -> list[str]:
    """The modules that a fresh process has loaded after some code."""
    program = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def unwanted(modules: list[str], names: tuple[str, ...]) -> list[str]:
    return [module for module in modules if any(module == name or module.startswith(f"{name}.") for name in names)]


def test_reading_imports_only_what_a_decision_needs() -> None:
    modules = loaded("import clinfit.packs.read")
    own = [module for module in modules if module.startswith("clinfit")]
    print(f"{len(own)} modules of clinfit are loaded to read a pack")
    assert unwanted(modules, (*UNWANTED, "sklearn", "transformers", "clinfit.packs.explanation")) == []
    assert len(own) <= 92


def test_answering_imports_no_report_either(pack: Path) -> None:
    code = f"""
import clinfit, pandas
rows = pandas.DataFrame({{"id": ["a"], "text": ["x"], "age": [50]}})
pack = clinfit.load_pack({str(pack)!r})
assert len(pack.predict(rows)) == 1 and pack.self_test().passed
"""
    assert unwanted(loaded(code), UNWANTED) == []


def test_an_answer_says_where_it_is_from(pack: Path) -> None:
    opened = clinfit.load_pack(pack)
    (answer,) = opened.answer("cancer", opened.probes.records["cancer"][:1])
    assert (answer.task, answer.id, answer.kind) == ("cancer", "probe-1", "classification")
    assert answer.pack == read_json(pack / "pack.json")["sha256"] and answer.engine == "rules"
    assert set(answer.probabilities) == {"no", "yes"} and answer.decision == "no" and answer.status == "ok"
    assert answer.dropped_tokens is None and answer.prediction_set is None


def test_a_task_that_is_not_there_names_those_that_are(pack: Path) -> None:
    with pytest.raises(ClinfitError, match="no task 'cancr'") as caught:
        clinfit.load_pack(pack).predict([], "cancr")
    assert caught.value.fix == "did you mean cancer?"


# ---------------------------------------------------------------- formats


def test_a_pack_of_format_2_is_refused_with_what_to_do(pack: Path) -> None:
    """As the version before wrote it: one task, no stage, no probes, no tolerance."""
    content = read_json(pack / "pack.json")
    (pack / "probes.json").unlink()
    old = {
        "format": "clinfit-pack/2",
        "clinfit": "0.1.0",
        "study": content["study"],
        "run": content["run"],
        "model": {key: value for key, value in content["model"].items() if key != "stage"},
        "tasks": content["tasks"],
        "files": {name: digest for name, digest in content["files"].items() if name != "probes.json"},
    }
    write_json(pack / "pack.json", old | {"sha256": seal(old)})
    with pytest.raises(ClinfitError) as caught:
        clinfit.load_pack(pack)
    assert caught.value.lines() == [
        f"{pack} is a pack of an older format (clinfit-pack/2)",
        "expected: clinfit-pack/5",
        "to fix: run its study again with this version of clinfit, or use the version that wrote the pack",
    ]


@pytest.mark.parametrize("content", [[], {}, {"format": "clinfit-pack/99"}])
def test_what_has_another_format(tmp_path: Path, content: Any) -> None:
    write_json(tmp_path / "pack.json", content)
    with pytest.raises(ClinfitError, match="has format"):
        clinfit.load_pack(tmp_path)


def test_a_content_without_a_part_is_damaged_at_a_place(pack: Path) -> None:
    content = read_json(pack / "pack.json")
    del content["model"]["stage"]
    write_json(pack / "pack.json", content)
    with pytest.raises(ClinfitError, match=r"damaged at model\.stage"):
        clinfit.load_pack(pack)


def test_the_schema_names_what_a_pack_holds(pack: Path) -> None:
    assert set(json_schema()["required"]) == read_json(pack / "pack.json").keys()


# ---------------------------------------------------------------- the command


def predict(*words: object) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "clinfit", "predict", *map(str, words)]
    return subprocess.run(program, capture_output=True, text=True)


def test_the_command_tests_the_pack_when_asked(pack: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "study/data.csv", tmp_path / "out.csv"
    done = predict(pack, "--input", data, "--output", out, "--self-test", "--task", "cancer")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("self-test of task cancer: 8 made-up records, machine and versions as where")
    out.unlink()
    probes = read_json(pack / "probes.json")
    probes["tasks"]["cancer"][0]["probabilities"] = [0.5, 0.5]
    write_json(pack / "probes.json", probes)
    content = read_json(pack / "pack.json")
    content["files"]["probes.json"] = hash_file(pack / "probes.json")
    write_json(pack / "pack.json", content | {"sha256": seal(content)})
    done = predict(pack, "--input", data, "--output", out, "--self-test")
    assert done.returncode == 2 and "does not answer here as where it was written" in done.stderr
    assert not out.exists()
