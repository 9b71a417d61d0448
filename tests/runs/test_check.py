"""`clinfit check`: what is printed about a study before it runs, and the size estimates."""

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model
from rich.console import Console
from transformers import AutoConfig, AutoModelForCausalLM, BertConfig, GPT2Config, LlamaConfig, PretrainedConfig

import clinfit
from clinfit.data.load import load_task
from clinfit.data.records import Split
from clinfit.errors import ClinfitError
from clinfit.models.estimates.estimate import (
    KEPT_OUTPUTS,
    PROGRAM_BYTES,
    STEP_EFFICIENCY,
    WRITING_EFFICIENCY,
    Work,
    estimate,
    gemm_rate,
    model_size,
)
from clinfit.models.estimates.room import room
from clinfit.runs.checking.check import _in_all, check_study, masked
from clinfit.runs.checking.models import _too_large
from clinfit.runs.checking.models import prepare as prepare_models
from clinfit.runs.checking.steps import step_estimates
from clinfit.runs.checking.work import Reading, work_of
from clinfit.runs.inputs import prepare
from clinfit.study.load import load_study
from clinfit.study.models import Causal, Encoder, Lora, Train
from clinfit.study.schema import Study
from clinfit.study.stages import Mix, Stage
from clinfit.training.adapters import add_adapter, parameter_counts
from model_blocks import small_base
from small_study import write_study as write_small

TINY = Path(clinfit.__file__).parent / "models/bases/tiny"
STUDY = """\
name: tiny-check
tasks:
  cough:
    labels: [absent, present]
    data:
      path: notes.csv
      id: id
      inputs: {note: note, age: {column: age, type: number, unit: years}}
      label: label
    prompt: "Cough? {{ note }} Age {{ age }}. Answer {{ labels }}."
models:
  - {name: majority, family: baseline, kind: majority}
  - {name: tiny, family: causal, base: clinfit/tiny, train: {max_length: 48, batch_tokens: 256}}
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    words = ("the patient came with a dry cough that " + "would not go away for weeks").split(" ")
    table = pd.DataFrame(
        {
            "id": [f"r{row}" for row in range(40)],
            "note": [" ".join(words[row % 5 :] + [f"visit{row}"] * (1 + row % 30)) for row in range(40)],
            "age": [None if row == 3 else 40 + row for row in range(40)],
            "label": ["absent", "present"] * 20,
        }
    )
    table.to_csv(tmp_path / "notes.csv", index=False)
    (tmp_path / "study.yaml").write_text(STUDY)
    return load_study(tmp_path / "study.yaml")


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check measures this machine for a third of a second a model; here it is known."""
    monkeypatch.setattr("clinfit.runs.checking.models.gemm_rate", lambda *words: 1e9)


def printed(study: Study, **options: bool) -> tuple[str, list]:
    stream = io.StringIO()
    findings = check_study(study, Console(file=stream, width=140), **options)
    return stream.getvalue(), findings


def test_check_shows_data_tokens_record_findings_and_estimate(study: Study) -> None:
    text, findings = printed(study)
    assert "the study file is valid" in text
    assert "LoRA rank 16, alpha 32; 3 epochs" in text
    assert "40 records from notes.csv" in text
    assert "number, years" in text
    assert "of 40 records are shortened to 48 tokens" in text
    assert "0 of 40" not in text
    assert "label present:" in text
    assert "⟦" in text.split("First training record")[1]
    assert "M  " in text.split("Estimates")[1]
    assert all(finding.title in text for finding in findings)


def test_records_that_lose_text_are_a_finding_before_training(study: Study) -> None:
    _, findings = printed(study, show_record=False)
    (cut,) = (one for one in findings if one.code == "shortened-records")
    assert cut.system == "tiny" and "of 40 records lose text to max_length" in cut.title
    assert "absent" in cut.evidence and "present" in cut.evidence
    longer = study.models[1].model_copy(update={"train": Train(max_length=400, batch_tokens=400)})
    _, findings = printed(study.model_copy(update={"models": [longer]}), show_record=False)
    assert "shortened-records" not in [one.code for one in findings]


