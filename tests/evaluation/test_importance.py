"""Permutation importance from the answers to shuffled records."""

from typing import Any

import pandas as pd
import pytest

from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.facts import Facts
from clinfit.evaluation.metrics.engines import ENGINES
from clinfit.evaluation.system_results import ImportanceDict, SystemSections
from predicted import predictions_of, study_of, task_of
from shuffled import importance_of

KINDS = pytest.mark.parametrize("kind", ["classification", "multilabel"])


def sections_of(kind: str, table: pd.DataFrame | None = None, stage: int = 1) -> dict[str, SystemSections]:
    task = task_of(kind)
    table = predictions_of("asked", task) if table is None else table
    asked = importance_of(table, "forest-seed42", 1)
    asked["forest-seed42"]["stage"] = stage
    found = evaluate(study_of({"asked": task}), table, Facts(importance={"asked": asked}))["tasks"]["asked"]
    return {system["name"]: system["sections"] for system in found["systems"]}


def section(sections: SystemSections, name: str) -> Any:
    return sections.get(name)


def importance(kind: str, table: pd.DataFrame | None = None) -> ImportanceDict:
    return section(sections_of(kind, table)["forest"], "importance")


@KINDS
def test_the_drop_is_that_of_auroc_and_what_is_not_needed_has_none(kind: str) -> None:
    found, task = importance(kind), task_of(kind)
    table = predictions_of("asked", task)
    asked = importance_of(table, "forest-seed42", 1)["forest-seed42"]["answers"]
    engine = ENGINES[kind]

    def auroc(rows: pd.DataFrame) -> float:
        return engine.estimates(engine.read(rows, task.labels, task.positive_label)[0])[found["metric"]]

    plain = auroc(asked.loc[asked["input"].isna()])
    shuffled = [auroc(rows) for _, rows in asked.loc[asked["input"] == "needed"].groupby("repeat")]
    first, second = found["rows"]
    assert (first["input"], second["input"]) == ("needed", "spare")
    assert found["value"] == pytest.approx(plain) and (found["n"], found["repeats"]) == (160, 3)
    assert first["drop"]["value"] == pytest.approx(plain - sum(shuffled) / 3)
    assert 0 < (first["drop"]["low"] or 0) < (first["drop"]["value"] or 0) < (first["drop"]["high"] or 0)
    none = (second["drop"]["value"], second["drop"]["low"], second["drop"]["high"])
    assert none == pytest.approx((0, 0, 0), abs=1e-12)


def test_groups_widen_the_interval() -> None:
    table = predictions_of("asked", task_of("classification"))
    grouped = table.assign(group=table["id"].str[:-1])
    alone, together = (importance("classification", rows)["rows"][0]["drop"] for rows in (table, grouped))
    assert "by group" in str(together["method"]) and "by item" in str(alone["method"])


def test_only_the_stage_that_was_asked_and_the_weights_beside_it() -> None:
    sections = sections_of("classification")
    assert section(sections["forest"], "weights")["penalty"] == "L1"
    assert all("importance" not in found for name, found in sections.items() if name != "forest")
    assert "importance" not in sections_of("classification", stage=2)["forest"]
