"""Stages that show known tasks again, bases that know a task already, seeds that forget several tasks at once: what is
compared with what, from predictions whose quality after each stage is known."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from clinfit.evaluation.analyses.stage_changes import within_margin
from clinfit.evaluation.claims.paired import PairedDifference
from clinfit.evaluation.claims.paired_seeds import Errors
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.results import Results
from clinfit.study.models import Causal
from clinfit.study.schema import Study
from clinfit.study.stages import Mix, Retain, Stage
from clinfit.study.taught import learned_at, stages_of
from predicted import predictions_of, task_of

ONE, OTHER = Stage(train={"one": 1}), Stage(train={"other": 1})
#: After each stage how much is known of (one, other), by a model that forgets and by one that does not.
FORGETS = {0: (0.2, 0.2), 1: (2.5, 0.2), 2: (0.3, 2.5)}
KEEPS = {**FORGETS, 2: (2.4, 2.5)}


def study(models: Mapping[str, Sequence[Stage]], **settings: Any) -> Study:
    names = dict.fromkeys(name for stages in models.values() for stage in stages for name in stage.train)
    return Study(
        name="staged",
        tasks={name: task_of("classification", **{"primary": "accuracy", "margin": 0.1} | settings) for name in names},
        models=[
            Causal(name=name, family="causal", base="clinfit/tiny", stages=[*stages]) for name, stages in models.items()
        ],
        evaluation={"bootstrap": 300},  # type: ignore[arg-type]
    )


def results(made: Study, knows: Mapping[str, Mapping[int, Sequence[float]]], n: int = 200) -> Results:
    tables = [
        predictions_of(
            name, task, n, at,
            [(model, stage, known[at]) for model, stages in knows.items() for stage, known in stages.items()],
        )
        for at, (name, task) in enumerate(made.tasks.items())
    ]  # fmt: skip
    return evaluate(made, pd.concat(tables, ignore_index=True))


def changes(found: Results, task: str, model: str) -> dict[str, Any]:
    (entry,) = (entry for entry in found["tasks"][task]["sections"].get("stages", []) if entry["model"] == model)
    return {change["kind"]: change for change in entry["changes"]} | {"mastered": entry["mastered"]}


def test_a_task_is_learned_where_it_is_taught_first() -> None:
    again = Stage(train={"other": 1, "one": 0.3})
    for stages in ([ONE, again], [ONE, OTHER, ONE]):
        made = study({"model": stages})
        assert learned_at(stages_of(made, made.models[0])) == {"one": 1, "other": 2}


def test_mixing_known_tasks_into_new_ones_is_a_remedy() -> None:
    made = study({"naive": [ONE, OTHER], "mixing": [ONE, Stage(train={"other": 1, "one": 0.3})]})
    found = results(made, {"naive": FORGETS, "mixing": KEEPS})
    one, other = (changes(found, task, "mixing") for task in ("one", "other"))
    assert one["mastered"] is True and one["retention"]["within"] is True
    assert (one["naive"]["of"], one["naive"]["direction"]) == ("naive", "better")
    assert "transfer" not in one and other["transfer"]["reference"] == 0
    assert "naive" not in changes(found, "one", "naive"), "it is the one that others are held against"
    (ways,) = found.get("stages", {"ways": []})["ways"]
    assert ways["conclusion"].startswith("naive forgot one: -") and "; mixing, the best of 2 ways" in ways["conclusion"]


def test_a_task_that_is_taught_again_is_kept_or_lost_since_the_first_time() -> None:
    made = study({"back": [ONE, OTHER, ONE]})
    found = changes(results(made, {"back": {**FORGETS, 3: (2.5, 0.3)}}), "one", "back")
    assert (found["retention"]["reference"], found["retention"]["new"]) == (1, 3) and "transfer" not in found


def test_who_learned_from_other_records_is_no_control() -> None:
    more = OTHER.model_copy(update={"mix": Mix(records={"other": 500})})
    rehearsal = OTHER.model_copy(update={"retain": Retain(rehearsal=0.3)})
    made = study({"more": [ONE, more], "naive": [ONE, OTHER], "rehearsal": [ONE, rehearsal]})
    found = results(made, {"more": FORGETS, "naive": FORGETS, "rehearsal": KEEPS})
    assert changes(found, "one", "rehearsal")["naive"]["of"] == "naive"
    assert all("naive" not in changes(found, "one", model) for model in ("more", "naive"))


def test_what_the_base_knew_can_be_forgotten() -> None:
    made = study({"naive": [ONE, OTHER]})
    found = results(made, {"naive": {0: (2.5, 0.2), 1: (2.4, 0.2), 2: (0.3, 2.5)}})
    one = changes(found, "one", "naive")
    assert one["gain"]["direction"] != "better" and one["mastered"] is True
    assert "forgotten" in one["retention"]["sentence"]
    assert [finding for finding in found["tasks"]["one"]["findings"] if finding["code"] == "task-forgotten"]


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_the_same_answers_are_kept_with_one_seed_and_with_several(seeds: Sequence[int]) -> None:
    made = study({"apart": [ONE, Stage(train={"other": 1}, adapter="new")]}, primary="macro_f1")
    tables = []
    for seed in seeds:
        one = predictions_of("one", made.tasks["one"], 200, 0, [("apart", 0, 0.2), ("apart", 1, 2.5)], seed)
        after = [("apart", stage, known[1]) for stage, known in FORGETS.items()]
        tables += [one, one.loc[one["stage"] == 1].assign(stage=2)]
        tables.append(predictions_of("other", made.tasks["other"], 200, 1, after, seed))
    kept = changes(evaluate(made, pd.concat(tables, ignore_index=True)), "one", "apart")["retention"]
    assert (kept["low"], kept["difference"], kept["high"]) == (0, 0, 0) and kept["within"] is True


def test_seeds_forget_several_tasks_together() -> None:
    """The error of other seeds does not shrink with the number of tasks."""
    stages = [Stage(train={name: 1}) for name in ("one", "two", "three")]
    made = study({"naive": stages})
    tables = []
    for at, name in enumerate(made.tasks):
        for seed, end in ((1, 2.5), (2, 1.0), (3, 0.2)):
            known = [0.2] + [2.5 if at < stage else 0.2 for stage in (1, 2)] + [end if at < 2 else 2.5]
            systems = [("naive", stage, value) for stage, value in enumerate(known)]
            tables.append(predictions_of(name, made.tasks[name], 300, at, systems, seed))
    found = evaluate(made, pd.concat(tables, ignore_index=True))
    (ways,) = found.get("stages", {"ways": []})["ways"]
    (average,) = (one for one in ways["averages"] if one["kind"] == "retention")
    lost = np.mean([list(changes(found, task, "naive")["retention"]["by_seed"].values()) for task in ("one", "two")], 0)
    seeds_alone = student.ppf(0.975, 2) * lost.std(ddof=1) / np.sqrt(3)
    assert average["difference"] == pytest.approx(lost.mean())
    assert average["high"] - average["difference"] > 0.95 * seeds_alone


@pytest.mark.parametrize(("items", "seeds", "margin"), [(0.015, 0.004, 0.03), (0.03, 0.004, 0.05), (0.02, 0.0, 0.03)])
def test_as_many_items_as_are_named_would_show_it(items: float, seeds: float, margin: float) -> None:
    errors = Errors(items, seeds, 3)
    seen = PairedDifference("accuracy", 0.8, 0.78, -0.02, -0.09, 0.05)
    needed = within_margin(seen, errors, margin, 715, 0.95).needed
    assert needed is not None
    whole, freedom = errors.whole(items * (715 / needed) ** 0.5)
    reach = (student.ppf(0.975, freedom) + student.ppf(0.8, freedom)) * whole
    assert 0.98 * margin < reach <= margin


def test_where_seeds_alone_spread_beyond_the_margin_no_number_of_items_shows_it() -> None:
    seen = PairedDifference("accuracy", 0.8, 0.78, -0.02, -0.09, 0.05)
    found = within_margin(seen, Errors(0.015, 0.01, 3), 0.03, 715, 0.95)
    assert found.needed is None and "more seeds are needed" in found.why
