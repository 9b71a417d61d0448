"""What stages gained and cost, from predictions whose quality after each stage is known."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from clinfit.evaluation.analyses.stage_changes import within_margin
from clinfit.evaluation.claims.paired import PairedDifference
from clinfit.evaluation.claims.paired_seeds import Errors
from clinfit.evaluation.claims.stages import best_on_validation, conclusion
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.results import Results
from clinfit.evaluation.statistics.intervals import bonett_price
from clinfit.study.models import Baseline, Causal, Classical
from clinfit.study.schema import Study
from clinfit.study.stages import Retain, Stage
from clinfit.study.tasks import Task
from clinfit.study.taught import learned_at, stages_of
from clinfit.study.train import Train
from predicted import MADE, predictions_of, task_of

#: Model -> stage -> how much it knows of (one, other).
KNOWS = {
    "forgets": {0: (0.2, 0.2), 1: (2.5, 0.2), 2: (0.3, 2.5)},
    "keeps": {0: (0.2, 0.2), 1: (2.5, 0.2), 2: (2.5, 2.5)},
    "together": {0: (0.2, 0.2), 1: (2.5, 2.5)},
}
STAGES = [Stage(train={"one": 1.0}), Stage(train={"other": 1.0})]


def study(kind: str = "classification", **settings: Any) -> Study:
    def causal(name: str, stages: list[Stage]) -> Causal:
        return Causal(name=name, family="causal", base="clinfit/tiny", stages=stages)

    return Study(
        name="staged",
        tasks={name: task_of(kind, **settings) for name in ("one", "other")},
        models=[
            Baseline(name="always", family="baseline", kind="majority"),
            causal("forgets", STAGES),
            causal("keeps", [STAGES[0], Stage(train={"other": 1.0}, retain=Retain(rehearsal=0.1))]),
            causal("together", [Stage(train={"one": 1.0, "other": 1.0})]),
        ],
        evaluation={"bootstrap": 300},  # type: ignore[arg-type]
    )


def results(made: Study, n: int = 300, seeds: Sequence[int] = (42,), knows: Mapping[str, Any] = KNOWS) -> Results:
    tables = [
        predictions_of(
            name,
            made.tasks[name],
            n,
            number,
            [(model, stage, known[number]) for model, stages in knows.items() for stage, known in stages.items()],
            seed,
        )
        for number, name in enumerate(("one", "other"))
        for seed in seeds
    ]
    return evaluate(made, pd.concat(tables, ignore_index=True))


def of(found: Results, task: str, model: str) -> dict[str, Any]:
    (entry,) = (entry for entry in found["tasks"][task]["sections"]["stages"] if entry["model"] == model)
    return dict(entry) | {"by_kind": {change["kind"]: change for change in entry["changes"]}}


def ways_of(found: Results) -> list[Any]:
    return [*found.get("stages", {"ways": []})["ways"]]


@pytest.fixture(scope="module")
def found() -> Results:
    return results(study(primary="accuracy", margin=0.1))


def test_the_matrix_holds_every_task_after_every_stage(found: Results) -> None:
    for task, learned in (("one", 1), ("other", 2)):
        entry = of(found, task, "forgets")
        assert [row["stage"] for row in entry["rows"]] == [0, 1, 2] and entry["learned"] == learned
        assert [row["taught"] for row in entry["rows"]] == [False, task == "one", task == "other"]
        assert [row["known"] for row in entry["rows"]] == [False, task == "one", True]
        systems = {
            system["stage"]: system for system in found["tasks"][task]["systems"] if system["model"] == "forgets"
        }
        for row in entry["rows"]:
            assert row["metric"] == systems[row["stage"]]["metrics"]["accuracy"]
            assert row["ece"] == systems[row["stage"]]["metrics"]["ece"]["value"] is not None
            assert sum(row["predicted"].values()) == pytest.approx(1) and row["predicted"]["unparsed"] == 0
            assert set(row["recall"]) == {"No", "Yes"}
    assert not [entry for entry in found["tasks"]["one"]["sections"]["stages"] if entry["model"] == "together"]


def test_changes_are_differences_of_the_matrix_on_the_same_items(found: Results) -> None:
    one, other = of(found, "one", "forgets"), of(found, "other", "forgets")
    value = {
        (task, row["stage"]): row["metric"]["value"]
        for task, entry in (("one", one), ("other", other))
        for row in entry["rows"]
    }
    assert list(one["by_kind"]) == ["gain", "retention", "joint"]
    assert list(other["by_kind"]) == ["gain", "transfer", "joint"]
    against = of(found, "one", "keeps")["by_kind"]["naive"]
    kept = {row["stage"]: row["metric"]["value"] for row in of(found, "one", "keeps")["rows"]}
    assert against["of"] == "forgets" and against["difference"] == pytest.approx(kept[2] - value["one", 2])
    assert one["by_kind"]["retention"]["difference"] == pytest.approx(value["one", 2] - value["one", 1])
    assert one["by_kind"]["gain"]["difference"] == pytest.approx(value["one", 1] - value["one", 0])
    assert other["by_kind"]["gain"]["difference"] == pytest.approx(value["other", 2] - value["other", 1])
    assert other["by_kind"]["transfer"]["difference"] == pytest.approx(value["other", 1] - value["other", 0])
    assert one["forgotten"] == pytest.approx(value["one", 1] - value["one", 2])
    assert one["by_kind"]["joint"]["of"] == "together"
    assert one["by_kind"]["retention"]["method"] == "Bonett-Price, paired"


def test_forgetting_is_said_where_it_is_shown_and_nowhere_else(found: Results) -> None:
    codes = [finding["title"] for finding in found["tasks"]["one"]["findings"] if finding["code"] == "task-forgotten"]
    assert codes == ["forgets forgot one in the stages after it"]
    assert of(found, "one", "forgets")["by_kind"]["retention"]["direction"] == "worse"
    assert "forgotten" in of(found, "one", "forgets")["by_kind"]["retention"]["sentence"]
    assert not [finding for finding in found["tasks"]["other"]["findings"] if finding["code"] == "task-forgotten"]


def test_retention_needs_a_margin_and_enough_items(found: Results) -> None:
    kept = of(found, "one", "keeps")["by_kind"]["retention"]
    assert kept["direction"] == "no difference shown" and kept["within"] is True and kept["needed"] is None
    lost = of(found, "one", "forgets")["by_kind"]["retention"]
    assert lost["within"] is False
    few = of(results(study(primary="accuracy", margin=0.02), n=60), "one", "keeps")["by_kind"]["retention"]
    assert few["within"] is False and few["needed"] > 60 and f"about {few['needed']:,} items would" in few["sentence"]
    none = of(results(study(primary="accuracy"), n=60), "one", "keeps")["by_kind"]["retention"]
    assert none["within"] is None and "not the same as none" in none["sentence"]


def test_over_seeds_the_mean_has_the_interval_of_the_mean() -> None:
    many = results(study(primary="accuracy", margin=0.1), seeds=(1, 2, 3))
    entry = of(many, "one", "forgets")
    assert entry["seeds"] == [1, 2, 3]
    for row in entry["rows"]:
        values = [float(value) for value in row["by_seed"].values()]
        assert len(values) == 3 and row["metric"]["value"] == pytest.approx(sum(values) / 3)
        assert row["metric"]["low"] < row["metric"]["value"] < row["metric"]["high"] and row["sd"] >= 0
    change = entry["by_kind"]["retention"]
    assert change["difference"] == pytest.approx(sum(change["by_seed"].values()) / 3)
    assert change["low"] < change["difference"] < change["high"] < 0
    assert change["method"] == "Student's t, items and 3 seeds"


def test_seeds_that_disagree_show_nothing() -> None:
    """One seed of three forgets, the others do not: that is no property of the way."""
    tables = []
    for seed in (1, 2, 3):
        knows = {**KNOWS, "forgets": {**KNOWS["forgets"], 2: (0.3 if seed == 1 else 2.5, 2.5)}}
        tables += [
            predictions_of(
                name, made.tasks[name], 500, number,
                [(model, stage, known[number]) for model, stages in knows.items() for stage, known in stages.items()],
                seed,
            )
            for made in [study(primary="accuracy", margin=0.03)]
            for number, name in enumerate(("one", "other"))
        ]  # fmt: skip
    found = evaluate(study(primary="accuracy", margin=0.03), pd.concat(tables, ignore_index=True))
    change = of(found, "one", "forgets")["by_kind"]["retention"]
    by_seed = list(change["by_seed"].values())
    assert by_seed[0] < -0.15 and max(map(abs, by_seed[1:])) < 0.06
    assert change["direction"] == "no difference shown" and change["low"] < -0.3 and change["high"] > 0
    assert change["within"] is False and change["needed"] is None
    assert "the seeds differ by too much: more seeds are needed, not more items" in change["sentence"]
    assert not [one for one in found["tasks"]["one"]["findings"] if one["code"] == "task-forgotten"]


@pytest.mark.parametrize("seeds", [(42,), (1, 2, 3)])
@pytest.mark.parametrize("n", [5, 20])
def test_answers_that_stay_as_they_were_on_few_items_show_nothing(n: int, seeds: Sequence[int]) -> None:
    made = study(primary="accuracy", margin=0.03)
    tables = []
    for seed in seeds:
        for number, name in enumerate(("one", "other")):
            table = predictions_of(name, made.tasks[name], n, number, [("forgets", 0, 0.1), ("forgets", 1, 2.0)], seed)
            tables += [table, table.loc[table["stage"] == 1].assign(stage=2)]
    found = evaluate(made.model_copy(update={"models": made.models[:2]}), pd.concat(tables, ignore_index=True))
    change = of(found, "one", "forgets")["by_kind"]["retention"]
    assert change["difference"] == 0 and change["within"] is False
    one_seed = bonett_price(0, 0, n)
    assert (change["low"], change["high"]) == pytest.approx(one_seed), "as wide as of one seed"


@pytest.mark.parametrize("seeds", [(42,), (1, 2, 3)])
@pytest.mark.parametrize("probabilities", [True, False])
def test_a_model_that_collapsed_to_one_label_has_no_interval_and_nothing_is_shown(
    probabilities: bool, seeds: Sequence[int]
) -> None:
    """It answers one label to everything, before and after: no resample can say how sure that is."""
    made = study(primary="balanced_accuracy", margin=0.03)
    tables = []
    for seed in seeds:
        for number, name in enumerate(("one", "other")):
            knows = [("forgets", 0, 0.1), ("forgets", 1, 2.0), ("forgets", 2, 1.0)]
            table = predictions_of(name, made.tasks[name], 100, number, knows, seed)
            table.loc[table["stage"] > 0, "predicted"] = "No"
            if not probabilities:
                table[[name for name in table if name.startswith("p_")]] = float("nan")
            tables.append(table)
    found = evaluate(made.model_copy(update={"models": made.models[:2]}), pd.concat(tables, ignore_index=True))
    entry = of(found, "one", "forgets")
    last, change = entry["rows"][-1]["metric"], entry["by_kind"]["retention"]
    assert last["value"] is not None and last["low"] is None and "resamples agree" in last["reason"]
    assert change["difference"] == 0 and change["low"] is None and not change["within"]
    assert "shown" not in change["sentence"].replace("no difference shown", "")


def test_what_was_not_learned_is_not_called_forgotten() -> None:
    """It falls to what a constant answer is worth in the stage that should teach it, and below that behind it."""
    knows = {**KNOWS, "forgets": {0: (2.0, 0.2), 1: (0.0, 0.2), 2: (-1.0, 2.5)}}
    found = results(study(primary="accuracy", margin=0.1), knows=knows)
    entry = of(found, "one", "forgets")
    assert entry["mastered"] is False and entry["by_kind"]["gain"]["direction"] == "worse"
    assert "lower, of a task that it is not shown to have learned" in entry["by_kind"]["retention"]["sentence"]
    assert not [one for one in found["tasks"]["one"]["findings"] if one["code"] == "task-forgotten"]
    said = ways_of(found)[0]["conclusion"]
    assert said.startswith("forgets is not shown to have learned one (-") and "forgot one" not in said
    assert of(found, "one", "keeps")["mastered"] is True


def test_controls_learned_the_same_in_the_same_order_with_the_same_settings() -> None:
    made = study(primary="accuracy", margin=0.1)
    always, forgets, keeps, together = made.models
    back = [STAGES[1], STAGES[0]]
    models = [
        always,
        forgets,
        keeps.model_copy(update={"stages": [back[0], back[1].model_copy(update={"retain": Retain(rehearsal=0.1)})]}),
        forgets.model_copy(update={"name": "back", "stages": back}),
        together.model_copy(update={"train": Train(epochs=9)}),
    ]
    begun = {0: (0.2, 0.2), 1: (0.2, 2.5)}
    knows = {**KNOWS, "keeps": {**begun, 2: (2.5, 2.5)}, "back": {**begun, 2: (2.5, 0.3)}}
    found = results(made.model_copy(update={"models": models}), knows=knows)
    assert of(found, "one", "keeps")["by_kind"]["naive"]["of"] == "back", "and not the other way round"
    assert "naive" not in of(found, "one", "back")["by_kind"] and "naive" not in of(found, "one", "forgets")["by_kind"]
    assert "joint" not in of(found, "one", "keeps")["by_kind"], "trained longer: no control"


def test_without_validation_no_way_is_chosen_and_none_denied(found: Results) -> None:
    ways: Any = {model: {task: of(found, task, model) for task in ("one", "other")} for model in ("forgets", "keeps")}
    ways["keeps"]["one"]["rows"] = [{**row, "validation": None} for row in ways["keeps"]["one"]["rows"]]
    assert best_on_validation(ways) is None
    said = conclusion(ways, "forgets", None, None, {"one": "accuracy", "other": "accuracy"})
    assert said.endswith("; of 2 ways none was chosen, since not all have a value on validation.")


def test_models_of_other_tasks_are_ways_of_their_own() -> None:
    made = study(primary="accuracy", margin=0.1)
    third = Stage(train={"third": 1.0})
    spec = made.models[1].model_copy(update={"name": "three", "stages": [*STAGES, third]})
    others = [one.model_copy(update={"tasks": ["one", "other"]}) for one in made.models[1:]]
    made = made.model_copy(
        update={"tasks": {**made.tasks, "third": task_of("classification")}, "models": [made.models[0], *others, spec]}
    )
    knows = {**KNOWS, "three": {0: (0.2, 0.2, 0.2), 1: (2.5, 0.2, 0.2), 2: (0.3, 2.5, 0.2), 3: (0.3, 0.3, 2.5)}}
    tables = [
        predictions_of(
            name, made.tasks[name], 300, at,
            [(model, stage, known[at]) for model, stages in knows.items() for stage, known in stages.items()
             if at < len(known)],
        )
        for at, name in enumerate(made.tasks)
    ]  # fmt: skip
    two, three = ways_of(evaluate(made, pd.concat(tables, ignore_index=True)))
    assert (two["tasks"], two["models"], two["chosen"]) == (["one", "other"], ["forgets", "keeps"], "keeps")
    assert (three["tasks"], three["models"], three["chosen"]) == (["one", "other", "third"], ["three"], None)
    assert three["conclusion"].endswith("there is no other way to hold against it.")


def test_items_that_would_show_it_are_more_than_there_are() -> None:
    """Where as many would have been enough, the loss that was seen is the reason, and no number is named."""
    seen = PairedDifference("accuracy", 0.8, 0.783, -0.017, -0.037, 0.003)
    found = within_margin(seen, Errors(0.0102), 0.03, 715, 0.95)
    assert found.shown is False and found.needed is None and "if nothing had been lost" in found.why
    wide = within_margin(replace(seen, low=-0.067, high=0.033), Errors(0.0255), 0.03, 715, 0.95)
    assert wide.needed is not None and wide.needed > 715


@pytest.mark.parametrize("kind", MADE)
def test_every_kind_has_a_matrix(kind: str) -> None:
    found = results(study(kind), n=120)
    entry = of(found, "one", "forgets")
    assert [row["metric"]["status"] for row in entry["rows"]] == ["ok"] * 3
    assert entry["by_kind"]["retention"]["difference"] < 0


def test_the_verdict_names_the_remedy_that_validation_chose(found: Results) -> None:
    said = ways_of(found)[0]["verdict"]
    assert "forgets" in said[0] and "forgotten" in said[0]
    assert "keeps" in said[1] and "validation" in said[1]
    assert "one" in said[1] and "other" in said[1]


def test_without_stages_nothing_is_said() -> None:
    plain = study().model_copy(update={"models": [study().models[0], study().models[-1]]})
    tables = [
        predictions_of(name, plain.tasks[name], systems=[("together", 0, 0.2), ("together", 1, 2.0)])
        for name in ("one", "other")
    ]
    found = evaluate(plain, pd.concat(tables, ignore_index=True))
    assert "stages" not in found and "stages" not in found["tasks"]["one"]["sections"]


def test_the_way_of_a_model_through_stages() -> None:
    stages = [
        Stage(train={"one": 1.0}),
        Stage(train={"other": 1.0}, start="base"),
        Stage(merge={"stages": [1, 2]}),  # type: ignore[arg-type]
    ]
    made = study().model_copy(update={"stages": stages})
    model = made.models[1].model_copy(update={"stages": None})
    taught = stages_of(made, model)
    assert [entry.starts for entry in taught] == [(), (), (1, 2)]
    assert learned_at(taught) == {"one": 1, "other": 2} and taught[-1].learned == {"one", "other"}


def test_controls_stand_on_the_same_base_and_are_language_models() -> None:
    """A remedy is held against its own base's naive way, and a classifier, which forgets nothing, against none."""
    made = study()
    always, forgets, keeps, together = made.models
    other = {"forgets": forgets, "keeps": keeps, "together": together}
    large = [
        spec.model_copy(update={"name": f"large-{name}", "base": "clinfit/smollm2"}) for name, spec in other.items()
    ]
    words = Classical(name="words", family="classical", kind="tfidf-logistic", stages=STAGES)
    made = made.model_copy(update={"models": [always, words, *large, forgets, keeps, together]})
    knows = {"words": {1: (2.0, 0.1), 2: (2.0, 2.0)}, **KNOWS, **{f"large-{name}": of for name, of in KNOWS.items()}}
    tables = [
        predictions_of(
            name, made.tasks[name], 200, number,
            [
                (model, stage, known[number])
                for model, stages in knows.items() for stage, known in stages.items()
                if not (model == "words" and name == "other" and stage == 1)
            ],
        )
        for number, name in enumerate(("one", "other"))
    ]  # fmt: skip
    found = evaluate(made, pd.concat(tables, ignore_index=True))
    assert not [entry for entry in found["tasks"]["one"]["sections"]["stages"] if entry["model"] == "words"]
    for size in ("", "large-"):
        kept = of(found, "one", f"{size}keeps")["by_kind"]
        assert (kept["naive"]["of"], kept["joint"]["of"]) == (f"{size}forgets", f"{size}together")
    large_ways, ways = ways_of(found)
    assert (large_ways["base"], ways["base"]) == ("causal clinfit/smollm2", "causal clinfit/tiny")
    for size, group in (("large-", large_ways), ("", ways)):
        assert group["models"] == [f"{size}forgets", f"{size}keeps"] and group["chosen"] == f"{size}keeps"
        assert f"against {size}forgets:" in " ".join(group["verdict"]), "each base has a verdict of its own"


