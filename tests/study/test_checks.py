"""What tasks, models, stages and settings must agree on, with several tasks of several kinds."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinfit.errors import ClinfitError
from clinfit.study.load import load_study, study_yaml
from clinfit.study.schema import Study

TASKS: dict[str, dict[str, Any]] = {
    "cancer": {
        "labels": ["No", "Yes"],
        "data": {"path": "a.csv", "inputs": {"text": "text"}, "label": "cancer"},
    },
    "topics": {
        "kind": "multilabel",
        "labels": ["heart", "lung", "brain"],
        "data": {"path": "a.csv", "inputs": {"text": "text"}, "label": {"column": "topics", "separator": ";"}},
    },
    "exam": {
        "kind": "multiple-choice",
        "options": ["a", "b"],
        "data": {"path": "q.csv", "inputs": {"question": "question", "a": "a", "b": "b"}, "label": "answer"},
    },
}
#: A task of texts, which `TASKS` do not hold.
NOTE: dict[str, Any] = {
    "kind": "generation",
    "data": {"path": "n.csv", "inputs": {"text": "text"}, "label": "summary"},
}
MAJORITY = {"name": "majority", "family": "baseline", "kind": "majority"}
KEYWORD = {"name": "keyword", "family": "baseline", "kind": "keyword", "patterns": ["cancer"]}
TFIDF = {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic"}
ENCODER = {"name": "bert", "family": "encoder", "base": "clinfit/minilm"}
TINY = {"name": "tiny", "family": "causal", "base": "clinfit/tiny"}
MODELS = [MAJORITY, KEYWORD, TFIDF, ENCODER, TINY]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a study of three tasks of three kinds and five models; `changes` replace its top-level parts."""

    def _write(**changes: Any) -> Path:
        path = tmp_path / "study.yaml"
        content = {"name": "three", "tasks": TASKS, "models": MODELS} | changes
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    return _write


def errors_of(path: Path) -> str:
    with pytest.raises(ClinfitError) as caught:
        load_study(path)
    return str(caught.value)


def only(*names: str) -> dict[str, Any]:
    return {name: TASKS[name] for name in names}


def changed(task: str, **changes: Any) -> dict[str, Any]:
    return TASKS | {task: TASKS[task] | changes}


def answered(study: Study) -> dict[str, list[str]]:
    return {model.name: list(study.tasks_of(model)) for model in study.models}


# ---------------------------------------------------------------- models and their tasks


def test_a_model_answers_every_task_that_it_can_unless_it_names_some(write: Write, tmp_path: Path) -> None:
    study = load_study(write(models=[*MODELS, TINY | {"name": "examinee", "tasks": ["exam"]}]))
    assert answered(study) == {
        "majority": ["cancer", "topics", "exam"],
        "keyword": ["cancer"],
        "tfidf": ["cancer", "topics"],
        "bert": ["cancer", "topics"],
        "tiny": ["cancer", "topics", "exam"],
        "examinee": ["exam"],
    }
    (tmp_path / "resolved.yaml").write_text(study_yaml(study), encoding="utf-8")
    assert load_study(tmp_path / "resolved.yaml") == study


def test_a_rule_for_two_labels_leaves_tasks_with_more_to_others(write: Write) -> None:
    tasks = TASKS | {"grade": TASKS["cancer"] | {"labels": ["I", "II", "III"]}}
    assert answered(load_study(write(tasks=tasks)))["keyword"] == ["cancer"]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([TINY, TFIDF | {"tasks": ["cancr"]}], "models[1].tasks[0]: cancr is not a task; did you mean cancer?"),
        ([TINY, TFIDF | {"tasks": ["cancer", "cancer"]}], "models[1].tasks[1]: cancer stands there twice"),
        (
            [TINY, TFIDF | {"tasks": ["exam"]}],
            "models[1].tasks[0]: exam: it answers classification and multilabel, and this task is multiple-choice",
        ),
        ([TINY, KEYWORD | {"tasks": ["topics"]}], "topics: it answers classification, and this task is multilabel"),
        ([TINY, TFIDF | {"tasks": []}], "models[1].tasks needs at least 1 entry"),
        ([TFIDF], "tasks.exam: no model answers it; add a model that answers multiple-choice, or name exam in the"),
        ([TINY | {"tasks": ["topics"]}, KEYWORD], "tasks.exam: no model answers it"),
    ],
)
def test_models_name_tasks_that_they_can_answer(write: Write, models: list[Any], message: str) -> None:
    assert message in errors_of(write(models=models))


