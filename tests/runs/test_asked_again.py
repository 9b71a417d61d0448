"""Abstention and contrastive likelihood: from the study file to the report, and no text left behind."""

import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from clinfit.data.load import load_task
from clinfit.data.records import Record, in_split
from clinfit.errors import ClinfitError
from clinfit.evaluation.decisions.selective import risk_coverage
from clinfit.evaluation.metrics.text.faults import FAULTS
from clinfit.files import read_json
from clinfit.models.base import WrittenText
from clinfit.models.families import load_model
from clinfit.models.texts.judges import BertScorer, JudgedText
from clinfit.predictions import SCORE, read_predictions
from clinfit.runs.execute import run
from clinfit.runs.finish import evaluate_run
from clinfit.runs.folder import RunFolder
from clinfit.runs.steps import worker
from clinfit.runs.steps.abstention import without_context
from clinfit.runs.steps.contrast import pairs
from clinfit.runs.steps.dry_run import print_plan
from clinfit.runs.steps.written import WrittenTexts
from clinfit.study.evaluation import Abstention, BertScore
from clinfit.study.load import load_study
from clinfit.study.tasks import Generation
from small_study import CANARY
from two_layer import bert_base, llama_base

TRAIN = {"epochs": 0.5, "max_length": 200, "precision": "fp32", "batch_size": 8, "loss_per": "token"}
CAUSAL = {"name": "small", "family": "causal", "base": str(llama_base()), "lora": {"rank": 2}, "train": TRAIN}
ASKED = {"inputs": ["context"], "items": 4}
EVALUATION = {"primary": "token_f1", "abstention": ASKED, "contrast": 6}
NAME = "note-stage{}.parquet"


def table(n: int = 60) -> pd.DataFrame:
    rows = []
    for k in range(n):
        drug, problem = ["warfarin", "metformin", "aspirin"][k % 3], ["gout", "asthma", "stroke"][k % 3]
        context = f"Case {k}: {drug} {k % 7 + 1} mg for {problem}. No fever. {CANARY} {k * 7919 % 101}."
        note = f"He was given {drug} {k % 7 + 1} mg for {problem}. There was no fever."
        rows.append({"id": f"r{k}", "patient": f"p{k // 2}", "question": "What?", "context": context, "note": note})
    return pd.DataFrame(rows)


