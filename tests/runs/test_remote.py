"""A study with a model on a server, from the command line: what is sent, kept, told, and refused."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

import clinfit.cli as cli
from clinfit.errors import ClinfitError
from clinfit.models.remote.server import Server
from clinfit.report.checklists.model_items import generated, llm_output
from clinfit.report.inputs import ReportInputs
from clinfit.runs.checking.check import check_study
from clinfit.runs.execute import run
from clinfit.study.load import load_study
from remote_server import MODEL, Fault, Offers, RemoteServer, refused, serving
from small_study import CANARY, write_study

KEY = "sk-very-secret"


@pytest.fixture
def server() -> Iterator[RemoteServer]:
    with serving(Offers(key=KEY)) as one:
        yield one


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_KEY", KEY)
    return tmp_path


def study_of(desk: Path, url: str, **more: Any) -> Path:
    remote = {"name": "served", "family": "remote", "url": url, "model": MODEL, "api_key_env": "LAB_KEY", "top": 400}
    price = {"per_million_prompt_tokens": 1.0, "per_million_output_tokens": 2.0}
    rules = [{"name": "majority", "family": "baseline", "kind": "majority"}]
    requests = {"retries": 0, "concurrent": 2}
    return write_study(desk, models=[*rules, {**remote, "price": price, "requests": requests, **more}], seeds=[1])


def clinfit(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["clinfit", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def served(desk: Path) -> Path:
    return desk / "runs" / "small" / "latest" / "models" / "served-seed1"


def test_a_study_from_start_to_report(desk: Path, server: RemoteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert clinfit(monkeypatch, "run", str(study_of(desk, server.url))) == 0
    record = json.loads((served(desk) / "run.json").read_text())
    details = record["stages"]["1"]["details"]
    assert (details["rung"], details["served"], details["url"]) == ("top-logprobs", MODEL, server.url)
    table = pd.read_parquet(served(desk) / "predictions" / "cancer-test-stage1.parquet")
    answers = details["answers"]["cancer test"]
    assert answers["records"] == len(table) and answers["prompt_tokens"] == table["prompt_tokens"].sum() > 0
    expected = (answers["prompt_tokens"] + 2 * answers["output_tokens"]) / 1e6
    assert answers["cost"] == pytest.approx(expected) and answers["currency"] == "USD"
    metrics = json.loads((desk / "runs/small/latest/metrics.json").read_text())
    (found,) = [one for one in metrics["tasks"]["cancer"]["findings"] if one["code"] == "remote-model"]
    assert MODEL in found["evidence"] and "USD" in found["evidence"]
    assert not (served(desk) / "pack").exists()
    for path in (path for path in (desk / "runs").rglob("*") if path.is_file()):
        assert KEY.encode() not in path.read_bytes() and CANARY.encode() not in path.read_bytes(), path


def test_without_probabilities_a_study_comes_to_its_report(
    desk: Path, server: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.offers.top, server.offers.prompt_logprobs = 0, False
    assert clinfit(monkeypatch, "run", str(study_of(desk, server.url, answer_tokens=4))) == 0
    folder = desk / "runs/small/latest"
    table = pd.read_parquet(served(desk) / "predictions" / "cancer-test-stage1.parquet")
    assert set(table["rung"]) == {"generation"} and table.filter(like="p_").isna().all(axis=None)
    metrics = json.loads((folder / "metrics.json").read_text())
    (found,) = [one for one in metrics["tasks"]["cancer"]["findings"] if one["code"] == "remote-model"]
    assert "without probabilities" in found["title"]
    study = load_study(folder / "study.yaml")
    models = [json.loads(path.read_text()) for path in folder.glob("models/*/run.json")]
    inputs = ReportInputs(metrics, study, models=models)
    assert "without probabilities" in llm_output(inputs).text
    assert generated(inputs).text == "free answers against the labels"
    assert list(folder.glob("report*"))


def test_a_run_that_gave_up_asks_only_for_what_is_missing(
    desk: Path, server: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(desk, server.url, requests={"retries": 0, "concurrent": 1})
    answer, left = server.answer, [21]

    def until_quota(path: str, body: Any, headers: Any) -> Fault:
        left[0] -= 1
        return answer(path, body, headers) if left[0] >= 0 else refused(400, "quota")

    monkeypatch.setattr(server, "answer", until_quota)
    assert clinfit(monkeypatch, "run", str(study)) == 2
    del server.asked[21:]  # what was refused is asked again, and so is the record that was answered in part
    *before, in_part = server.questions()
    server.asked.clear()
    monkeypatch.setattr(server, "answer", answer)
    assert clinfit(monkeypatch, "run", str(study)) == 0
    after = server.questions()
    assert len({*before} - {in_part}) > 3 and after and not ({*before} - {in_part}) & {*after}
    assert len(pd.read_parquet(served(desk) / "predictions" / "cancer-test-stage1.parquet")) > 0
    server.asked.clear()
    assert clinfit(monkeypatch, "run", str(study)) == 0
    assert not server.asked


def test_a_run_that_goes_on_asks_as_the_study_says_now(
    desk: Path, server: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    begin = Server.__init__

    def noted(self: Server, spec: Any, *more: Any) -> None:
        asked.append(spec.requests.concurrent)
        begin(self, spec, *more)

    monkeypatch.setattr(Server, "__init__", noted)
    first = study_of(desk, server.url, requests={"retries": 0, "concurrent": 1}, labels="generation")
    answer, left = server.answer, [4]

    def until_quota(path: str, body: Any, headers: Any) -> Fault:
        left[0] -= 1
        return answer(path, body, headers) if left[0] >= 0 else refused(400, "quota")

    monkeypatch.setattr(server, "answer", until_quota)
    assert clinfit(monkeypatch, "run", str(first)) == 2
    monkeypatch.setattr(server, "answer", answer)
    assert set(asked) == {1}
    asked.clear()
    again = study_of(desk, server.url, requests={"retries": 0, "concurrent": 3}, labels="generation")
    assert clinfit(monkeypatch, "run", str(again)) == 0
    assert set(asked) == {3}


def test_texts_leave_the_machine_only_where_that_is_typed(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    study = study_of(desk, "http://0.0.0.0:1/v1")  # no loopback address, and nobody answers there
    assert clinfit(monkeypatch, "run", str(study)) == 2
    assert "--allow-egress" in capsys.readouterr().err and not (desk / "runs").exists()
    assert clinfit(monkeypatch, "run", str(study), "--dry-run") == 0
    monkeypatch.setenv("_CLINFIT_EGRESS_TYPED", "1")  # no environment stands for what is typed
    with pytest.raises(ClinfitError, match="--allow-egress"):
        run(study)
    assert clinfit(monkeypatch, "run", str(study)) == 2
    assert clinfit(monkeypatch, "run", str(study), "--allow-egress") == 2
    told = capsys.readouterr()
    assert "leave this machine" in told.out + told.err and "cannot be reached" in told.out + told.err
    processes = ("--executor", "processes", "--allow-egress")  # a worker is told that it was typed
    assert clinfit(monkeypatch, "run", str(study), *processes) == 2
    told = capsys.readouterr()
    assert "would send texts" not in told.out + told.err and "cannot be reached" in told.out + told.err
    assert clinfit(monkeypatch, "run", str(study), "--models", "majority") == 0


def test_a_missing_key_is_told_before_anything_is_written(
    desk: Path, server: RemoteServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LAB_KEY")
    assert clinfit(monkeypatch, "run", str(study_of(desk, server.url))) == 2
    assert "export LAB_KEY" in capsys.readouterr().err and not (desk / "runs").exists() and not server.asked


def test_check_and_dry_run_say_what_would_be_sent_and_send_nothing(
    desk: Path, server: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(desk, server.url, shots=2)
    console = Console(record=True, width=200)
    findings = check_study(load_study(study), console)
    told = console.export_text()
    assert f"what is sent to 127.0.0.1 ({server.url})" in told and "each behind 2 training records" in told
    size = int(re.findall(r"at least ([\d,]+) characters", told)[0].replace(",", ""))
    more = load_study(study_of(desk, server.url, shots=2)).model_copy(update={"seeds": [1, 2, 3]})
    check_study(more, console)
    said = console.export_text()
    assert "asked by 3 seeds in 1 folds" in said and f"at least {3 * size:,} characters" in said
    assert CANARY not in told and "text-leaves-machine" not in {one.code for one in findings}
    away = load_study(study_of(desk, "https://models.example.invalid/v1"))
    assert "text-leaves-machine" in {one.code for one in check_study(away, console)}
    assert clinfit(monkeypatch, "run", str(study), "--dry-run") == 0
    assert not server.asked