def test_a_model_without_any_task_says_why_for_each(write: Write) -> None:
    message = errors_of(write(tasks=only("topics", "exam"), models=[TINY, KEYWORD]))
    assert "models[1] (keyword) can answer no task: topics: it answers classification, and this task is mult" in message
    assert "exam: it answers classification, and this task is multiple-choice" in message


def test_an_ill_formed_task_is_not_also_unknown_and_makes_no_model_idle(write: Write) -> None:
    message = errors_of(write(tasks=changed("exam", options=["a"]), models=[TINY | {"tasks": ["exam"]}, TFIDF]))
    assert "has 1 error" in message
    message = errors_of(write(models=[TINY | {"bse": "x"}, TFIDF]))
    assert "has 1 error" in message


def test_patterns_are_for_one_question(write: Write) -> None:
    tasks = TASKS | {"benign": TASKS["cancer"]}
    message = errors_of(write(tasks=tasks))
    assert "patterns answer one question, and cancer, benign have two labels each" in message
    models = [MAJORITY, KEYWORD | {"tasks": ["cancer", "benign"]}, TINY]
    assert load_study(write(tasks=tasks, models=models)).models[1].tasks == ["cancer", "benign"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"class_weights": {"heart": 2.0}},
            "class_weights.heart: heart is not a label of cancer or exam; labels: No, Y",
        ),
        ({"class_weights": {"Yess": 2.0}}, "did you mean Yes?"),
        (
            {"class_weights": "balanced", "tasks": ["topics"]},
            "class_weights acts on tasks with one label a record, and",
        ),
        ({"sampling": "oversample", "tasks": ["topics"]}, "models[0].sampling acts on tasks with one label a record"),
        ({"sampling": "oversample", "tasks": ["note"]}, "models[0].sampling acts on tasks with one label a record"),
        (
            {"class_weights": "balanced", "tasks": ["note", "topics"]},
            "class_weights acts on tasks with one label a rec",
        ),
        ({"class_weights": {"fall": 2.0}, "tasks": ["note"]}, "class_weights acts on tasks with one label a record"),
        (
            {"class_weights": {"fall": 2.0}, "tasks": ["note", "cancer"]},
            "class_weights.fall: fall is not a label of cancer; labels: No, Yes",
        ),
    ],
)
def test_weights_of_labels_are_for_tasks_with_one_label_a_record(write: Write, setting: Any, message: str) -> None:
    tasks = TASKS | {"note": NOTE} if "note" in setting.get("tasks", []) else TASKS
    assert message in errors_of(write(tasks=tasks, models=[TINY | setting, TINY | {"name": "other"}]))
    assert load_study(write(tasks=TASKS | {"note": NOTE}, models=[TINY | {"class_weights": {"Yes": 2.0, "A": 3.0}}]))


# ---------------------------------------------------------------- stages