def test_of_texts_what_answers_read_and_which_metrics_cannot_be_computed(study: Study) -> None:
    content = yaml.safe_load(STUDY)
    (name,) = content["tasks"]
    table = pd.read_csv(study.folder / "notes.csv").assign(summary="A dry cough.")
    table.to_csv(study.folder / "texts.csv", index=False)
    data = content["tasks"][name]["data"] | {"path": "texts.csv", "label": "summary"}
    asked = {"bertscore": {"encoder": "./no-such-folder"}, "primary": "rougeL"}
    task = {"kind": "generation", "max_new_tokens": 8, "data": data, "evaluation": asked, "long_input": "map-reduce"}
    tiny = {"name": "tiny", "family": "causal", "base": "clinfit/tiny", "train": {"max_length": 72}}
    path = study.folder / "texts.yaml"
    path.write_text(yaml.safe_dump({"name": "texts", "tasks": {name: task}, "models": [tiny]}))
    text, findings = printed(load_study(path), show_record=False)
    (lost,) = (one for one in findings if one.code == "metric-cannot-run")
    assert lost.level == "error" and lost.title.startswith(
        "tasks.cough.evaluation.bertscore.encoder: './no-such-folder'"
    )
    assert "clinfit/minilm" in lost.advice
    (cut,) = (one for one in findings if one.code == "shortened-records")
    assert cut.title.endswith("in training and likelihood") and "answers read all of them in pieces" in cut.advice
    assert "answers read them in pieces" in text


def study_of_texts(study: Study, references: list[str], most: int) -> Study:
    """The notes of the study with these references, in turn."""
    content = yaml.safe_load(STUDY)
    table = pd.read_csv(study.folder / "notes.csv")
    table.assign(summary=[references[row % len(references)] for row in range(len(table))]).to_csv(
        study.folder / "texts.csv", index=False
    )
    data = content["tasks"]["cough"]["data"] | {"path": "texts.csv", "label": "summary"}
    tiny = {"name": "tiny", "family": "causal", "base": "clinfit/tiny", "train": {"max_length": 300}}
    tasks = {"note": {"kind": "generation", "max_new_tokens": most, "data": data}}
    path = study.folder / "texts.yaml"
    path.write_text(yaml.safe_dump({"name": "texts", "tasks": tasks, "models": [tiny]}))
    return load_study(path)


def test_references_longer_than_an_answer_may_be_are_counted_with_the_setting_that_holds_them(study: Study) -> None:
    few = [*["A dry cough."] * 39, "cough " * 50]
    for references, level in ((few, "info"), (["A dry cough.", "cough " * 50], "warn")):
        _, findings = printed(study_of_texts(study, references, 16), show_record=False)
        (told,) = [one for one in findings if one.code == "long-references"]
        assert told.level == level and told.system == "tiny"
        assert told.title == f"{40 // len(references)} of 40 references are longer than max_new_tokens (16)"
        sizes = [int(number) for number in re.findall(r"max_new_tokens: (\d+)", told.advice)]
        assert sizes[-1] > 50, "one more than the longest reference, for the end of the answer"
        _, findings = printed(study_of_texts(study, references, sizes[-1]), show_record=False)
        assert "long-references" not in [one.code for one in findings]
        _, findings = printed(study_of_texts(study, references, sizes[-1] - 1), show_record=False)
        assert "long-references" in [one.code for one in findings]
    (told,) = [
        one for one in printed(study_of_texts(study, few, 3), show_record=False)[1] if one.code == "long-references"
    ]
    most, every = (int(number) for number in re.findall(r"max_new_tokens: (\d+)", told.advice))
    assert 3 < most < 16 < every and "95 %" in told.advice


def test_a_reference_that_the_base_cannot_read_is_told_before_the_run(study: Study) -> None:
    content = yaml.safe_load(STUDY)
    (name,) = content["tasks"]
    table = pd.read_csv(study.folder / "notes.csv").assign(summary="A dry cough.")
    table.loc[3, "summary"] = "cough " * 2200
    table.to_csv(study.folder / "texts.csv", index=False)
    data = content["tasks"][name]["data"] | {"path": "texts.csv", "label": "summary"}
    tiny = {"name": "tiny", "family": "causal", "base": "clinfit/tiny", "train": {"max_length": 72}}
    path = study.folder / "texts.yaml"
    tasks = {name: {"kind": "generation", "max_new_tokens": 8, "data": data}}
    path.write_text(yaml.safe_dump({"name": "texts", "tasks": tasks, "models": [tiny]}))
    _, findings = printed(load_study(path), show_record=False)
    (told,) = [one for one in findings if one.code == "model-cannot-run"]
    assert "more than base 'clinfit/tiny' reads (2048 tokens)" in told.title