def with_alone() -> Study:
    """Besides: the first task alone, the second with other settings, and the second alone on another base."""
    made = study(primary="accuracy", margin=0.1)
    forgets = made.models[1]
    alone = [
        forgets.model_copy(update={"name": "one-alone", "stages": STAGES[:1], "tasks": ["one"]}),
        forgets.model_copy(update={"name": "other-longer", "stages": STAGES[1:], "train": Train(epochs=9)}),
        forgets.model_copy(update={"name": "other-large", "stages": STAGES[1:], "base": "clinfit/smollm2"}),
    ]
    return made.model_copy(update={"models": [*made.models, *alone]})


def test_a_model_that_learned_the_task_alone_with_the_same_settings_is_a_control() -> None:
    made = with_alone()
    knows = {**KNOWS, "one-alone": {0: (0.2, 0.2), 1: (2.5, 0.2)}}
    knows |= {name: {0: (0.2, 0.2), 1: (0.2, 2.5)} for name in ("other-longer", "other-large")}
    tables = [
        predictions_of(
            name, made.tasks[name], 300, number,
            [
                (model, stage, known[number])
                for model, stages in knows.items() for stage, known in stages.items()
                if not (model == "one-alone" and name == "other")
            ],
            42,
        )
        for number, name in enumerate(("one", "other"))
    ]  # fmt: skip
    found = evaluate(made, pd.concat(tables, ignore_index=True))
    single = of(found, "one", "forgets")["by_kind"]["single"]
    (alone,) = (
        system["metrics"]["accuracy"]["value"]
        for system in found["tasks"]["one"]["systems"]
        if (system["model"], system["stage"]) == ("one-alone", 1)
    )
    assert single["of"] == "one-alone" and single["direction"] == "worse" and single["within"] is False
    end = of(found, "one", "forgets")["rows"][-1]["metric"]["value"]
    assert single["difference"] == pytest.approx(end - alone)
    assert single["low"] < single["difference"] < single["high"] < 0
    assert "which learned one alone" in single["sentence"]
    assert of(found, "one", "keeps")["by_kind"]["single"]["within"] is True
    assert "single" not in of(found, "other", "forgets")["by_kind"], "trained longer, or on another base: no control"