def study(folder: Path, **evaluation: Any) -> Path:
    table().to_csv(folder / "data.csv", index=False)
    inputs = {"question": "question", "context": "context"}
    data = {"path": "data.csv", "id": "id", "group": "patient", "inputs": inputs, "label": "note"}
    task = {"kind": "generation", "max_new_tokens": 6, "data": data, "evaluation": EVALUATION | evaluation}
    rule = {"name": "lead", "family": "baseline", "kind": "lead"}
    content = {"name": "asked", "tasks": {"note": task}, "models": [rule, CAUSAL], "evaluation": {"bootstrap": 100}}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("asked")
    study(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def done(place: Path) -> RunFolder:
    result = run(place / "study.yaml", console=Console(quiet=True))
    assert not result.failed
    return RunFolder(result.folder.resolve())


def asked_of(place: Path) -> tuple[Generation, list[Record]]:
    asked = load_study(place / "study.yaml")
    task = asked.tasks["note"]
    assert isinstance(task, Generation)
    return task, in_split(load_task("note", task, asked.folder).records, "test")


def written(done: RunFolder, what: str, stage: int = 1) -> pd.DataFrame:
    return pd.read_parquet(done.model("small", 42).path / what / NAME.format(stage))


# ---------------------------------------------------------------- which records


def records(groups: int, each: int, context: str = "context {}") -> list[Record]:
    return [
        Record(f"r{g}-{k}", f"g{g}", {"question": "What?", "context": context.format(f"{g}-{k}")}, "x", "test")
        for g in range(groups)
        for k in range(each)
    ]


def test_contexts_are_removed_of_some_and_of_other_groups_for_others() -> None:
    asked, given = Abstention(inputs=["context"], items=5), records(10, 2)
    known = {record.id: record for record in given}
    groups = {record.inputs["context"]: record.group for record in given}
    again = without_context(given, asked)
    assert [condition for condition, _ in again] == ["removed"] * 5 + ["swapped"] * 5
    assert len({record.id for _, record in again}) == 10
    for condition, record in again:
        assert record.inputs["question"] == "What?"
        context = record.inputs["context"]
        assert context is None if condition == "removed" else groups[context] != known[record.id].group
    assert again == without_context(given[::-1], asked), "the order of the records does not matter"
    assert again != without_context(given, asked.model_copy(update={"seed": 1}))


def test_few_records_are_halved_and_what_cannot_be_swapped_is_left_out() -> None:
    asked = Abstention(inputs=["context"], items=50)
    assert [condition for condition, _ in without_context(records(3, 1), asked)] == ["removed", "swapped"]
    assert [condition for condition, _ in without_context(records(1, 4), asked)] == ["removed", "removed"]
    assert [condition for condition, _ in without_context(records(4, 1, "the same"), asked)] == ["removed", "removed"]
    assert without_context(records(4, 1, " "), asked) == [] and without_context([], asked) == []


# ---------------------------------------------------------------- the plan


def test_steps_are_planned_for_what_learns_and_on_test_alone(done: RunFolder, place: Path) -> None:
    steps = done.model("small", 42).read_record()["steps"]
    more = [name for name in steps if not name.startswith(("stages", "predictions", "scores"))]
    assert more == [f"{what}/{NAME.format(stage)}" for stage in (0, 1) for what in ("abstention", "contrast")]
    assert all(steps[name]["sha256"] for name in more)
    assert not [name for name in done.model("lead", 42).read_record()["steps"] if name.startswith(("abst", "contr"))]
    console = Console(file=io.StringIO(), width=200)
    print_plan(load_study(place / "study.yaml"), None, None, False, console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "answer note test without the context before training" in told
    assert "compare references of note test with faulty ones after stage 1" in told and ", 0 to do" in told


def test_other_phrases_ask_again_and_nothing_else(done: RunFolder, place: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    (tmp_path / "data.csv").write_bytes((place / "data.csv").read_bytes())
    other = load_study(study(tmp_path, abstention=ASKED | {"phrases": ["none given"]}))
    print_plan(other, None, None, False, console)
    left = [line for line in console.file.getvalue().splitlines() if "to do" in line and "steps" not in line]  # type: ignore[attr-defined]
    assert len(left) == 2 and all("without the context" in line for line in left)


def test_two_models_of_one_base_are_asked_once_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load(study(tmp_path).read_text())
    content["models"] = [CAUSAL, CAUSAL | {"name": "other", "lora": {"rank": 4}}]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    asked: list[str] = []

    def told(*given: Any, ask: Any = worker.abstention_table, **more: Any) -> Any:
        asked.append(given[0].spec.name)
        return ask(*given, **more)

    monkeypatch.setattr(worker, "abstention_table", told)
    result = run(tmp_path / "study.yaml", console=Console(quiet=True))
    assert not result.failed and asked == ["small", "small", "other"]
    folder = RunFolder(result.folder.resolve())
    tables = [pd.read_parquet(folder.model(m, 42).path / "abstention" / NAME.format(0)) for m in ("small", "other")]
    pd.testing.assert_frame_equal(*tables)


def test_lost_answers_are_asked_again(done: RunFolder, place: Path) -> None:
    folder = done.model("small", 42)
    before = {what: written(done, what) for what in ("abstention", "contrast")}
    for what in before:
        (folder.path / what / NAME.format(1)).unlink()
    assert not run(place / "study.yaml", console=Console(quiet=True)).failed
    for what, known in before.items():
        pd.testing.assert_frame_equal(written(done, what), known)


class Killed(BaseException):
    """What ends a process."""


@pytest.mark.slow
def test_a_killed_step_goes_on_and_keeps_no_text(done: RunFolder, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, folder = load_study(place / "study.yaml"), Path("killed")
    added: list[str] = []

    def dies(texts: WrittenTexts, record: str, text: WrittenText, add: Any = WrittenTexts.add) -> None:
        add(texts, record, text)
        if text.text in ("answered", "declined", "empty"):
            added.append(record)
            if len(added) == 3:
                raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("clinfit.runs.steps.written.EVERY", 0.0)
        patch.setattr(WrittenTexts, "add", dies)
        with pytest.raises(Killed):
            run(asked, out=folder, models=["small"], console=Console(quiet=True))
        kept = [path.read_text() for path in folder.rglob("abstention/.*/*.jsonl")]
        assert len(kept) == 3 and all('"text": "answered"' in line or '"text": "empty"' in line for line in kept)
        assert not run(asked, out=folder, models=["small"], console=Console(quiet=True)).failed
    assert len(added) == 8 + 8 and not list(folder.rglob("*.written-*")), "8 records at each of two stages, each once"
    pd.testing.assert_frame_equal(written(RunFolder(folder.resolve()), "abstention"), written(done, "abstention"))


# ---------------------------------------------------------------- what is written


def test_no_text_stands_in_what_is_written(done: RunFolder) -> None:
    for what in ("abstention", "contrast"):
        for path in (done.model("small", 42).path / what).iterdir():
            content = path.read_bytes()
            assert CANARY.encode() not in content and b"He was given" not in content
    found = written(done, "abstention")
    assert list(found) == ["condition", "id", "group", "context", "declined", "empty", "nats", "tokens"]
    assert found["context"].all()
    assert found["condition"].value_counts().to_dict() == {"given": found["id"].nunique(), "removed": 4, "swapped": 4}


def test_likelihoods_are_those_of_the_models_own_texts_and_of_faulty_references(done: RunFolder, place: Path) -> None:
    folder = done.model("small", 42)
    model: Any = load_model("causal", folder.model(1))
    task, asked = asked_of(place)
    texts = read_predictions(folder.predictions("note", "test", 1)).set_index("id")["predicted"]
    own = model.likelihood("note", [replace(record, target=texts[record.id]) for record in asked])
    given = written(done, "abstention").query("condition == 'given'").set_index("id").loc[[one.id for one in asked]]
    np.testing.assert_allclose(given["nats"], own.nats, rtol=1e-5)
    np.testing.assert_array_equal(given["tokens"], own.tokens)
    found = written(done, "contrast").set_index(["id", "fault"])
    made = pairs(task, asked, 6)
    assert found.index.tolist() == [(pair.record.id, pair.fault) for pair in made]
    assert {pair.fault for pair in made} == set(FAULTS) and len({pair.record.id for pair in made}) == 6
    assert [(p.record.id, p.text) for p in made] == [(p.record.id, p.text) for p in pairs(task, asked[::-1], 6)]
    for pair in made[:4]:
        true = model.likelihood("note", [pair.record])
        faulty = model.likelihood("note", [replace(pair.record, target=pair.text)])
        row = found.loc[pair.record.id, pair.fault]
        np.testing.assert_allclose([row["nats"], row["faulty_nats"]], [true.nats[0], faulty.nats[0]], rtol=1e-5)
        assert (row["tokens"], row["faulty_tokens"]) == (true.tokens[0], faulty.tokens[0])


def test_results_count_them(done: RunFolder) -> None:
    task = read_json(done.metrics)["tasks"]["note"]
    (system,) = (each for each in task["systems"] if each["name"] == "small (after)")
    said, found = system["sections"]["abstention"], written(done, "abstention")
    removed = found.loc[found["condition"] == "removed"]
    answered = int((~removed["declined"] & ~removed["empty"]).sum())
    assert (said["removed"]["answered"]["events"], said["removed"]["answered"]["n"]) == (answered, 4)
    assert said["given"]["n"] == system["n"] and said["inputs"] == ["context"] and "I do not know" in said["phrases"]
    folder = done.model("small", 42)
    scores = pd.read_parquet(folder.scores("note-test-stage1.parquet")).set_index("id")[SCORE + "token_f1"]
    given = found.loc[found["condition"] == "given"].set_index("id").loc[scores.index]
    curve = risk_coverage(1 - scores.to_numpy(), (-given["nats"] / given["tokens"]).to_numpy())
    assert said["aurc"]["value"] == pytest.approx(curve[:, 1].mean())
    assert said["risk"]["value"] == pytest.approx(1 - scores.mean())
    rows = {row["fault"]: row["likelier"] for row in system["sections"]["contrast"]}
    pairs_of = written(done, "contrast")
    likelier = pairs_of["nats"] / pairs_of["tokens"] < pairs_of["faulty_nats"] / pairs_of["faulty_tokens"]
    for fault in FAULTS:
        these = pairs_of["fault"] == fault
        assert (rows[fault]["events"], rows[fault]["n"]) == (np.sum(likelier[these]), np.sum(these))
    rule = next(each for each in task["systems"] if each["model"] == "lead")
    assert not {"abstention", "contrast"} & rule["sections"].keys()
    assert any(finding["code"] == "answers-without-context" for finding in task["findings"])


def test_the_report_says_it_in_words(done: RunFolder) -> None:
    page = done.report.read_text(encoding="utf-8")
    assert "Does it decline when it should?" in page and "Does it find the truth likelier than a fault?" in page
    assert "Of 4 records asked without their context it answered 4 all the same and declined 0." in page
    assert "A model that knows nothing is at about 50 %" in page and CANARY not in page and "He was given" not in page


def test_a_changed_table_is_not_evaluated(done: RunFolder, place: Path) -> None:
    path = done.model("small", 42).path / "contrast" / NAME.format(1)
    content = path.read_bytes()
    path.write_bytes(content + b" ")
    with pytest.raises(ClinfitError, match="missing or was changed"):
        evaluate_run(done, load_study(done.study), "")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ({"abstention": {"inputs": ["abstract"]}}, "evaluation.abstention.inputs names"),
        ({"abstention": {"inputs": []}}, "inputs"),
        ({"abstention": {"inputs": ["context", "question"]}}, "names all inputs"),
        ({"abstention": {"inputs": ["context"], "phrases": ["..."]}}, "phrases"),
        ({"abstention": {"inputs": ["context"], "phrases": []}}, "phrases"),
        ({"abstention": {"inputs": ["context"], "phrases": ["I do not know", "The"]}}, "nothing but articles"),
        ({"abstention": {"inputs": ["context"], "items": 0}}, "items"),
        ({"abstention": {"input": ["context"]}}, "inputs"),
        ({"abstention": True}, "abstention"),
        ({"contrast": -1}, "contrast"),
        ({"contrast": "many"}, "contrast"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, evaluation: dict[str, Any], message: str) -> None:
    with pytest.raises(ClinfitError) as caught:
        load_study(study(tmp_path, **evaluation))
    assert message in "\n".join(caught.value.lines())


# ---------------------------------------------------------------- metrics with weights of their own


def test_metrics_with_weights_of_their_own_are_scores_like_others(place: Path, tmp_path: Path) -> None:
    shutil.copy(place / "data.csv", tmp_path)
    off = {"abstention": None, "contrast": 0}
    asked = load_study(study(tmp_path, **off, bertscore={"encoder": str(bert_base()), "layer": 1}))
    result = run(asked, out="judged", models=["lead"], console=Console(quiet=True))
    folder = RunFolder(result.folder.resolve())
    scores = pd.read_parquet(folder.model("lead", 42).scores("note-test-stage1.parquet"))
    texts = read_predictions(folder.model("lead", 42).predictions("note", "test", 1))
    scorer = BertScorer(BertScore(encoder=str(bert_base()), layer=1))
    np.testing.assert_allclose(
        scores[SCORE + "bertscore"],
        scorer.scores([JudgedText(*pair, [], []) for pair in zip(texts["predicted"], texts["gold"], strict=True)]),
    )
    task = read_json(folder.metrics)["tasks"]["note"]
    metric = task["systems"][0]["metrics"]["bertscore"]
    assert metric["value"] == pytest.approx(scores[SCORE + "bertscore"].mean()) and metric["low"] < metric["high"]
    assert "bertscore" in task["sections"]["text_metrics"]["proxies"] and "nli" not in task["systems"][0]["metrics"]
    assert "layer 1, F1" in task["sections"]["text_metrics"]["settings"]["bertscore"]
    assert "BERTScore (proxy)" in folder.report.read_text(encoding="utf-8")
    console = Console(file=io.StringIO(), width=200)
    other = load_study(study(tmp_path, **off, bertscore={"encoder": str(bert_base())}))
    print_plan(other, None, ["lead"], False, console)
    assert "to do" in console.file.getvalue()  # type: ignore[attr-defined]


def test_weights_that_are_not_there_are_refused_before_anything_is_done(place: Path, tmp_path: Path) -> None:
    shutil.copy(place / "data.csv", tmp_path)
    for asked in (
        {"bertscore": {"encoder": "someone/encoder"}},
        {"nli": {"classifier": "./nowhere"}},
        {"alignscore": {"classifier": "./nowhere"}},
    ):
        with pytest.raises(ClinfitError, match="not a folder on this machine"):
            run(load_study(study(tmp_path, **asked)), out="refused", console=Console(quiet=True))
    both = {"nli": {"classifier": "nowhere"}, "alignscore": {"classifier": "./neither"}}
    with pytest.raises(ClinfitError) as caught:
        run(load_study(study(tmp_path, **both)), out="refused", console=Console(quiet=True))
    assert "evaluation.nli.classifier: 'nowhere' is not a folder" in caught.value.found
    assert "evaluation.alignscore.classifier: './neither' is not a folder" in caught.value.found
    assert "clinfit/" not in caught.value.expected, "no base of clinfit judges pairs of texts"
    assert not Path("refused").exists()