def test_examples_that_make_a_row_longer_than_the_base_reads_are_told_before_the_run(study: Study) -> None:
    """Prompt and reference are short enough; with an example before them they are not."""
    content = yaml.safe_load(STUDY)
    (name,) = content["tasks"]
    table = pd.read_csv(study.folder / "notes.csv").assign(summary="cough " * 900)
    table.to_csv(study.folder / "texts.csv", index=False)
    data = content["tasks"][name]["data"] | {"path": "texts.csv", "label": "summary"}
    few = {"name": "few", "family": "causal", "base": "clinfit/tiny", "method": "prompt", "train": {"max_length": 1500}}
    tasks = {name: {"kind": "generation", "max_new_tokens": 8, "data": data}}
    path = study.folder / "texts.yaml"
    for shots, told in ((0, 0), (1, 1)):
        path.write_text(yaml.safe_dump({"name": "texts", "tasks": tasks, "models": [few | {"shots": shots}]}))
        _, findings = printed(load_study(path), show_record=False)
        assert len([one for one in findings if one.code == "model-cannot-run"]) == told


def test_what_is_the_same_of_several_models_is_said_once(study: Study) -> None:
    _, tiny = study.models
    text, findings = printed(study.model_copy(update={"models": [tiny, tiny.model_copy(update={"name": "twin"})]}))
    assert [one.code for one in findings].count("shortened-records") == 2
    assert text.count("records lose text to max_length") == 1 and "tiny, twin: " in text


def test_a_model_is_named_once_in_what_is_said_of_it(study: Study) -> None:
    _, tiny = study.models
    unused = tiny.model_copy(update={"method": "prompt", "lora": Lora(rank=3)})
    text, findings = printed(study.model_copy(update={"models": [unused]}))
    assert [one.system for one in findings if one.code == "settings-unused"] == ["tiny"]
    assert "warn  tiny: lora" in text and "tiny: tiny" not in text


def test_a_base_that_reasons_is_told(study: Study) -> None:
    """Louder where its template cannot leave the reasoning out."""
    for name, level in (("qwen-3-4b", "info"), ("deepseek-r1-distill-qwen-1.5b", "warn"), ("llama-3.2-1b", None)):
        model = Causal(name="m", family="causal", base=str(small_base(name)), train=Train(max_length=300))
        _, findings = printed(study.model_copy(update={"models": [model]}), show_record=False)
        assert [one.level for one in findings if one.code == "reasoning-model"] == ([level] if level else [])


