"""What holds for every kind of task: the contract of its metric engine, its sections, its checks."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clinfit.evaluation.analyses.freeze import declaration, declaration_hash
from clinfit.evaluation.evaluate import evaluate, task_context
from clinfit.evaluation.facts import Facts, TaskFacts
from clinfit.evaluation.kinds import KINDS
from clinfit.evaluation.metrics.definitions import METRICS
from clinfit.evaluation.metrics.engines import ENGINES
from clinfit.evaluation.metrics.primary import primary_value
from clinfit.evaluation.results import TaskResult, TaskSections
from clinfit.evaluation.statistics.bootstrap import Resamples
from clinfit.evaluation.system_results import SystemSections
from clinfit.predictions import COLUMNS
from clinfit.runs.rescore import read_again
from clinfit.scoring.parse import PARSERS
from clinfit.study.evaluation import SETTINGS, floor_names, primaries
from clinfit.study.models import Causal
from clinfit.study.schema import Study
from clinfit.study.tasks import MultipleChoice
from predicted import LABELLED, MADE, RULES, predictions_of, results_of, study_of, task_of

KIND = pytest.mark.parametrize("kind", MADE)
#: Of kinds whose answers are labels.
LABELS = pytest.mark.parametrize("kind", LABELLED)


@pytest.fixture(scope="module")
def results() -> dict[str, TaskResult]:
    """Of one study with a task of each kind, as it stands in the file."""
    found = results_of({kind: kind for kind in MADE})
    return json.loads(json.dumps(found, allow_nan=False))["tasks"]


def answers_of(kind: str, model: str = "forest", stage: int = 1) -> tuple[Any, Any]:
    task = task_of(kind)
    table = predictions_of("asked", task)
    model = model if kind in LABELLED else {"forest": RULES[kind]}.get(model, model)
    rows = table.loc[(table["model"] == model) & (table["stage"] == stage) & (table["split"] == "test")]
    answers, _ = ENGINES[kind].read(rows, task.labels, task.positive_label)
    return task, answers


def test_every_layer_knows_every_kind() -> None:
    assert set(KINDS) == set(ENGINES) == set(SETTINGS) == set(MADE)


@KIND
def test_what_models_are_asked_besides_is_a_section_of_the_kinds_that_can_ask_for_it(kind: str) -> None:
    for name in ("abstention", "contrast"):
        assert (name in KINDS[kind].systems) == (name in SETTINGS[kind].model_fields)


@KIND
def test_estimates_are_those_of_the_items_and_do_not_hang_on_their_order(kind: str) -> None:
    _, answers = answers_of(kind)
    engine = ENGINES[kind]
    first = engine.estimates(answers)
    shuffled = engine.estimates(answers.take(np.random.default_rng(1).permutation(len(answers))))
    assert first.keys() == shuffled.keys()
    assert all(shuffled[name] == pytest.approx(first[name], nan_ok=True) for name in first)
    doubled = engine.estimates(answers.take(np.tile(np.arange(len(answers)), 2)))
    assert all(doubled[name] == pytest.approx(first[name], nan_ok=True, abs=1e-9) for name in first)


@KIND
def test_one_resample_of_each_item_once_is_the_estimate(kind: str) -> None:
    _, answers = answers_of(kind)
    scorer = ENGINES[kind].scorer(answers, None, None)
    values = {name: float(value[0]) for name, value in scorer(np.ones((len(answers), 1))).items()}
    assert values == pytest.approx(ENGINES[kind].estimates(answers), nan_ok=True)


@KIND
def test_every_metric_has_a_definition_and_an_interval_around_it(kind: str, results: dict[str, TaskResult]) -> None:
    for system in results[kind]["systems"]:
        parts = [system["metrics"], *(entry["metrics"] for entry in system["sections"].get("classes", []))]
        for name, metric in (pair for part in parts for pair in part.items()):
            assert name in METRICS
            assert (metric["value"] is None) <= (metric["reason"] is not None)
            if metric["low"] is not None and metric["high"] is not None and metric["value"] is not None:
                assert metric["low"] <= metric["value"] + 1e-9 and metric["value"] <= metric["high"] + 1e-9


@KIND
def test_names_of_a_kind_are_names_that_it_measures(kind: str) -> None:
    task, answers = answers_of(kind)
    engine = ENGINES[kind]
    (scored,) = engine.score([answers], Resamples(answers.strata, None, 50), 0.95)
    table, known = engine.metrics(scored), engine.estimates(answers)
    for metric in primaries(kind):
        primary = engine.primary(metric, len(task.labels))
        assert primary in table and primary in known
        assert engine.compared(answers, primary)[0] == primary
        assert set(engine.compared(answers, primary)) <= set(known)
        assert set(engine.headline(answers, primary)) <= set(table)
        assert set(engine.subgroup_metrics(answers, primary)) <= set(table)
    assert engine.fair <= METRICS.keys() and engine.stand_in in engine.fair
    assert engine.stand_in in known and engine.exact in known
    assert {engine.primary(name, len(task.labels)) for name in floor_names(kind)} <= METRICS.keys()


@LABELS
def test_what_is_chosen_during_training_is_what_is_reported(kind: str) -> None:
    """The primary metric of most probable answers, by way of arrays and by way of the table."""
    task, answers = answers_of(kind)
    for metric in primaries(kind):
        value = primary_value(task, metric, answers.gold, answers.probabilities)
        name = ENGINES[kind].primary(metric, len(task.labels))
        sign = -1 if METRICS[name].better == "lower" else 1
        assert value == pytest.approx(sign * ENGINES[kind].estimates(answers)[name])


@KIND
def test_the_better_system_leads_and_constant_answers_come_last(kind: str, results: dict[str, TaskResult]) -> None:
    task = results[kind]
    assert task["ranking"][0] == "tiny (after)"
    assert set(task["ranking"][2:]) == {"tiny (before)", *({"majority"} if kind in LABELLED else ())}
    gain = next(c for c in task["comparisons"] if c["kind"] == "before-after")
    assert gain["rows"][0]["direction"] == "better" and gain["rows"][0]["supported"]
    codes = {(finding["code"], finding["system"]) for finding in task["findings"]}
    assert ("leaking-test-items", "tiny (after)") in codes
    assert not any(code == "not-better-than-majority" for code, _ in codes)
    assert task["verdict"] and "tiny (after)" in task["verdict"][0]


@LABELS
def test_noise_is_not_called_better_than_a_constant_answer(kind: str) -> None:
    task = task_of(kind)
    table = predictions_of("asked", task)
    table = table.loc[(table["model"] == "tiny") & (table["stage"] == 0)].assign(stage=1, model="forest")
    found = evaluate(study_of({"asked": task}), table)["tasks"]["asked"]
    assert "not-better-than-majority" in {finding["code"] for finding in found["findings"]}


@KIND
def test_made_up_predictors_are_measured_as_they_must(kind: str, results: dict[str, TaskResult]) -> None:
    canaries = results[kind]["sections"]["canaries"]
    assert len(canaries) >= 5 and all(canary["passed"] for canary in canaries)
    wrong = {
        "generation": {"unrelated", "empty", "other numbers"},
        "extraction": {"in a fence", "empty", "another drug"},
    }
    made = wrong.get(kind, {"inverted", "all unparsed"})
    assert {"perfect", *made} <= {canary["name"] for canary in canaries}


@LABELS
def test_unparsed_answers_stay_in_every_denominator(kind: str) -> None:
    task = task_of(kind)
    table = predictions_of("asked", task)
    lost = (table["model"] == "tiny") & (table["stage"] == 1) & (table["id"].str[-1].isin(list("01234")))
    table.loc[lost, "status"] = "unparsed"
    table.loc[lost, "predicted"] = None
    found = evaluate(study_of({"asked": task}), table)["tasks"]["asked"]
    system = next(system for system in found["systems"] if system["name"] == "tiny (after)")
    assert system["unparsed"] == system["n"] / 2 == system["metrics"]["unparsed"]["events"]
    assert (system["metrics"][ENGINES[kind].exact]["value"] or 1) <= 0.5
    assert sum(entry["predicted"] for entry in system["sections"]["classes"]) <= system["n"] / 2 * len(task.labels)


@LABELS
@pytest.mark.parametrize("column", ["gold", "predicted"])
def test_labels_that_are_not_declared_withhold_the_numbers(kind: str, column: str) -> None:
    task = task_of(kind)
    table = predictions_of("asked", task)
    table.loc[table["id"] == "test-00003", column] = "zebrafish"
    found = evaluate(study_of({"asked": task}), table)["tasks"]["asked"]
    assert found["withheld"] and "labels-outside-schema" in {finding["code"] for finding in found["findings"]}
    for system in found["systems"]:
        assert all(metric["status"] == "withheld" for metric in system["metrics"].values())
        assert sum(entry["support"] for entry in system["sections"]["classes"]) > 0


@KIND
def test_other_items_withhold_the_numbers(kind: str) -> None:
    task = task_of(kind)
    table = predictions_of("asked", task)
    missing = (table["id"] == "test-00003") & (table["stage"] == 0)
    found = evaluate(study_of({"asked": task}), table.loc[~missing])["tasks"]["asked"]
    assert found["withheld"] and "misaligned-items" in {finding["code"] for finding in found["findings"]}


@KIND
def test_a_task_is_evaluated_as_if_it_were_alone(kind: str, results: dict[str, TaskResult]) -> None:
    alone = json.loads(json.dumps(results_of({kind: kind})))["tasks"][kind]
    assert alone == results[kind]


@KIND
def test_groups_are_resampled_whole(kind: str) -> None:
    task = task_of(kind)
    table = predictions_of("asked", task)
    table["group"] = table["id"].str[:-1]
    found = evaluate(study_of({"asked": task}), table)["tasks"]["asked"]
    primary = [system["metrics"][found["primary"]] for system in found["systems"] if system["model"] != "majority"]
    assert all("by group" in (metric["method"] or "") for metric in primary)


@KIND
def test_a_context_reads_only_its_own_task(kind: str) -> None:
    tasks = {"asked": task_of(kind), "other": task_of("classification")}
    table = pd.concat([predictions_of(name, task, seed=k) for k, (name, task) in enumerate(tasks.items())])
    study: Study = study_of(tasks)
    context = task_context(study, "asked", table, TaskFacts())
    assert set(context.table["task"]) == {"asked"} and len(context.systems[0].test) == 160


def test_every_section_is_made_by_some_kind(results: dict[str, TaskResult]) -> None:
    made = {key for task in results.values() for system in task["systems"] for key in system["sections"]}
    asked_for = {"recalibration", "referral", "abstention", "contrast", "folds", "refit"}  # by a study
    assert made == set(SystemSections.__annotations__) - asked_for
    of_tasks = {key for task in results.values() for key in task["sections"]}
    assert set(TaskSections.__annotations__) - of_tasks == {
        "external",
        "freeze",
        "stages",
        "cross_validation",
    }  # new records; a run folder; stages; folds


def test_a_task_says_nothing_of_models_that_do_not_answer_it() -> None:
    tasks = {"asked": task_of("classification"), "other": task_of("multilabel")}
    study = study_of(tasks)
    study.models[1] = study.models[1].model_copy(update={"tasks": ["other"]})
    table = pd.concat([predictions_of(name, task) for name, task in tasks.items()])
    table = table.loc[table["model"] != "forest"]
    failed: Facts = {"models": {"forest-seed42": {"status": "failed", "reason": "no memory"}}}
    found = evaluate(study, table, failed)["tasks"]
    told = {name: "model-failed" in {finding["code"] for finding in task["findings"]} for name, task in found.items()}
    assert told == {"asked": False, "other": True}


@KIND
def test_a_model_that_was_only_asked_is_not_called_trained(kind: str) -> None:
    task = task_of(kind)
    table = predictions_of("asked", task)
    found = evaluate(study_of({"asked": task}), table.loc[table["stage"] == 0])["tasks"]["asked"]
    assert {system["name"]: system["trained"] for system in found["systems"]} == {
        **({"majority": False} if kind in LABELLED else {}),
        "tiny (before)": False,
    }


@KIND
def test_a_freeze_holds_what_is_asked(kind: str) -> None:
    task = task_of(kind)
    stated = declaration(study_of({"asked": task}), {})
    assert stated["asked"]["asked"]["kind"] == kind
    if isinstance(task, MultipleChoice):
        other = task.model_copy(update={"answer": "texts"})
        assert declaration_hash(declaration(study_of({"asked": other}), {})) != declaration_hash(stated)


@LABELS
def test_free_answers_read_again_carry_no_probabilities(kind: str) -> None:
    task = task_of(kind)
    table = predictions_of("asked", task)
    again = read_again(study_of({"asked": task}), table, PARSERS["strict"])
    wrote = table["raw"].notna()
    assert again.loc[wrote, [name for name in table.columns if name not in COLUMNS]].isna().all(axis=None)
    assert again.loc[~wrote, [f"p_{label}" for label in task.labels]].notna().all(axis=None)


@pytest.mark.parametrize("kind", sorted(MADE))
def test_what_a_base_has_seen_of_a_public_set_is_told_for_every_kind(kind: str) -> None:
    task = task_of(kind)
    public = task.model_copy(update={"data": task.data.model_copy(update={"path": "catalog:pubmedqa"})})
    found = {
        name: evaluate(study_of({"t": one}), predictions_of("t", one))["tasks"]["t"]["findings"]
        for name, one in (("own", task), ("public", public))
    }
    codes = {
        name: [one["code"] for one in findings if "contamination" in one["code"]] for name, findings in found.items()
    }
    assert codes == {"own": [], "public": ["contamination-known"]}
    (told,) = [one for one in found["public"] if one["code"] == "contamination-known"]
    assert told["level"] == "warn" and "clinfit/tiny" in told["title"]  # the study does not use the published split


# ---------------------------------------------------------------- texts


def test_texts_without_scores_withhold_the_numbers() -> None:
    task = task_of("generation")
    table = predictions_of("asked", task)
    table = table.drop(columns=[name for name in table.columns if name.startswith("score_")])
    found = evaluate(study_of({"asked": task}), table)["tasks"]["asked"]
    assert found["withheld"] and "texts-not-scored" in {finding["code"] for finding in found["findings"]}


def test_items_that_the_primary_metric_cannot_read_are_told() -> None:
    task = task_of("generation", primary="rougeL")
    table = predictions_of("asked", task)
    study = study_of({"asked": task})

    def told(changed: pd.DataFrame) -> list[str]:
        findings = evaluate(study, changed)["tasks"]["asked"]["findings"]
        return [finding["title"] for finding in findings if finding["code"] == "items-not-scored"]

    assert told(table) == []
    test = sorted(set(table.loc[table["split"] == "test", "id"]))
    changed = table.assign(score_rougeL=table["score_rougeL"].where(~table["id"].isin(test[:3])))
    assert told(changed) == [f"ROUGE-L has no value for 3 of {len(test)} test items"]
    one = table["model"] == table["model"].iloc[0]
    assert told(changed.assign(score_rougeL=changed["score_rougeL"].where(~one, 0.5))) == [], "one system has values"


def test_perplexity_is_weighted_by_tokens() -> None:
    _, answers = answers_of("generation", "tiny")
    halves = np.where(np.arange(len(answers)) % 2 == 0, 1.0, 30.0)
    answers = replace(answers, tokens=halves, nats=halves * np.where(halves == 1, np.log(7), np.log(3)))
    found = ENGINES["generation"].estimates(answers)
    assert found["perplexity"] == pytest.approx(np.exp((np.log(7) + 30 * np.log(3)) / 31))
    assert found["bits_per_byte"] == pytest.approx(answers.nats.sum() / np.log(2) / answers.bytes.sum())


def test_perplexity_is_told_of_validation_beside_test(results: dict[str, TaskResult]) -> None:
    systems = {system["name"]: system for system in results["generation"]["systems"]}
    assert systems["lead"]["sections"]["written"]["likelihood"] == {}
    system = systems["tiny (after)"]
    found = system["sections"]["written"]["likelihood"]
    assert found["test"]["perplexity"] == system["metrics"]["perplexity"]["value"]
    rows = predictions_of("asked", task_of("generation"))
    rows = rows[(rows["model"] == "tiny") & (rows["stage"] == 1) & (rows["split"] == "validation")]
    assert len(rows) and found["validation"]["tokens"] == rows["nats_tokens"].sum()
    assert found["validation"]["perplexity"] == pytest.approx(np.exp(rows["nats"].sum() / rows["nats_tokens"].sum()))
    bits = rows["nats"].sum() / np.log(2) / rows["nats_bytes"].sum()
    assert found["validation"]["bits_per_byte"] == pytest.approx(bits)


def test_a_system_without_likelihoods_has_no_perplexity(results: dict[str, TaskResult]) -> None:
    metrics = {system["name"]: system["metrics"] for system in results["generation"]["systems"]}
    assert "perplexity" not in metrics["lead"] and metrics["tiny (after)"]["perplexity"]["reason"].startswith("of ")
    gain = next(c for c in results["generation"]["comparisons"] if c["kind"] == "before-after")
    assert gain["mcnemar"] is None and gain["flips"] is None and "have a higher Token F1" in gain["sentence"]
    perplexity = next(row for row in gain["rows"] if row["metric"] == "perplexity")
    assert perplexity["direction"] == "better" and (perplexity["difference"] or 0) < 0


def test_a_rule_that_writes_is_a_yardstick_and_never_the_model() -> None:
    task = task_of("generation")
    systems = (("forest", 1, 4.0), ("tiny", 0, 0.1), ("tiny", 1, 2.5))  # the rule is ahead
    found = evaluate(study_of({"asked": task}), predictions_of("asked", task, systems=systems))["tasks"]["asked"]
    assert found["ranking"][0] == "lead" and found["baseline"] == "lead"
    assert found["chosen"] is not None and found["chosen"]["system"] == "tiny (after)"
    assert "free-baseline-as-good" in {finding["code"] for finding in found["findings"]}


def test_the_free_rule_is_held_against_the_model_that_validation_chose() -> None:
    """Not against the one that is luckiest on test."""
    task = task_of("generation")
    made = study_of({"asked": task})
    other = Causal(name="lucky", family="causal", base="clinfit/tiny")
    made = made.model_copy(update={"models": [*made.models, other]})
    systems = (("forest", 1, 2.0), ("tiny", 1, 1.0), ("lucky", 1, 4.0))
    tables = predictions_of("asked", task, systems=systems)
    swapped = predictions_of("asked", task, systems=(("forest", 1, 2.0), ("tiny", 1, 4.0), ("lucky", 1, 1.0)))
    mixed = pd.concat([tables[tables["split"] == "test"], swapped[swapped["split"] == "validation"]])
    found = evaluate(made, mixed)["tasks"]["asked"]
    assert found["ranking"][0] == "lucky" and found["chosen"] is not None and found["chosen"]["system"] == "tiny"
    (told,) = (finding for finding in found["findings"] if finding["code"] == "free-baseline-as-good")
    assert told["title"].startswith("tiny is not shown")


def test_what_is_to_be_feared_is_found_and_told_by_id(results: dict[str, TaskResult]) -> None:
    task = results["generation"]
    codes = {(finding["code"], finding["system"]) for finding in task["findings"]}
    assert ("cut-off-texts", "tiny (after)") in codes and not any(system == "lead" for _, system in codes)
    texts = task["sections"]["doubtful_texts"]
    assert texts["system"] == "tiny (after)" and texts["doubtful"] >= 40
    assert len(texts["listed"]) == 20 and all(text["reasons"] for text in texts["listed"])
    assert task["sections"]["text_metrics"]["groups"][0]["metrics"][0] == "token_f1"
    assert "cut_off" not in task["sections"]["text_metrics"]["proxies"]
