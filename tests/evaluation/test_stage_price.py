"""What a remedy costs: the tokens that it trained on, which depend on nothing else, beside the time that it took."""

from typing import Any

import pandas as pd
import pytest

from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.facts import ModelFacts
from clinfit.study.models import Causal
from clinfit.study.schema import Study
from clinfit.study.stages import Retain, Stage
from predicted import predictions_of, task_of

ONE, OTHER = Stage(train={"one": 1.0}), Stage(train={"other": 1.0})
#: Model -> stage -> how much it knows of (one, other).
KNOWS = {
    "naive": {0: (0.2, 0.2), 1: (2.5, 0.2), 2: (0.3, 2.5)},
    "keeps": {0: (0.2, 0.2), 1: (2.5, 0.2), 2: (2.5, 2.5)},
}


def with_facts(models: dict[str, ModelFacts]) -> tuple[str, list[Any]]:
    """The conclusion on stages, and the entries of both models."""
    made = Study(
        name="staged",
        tasks={name: task_of("classification", primary="accuracy", margin=0.1) for name in ("one", "other")},
        models=[
            Causal(name="naive", family="causal", base="clinfit/tiny", stages=[ONE, OTHER]),
            Causal(
                name="keeps",
                family="causal",
                base="clinfit/tiny",
                stages=[ONE, OTHER.model_copy(update={"retain": Retain(rehearsal=0.1)})],
            ),
        ],
        evaluation={"bootstrap": 100},  # type: ignore[arg-type]
    )
    tables = [
        predictions_of(
            name, task, 150, at,
            [(model, stage, known[at]) for model, stages in KNOWS.items() for stage, known in stages.items()],
        )
        for at, (name, task) in enumerate(made.tasks.items())
    ]  # fmt: skip
    found = evaluate(made, pd.concat(tables, ignore_index=True), {"models": models})
    assert "stages" in found
    (ways,) = found["stages"]["ways"]
    return ways["conclusion"], found["tasks"]["one"]["sections"].get("stages", [])


def facts(seconds: float, tokens: float | None) -> ModelFacts:
    """Two stages, the first as naive's."""
    known = ModelFacts(status="done", stage_seconds={"1": 20.0, "2": seconds})
    if tokens is not None:
        known["stage_tokens"] = {"1": 1000, "2": tokens}
    return known


def test_a_remedy_is_priced_in_tokens_beside_its_time() -> None:
    """On a busy machine it took less time than naive, from which nothing follows."""
    said, entries = with_facts({"naive-seed42": facts(40, 1000), "keeps-seed42": facts(22, 1400)})
    assert {entry["model"]: entry["tokens"] for entry in entries} == {"naive": 2000, "keeps": 2400}
    assert said.endswith("), in 1.20 times its trained tokens and 0.7 times its training time.")


@pytest.mark.parametrize("tokens", [(None, None), (None, 1400), (1000, None)])
def test_without_recorded_tokens_the_time_stands_alone(tokens: tuple[float | None, float | None]) -> None:
    said, _ = with_facts({"naive-seed42": facts(40, tokens[0]), "keeps-seed42": facts(22, tokens[1])})
    assert said.endswith("), in 0.7 times its training time.")