def test_examples_are_counted_and_said_to_be_of_training(study: Study) -> None:
    few = Causal(
        name="few", family="causal", base="clinfit/tiny", method="prompt", shots=3, train=Train(max_length=500)
    )
    text, findings = printed(study.model_copy(update={"models": [few]}), show_record=False)
    assert "nothing is trained; asked with 3 examples" in text
    told = re.search(
        r"3 examples of the training split \((\d) absent, (\d) present\), none of validation or test", text
    )
    assert told is not None and {told[1], told[2]} == {"1", "2"}
    assert not [one for one in findings if one.code == "model-cannot-run"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU may load 4-bit weights")
def test_4bit_without_a_gpu_is_told_and_estimated_as_it_would_be_loaded(study: Study) -> None:
    whole = study.models[1].model_copy(update={"train": Train(max_length=400, batch_tokens=400)})
    quantized = whole.model_copy(update={"quantization": "4bit"})
    memory = []
    for model, told in ((whole, []), (quantized, ["tiny"])):
        text, findings = printed(study.model_copy(update={"models": [model]}), show_record=False)
        assert [one.system for one in findings if one.code == "not-quantized"] == told
        memory += re.findall(r"[0-9.]+ GB", text)[:1]  # the next is what this machine has
    assert memory[0] == memory[1]


def test_the_record_is_left_out_on_request(study: Study) -> None:
    text, _ = printed(study, show_record=False)
    assert "dry cough" not in text
    assert "First training record" not in text


def test_a_base_that_is_not_there_is_a_finding_beside_the_others(study: Study) -> None:
    lost = Causal(name="lost", family="causal", base="./no-such-folder")
    text, findings = printed(study.model_copy(update={"models": [lost, *study.models]}), show_record=False)
    assert findings[0].level == "error"
    assert findings[0].system == "lost"
    assert "no-such-folder" in text
    assert "label present:" in text  # the other model is still shown


def test_a_base_of_the_hub_that_is_not_here_is_answered_in_sentences(study: Study) -> None:
    lost = Causal(name="lost", family="causal", base="nobody/nothing")
    _, findings = printed(study.model_copy(update={"models": [lost]}), show_record=False)
    (found,) = [one for one in findings if one.code == "model-cannot-run"]
    assert "in the local hub cache; run again with --online" in found.advice


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"train": Train(max_length=4000)}, "reads at most 2048"),
        ({"lora": Lora(targets=["q_prj"])}, "match no module"),
    ],
)
def test_what_a_run_refuses_is_told_before_it(
    study: Study, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    refused = study.model_copy(update={"models": [study.models[1].model_copy(update=settings)]})
    _, findings = printed(refused, show_record=False)
    (told,) = [one for one in findings if one.level == "error"]
    assert told.code == "model-cannot-run" and told.system == "tiny" and said in told.title
    with pytest.raises(ClinfitError) as caught:
        prepare(refused, tmp_path / "out", None, fresh=False)
    assert caught.value.found == told.title


def test_data_that_cannot_be_read_is_an_error(study: Study) -> None:
    (study.folder / "notes.csv").unlink()
    with pytest.raises(ClinfitError, match=r"notes\.csv does not exist"):
        printed(study)


class Letters:
    """A tokenizer of one character a token."""

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def test_the_answer_is_told_apart_with_and_without_colour() -> None:
    prompt, answer = [ord(char) for char in "cough [bold]?\x1b[2J\n"], [ord(char) for char in "yes"]
    ids, trained = prompt + answer, [False] * len(prompt) + [True] * len(answer)
    plain = masked(ids, trained, Letters(), colour=False)
    assert plain.plain.endswith("cough [bold]?·[2J\n⟦yes⟧")  # markup stays text; control characters cannot act
    coloured = masked(ids, trained, Letters(), colour=True)
    assert "⟦" not in coloured.plain
    answers = [span for span in coloured.spans if coloured.plain[span.start : span.end] == "yes"]
    assert [str(span.style) for span in answers] == ["bold green"]


def test_each_answer_behind_its_question_is_told_apart() -> None:
    ids = [ord(char) for char in "note heart?no lung?yes"]
    trained = [False] * 11 + [True] * 2 + [False] * 6 + [True] * 3
    assert masked(ids, trained, Letters(), colour=False).plain.endswith("note heart?⟦no⟧ lung?⟦yes⟧")


# ---------------------------------------------------------------- several tasks

SEVERAL = """\
name: several
x-note: &note {path: notes.csv, id: id, inputs: {note: note}}
tasks:
  cough: {labels: [absent, present], data: {<<: *note, label: label}}
  signs:
    kind: multilabel
    labels: [s1, s2, s3, s4, s5, s6, s7]
    data: {<<: *note, label: signs}
  exam:
    kind: multiple-choice
    options: [one, other]
    data: {path: exam.csv, inputs: {question: q, one: x, other: y}, label: right}
models:
  - {name: majority, family: baseline, kind: majority}
  - {name: forest, family: classical, kind: random-forest, trees: 10, tasks: [cough]}
  - {name: tiny, family: causal, base: clinfit/tiny, train: {max_length: 160, max_steps: 9}, tasks: TASKS}
stages:
  - train: {cough: 1, signs: 0.5, exam: 1}
  - {train: {cough: 1, exam: 0}, start: base}
"""


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"epochs": 1}, "1 epoch"),
        ({"epochs": 0.5}, "0.5 epochs"),
        ({"epochs": 3, "max_steps": 9}, "3 epochs or 9 steps"),
        ({"epochs": 9, "max_steps": 9}, "9 steps"),
        ({"epochs": 3, "max_steps": 1}, "1 step"),
    ],
)
def test_what_ends_training_is_told_without_what_cannot(settings: dict[str, Any], told: str) -> None:
    assert Train(**settings).duration == told


def several(folder: Path, tasks: str) -> Study:
    table = pd.DataFrame({"id": range(60), "note": [f"a note of day {row}" for row in range(60)]})
    table["label"] = ["absent", "present"] * 30
    table["signs"] = ["|".join(f"s{1 + (row + step) % 7}" for step in range(row % 3)) for row in range(60)]
    table.to_csv(folder / "notes.csv", index=False)
    exam = pd.DataFrame({"q": [f"which is {row}?" for row in range(60)], "x": range(60), "y": range(100, 160)})
    exam.assign(right="A").to_csv(folder / "exam.csv", index=False)
    (folder / "study.yaml").write_text(SEVERAL.replace("TASKS", tasks))
    return load_study(folder / "study.yaml")


