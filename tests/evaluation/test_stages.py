"""What stages gained and cost, from predictions whose quality after each stage is known."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.results import Results
from clinfit.study.models import Baseline, Causal, Classical
from clinfit.study.schema import Study
from clinfit.study.stages import Retain, Stage
from clinfit.study.tasks import Task
from clinfit.study.taught import learned_at, stages_of
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


def results(made: Study, n: int = 300, seeds: Sequence[int] = (42,)) -> Results:
    tables = [
        predictions_of(
            name,
            made.tasks[name],
            n,
            number,
            [(model, stage, knows[number]) for model, stages in KNOWS.items() for stage, knows in stages.items()],
            seed,
        )
        for number, name in enumerate(("one", "other"))
        for seed in seeds
    ]
    return evaluate(made, pd.concat(tables, ignore_index=True))


def of(found: Results, task: str, model: str) -> dict[str, Any]:
    (entry,) = (entry for entry in found["tasks"][task]["sections"]["stages"] if entry["model"] == model)
    return dict(entry) | {"by_kind": {change["kind"]: change for change in entry["changes"]}}


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


@pytest.mark.parametrize("kind", MADE)
def test_every_kind_has_a_matrix(kind: str) -> None:
    found = results(study(kind), n=120)
    entry = of(found, "one", "forgets")
    assert [row["metric"]["status"] for row in entry["rows"]] == ["ok"] * 3
    assert entry["by_kind"]["retention"]["difference"] < 0


def test_the_verdict_names_the_remedy_that_validation_chose(found: Results) -> None:
    assert "stages" in found
    said = found["stages"]["verdict"]
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
    assert "stages" in found and found["stages"]["chosen"] in {"keeps", "large-keeps"}
    chosen = found["stages"]["chosen"]
    assert f"against {chosen.replace('keeps', 'forgets')}:" in " ".join(found["stages"]["verdict"])


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
    assert "stages" in found
    (average,) = (average for average in found["stages"]["averages"] if average["kind"] == "retention")
    changes = [
        next(change for change in of(found, name, "forgets")["changes"] if change["kind"] == "retention")
        for name in names[:2]
    ]
    assert average["tasks"] == ["one", "two"]
    assert average["difference"] == pytest.approx(sum(change["difference"] for change in changes) / 2)
    widths = [change["high"] - change["low"] for change in changes]
    assert average["high"] - average["low"] == pytest.approx((widths[0] ** 2 + widths[1] ** 2) ** 0.5 / 2)
    assert average["sentence"] in found["stages"]["verdict"] and "forgotten" in average["sentence"]
    shared = made.model_copy(update={"tasks": {name: from_file("one", task) for name, task in made.tasks.items()}})
    again = evaluate(shared, pd.concat(tables, ignore_index=True))
    (wide,) = (one for one in again["stages"]["averages"] if one["kind"] == "retention")  # type: ignore[typeddict-item]
    assert wide["high"] - wide["low"] == pytest.approx(sum(widths) / 2), "the same patients may be in all tasks"
    assert not results(study())["stages"]["averages"]  # type: ignore[typeddict-item]  # only one can be forgotten
