"""The plan of a study: what is to be done, in which order, and what decides it."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from clinfit.data.load import TaskData, load_task
from clinfit.runs.steps.plan import CLASSICAL, Step, plan, runs_of
from clinfit.study.load import load_study
from clinfit.study.schema import Stage, Study
from clinfit.study.taught import stages_of

StudyMaker = Callable[..., Path]

MAJORITY = {"name": "majority", "family": "baseline", "kind": "majority"}
TINY = {"name": "tiny", "family": "causal", "base": "clinfit/tiny"}
BERT = {"name": "bert", "family": "encoder", "base": "clinfit/minilm", "train": {"precision": "fp32"}}


def identity(name: str, revision: str | None) -> Mapping[str, Any]:
    return {"name": name, "revision": revision, "sha256": "0"}


@pytest.fixture
def small(make_study: StudyMaker) -> Study:
    return load_study(make_study(models=[MAJORITY, TINY, BERT], seeds=[1, 2]))


def records(study: Study) -> dict[str, TaskData]:
    return {name: load_task(name, task, study.folder) for name, task in study.tasks.items()}


def planned(study: Study, **changes: Any) -> dict[str, Step]:
    """The steps by id. changes: of `plan`'s arguments."""
    arguments = {"data": records(study), "identity": identity} | changes
    return {step.id: step for step in plan(study, **arguments)}


def with_model(study: Study, name: str, **changes: Any) -> Study:
    """The study with one model changed."""
    models = [spec.model_dump() | (changes if spec.name == name else {}) for spec in study.models]
    return Study.model_validate(study.model_dump() | {"models": models}).model_copy(update={"folder": study.folder})


def changed(before: Mapping[str, Step], after: Mapping[str, Step]) -> set[str]:
    """Ids of the steps whose inputs differ."""
    assert before.keys() == after.keys()
    return {name for name in before if before[name].inputs != after[name].inputs}


# ---------------------------------------------------------------- what is in it


def test_every_run_is_fitted_and_answers_after_every_stage(small: Study) -> None:
    steps = list(planned(small))
    tables = ["predictions/cancer-validation-stage{}.parquet", "predictions/cancer-test-stage{}.parquet"]
    trained = ["stages/1/model", *(table.format(1) for table in tables)]
    before = [table.format(0) for table in tables]
    runs = {"majority-seed1": trained, "tiny-seed1": before + trained, "tiny-seed2": before + trained}
    runs |= {"bert-seed1": trained, "bert-seed2": trained}
    assert steps == [f"{run}/{writes}" for run, all_ in runs.items() for writes in all_]


def test_workers_share_a_base_in_one_precision(small: Study) -> None:
    workers = {step.run: step.worker for step in planned(small).values()}
    assert workers["majority-seed1"] == CLASSICAL
    assert workers["tiny-seed1"] == workers["tiny-seed2"] == "clinfit/tiny auto"
    assert workers["bert-seed1"] == "clinfit/minilm fp32"


def test_steps_stand_behind_those_that_they_need(small: Study) -> None:
    two = small.model_copy(update={"stages": [Stage(train={"cancer": 1})] * 2})
    seen: set[str] = set()
    for step in planned(two).values():
        assert set(step.needs) <= seen
        assert bool(step.needs) == (step.stage > 1 or (step.action == "answer" and step.stage == 1))
        seen.add(step.id)


def test_a_stage_from_the_base_needs_no_earlier_one(small: Study) -> None:
    stages = [Stage(train={"cancer": 1}), Stage(train={"cancer": 2}, start="base")]
    assert planned(small.model_copy(update={"stages": stages}))["tiny-seed1/stages/2/model"].needs == ()