def test_check_goes_through_every_task_and_stage(tmp_path: Path) -> None:
    text, findings = printed(several(tmp_path, "[cough, signs, exam]"))
    assert not [finding for finding in findings if finding.level == "error"]
    for heading in ("cough: classification, 60", "signs: multilabel, 60", "exam: multiple-choice, 60"):
        assert f"Task {heading} records from" in text
    assert text.count("records are shortened to 160 tokens") == 3
    assert text.count("First training record, as tiny reads it") == 3
    stages = text[text.index("Stages") : text.index("Task cough")]
    assert "cough x 1, signs x 0.5, exam x 1" in stages
    assert [row.split("│")[3].strip() for row in stages.splitlines() if row.startswith("│")] == ["base", "base"]
    assert "cough, signs, exam" in text[text.index("Models") : text.index("Stages")]
    assert "3 epochs or 9 steps" in text
    assert "(no label)" in text
    assert text.count("Estimates") == 1
    assert all(finding.title.split(":")[0] in ("cough", "signs", "exam") for finding in findings)


def test_a_model_that_cannot_be_prepared_is_told_once_for_all_its_tasks(tmp_path: Path) -> None:
    study = several(tmp_path, "[cough, signs, exam]")
    lost = Causal(name="lost", family="causal", base="./no-such-folder")
    text, findings = printed(study.model_copy(update={"models": [*study.models, lost]}), show_record=False)
    assert [finding.system for finding in findings if finding.level == "error"] == ["lost"]
    assert "First training record" not in text


def test_work_counts_every_stage_and_every_task_once_more(tmp_path: Path) -> None:
    study = several(tmp_path, "[cough, exam]")
    model = study.models[2]
    assert isinstance(model, Causal)
    lengths: dict[Split, list[int]] = {"train": [10, 20], "validation": [5], "test": [7]}
    readings = [Reading(task, lengths, {}, 20, {}, answer_tokens=2) for task in ("cough", "exam")]
    work = work_of(study, model, readings)
    assert work.train_lengths == [10, 20] * 3, "both tasks in the first stage, one in the second"
    assert work.scored_tokens == 3 * 5 * 3 + 2 * 12 * 3, "validation each epoch, then all before and after both stages"


def test_work_counts_what_is_written_and_what_an_epoch_shows(tmp_path: Path) -> None:
    study = several(tmp_path, "[cough, exam]")
    model = study.models[2]
    assert isinstance(model, Causal)
    lengths: dict[Split, list[int]] = {"train": [10, 20, 30], "validation": [5], "test": [7]}
    readings = [
        Reading("cough", lengths, {}, 20, {}),
        Reading("exam", lengths, {}, 20, {}, references={"validation": [2], "test": [4]}, most=32),
    ]
    work = work_of(study, model, readings)
    assert work.written_tokens == 64 + 2 * 6, "to the limit before training, then as long as the references"
    assert work.scored_tokens == 3 * 5 * 3 + (12 + 2 * 12) * 3, "texts are written, and the references read"
    mixed = [stage.model_copy(update={"mix": Mix(records={"exam": 4})}) for stage in study.stages]
    work = work_of(study.model_copy(update={"stages": mixed}), model, readings)
    assert work.train_lengths == [10, 20, 30, 10, 20, 30, 10, 10, 20, 30], "four of the three exam records, one again"


def test_the_steps_of_a_plan_take_what_the_model_takes(tmp_path: Path) -> None:
    """One formula: the seconds of all steps of a seed are those of `clinfit check`, and no step needs more memory."""
    study = several(tmp_path, "[cough, signs, exam]")
    begun = prepare(study, tmp_path / "run", None, fresh=True)
    found, unverified = step_estimates(begun.study, begun.data, begun.runs, begun.steps)
    (model,), _ = prepare_models(study, begun.data)
    assert {step.id for step in begun.steps if step.run == "tiny-seed42" and step.action in ("fit", "answer")} == {
        *found
    }
    assert sum(taken.seconds for taken in found.values()) == pytest.approx(model.estimate.seconds)
    most = max(found.values(), key=lambda taken: taken.memory)
    assert most.memory == pytest.approx(model.estimate.memory, rel=0.1) and not unverified
    fit, asked = found["tiny-seed42/stages/1/model"], found["tiny-seed42/predictions/cough-test-stage1.parquet"]
    assert fit.seconds > asked.seconds > 0 and fit.memory > asked.memory > PROGRAM_BYTES