def test_stages_may_teach_one_task_after_the_other(write: Write) -> None:
    stages = [{"train": {"cancer": 1, "topics": 0.5}}, {"train": {"exam": 1, "cancer": 2}, "start": "previous"}]
    study = load_study(write(stages=stages))
    assert [stage.train for stage in study.stages_of(study.models[0])] == [
        {"cancer": 1.0, "topics": 0.5},
        {"exam": 1.0, "cancer": 2.0},
    ]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"train": {"cancr": 1}}], "stages[0].train.cancr: cancr is not a task; did you mean cancer?"),
        ([{"train": {"cancer": 0}}], "stages[0]: every weight in `train` is 0"),
        ([{"train": {"cancer": -1}}], "stages[0].train.cancer must be at least 0"),
        ([{"train": {}}], "stages[0]: a stage needs `train` or `merge`"),
        ([{"train": {"cancer": 1}, "start": "bse"}], "stages[0].start is 'bse', and must be one of previous, base"),
        (
            [{"train": {"exam": 1}}, {"train": {"exam": 1, "cancer": 0}}],
            "stages: tfidf learns nothing, since none gives any of its tasks (cancer, topics) a weight above 0",
        ),
        ([{"train": {"cancer": 1}}], "stages: none trains topics, and tfidf cannot answer what it has not learned"),
    ],
)
def test_stages_teach_every_trained_model_something(write: Write, stages: list[Any], message: str) -> None:
    assert message in errors_of(write(stages=stages))


FIRST, SECOND, THIRD = {"train": {"cancer": 1}}, {"train": {"exam": 1}}, {"train": {"topics": 1}}
NEW = {"adapter": "new"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": 2}, "stages[1].start: stage 2 does not come before stage 2"),
        ({"start": "base", "adapter": "stack"}, "stages[1]: `adapter: stack` needs an earlier stage to stand on"),
        ({"start": "base", "retain": {"l2": 1.0}}, "stages[1]: `retain` needs an earlier stage"),
        ({"adapter": "new", "retain": {"l2": 1.0}}, "stages[1]: `retain: l2` and `kl` are for `adapter: continue`"),
        ({"adapter": "new", "retain": {"rehearsal": 0.1}}, "stages[1]: `adapter: new` leaves earlier tasks"),
        ({"retain": {"rehearsal": 1.5}}, "stages[1].retain.rehearsal must be at most 1"),
        ({"retain": {"rehersal": 0.1}}, "rehersal is not a key of stages[1].retain; did you mean rehearsal?"),
        ({"merge": {"stages": [1, 2]}}, "stages[1]: a stage that merges does not train, so `train` means nothing"),
        (
            {"start": "base", "adapter": "new"},
            "stages[1]: `adapter: new` leaves earlier tasks to their own adapters, and",
        ),
        ({"retain": {}}, "stages[1]: `retain` names nothing that retains; give it `rehearsal`, `l2` or `kl`"),
        ({"retain": {"kl_to": "previous"}}, "stages[1]: `retain` names nothing that retains"),
        ({"retain": {"kl_to": "base"}}, "stages[1].retain: `kl_to` says nothing without a strength; add `kl`"),
        ({"retain": {"l2_on": "factors", "kl": 1.0}}, "stages[1].retain: `l2_on` says nothing without a strength"),
        (
            {"train": {"exam": 1, "cancer": 2}, "retain": {"rehearsal": 0.5}},
            "stages[1].retain.rehearsal: the stage trains every earlier task itself, so there is nothing to rehearse",
        ),
        ({"mix": {}}, "stages[1].mix: give `temperature` or `records`, one of them"),
        ({"mix": {"records": {}}}, "stages[1].mix.records needs at least 1 entry"),
        (
            {"mix": {"temperature": 2.0}},
            "stages[1]: `mix: temperature` divides an epoch among tasks, and the stage has",
        ),
        ({"mix": {"records": {"cancer": 5}}}, "stages[1].mix.records.cancer: the stage does not train cancer"),
        ({"settings": {"epoch": 3}}, "epoch is not a key of stages[1].settings; did you mean epochs?"),
    ],
)
def test_ways_of_teaching_that_mean_nothing_are_refused(write: Write, changes: dict[str, Any], message: str) -> None:
    causal = TINY | {"stages": [FIRST, SECOND]}
    assert message in errors_of(write(models=[MAJORITY, causal], stages=[FIRST, SECOND | changes]))
    own = errors_of(write(models=[MAJORITY, causal | {"stages": [FIRST, SECOND | changes]}]))
    assert message.replace("stages[1]", "models[1].stages[1]") in own


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([FIRST | {"retain": {"l2": 1.0}}], "stages[0].retain: there is no stage before the first"),
        ([FIRST | {"adapter": "new"}], "stages[0].adapter: there is no stage before the first"),
        ([FIRST, {"merge": {"stages": [1, 2]}}], "stages[1].merge.stages[1]: stage 2 does not come before stage 2"),
        ([FIRST, {"merge": {"stages": [1, 1]}}], "stages[1].merge: a stage stands there twice"),
        ([FIRST, {"merge": {"stages": [1]}}], "stages[1].merge.stages needs at least 2 entries"),
        (
            [FIRST, SECOND, {"merge": {"stages": [1, 2], "density": 0.3}}],
            "stages[2].merge: `density` is for the methods ties and dare",
        ),
        (
            [FIRST, SECOND | NEW, THIRD | NEW, {"merge": {"stages": [2, 3]}}],
            "stages[3].merge.stages: none of these adapters has learned cancer, which `adapter: new` left to another; "
            "name the stage that taught it too",
        ),
        (
            [FIRST, SECOND | NEW, THIRD, {"train": {"topics": 1}} | NEW, {"merge": {"stages": [3, 4]}}],
            "stages[4].merge.stages: none of these adapters has learned cancer",
        ),
    ],
)
def test_a_stage_goes_on_from_stages_before_it(write: Write, stages: list[Any], message: str) -> None:
    assert message in errors_of(write(models=[MAJORITY, TINY], stages=stages))


