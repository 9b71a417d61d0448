"""A study with a task that asks for texts, beside one with labels: from the study file to the pack that writes."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from clinfit.errors import ClinfitError
from clinfit.files import read_json
from clinfit.models.base import WrittenText
from clinfit.packs.read import load_pack
from clinfit.predictions import NATS, SCORE, read_predictions
from clinfit.runs.checking.check import check_study
from clinfit.runs.execute import run
from clinfit.runs.finish import evaluate_run
from clinfit.runs.folder import RunFolder
from clinfit.runs.rescore import Asked, with_answers
from clinfit.runs.steps.dry_run import print_plan
from clinfit.runs.steps.written import WrittenTexts
from clinfit.study.load import load_study
from small_study import CANARY
from two_layer import llama_base

RULES = ("copy", "lead", "nearest")
TRAIN = {"epochs": 0.5, "max_length": 200, "precision": "fp32", "batch_size": 8, "loss_per": "token"}
CAUSAL = {"name": "small", "family": "causal", "base": str(llama_base()), "lora": {"rank": 2}, "train": TRAIN}


def records(n: int = 60) -> pd.DataFrame:
    rows = []
    for k in range(n):
        what = "tumour" if k % 3 == 0 else "fracture"
        text = f"Case {k}: {what} of {k % 7 + 1} cm. No fever. {CANARY} {k * 7919 % 101}."
        note = f"A {what} of {k % 7 + 1} cm"
        rows.append({"id": f"r{k}", "text": text, "note": note, "label": "yes" if k % 3 == 0 else "no"})
    return pd.DataFrame(rows)


def study(folder: Path, **changes: Any) -> Path:
    records().to_csv(folder / "data.csv", index=False)
    data = {"path": "data.csv", "id": "id", "inputs": {"text": "text"}}
    content: dict[str, Any] = {
        "name": "two-kinds",
        "tasks": {
            "cancer": {"labels": ["no", "yes"], "data": data},
            "note": {"kind": "generation", "max_new_tokens": 8, "data": data | {"label": "note"}},
        },
        "models": [
            *({"name": rule, "family": "baseline", "kind": rule} for rule in RULES),
            {"name": "majority", "family": "baseline", "kind": "majority"},
            CAUSAL,
        ],
        "stages": [{"train": {"cancer": 1}}, {"train": {"note": 1}}],
        "evaluation": {"bootstrap": 100},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content | changes, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("texts")
    study(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def done(place: Path) -> RunFolder:
    result = run(place / "study.yaml", console=Console(quiet=True))
    assert not result.failed
    return RunFolder(result.folder.resolve())


def tables(folder: RunFolder, model: str = "small") -> dict[str, pd.DataFrame]:
    predictions = folder.model(model, 42).path / "predictions"
    return {path.name: read_predictions(path) for path in sorted(predictions.glob("note-*.parquet"))}


def test_every_text_stands_in_the_table_with_its_likelihood(done: RunFolder) -> None:
    found = tables(done)
    assert list(found) == [f"note-{split}-stage{k}.parquet" for split in ("test", "validation") for k in (0, 1, 2)]
    for table in found.values():
        assert not [name for name in table.columns if name.startswith("p_")] and set(table["kind"]) == {"generation"}
        assert (table["predicted"] == table["raw"]).all() and table["gold"].str.startswith("A ").all()
        assert table["output_tokens"].between(0, 8).all() and set(table["finish_reason"]) <= {"stop", "length"}
        assert table[[*NATS]].notna().all(axis=None) and (table["nats_bytes"] == table["gold"].str.len()).all()
        assert (table["prompt_tokens"] > 20).all() and (table["dropped_tokens"] == 0).all()
    tests = [found[f"note-test-stage{k}.parquet"] for k in (1, 2)]
    before, after = (np.exp(table["nats"].sum() / table["nats_tokens"].sum()) for table in tests)
    assert after < before, "the second stage has taught the task"


def test_item_scores_hold_no_text_and_are_a_step_of_their_own(done: RunFolder) -> None:
    model = done.model("lead", 42)
    scores = pd.read_parquet(model.scores("note-test-stage1.parquet"))
    assert scores["id"].tolist() == tables(done, "lead")["note-test-stage1.parquet"]["id"].tolist()
    assert all(name == "id" or name.startswith(SCORE) for name in scores.columns)
    assert (scores[SCORE + "unsupported_numbers"] == 0).all() and (scores[SCORE + "coverage"] == 1).all()
    steps = model.read_record()["steps"]
    answered, scored = steps["predictions/note-test-stage1.parquet"], steps["scores/note-test-stage1.parquet"]
    assert scored["of"] == answered["sha256"] and scored["sha256"]


def test_no_text_of_a_record_leaves_the_tables(done: RunFolder) -> None:
    written = [*done.path.glob("*.*"), *done.path.rglob("run.json"), *done.path.rglob("pack/*.md")]
    assert written and not [path for path in written if CANARY in path.read_text(encoding="utf-8")]


def test_results_compare_with_the_rules(done: RunFolder) -> None:
    task = read_json(done.metrics)["tasks"]["note"]
    names = {system["name"] for system in task["systems"]}
    assert names == {*RULES, "small (before)", "small (after stage 1)", "small (after)"}
    assert task["baseline"] in RULES and task["chosen"]["system"].startswith("small")
    assert task["labels"] == [] and task["counts"]["test"]["labels"] == {}
    kinds = {(c["kind"], c["new"]) for c in task["comparisons"]}
    assert ("before-after", "small (after)") in kinds and ("versus-baseline", "small (after)") in kinds
    perplexity = task["systems"][-1]["metrics"]["perplexity"]
    assert perplexity["low"] <= perplexity["value"] <= perplexity["high"] and "tokens" in perplexity["reason"]
    page = done.report.read_text(encoding="utf-8")
    assert "Written texts" in page and "Texts to read first" in page and "as the report counts" not in page
    assert (done.path / "decisions" / "cancer.parquet").is_file() and not done.decisions("note").exists()


def test_nothing_is_done_twice_and_lost_scores_are_made_again(done: RunFolder, place: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    (done.model("small", 42).scores("note-test-stage2.parquet")).unlink()
    with pytest.raises(ClinfitError, match="missing or was changed"):
        evaluate_run(done, load_study(done.study), "")
    print_plan(load_study(place / "study.yaml"), None, None, False, console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    (line,) = (line for line in told.splitlines() if "to do" in line and "steps" not in line)
    assert "score note test after stage 2" in line
    before = done.model("small", 42).read_record()["steps"]
    assert not run(place / "study.yaml", console=Console(quiet=True)).failed
    assert done.model("small", 42).read_record()["steps"] == before


def test_check_tells_what_a_run_would_do(place: Path) -> None:
    console = Console(file=io.StringIO(), width=160)
    findings = check_study(load_study(place / "study.yaml"), console)
    assert not [finding for finding in findings if finding.level == "error"]
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Task note: generation, 60 records" in told


def test_the_pack_writes_what_was_evaluated(done: RunFolder, place: Path) -> None:
    pack = load_pack(done.model("small", 42).pack)
    table = tables(done)["note-test-stage2.parquet"]
    rows = records().set_index("id").loc[table["id"]].reset_index()
    answers = pack.predict(rows.drop(columns=["note", "label"]), "note")
    assert list(answers.columns) == ["id", "text", "finish_reason", "status", "notes", "dropped_tokens"]
    assert answers["text"].tolist() == table["predicted"].tolist()
    assert answers["finish_reason"].tolist() == table["finish_reason"].tolist()
    tested = pack.self_test()
    assert tested.passed and tested.tasks["note"].change is None and "texts that differ: 0" in tested.lines()[-1]
    with pytest.raises(ClinfitError, match="no probability that could be explained"):
        pack.explain(rows, rows["id"][0], "note")
    assert not done.model("nearest", 42).pack.exists(), "it would hold training records"
    copied = load_pack(done.model("copy", 42).pack)
    rows = pd.DataFrame({"text": ["Took 5 mg and 7 mg. And more."]})
    assert copied.predict(rows)["text"].tolist() == ["Took 5 mg and 7 mg. And more."]


def test_numbers_out_of_nowhere_are_noted(done: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = load_pack(done.model("copy", 42).pack)
    copied = type(pack.model).generate  # type: ignore[attr-defined]

    def embellished(*given: Any, **named: Any) -> Any:
        outputs = copied(*given, **named)
        outputs.texts[:] = [text + " Then 250 mg." for text in outputs.texts]
        return outputs

    monkeypatch.setattr(type(pack.model), "generate", embellished)
    notes = pack.predict(pd.DataFrame({"text": ["Took 5 mg."]}))["notes"].tolist()
    assert notes == ["text: numbers that the record does not hold: 250"]


def test_free_answers_are_read_of_labels_only(done: RunFolder) -> None:
    with pytest.raises(ClinfitError, match="wrote no free answers"):
        with_answers(done, Asked())


class Killed(BaseException):
    """What ends a process."""


def test_a_killed_run_ends_with_the_same_table(done: RunFolder, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = load_study(done.study).model_copy(update={"folder": place})

    def dies(texts: WrittenTexts, record: str, text: WrittenText, add: Any = WrittenTexts.add) -> None:
        add(texts, record, text)
        if len(texts) == 5:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("clinfit.runs.steps.written.EVERY", 0.0)
        patch.setattr(WrittenTexts, "add", dies)
        with pytest.raises(Killed):
            run(asked, out="killed", models=["small"], console=Console(quiet=True))
    folder = RunFolder(Path("killed").resolve())
    assert len(list(folder.path.rglob("*.written-*/*.jsonl"))) == 5
    assert not run(asked, out="killed", models=["small"], console=Console(quiet=True)).failed
    assert not list(folder.path.rglob("*.written-*"))
    for name, table in tables(done).items():
        pd.testing.assert_frame_equal(table.drop(columns="seconds"), tables(folder)[name].drop(columns="seconds"))


def long_references(place: Path, words: int, **changes: Any) -> Path:
    """A study of texts in which every second reference is that many times longer than others."""
    table = records()
    table.loc[table.index % 2 == 0, "note"] = "A tumour of 1 cm " * words
    table.to_csv(place / "long.csv", index=False)
    data = {"path": "long.csv", "id": "id", "inputs": {"text": "text"}, "label": "note"}
    long = {"name": "long", "tasks": {"note": {"kind": "generation", "max_new_tokens": 8, "data": data}}}
    path = place / "long.yaml"
    path.write_text(yaml.safe_dump(long | {"models": [CAUSAL | changes], "evaluation": {"bootstrap": 100}}))
    return path


def test_a_run_does_not_begin_where_a_reference_is_longer_than_the_base_reads(place: Path) -> None:
    asked = long_references(place, 200)
    with pytest.raises(ClinfitError, match="more than base") as caught:
        run(asked, out="refused", console=Console(quiet=True))
    assert caught.value.fix and not Path("refused").exists()
    found = check_study(load_study(asked), Console(file=io.StringIO()))
    assert [one.title for one in found if one.code == "model-cannot-run"] == [caught.value.found]


def test_nothing_is_written_where_only_examples_make_a_row_too_long(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is not known before the examples are drawn: here by leaving out what is looked at before a run."""
    wrote = list[str]()
    monkeypatch.setattr("clinfit.models.estimates.precheck._check_references", lambda *_: None)
    monkeypatch.setattr(WrittenTexts, "add", lambda texts, record, text: wrote.append(record))
    asked = long_references(place, 200, method="prompt", lora={})
    result = run(asked, out="long", console=Console(quiet=True))
    (failure,) = result.failed.values()
    assert "than base" in failure.reason and not wrote