def test_the_step_of_a_search_takes_all_its_trials(tmp_path: Path) -> None:
    model = {"name": "tiny", "family": "causal", "base": "clinfit/tiny", "train": {"max_steps": 4, "processes": 2}}
    search = {"trials": 5, "over": {"train.learning_rate": {"low": 1e-3, "high": 2e-3}}}
    write_small(tmp_path, models=[model, model | {"name": "found", "search": search}])
    begun = prepare(load_study(tmp_path / "study.yaml"), tmp_path / "run", None, fresh=True)
    found, _ = step_estimates(begun.study, begun.data, begun.runs, begun.steps)
    fit, searched = found["tiny-seed42/stages/1/model"], found["found-seed42/search"]
    assert searched.seconds == pytest.approx(5 * fit.seconds) and searched.memory == fit.memory
    asked = found["tiny-seed42/predictions/cancer-test-stage1.parquet"]
    assert fit.memory > 2 * PROGRAM_BYTES > asked.memory, "two processes train, one answers"


def test_work_counts_each_stage_by_its_own_settings_and_the_teacher(tmp_path: Path) -> None:
    study = several(tmp_path, "[cough, exam]")
    (model,) = [model for model in study.models if isinstance(model, Causal)]
    lengths: dict[Split, list[int]] = {"train": [10, 20], "validation": [5], "test": [7]}
    readings = [Reading(task, lengths, {}, 20, {}) for task in ("cough", "exam")]

    def work(second: dict[str, Any], **train: Any) -> Work:
        stages = [Stage(train={"exam": 1.0}), Stage.model_validate({"train": {"cough": 1.0}} | second)]
        spec = model.model_copy(update={"train": Train(epochs=3, batch_size=1, **train)})
        return work_of(study.model_copy(update={"stages": stages}), spec, readings)

    asked = 2 * 12 * 3  # validation and test of both tasks, before the first stage and after both
    plain = work({})
    assert (plain.trained_tokens, plain.scored_tokens) == (3 * 30 + 3 * 30, 3 * 5 + 3 * 5 + asked)
    brief = work({"settings": {"epochs": 1}})
    assert (brief.trained_tokens, brief.scored_tokens) == (3 * 30 + 30, 3 * 5 + 5 + asked)
    assert work({"settings": {"max_steps": 4}}).trained_tokens == 3 * 30 + 2 * 30, "two steps are an epoch"
    assert work({}, max_steps=2).trained_tokens == 30 + 30
    assert work({"settings": {"max_steps": 6}}, max_steps=2).trained_tokens == 30 + 3 * 30
    taught = work({"retain": {"kl": 1.0}})
    assert (taught.trained_tokens, taught.scored_tokens) == (180, plain.scored_tokens + 90), (
        "the teacher reads them too"
    )
    again = work({"retain": {"kl": 1.0, "rehearsal": 0.5}})
    assert again.train_lengths == [10, 20, 10, 20, 10] and again.trained_tokens == 90 + 3 * 40


def test_a_micro_batch_holds_the_records_of_one_step_at_most() -> None:
    size = model_size(causal(), LLAMA, labels=2)

    def activations(records: int, tokens: int) -> float:
        spec = causal(train={"batch_size": records, "batch_tokens": tokens})
        return estimate(spec, size, WORK, "fp32", rate=1e9).activations

    assert activations(8, 1000) == pytest.approx(2 * activations(4, 1000)) == activations(50, 80)


def test_an_estimate_takes_longer_with_what_training_reads() -> None:
    size = model_size(causal(), LLAMA, labels=2)
    one, two = (
        estimate(causal(), size, replace(WORK, trained_tokens=tokens), "fp32", rate=1e9).seconds
        for tokens in (1000, 2000)
    )
    assert two - one == pytest.approx(1000 * 2 * 2 * size.multiplied / (STEP_EFFICIENCY["fp32"] * 1e9))


# ---------------------------------------------------------------- estimate

LLAMA = LlamaConfig(
    vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, tie_word_embeddings=True,
)  # fmt: skip
GPT2 = GPT2Config(vocab_size=96, n_embd=32, n_layer=2, n_head=4, n_positions=64)
BERT = BertConfig(
    vocab_size=96, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
)  # fmt: skip
WORK = Work(train_lengths=[10] * 50, trained_tokens=1000, scored_tokens=300, answer_tokens=2)


def causal(**changes) -> Causal:
    return Causal(name="m", family="causal", base="x", **changes)