@pytest.mark.parametrize(
    "stages",
    [
        [FIRST, SECOND | NEW, {"merge": {"stages": [1, 2]}}],
        [FIRST, SECOND | NEW, THIRD | NEW, {"merge": {"stages": [1, 2, 3]}}],
        [FIRST, SECOND, THIRD | NEW, {"merge": {"stages": [2, 3]}}],
        [FIRST, SECOND | {"start": "base"}, {"merge": {"stages": [1, 2]}}],
    ],
)
def test_adapters_that_hold_every_task_between_them_are_merged(write: Write, stages: list[Any]) -> None:
    assert load_study(write(models=[MAJORITY | {"tasks": ["cancer"]}, TINY], stages=stages))


def test_a_model_says_which_stages_it_cannot_go_through(write: Write) -> None:
    dora = TINY | {"name": "dora", "lora": {"dora": True}}
    stacked = [FIRST, SECOND | {"adapter": "stack"}]
    said = errors_of(write(models=[MAJORITY, dora], stages=stacked))
    assert "stages[1]: adapter: stack is for causal models with LoRA, whose adapters add up; the model is dora" in said
    focal = TINY | {"focal_gamma": 2.0, "stages": [FIRST, SECOND | {"retain": {"kl": 1.0}}]}
    assert "`kl` and `focal_gamma` do not go together" in errors_of(write(models=[MAJORITY, focal]))
    assert load_study(write(models=[MAJORITY | {"tasks": ["cancer"]}, TINY], stages=stacked))


def test_what_retains_or_mixes_something_is_no_error(write: Write) -> None:
    """Zeros, the remedies of several stages, and rehearsal of a task that only some of the stages before taught."""
    third = {"train": {"exam": 1}, "retain": {"rehearsal": 0.5}, "mix": {"temperature": 2.0}}
    stages = [FIRST, SECOND | {"retain": {"rehearsal": 0}}, third, FIRST | {"start": 2, "retain": {"rehearsal": 0.1}}]
    study = load_study(write(models=[MAJORITY, TINY], tasks=only("cancer", "exam"), stages=stages))
    path = write()
    path.write_text(study_yaml(study), encoding="utf-8")
    assert load_study(path) == study
    again = [FIRST, SECOND | {"start": "base"}, SECOND | {"retain": {"rehearsal": 0.5}}]
    message = errors_of(write(models=[MAJORITY, TINY], tasks=only("cancer", "exam"), stages=again))
    assert "stages[2].retain.rehearsal" in message, "the stage that it goes on from began with the base"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"retain": {"l2": 1.0}}, "retain"),
        ({"mix": {"records": {"topics": 5}}}, "mix"),
        ({"settings": {"epochs": 1}}, "settings"),
    ],
)
def test_own_stages_of_a_classical_model_hold_nothing_of_neural_ones(
    write: Write, changes: dict[str, Any], name: str
) -> None:
    stages = [FIRST, {"train": {"topics": 1}} | changes]
    message = errors_of(write(models=[TINY, TFIDF | {"stages": stages}]))
    assert (
        f"models[1].stages[1].{name} is for the training of neural models, and tfidf is classical; leave it out"
        in message
    )
    shared = [{"train": {"cancer": 1, "exam": 1}}, {"train": {"topics": 1}} | changes]
    assert load_study(write(models=[TINY, TFIDF], stages=shared)), "what a study says to all, neural ones hear"