def test_the_conclusion_is_one_sentence_with_its_numbers(found: Results) -> None:
    """What was forgotten, what keeps it, and what that costs the task of the last stage."""
    assert "stages" in found
    said = ways_of(found)[0]["conclusion"]
    lost, kept = (of(found, "one", name)["by_kind"]["retention"]["difference"] for name in ("forgets", "keeps"))
    cost = of(found, "other", "keeps")["by_kind"]["naive"]["difference"]
    assert said.startswith(f"forgets forgot one: {100 * lost:+.1f} points (")
    assert f"keeps, the best of 2 ways on validation, keeps one: {100 * kept:+.1f} points (" in said
    assert f"; against forgets, other {100 * cost:+.1f} points (" in said and said.count(". ") == 0


def test_the_conclusion_names_no_remedy_where_none_did_better(found: Results) -> None:
    ways = {model: {task: of(found, task, model) for task in ("one", "other")} for model in ("forgets", "keeps")}
    primaries = {"one": "accuracy", "other": "accuracy"}
    best = conclusion(ways, "forgets", "forgets", "forgets", primaries)  # type: ignore[arg-type]
    assert best.endswith("; of 2 ways none did better than forgets over all tasks on validation, by mean rank.")
    alone = conclusion({"forgets": ways["forgets"]}, "forgets", None, None, primaries)  # type: ignore[dict-item]
    assert alone.endswith("; there is no other way to hold against it.") and "forgot one" in alone


