"""A file answered in shards: the bytes of one process, whoever answers and whoever dies. On a cluster: test_ray.py."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from clinfit.cli import app
from clinfit.data.mentions import Mention
from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.packs.answer import Answer
from clinfit.runs.batch.shards import Shards, answers_as_json, records_of
from clinfit.runs.execute import run
from spoiled import spoil_answers

STUDY = """\
name: wards
tasks:
  fall:
    labels: [no, yes]
    positive: yes
    data: {path: data.csv, id: id, inputs: {age: {column: age, type: number}, ward: {column: ward, type: category}},
           label: fall}
models:
  - {name: lasso, family: classical, kind: lasso, c_grid: [1.0]}
evaluation: {bootstrap: 100, threshold: {rule: youden}, calibration: platt, refer: {rule: confidence, value: 0.8}}
"""


def table(n: int, seed: int) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    age = draw.normal(60, 10, n).round(1)
    fell = draw.random(n) < 1 / (1 + np.exp(-(age - 58) / 6))
    rows = {"id": [f"r{i}" for i in range(n)], "age": age, "ward": np.where(draw.random(n) < 0.5, "A", "B")}
    return pd.DataFrame(rows | {"fall": np.where(fell, "yes", "no")})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a pack, and new.csv: 100 records, some with a missing value or a ward that training has not seen."""
    folder = tmp_path_factory.mktemp("wards")
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    table(300, 1).to_csv(folder / "data.csv", index=False)
    new = table(100, 2).drop(columns="fall")
    new.loc[:4, "age"] = None
    new.loc[10:12, "ward"] = "C"
    new.to_csv(folder / "new.csv", index=False)
    assert run(folder / "study.yaml", out=folder / "run").ok
    return folder


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path of all workers, for `spoil_answers`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    yield site


def predict(folder: Path, output: Path, *words: str) -> Any:
    pack = folder / "run" / "models" / "lasso-seed42" / "pack"
    given = ["predict", str(pack), "--input", str(folder / "new.csv"), "--output", str(output), *words]
    return CliRunner().invoke(app, given)


SHARDED = ("--executor", "processes", "--shard-size", "30")


@pytest.fixture(scope="module")
def alone(folder: Path) -> tuple[bytes, str]:
    """What this process answers, and its last line, about the file `shared.csv`."""
    done = predict(folder, folder / "alone.csv")
    assert done.exit_code == 0, done.output
    return (folder / "alone.csv").read_bytes(), done.output.splitlines()[-1].split("/")[-1].replace("alone", "shared")


def test_processes_write_the_bytes_of_one(folder: Path, alone: tuple[bytes, str], tmp_path: Path) -> None:
    shared = predict(folder, tmp_path / "shared.csv", *SHARDED, "--workers", "2", "--self-test")
    assert shared.exit_code == 0, shared.output
    assert ((tmp_path / "shared.csv").read_bytes(), shared.output.splitlines()[-1].split("/")[-1]) == alone
    assert len(pd.read_csv(tmp_path / "shared.csv")) == 100
    assert {path.name for path in tmp_path.iterdir()} == {"shared.csv"}


def test_what_is_answered_is_kept_and_the_same_command_goes_on(
    folder: Path, alone: tuple[bytes, str], tmp_path: Path, site: Path
) -> None:
    """A worker that dies costs the shard that it held, which is asked twice more."""
    spoil_answers(site, "r70", "os.kill(os.getpid(), signal.SIGKILL)")
    failed = predict(folder, tmp_path / "shared.csv", *SHARDED)
    assert isinstance(failed.exception, ClinfitError) and not (tmp_path / "shared.csv").exists()
    assert "records 61 to 90 were lost with their worker 3 times" in failed.exception.found
    (kept,) = tmp_path.glob(".shared.csv.shards-*")
    assert [path.name for path in sorted(kept.iterdir())] == ["000000.json", "000001.json"]
    once, asked = tmp_path / "once", tmp_path / "asked"
    spoil_answers(
        site, "r95", f"if not Path({str(once)!r}).exists():\n            Path({str(once)!r}).touch()\n"
        "            os.kill(os.getpid(), signal.SIGKILL)", f"open({str(asked)!r}, 'a').write(records[0].id + ' ')"
    )  # fmt: skip
    done = predict(folder, tmp_path / "shared.csv", *SHARDED)
    assert done.exit_code == 0, done.output
    assert "2 of 4 shards are answered already" in done.output and not kept.exists()
    assert "SIGKILL" in done.output and "records 91 to 100 are asked again" in done.output
    assert asked.read_text().split() == ["r60", "r90", "r90"], "no shard that is there"
    assert (tmp_path / "shared.csv").read_bytes() == alone[0]