@pytest.mark.parametrize(
    ("changes", "name"), [({"mix": {"records": {"topics": 5}}}, "mix"), ({"settings": {"epochs": 1}}, "settings")]
)
def test_own_stages_of_a_model_that_is_only_asked_hold_nothing_of_training(
    write: Write, changes: dict[str, Any], name: str
) -> None:
    stages = [FIRST, {"train": {"topics": 1}} | changes]
    asked = {key: value for key, value in TINY.items() if key in ("family", "base")}
    asked |= {"name": "few-shot", "method": "prompt", "shots": 1, "stages": stages}
    message = errors_of(write(models=[TINY, asked]))
    assert f"models[1].stages[1].{name} is for the training of neural models, and few-shot trains nothing" in message


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"kind": "lead", "most_words": 20}, "`most_words` goes with kind: copy, and the kind is lead"),
        ({"kind": "copy", "sentences": 2}, "`sentences` goes with kind: lead, and the kind is copy"),
    ],
)
def test_settings_of_rules_go_with_their_kind(write: Write, rule: dict[str, Any], message: str) -> None:
    assert message in errors_of(
        write(tasks=TASKS | {"note": NOTE}, models=[*MODELS, {"name": "r", "family": "baseline"} | rule])
    )


def test_map_reduce_needs_a_text_to_divide(write: Write) -> None:
    numbers = NOTE["data"] | {"inputs": {"age": {"column": "age", "type": "number"}}}
    task = NOTE | {"long_input": "map-reduce", "data": numbers}
    assert "long_input: map-reduce divides an input of type text, and there is none" in errors_of(
        write(tasks=TASKS | {"note": task})
    )


def test_a_model_may_sit_out_a_stage(write: Write) -> None:
    assert load_study(write(stages=[{"train": {"cancer": 1, "topics": 1}}, {"train": {"exam": 1}}]))