def test_a_loss_that_no_margin_rules_out_is_not_called_kept() -> None:
    (ways,) = ways_of(results(study(primary="accuracy"), n=60))
    assert "keeps, the best of 2 ways on validation, is not shown to lose one" in ways["conclusion"]


def from_file(name: str, task: Task) -> Task:
    return task.model_copy(update={"data": task.data.model_copy(update={"path": f"{name}.csv"})})


def test_prompting_is_no_control_of_training() -> None:
    """A model of which nothing is trained retains nothing and forgets nothing."""
    made = study()
    prompted = Causal(name="asked", family="causal", base="clinfit/tiny", method="prompt", shots=2, stages=STAGES)
    made = made.model_copy(update={"models": [*made.models[:1], prompted, *made.models[2:]]})
    tables = [
        predictions_of(
            name, made.tasks[name], 120, number,
            [(model, stage, knows[number]) for model, stages in ways.items() for stage, knows in stages.items()], 42,
        )
        for ways in [{**KNOWS, "asked": KNOWS["forgets"]}]
        for number, name in enumerate(("one", "other"))
    ]  # fmt: skip
    table = pd.concat(tables, ignore_index=True)
    found = evaluate(made, table.loc[table["model"] != "forgets"])
    entries = found["tasks"]["one"]["sections"]["stages"]  # type: ignore[typeddict-item]
    assert [entry["model"] for entry in entries] == ["keeps"]
    assert "naive" not in {change["kind"] for change in entries[0]["changes"]}