@pytest.mark.parametrize("config", [LLAMA, GPT2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("dora", [False, True])
def test_parameters_are_those_of_the_real_model_and_adapter(config: PretrainedConfig, dora: bool) -> None:
    size = model_size(causal(lora=Lora(rank=4, dora=dora)), config, labels=2)
    model = AutoModelForCausalLM.from_config(config)
    assert size.parameters == sum(parameter.numel() for parameter in model.parameters())
    adapter = LoraConfig(r=4, target_modules="all-linear", use_dora=dora, task_type="CAUSAL_LM")
    assert size.trained == get_peft_model(model, adapter).get_nb_trainable_parameters()[0]


def test_layers_that_all_linear_leaves_out_are_not_counted() -> None:
    """Routers of experts: see training/adaptable.py."""
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model("phimoe", vocab_size=96, num_local_experts=4, num_key_value_heads=2, **sizes)
    lora = Lora(rank=4)
    adapted = add_adapter(AutoModelForCausalLM.from_config(config), lora, 0, task_type="CAUSAL_LM", base_name="x")
    assert model_size(causal(lora=lora), config, labels=2).trained == parameter_counts(adapted)[1]


def test_named_targets_adapt_fewer_layers() -> None:
    size = model_size(causal(lora=Lora(rank=4, targets=["q_proj", "v_proj"])), LLAMA, labels=2)
    assert size.trained == 2 * 4 * ((32 + 32) + (32 + 16))


def test_an_encoder_trained_in_full_trains_everything() -> None:
    size = model_size(Encoder(name="e", family="encoder", base="x", method="full"), BERT, labels=3)
    assert size.trained == size.parameters


def test_an_encoder_keeps_its_weights_in_fp32() -> None:
    spec = Encoder(name="e", family="encoder", base="x")
    size = model_size(spec, BERT, labels=3)
    assert estimate(spec, size, WORK, "bf16", rate=1e9).weights == size.parameters * 4


def test_estimates_follow_their_formulas() -> None:
    size = model_size(causal(), LLAMA, labels=2)
    spec = causal(train=Train(epochs=2.0, batch_tokens=100))
    fp32 = estimate(spec, size, WORK, "fp32", rate=1e9)
    bf16 = estimate(spec, size, WORK, "bf16", rate=1e9)
    assert fp32.weights == size.parameters * 4 == 2 * bf16.weights
    assert fp32.activations == 2 * bf16.activations == KEPT_OUTPUTS * 4 * size.output_widths * 100
    assert fp32.logits == 10 * 2 * 96 * 12  # ten rows of ten tokens, two answer tokens each
    assert fp32.training == size.trained * 16
    writing = estimate(spec, size, replace(WORK, written_tokens=1000), "fp32", rate=1e9)
    decoded = 1000 * 2 * (size.multiplied + 32 * 96)
    assert writing.seconds - fp32.seconds == pytest.approx(decoded / (1e9 * WRITING_EFFICIENCY["fp32"]))
    assert fp32.loading == fp32.writing == 0 and bf16.loading == size.parameters * 4, "the file holds fp32"
    rows = replace(WORK, written_rows=[30, 20, 10])
    kept = 3 * 30 * size.kept * 4
    assert size.kept == 2 * 2 * (2 * 8), "layers, keys and values, heads and their size"
    for precision in ("fp32", "bf16"):  # on a processor texts are written in fp32
        assert estimate(spec, size, rows, precision, rate=1e9).writing == size.parameters * 4 + kept
    on_gpu = estimate(spec, size, rows, "bf16", rate=1e9, device=torch.device("cuda"))
    assert on_gpu.writing == size.parameters * 2 + kept / 2
    taught = bf16.weights + bf16.training + bf16.activations + bf16.logits
    assert bf16.memory - PROGRAM_BYTES == max(taught, bf16.weights + bf16.loading)
    twice = estimate(spec, size, WORK, "fp32", rate=2e9)
    assert fp32.seconds == pytest.approx(2 * twice.seconds)
    saving = spec.model_copy(update={"train": Train(epochs=2.0, batch_tokens=100, gradient_checkpointing=True)})
    assert estimate(saving, size, WORK, "fp32", rate=1e9).activations < fp32.activations


def test_attention_that_is_dropped_out_is_kept_on_a_processor() -> None:
    spec = Encoder(name="e", family="encoder", base="x", train=Train(batch_tokens=100))
    size = model_size(spec, BERT, labels=3)
    still = model_size(spec, BertConfig(**{**BERT.to_dict(), "attention_probs_dropout_prob": 0.0}), labels=3)
    assert size.dropped == BERT.num_hidden_layers * BERT.num_attention_heads and still.dropped == 0
    here, there = (estimate(spec, size, WORK, "fp32", 1e9, torch.device(name)) for name in ("cpu", "cuda"))
    pairs = 100 * max(WORK.train_lengths)
    assert here.activations - there.activations == pytest.approx(12 * size.dropped * pairs)
    assert there.activations == estimate(spec, still, WORK, "fp32", 1e9).activations == 8.4 * size.output_widths * 100


def test_a_model_that_does_not_fit_and_an_estimate_that_nobody_measured_are_told(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, findings = printed(study)
    assert "not verified" not in text and not {"too-large"} & {finding.code for finding in findings}
    assert "this machine has" in text or "this container has" in text
    monkeypatch.setattr("clinfit.runs.checking.models.room", lambda device: (5e8, "this container"))
    other = study.models[1].model_copy(update={"base": str(TINY)})
    text, findings = printed(study.model_copy(update={"models": [other]}))
    (found,) = [finding for finding in findings if finding.code == "too-large"]
    assert found.title.startswith("tiny is estimated to need 0.") and found.title.endswith("this container has 0.5 GB")
    assert found.level == "warn" and "weights 0.0 GB" in found.evidence and "not verified" in found.evidence
    assert "(estimated, not verified)" in " ".join(text.split())


@pytest.mark.parametrize(("device", "told"), [("cpu", True), ("cuda", False)])
def test_processes_that_share_a_memory_need_it_together(
    device: str, told: bool, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor each holds a copy of the model; GPUs have a memory each."""
    data = {name: load_task(name, task, study.folder) for name, task in study.tasks.items()}
    (alone,), _ = prepare_models(study, data)
    need = alone.estimate.memory
    monkeypatch.setattr("clinfit.runs.checking.models.room", lambda device: (1.5 * need, "this machine"))
    shared = alone.spec.model_copy(update={"train": alone.spec.train.model_copy(update={"processes": 2})})
    assert not _too_large(alone)
    monkeypatch.setattr("clinfit.runs.checking.models.default_device", lambda: torch.device(device))
    found = _too_large(replace(alone, spec=shared))
    assert [one.code for one in found] == ["too-large"] * told
    if told:
        assert f"need {2 * need / 1e9:.1f} GB in 2 processes, and this machine has" in found[0].title
        assert "in each of them" in found[0].evidence and found[0].advice.startswith("lower train.processes, ")


def test_one_process_alone_writes() -> None:
    spec = causal()
    writing = replace(WORK, written_tokens=1000, written_rows=[3000] * 8)
    found = estimate(spec, model_size(spec, LLAMA, labels=2), writing, "fp32", rate=1e9)
    assert found.memory == PROGRAM_BYTES + found.writing == found.memory_of(1)
    assert found.memory < found.memory_of(2) < 2 * found.memory


def test_the_limit_of_a_container_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr("clinfit.machine.CONTAINER", tmp_path)
    device = torch.device("cpu")
    for told, where in ((None, "this machine"), ("max", "this machine"), ("250000000", "this container")):
        if told is not None:
            limit.write_text(f"{told}\n")
        there, what = room(device)
        assert what == where and (there == 250e6) == (where == "this container")


def test_a_long_run_is_told_with_a_way_to_a_short_one() -> None:
    assert _in_all(400.0) == "In all about 7 min for the neural models with every seed."
    assert _in_all(5340.0).startswith("In all about 89 min") and "--quick" in _in_all(5340.0)


def test_what_other_programs_do_meanwhile_does_not_change_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor's own time counts: a wall clock that runs away is not looked at."""
    monkeypatch.setattr(
        "clinfit.models.estimates.estimate.time.perf_counter", lambda: pytest.fail("the wall clock was read")
    )
    assert gemm_rate(64, 64, "fp32", torch.device("cpu"), seconds=0.01) > 0


def test_the_measured_rate_is_a_rate() -> None:
    assert 1e6 < gemm_rate(64, 64, "fp32", torch.device("cpu"), seconds=0.01) < 1e16


def test_settings_that_change_nothing_are_told(study: Study) -> None:
    """As a block may have that takes what all have by a merge key."""
    shared = {"lora": Lora(rank=4), "train": Train(epochs=1, max_length=64)}
    asked = causal(method="prompt", **shared).model_copy(update={"name": "asked", "base": "clinfit/tiny"})
    _, findings = printed(study.model_copy(update={"models": [asked]}))
    (found,) = [finding for finding in findings if finding.code == "settings-unused"]
    assert found.title == "asked: lora, train.epochs change nothing" and "trains nothing" in found.evidence
    trained = causal(**shared).model_copy(update={"name": "trained", "base": "clinfit/tiny"})
    _, findings = printed(study.model_copy(update={"models": [trained]}))
    assert "settings-unused" not in {finding.code for finding in findings}