def test_an_error_of_the_records_is_told_without_their_values(folder: Path, tmp_path: Path, site: Path) -> None:
    spoil_answers(site, "r70", "raise ValueError('secret of ' + records[0].id)")
    failed = predict(folder, tmp_path / "shared.csv", *SHARDED)
    assert isinstance(failed.exception, ClinfitError) and "secret" not in str(failed.exception)
    assert "records 61 to 90: ValueError" in failed.exception.found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--executor", "proceses"), "no such executor"),
        (("--workers", "2"), "how a file is divided"),
        (("--shard-size", "2"), "how a file is divided"),
        ((*SHARDED, "--task", "fell"), "no task 'fell'"),
        ((*SHARDED, "--strict"), "3 of 100 records hold values that no training record has, or fewer than 10"),
        (("--executor", "ray://nowhere"), "no address of a cluster"),
    ],
)
def test_bad_inputs_are_told_before_anybody_works(
    folder: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    failed = predict(folder, tmp_path / "out.csv", *words)
    assert isinstance(failed.exception, ClinfitError) and said in str(failed.exception)
    assert list(tmp_path.iterdir()) == []


EMPTY = "id,age,ward\na,61,A\nb,,\nc, ,NA\nd,,B\n"


def test_a_record_without_any_value_has_an_error_whoever_answers(folder: Path, tmp_path: Path) -> None:
    """It says nothing, and the service gives it no answer either."""
    (tmp_path / "new.csv").write_text(EMPTY, encoding="utf-8")
    (tmp_path / "run").symlink_to(folder / "run")
    done = predict(tmp_path, tmp_path / "alone.csv")
    assert done.exit_code == 0, done.output
    assert "2 of 4 records have no value at all, and no answer (status error): records b, c" in done.output
    rows = pd.read_csv(tmp_path / "alone.csv", index_col="id")
    assert rows["status"].str.replace("refer", "ok").tolist() == ["ok", "error", "error", "ok"]
    assert set(rows.loc[["b", "c"], "notes"]) == {"every input is missing"}
    assert rows.loc[["b", "c"]].drop(columns=["status", "notes"]).isna().all(axis=None)
    assert rows.loc[["a", "d"], "p_yes"].notna().all()
    assert predict(tmp_path, tmp_path / "shared.csv", *SHARDED).exit_code == 0
    assert (tmp_path / "shared.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()


@pytest.mark.parametrize("words", [(), SHARDED])
def test_records_without_any_value_are_refused_where_all_must_be_sound(
    folder: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "new.csv").write_text(EMPTY, encoding="utf-8")
    (tmp_path / "run").symlink_to(folder / "run")
    failed = predict(tmp_path, tmp_path / "out.csv", *words, "--strict")
    assert isinstance(failed.exception, ClinfitError)
    assert failed.exception.found == "2 of 4 records have no value at all: records b, c" and failed.exception.fix
    assert not (tmp_path / "out.csv").exists()


def test_a_file_of_nothing_but_empty_records_has_errors_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("id,age,ward\nb,,\n", encoding="utf-8")
    (tmp_path / "run").symlink_to(folder / "run")
    for words in ((), SHARDED):
        assert predict(tmp_path, tmp_path / "out.jsonl", *words, "--overwrite").exit_code == 0
        (row,) = map(json.loads, (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines())
        assert (row["id"], row["status"], row["p_yes"], row["decision"]) == ("b", "error", None, None)


def test_another_file_has_other_shards(tmp_path: Path) -> None:
    """Shards are of a pack, a task, the records and a size; nothing is taken from those of others."""
    records = [Record(f"r{i}", f"r{i}", {"age": float(i)}) for i in range(5)]
    places = {
        Shards.beside(tmp_path / "out.csv", pack, task, given, size).folder
        for pack in "ab"
        for task in ("fall", "bleed")
        for given in (records, records[:4], records[::-1])
        for size in (2, 3)
    }
    assert len(places) == 24


def answer(**changes: Any) -> Answer:
    plain = Answer("fall", "r1", "classification", "yes", "no", {"yes": 0.1 + 0.2}, {"no": 2 / 3, "yes": 1 / 3}, "ok",
                   ("age: none",), ("no", "yes"), None, "abc", "torch")  # fmt: skip
    return Answer(**(vars(plain) | changes))


def test_answers_and_records_come_back_as_they_were_sent(tmp_path: Path) -> None:
    records = [Record("ä", "g", {"age": 0.1 + 0.2, "text": "line\nbreak", "ward": None}, task="fall")]
    shards = Shards(tmp_path / "shards", "fall", records * 5, 1)
    assert records_of(shards.order(0)) == records
    mention = Mention("asthma", "text", "Asthma", 3, 9, True)
    given = [
        answer(),
        answer(kind="multilabel", predicted=("a", "b"), decision=(), prediction_set=None),
        answer(kind="generation", predicted="Fell.", decision="Fell.", probabilities={}, finish_reason="length",
               dropped_tokens=3, pieces=2, rounds=1, mentions=(mention,)),
        answer(kind="extraction", extracted={"dose": 2, "drug": None, "days": [1, "x"], "share": 0.1}),
        answer(kind="extraction", extracted=None, status="invalid"),
    ]  # fmt: skip
    for k, one in enumerate(given):
        shards.keep(k, answers_as_json([one]))
    assert shards.left() == [] and shards.answers() == given
    assert [type(value) for value in shards.answers()[3].extracted.values()] == [int, type(None), list, float]  # type: ignore[union-attr]