def test_language_models_may_be_asked_what_they_were_not_taught(write: Write) -> None:
    models = [MAJORITY | {"tasks": ["cancer"]}, TINY, TFIDF | {"tasks": ["cancer"]}]
    assert load_study(write(models=models, stages=[{"train": {"cancer": 1}}]))


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ({"primary": "macro_auroc"}, None),
        ({"primary": "f1", "threshold": {"rule": "youden"}}, None),
        ({"floors": {"accuracy": 0.5, "hamming_loss": 0.1, "ppv": 0.5}}, None),
        ({"floors": {"log_loss": 1.2}}, None),
        ({"floors": {"accuracy": 90}}, "accuracy is above 1"),
        ({"margin": 0.02}, "evaluation.margin is of auroc, which is no metric of multi"),
        ({"floors": {"auorc": 0.5}}, "evaluation.floors.auorc: auorc is not a metric of classification and mult"),
        ({"baseline": "keyword", "compare": [["tiny", "tfidf"]]}, None),
        ({"compare": [["tiny", "tfdif"]]}, "evaluation.compare[0]: tfdif is not a model; did you mean tfidf?"),
    ],
)
def test_settings_of_the_study_are_for_the_kinds_that_know_them(write: Write, evaluation: Any, message: Any) -> None:
    path = write(evaluation=evaluation)
    if message is None:
        assert load_study(path)
    else:
        assert message in errors_of(path)


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ({"primary": "brier"}, "evaluation.primary: brier is no metric of multilabel and multiple-choice tasks"),
        ({"primary": "macro_auroc"}, None),
        ({"threshold": {"rule": "youden"}}, "evaluation.threshold is for classification, and the tasks are of kind mu"),
        ({"calibration": "temperature"}, "evaluation.calibration is for classification"),
        (
            {"floors": {"auroc": 0.8}},
            "auroc is not a metric of multilabel and multiple-choice tasks; did you mean macro_",
        ),
        ({"compare": [["tfidf", "examinee"]]}, "tfidf and examinee do not both answer any one task"),
    ],
)
def test_settings_that_no_task_can_use_are_errors(write: Write, evaluation: Any, message: Any) -> None:
    models = [MAJORITY, TFIDF, TINY, TINY | {"name": "examinee", "tasks": ["exam"]}]
    path = write(tasks=only("topics", "exam"), models=models, evaluation=evaluation)
    if message is None:
        assert load_study(path).settings("topics").primary == "macro_auroc"
        assert load_study(path).settings("exam").primary == "accuracy"
    else:
        assert message in errors_of(path)


def test_a_task_takes_from_the_study_the_floors_that_its_kind_knows(write: Write) -> None:
    floors = {"accuracy": 0.5, "hamming_loss": 0.1, "ppv": 0.5}
    study = load_study(write(evaluation={"floors": floors}))
    assert {name: set(study.settings(name).floors) for name in study.tasks} == {
        "cancer": {"accuracy", "ppv"},
        "topics": {"hamming_loss"},
        "exam": {"accuracy"},
    }


@pytest.mark.parametrize(
    ("task", "block", "message"),
    [
        (
            "topics",
            {"baseline": "tfdif"},
            "tasks.topics.evaluation.baseline: tfdif is not a model; did you mean tfidf?",
        ),
        ("exam", {"baseline": "tfidf"}, "tasks.exam.evaluation.baseline: tfidf does not answer exam"),
        (
            "exam",
            {"compare": [["tiny", "bert"]]},
            "tasks.exam.evaluation.compare[0]: tiny and bert do not both answer exam",
        ),
        ("topics", {"floors": {"auroc": 0.8}}, "tasks.topics.evaluation.floors.auroc: auroc is not a metric of multil"),
        ("cancer", {"threshold": {"rule": "youden"}, "primary": "f1", "floors": {"ppv": 0.5}}, None),
        ("topics", {"threshold": {"rule": "f1"}, "primary": "micro_f1"}, None),
    ],
)
def test_a_task_may_have_settings_of_its_own(write: Write, task: str, block: Any, message: Any) -> None:
    path = write(tasks=changed(task, evaluation=block))
    if message is None:
        assert load_study(path).settings(task).primary == block["primary"]
    else:
        assert message in errors_of(path)


@pytest.mark.parametrize(
    ("labels", "threshold", "said"),
    [
        (
            ["I", "II"],
            {"rule": "macro-f1"},
            "macro-f1 needs a task with more than two labels, and grade has two; use f1",
        ),
        (["I", "II"], {"rule": "fixed", "weights": {"I": 1, "II": 2}}, "need a task with more than two labels"),
        (["I", "II", "III"], {"rule": "fixed", "weights": {"I": 1, "IV": 2}}, "grade has the labels I and II and III"),
        (["I", "II", "III"], {"rule": "fixed", "weights": {"I": 1, "II": 2, "III": 0}}, "must be above 0"),
        (
            ["I", "II", "III"],
            {"rule": "fixed", "value": 0.3},
            "use argmax or balanced-accuracy or macro-f1, or fixed with",
        ),
        (["I", "II", "III"], {"rule": "macro-f1", "weights": {"I": 1, "II": 2}}, "`weights` is for the rule 'fixed'"),
    ],
)
def test_label_weights_fit_the_labels(write: Write, labels: list[str], threshold: Any, said: str) -> None:
    grade = TASKS["cancer"] | {"labels": labels, "evaluation": {"primary": "macro_f1", "threshold": threshold}}
    grade.pop("positive", None)
    assert said in errors_of(write(tasks={"grade": grade}))