def test_transfer_over_several_tasks_is_their_mean_with_its_own_interval() -> None:
    """Three tasks one after the other: two of them can be forgotten, and their test items are not the same."""
    names = ("one", "two", "three")
    stages = [Stage(train={name: 1.0}) for name in names]
    knows = {stage: tuple(2.5 if stage == at + 1 else 0.3 for at in range(3)) for stage in range(4)}
    made = Study(
        name="staged",
        tasks={name: from_file(name, task_of("classification", primary="accuracy")) for name in names},
        models=[Causal(name="forgets", family="causal", base="clinfit/tiny", stages=stages)],
        evaluation={"bootstrap": 300},  # type: ignore[arg-type]
    )
    tables = [
        predictions_of(
            name, made.tasks[name], 300, at, [("forgets", stage, values[at]) for stage, values in knows.items()], 42
        )
        for at, name in enumerate(names)
    ]
    found = evaluate(made, pd.concat(tables, ignore_index=True))
    (ways,) = ways_of(found)
    (average,) = (average for average in ways["averages"] if average["kind"] == "retention")
    changes = [
        next(change for change in of(found, name, "forgets")["changes"] if change["kind"] == "retention")
        for name in names[:2]
    ]
    assert average["tasks"] == ["one", "two"]
    assert average["difference"] == pytest.approx(sum(change["difference"] for change in changes) / 2)
    widths = [change["high"] - change["low"] for change in changes]
    assert average["high"] - average["low"] == pytest.approx((widths[0] ** 2 + widths[1] ** 2) ** 0.5 / 2)
    assert average["sentence"] in ways["verdict"] and "forgotten" in average["sentence"]
    shared = made.model_copy(update={"tasks": {name: from_file("one", task) for name, task in made.tasks.items()}})
    again = evaluate(shared, pd.concat(tables, ignore_index=True))
    (wide,) = (one for one in ways_of(again)[0]["averages"] if one["kind"] == "retention")
    assert wide["high"] - wide["low"] == pytest.approx(sum(widths) / 2), "the same patients may be in all tasks"
    assert not ways_of(results(study()))[0]["averages"], "only one can be forgotten"


def test_of_ways_that_win_a_task_each_the_one_that_forgot_less_is_best() -> None:
    def way(*values: float) -> Any:
        return {f"task{k}": {"rows": [{"validation": value}]} for k, value in enumerate(values)}

    assert best_on_validation({"forgets": way(0.55, 0.952), "keeps": way(0.93, 0.95)}) == "keeps"
    assert best_on_validation({"keeps": way(0.93, 0.95), "forgets": way(0.55, 0.952)}) == "keeps"
    assert best_on_validation({"a": way(0.7, 0.9), "b": way(0.8, 0.95)}) == "b"