def test_planning_is_pure(small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    data = records(small)
    here = sorted(Path().rglob("*"))
    first = plan(small, data, identity)

    def touched(*words: object, **more: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("builtins.open", touched)
    monkeypatch.setattr(Path, "open", touched)
    assert plan(small, data, identity) == first
    assert sorted(Path().rglob("*")) == here


def test_no_questions_are_asked_of_a_split_without_records(small: Study) -> None:
    data = records(small)
    kept = [record for record in data["cancer"].records if record.split != "validation"]
    bare = {"cancer": TaskData(small.tasks["cancer"], kept, "x", "", data["cancer"].notes)}
    assert not [step for step in planned(small, data=bare) if "validation" in step]


def test_one_model_alone_has_the_same_steps(small: Study) -> None:
    (tiny,) = (spec for spec in small.models if spec.name == "tiny")
    alone = planned(small, models=[tiny])
    assert alone == {name: step for name, step in planned(small).items() if step.run.startswith("tiny-")}
    assert [run.name for run in runs_of(small, [tiny])] == ["tiny-seed1", "tiny-seed2"]


# ---------------------------------------------------------------- what decides a step


def test_more_answers_train_nothing_again(small: Study) -> None:
    found = changed(planned(small), planned(with_model(small, "tiny", generate=5)))
    assert found and all("/predictions/" in step and step.startswith("tiny-") for step in found)


def test_a_second_stage_changes_only_what_follows(small: Study) -> None:
    def with_second(weight: float) -> dict[str, Step]:
        stages = [Stage(train={"cancer": 1}), Stage(train={"cancer": weight}), Stage(train={"cancer": 1})]
        return planned(small.model_copy(update={"stages": stages}))

    found = changed(with_second(1), with_second(2))
    assert found == {step.id for step in with_second(1).values() if step.stage >= 2}


def test_one_stage_is_the_first_of_two(small: Study) -> None:
    stages = [Stage(train={"cancer": 1}), Stage(train={"cancer": 1})]
    two = planned(small.model_copy(update={"stages": stages}))
    assert {name: step.inputs for name, step in planned(small).items()}.items() <= {
        name: step.inputs for name, step in two.items()
    }.items()


def test_before_training_only_the_base_and_the_question_count(small: Study) -> None:
    other = with_model(small, "tiny", lora={"rank": 3}, class_weights="balanced")
    steps, found = planned(other), changed(planned(small), planned(other))
    assert found == {name for name, step in steps.items() if step.run.startswith("tiny-") and step.stage > 0}
    first, second = (steps[f"tiny-seed{seed}/predictions/cancer-test-stage0.parquet"] for seed in (1, 2))
    assert first.inputs == second.inputs and not first.needs


@pytest.mark.parametrize("changes", [{"train": {"max_length": 64}}, {"base": "clinfit/other"}])
def test_what_the_base_reads_changes_all_of_its_steps(small: Study, changes: dict[str, Any]) -> None:
    found = changed(planned(small), planned(with_model(small, "tiny", **changes)))
    assert found == {name for name in planned(small) if name.startswith("tiny-")}


def test_other_weights_of_a_base_are_another_base(small: Study) -> None:
    found = changed(planned(small), planned(small, identity=lambda name, revision: {"sha256": name}))
    assert found == {name for name in planned(small) if not name.startswith("majority-")}


def test_settings_of_the_evaluation_train_nothing_again(small: Study) -> None:
    content = small.model_dump()
    content["evaluation"] |= {"primary": "accuracy", "bootstrap": 500}
    content["tasks"]["cancer"]["evaluation"] = {"primary": "accuracy"}
    other = Study.model_validate(content).model_copy(update={"folder": small.folder})
    assert changed(planned(small), planned(other)) == set()


def test_the_primary_metric_counts_where_it_picks_the_checkpoint(small: Study) -> None:
    picking = with_model(small, "tiny", train={"select_by": "primary"})
    content = picking.model_dump()
    content["tasks"]["cancer"]["evaluation"] = {"primary": "accuracy"}
    other = Study.model_validate(content).model_copy(update={"folder": small.folder})
    found = changed(planned(picking), planned(other))
    assert found == {step.id for step in planned(other).values() if step.run.startswith("tiny-") and step.stage == 1}


def test_the_order_of_inputs_counts_and_that_of_keys_does_not(small: Study) -> None:
    content = small.model_dump()
    data = content["tasks"]["cancer"]["data"]
    data["inputs"] = dict(reversed(data["inputs"].items()))
    other = Study.model_validate(content).model_copy(update={"folder": small.folder})
    assert changed(planned(small), planned(other, data=records(small))) == set(planned(small))


def test_a_changed_record_changes_every_step(small: Study) -> None:
    data = {
        name: TaskData(known.task, known.records, "other", "", known.notes) for name, known in records(small).items()
    }
    assert changed(planned(small), planned(small, data=data)) == set(planned(small))


# ---------------------------------------------------------------- tasks of a model


def two_tasks(small: Study) -> Study:
    content = small.model_dump()
    content["tasks"]["other"] = content["tasks"]["cancer"]
    content["models"] = [{**TINY, "compare_base": True}, {**MAJORITY, "tasks": ["other"]}]
    content["stages"] = [{"train": {"cancer": 1, "other": 0.5}}, {"train": {"other": 1, "cancer": 0}}]
    return Study.model_validate(content).model_copy(update={"folder": small.folder})


def test_every_task_of_a_model_is_answered_after_every_stage(small: Study) -> None:
    study = two_tasks(small)
    answers = {(s.run, s.task, s.split, s.stage) for s in planned(study).values() if s.action == "answer"}
    splits = ("validation", "test")
    tiny = {(f"tiny-seed{k}", t, s, n) for k in (1, 2) for t in ("cancer", "other") for s in splits for n in (0, 1, 2)}
    assert answers == tiny | {("majority-seed1", "other", split, 1) for split in splits}


def test_weights_are_those_of_the_models_tasks_without_zeros(small: Study) -> None:
    study = two_tasks(small)
    tiny, majority = study.models
    assert [stage.weights for stage in stages_of(study, tiny)] == [{"cancer": 1.0, "other": 0.5}, {"other": 1.0}]
    assert [stage.weights for stage in stages_of(study, majority)] == [{"other": 1.0}], "rules know no stages"


def test_a_classifier_is_not_asked_what_it_has_not_learned_yet(small: Study) -> None:
    content = two_tasks(small).model_dump()
    content["models"] = [{"name": "lasso", "family": "classical", "kind": "lasso"}]
    for start, tasks in (("previous", {"cancer", "other"}), ("base", {"other"})):
        content["stages"] = [{"train": {"cancer": 1}}, {"train": {"other": 1}, "start": start}]
        study = Study.model_validate(content).model_copy(update={"folder": small.folder})
        steps = planned(study).values()
        assert {step.task for step in steps if step.stage == 1} == {None, "cancer"}
        assert {step.task for step in steps if step.stage == 2} == {None, *tasks}


def test_a_task_that_is_not_the_models_does_not_count(small: Study) -> None:
    study = two_tasks(small)
    content = study.model_dump()
    content["tasks"]["cancer"]["prompt"] = "{{ record }} Say so."
    other = Study.model_validate(content).model_copy(update={"folder": small.folder})
    found = changed(planned(study), planned(other))
    assert not [step for step in found if step.startswith("majority")]
    assert not [step for step in found if "other-test-stage0" in step] and "tiny-seed1/stages/1/model" in found


def test_a_record_of_a_task_counts_where_it_is_trained_or_asked(small: Study) -> None:
    study = two_tasks(small)
    content = study.model_dump()
    content["stages"] = content["stages"][1:]  # trains `other` alone
    study = Study.model_validate(content).model_copy(update={"folder": small.folder})
    data = records(study)
    cancer = data["cancer"]
    moved = data | {"cancer": TaskData(cancer.task, cancer.records, "moved", "", cancer.notes)}
    found = changed(planned(study), planned(study, data=moved))
    assert found and all("/predictions/cancer-" in step for step in found)


def test_ids_are_names_of_files_and_unique(small: Study) -> None:
    steps = plan(two_tasks(small), records(two_tasks(small)), identity)
    random.Random(0).shuffle(steps)
    assert len({step.id for step in steps}) == len(steps)
    assert all(step.id == f"{step.run}/{step.writes}" for step in steps)


def test_a_model_may_have_seeds_of_its_own(small: Study) -> None:
    content = small.model_dump()
    content["models"] = [TINY, {**TINY, "name": "once", "seeds": [7]}, MAJORITY]
    study = Study.model_validate(content)
    assert [run.name for run in runs_of(study)] == ["tiny-seed1", "tiny-seed2", "once-seed7", "majority-seed1"]