@pytest.mark.parametrize(
    "threshold", [{"rule": "macro-f1"}, {"rule": "fixed", "weights": {"I": 1, "II": 2, "III": 0.5}}]
)
def test_label_weights_are_taken(write: Write, threshold: Any) -> None:
    grade = TASKS["cancer"] | {"labels": ["I", "II", "III"], "evaluation": {"threshold": threshold}}
    grade.pop("positive", None)
    majority = {"name": "majority", "family": "baseline", "kind": "majority"}
    assert (
        load_study(write(tasks={"grade": grade}, models=[majority])).settings("grade").threshold.rule
        == threshold["rule"]
    )


def test_rules_for_two_labels_name_the_tasks_with_more(write: Write) -> None:
    grade = TASKS["cancer"] | {"labels": ["I", "II", "III"]}
    evaluation = {
        "threshold": {"rule": "youden"},
        "calibration": "platt",
        "decision_range": [0.1, 0.5],
        "primary": "f1",
    }
    message = errors_of(write(tasks=TASKS | {"grade": grade}, evaluation=evaluation))
    assert "youden needs a task with two labels; use argmax or balanced-accuracy or macro-f1; grade may" in message
    assert "has 4 errors" in message
    own = grade | {"evaluation": {"primary": "macro_f1"}}
    study = load_study(write(tasks=TASKS | {"grade": own}, evaluation=evaluation))
    assert study.settings("cancer").primary == "f1"
    wrong = grade | {"evaluation": {"calibration": "isotonic"}}
    message = errors_of(write(tasks=TASKS | {"grade": wrong}))
    assert "tasks.grade.evaluation.calibration: isotonic needs two labels; temperature has no such need\n" in message


# ---------------------------------------------------------------- tasks


def test_names_that_differ_in_case_alone_would_be_one_file(write: Write) -> None:
    message = errors_of(write(tasks=TASKS | {"Cancer": TASKS["topics"]}, models=[TINY, TINY | {"name": "TINY"}]))
    assert "tasks.Cancer: an earlier task is called 'cancer' too; names must differ in more than case" in message
    assert "models[1].name: an earlier model is called 'tiny' too; names must differ in more than case" in message


@pytest.mark.parametrize(
    ("task", "data", "message"),
    [
        ("exam", {"label": "b"}, "tasks.exam.data.inputs.b reads the label column"),
        (
            "topics",
            {"label": {"columns": {"heart": "text", "lung": "l", "brain": "b"}}},
            "inputs.text reads the label col",
        ),
        (
            "exam",
            {"inputs": {"a": {"column": "a", "type": "number"}, "b": "b"}},
            "tasks.exam.data.inputs.a: an option must be of type text, and this one is of type number",
        ),
        (
            "cancer",
            {"label": {"column": "c", "separator": ";"}},
            "separator goes with kind: multilabel, and the kind is cl",
        ),
        (
            "exam",
            {"label": {"column": "c", "separator": ";"}},
            "separator goes with kind: multilabel, and the kind is mu",
        ),
        ("topics", {"label": {"column": "c", "separator": "u"}}, "'u' stands in 'lung', which it would cut in two"),
        (
            "topics",
            {"label": {"column": "c", "map": {"a|b": "lung"}}},
            "'|' stands in 'a|b', which it would cut in two",
        ),
    ],
)
def test_labels_and_options_fit_the_kind(write: Write, task: str, data: Any, message: str) -> None:
    path = write(tasks=changed(task, data=TASKS[task]["data"] | data))
    assert message in errors_of(path)


# ---------------------------------------------------------------- anything anywhere

wild = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from _places(child, (*place, key))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(), value=wild | st.sampled_from(["classification", "multilabel", "cancer", "tiny", {"columns": {}}])
)
def test_whatever_stands_anywhere_the_outcome_is_a_study_or_one_clear_error(
    tmp_path: Path, data: st.DataObject, value: Any
) -> None:
    study = {
        "name": "three",
        "tasks": deepcopy(changed("topics", evaluation={"primary": "micro_f1", "floors": {"jaccard": 0.5}})),
        "models": deepcopy([*MODELS, TINY | {"name": "examinee", "tasks": ["exam"], "class_weights": {"A": 2.0}}]),
        "stages": [{"train": {"cancer": 1.0, "topics": 0.5, "exam": 1.0}}, {"train": {"cancer": 1.0, "exam": 1.0}}],
        "evaluation": {"primary": "auroc", "compare": [["tiny", "bert"]], "threshold": {"rule": "youden"}},
    }
    place = data.draw(st.sampled_from(list(_places(study))[1:]))
    target: Any = study
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    (tmp_path / "wild.yaml").write_text(yaml.safe_dump(study, allow_unicode=True), encoding="utf-8")
    try:
        assert isinstance(load_study(tmp_path / "wild.yaml"), Study)
    except ClinfitError as error:
        assert "  1. " in str(error) or "YAML" in str(error)


# ---------------------------------------------------------------- lexicons

OWN = {"name": "organs", "types": {name: {"names": [f"{name} disease"]} for name in ("heart", "lung", "brain")}}
LEXICON = {"name": "lexicon", "family": "baseline", "kind": "lexicon"}


def test_a_lexicon_of_ones_own_is_part_of_the_resolved_study(write: Write, tmp_path: Path) -> None:
    study = load_study(write(tasks=changed("topics", lexicon=OWN), models=[*MODELS, LEXICON]))
    assert answered(study)["lexicon"] == ["topics"]
    (tmp_path / "resolved.yaml").write_text(study_yaml(study), encoding="utf-8")
    assert load_study(tmp_path / "resolved.yaml") == study


def test_a_known_lexicon_is_replaced_by_what_it_holds(write: Write, tmp_path: Path) -> None:
    study = load_study(write(tasks=changed("topics", labels=["melanoma", "lung cancer"], lexicon="cancer-types")))
    (tmp_path / "resolved.yaml").write_text(study_yaml(study), encoding="utf-8")
    resolved = (tmp_path / "resolved.yaml").read_text(encoding="utf-8")
    assert "bronchogenic" in resolved
    assert load_study(tmp_path / "resolved.yaml") == study


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lexicon": "cancer-type"}, "no lexicon is called 'cancer-type'; known: cancer-types"),
        ({"lexicon": "cancer-types"}, "labels ['heart', 'lung', 'brain'] are not types of the lexicon cancer-types"),
        ({"lexicon": OWN | {"types": {"heart": {}, "lung": {"names": ["x"]}}}}, "a type needs names or places"),
        ({"lexicon": OWN | {"types": {"heart": {"places": ["heart"]}, "lung": {"names": ["x"]}}}}, "need `heads`"),
        ({"lexicon": OWN | {"negations": [" "]}}, "a name may not be empty"),
    ],
)
def test_what_is_wrong_with_a_lexicon(write: Write, changes: dict[str, Any], message: str) -> None:
    assert message in errors_of(write(tasks=changed("topics", **changes)))


def test_masking_needs_a_lexicon(write: Write) -> None:
    data = TASKS["topics"]["data"] | {"clean": {"mask_lexicon": True}}
    assert "clean.mask_lexicon needs a lexicon" in errors_of(write(tasks=changed("topics", data=data)))


def test_the_rule_of_a_lexicon_needs_one(write: Write) -> None:
    found = errors_of(write(models=[*MODELS, LEXICON | {"tasks": ["topics"]}]))
    assert "lexicon needs a task that declares one" in found
