"""Tasks of one source, and test records of one task that another task of the same model learns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clinfit.data.catalog.sets import kin
from clinfit.data.load import load_task
from clinfit.data.origins import leaks_between_tasks, origins_of
from clinfit.findings import Finding
from clinfit.runs.inputs import describe_data
from clinfit.study.schema import Study
from clinfit.study.tasks import task_from

NAIVE = {
    "name": "naive",
    "family": "causal",
    "base": "clinfit/tiny",
    "stages": [{"train": {"one": 1}}, {"train": {"other": 1}}],
}
N = 30


def note(at: int) -> str:
    return f"visit {at}: the knee hurts since Monday, there is no fever and no fall, number {at}"


@pytest.fixture
def table() -> dict[str, list[Any]]:
    """30 rows of 15 patients; the last ten are test records of task one, the first ten of the other."""
    return {
        "id": [f"r{at}" for at in range(N)],
        "patient": [f"p{at // 2}" for at in range(N)],
        "text": [note(at) for at in range(N)],
        "y": ["well", "ill"] * (N // 2),
        "one": ["train"] * 15 + ["validation"] * 5 + ["test"] * 10,
        "other": ["test"] * 10 + ["validation"] * 5 + ["train"] * 15,
    }


def block(split: str, path: str = "items.csv", column: str = "text", **data: Any) -> dict[str, Any]:
    rule = {"path": path, "inputs": {column: column}, "label": "y", "split": {"column": split}, **data}
    return {"labels": ["well", "ill"], "data": rule}


def study_of(folder: Path, tasks: dict[str, Any], models: Sequence[dict[str, Any]] = (NAIVE,)) -> Study:
    study = Study.model_validate({"name": "cross", "tasks": tasks, "models": list(models)})
    return study.model_copy(update={"folder": folder})


def found(study: Study) -> dict[str, list[Finding]]:
    return leaks_between_tasks(study, {name: load_task(name, task, study.folder) for name, task in study.tasks.items()})


def write(folder: Path, table: dict[str, list[Any]], name: str = "items.csv") -> None:
    pd.DataFrame(table).to_csv(folder / name, index=False)


def test_records_that_one_task_tests_and_the_other_teaches_are_told(
    tmp_path: Path, table: dict[str, list[Any]]
) -> None:
    write(tmp_path, table)
    ids = {"id": "id"}
    findings = found(study_of(tmp_path, {"one": block("one", **ids), "other": block("other", **ids)}))
    (told,) = findings["one"]
    assert (told.level, told.code) == ("warn", "leak-between-tasks")
    assert told.title == "10 of 10 test records are training records of task other, which naive also learns"
    assert told.evidence.startswith("by id or group 10, by text 10; records r20, r21")
    (back,) = findings["other"]
    assert "task one" in back.title and "10 of 10" in back.title
    assert "knee" not in str(findings)


def test_a_group_is_told_where_both_name_it(tmp_path: Path, table: dict[str, list[Any]]) -> None:
    """Every row of the other task is another row of the same patients."""
    other = table | {"text": [f"another day, {text} and so on" for text in table["text"]]}
    rows = {column: [*table[column], *other[column]] for column in table}
    rows |= {
        "id": list(range(2 * N)),
        "one": [*table["one"], *["validation"] * N],
        "other": [*["validation"] * N, *table["other"]],
    }
    write(tmp_path, rows)
    keys = {"id": "id", "group": "patient"}
    told = found(study_of(tmp_path, {"one": block("one", **keys), "other": block("other", **keys)}))["one"][0]
    assert told.evidence.startswith("by id or group 10, by text 0;")
    alone = study_of(tmp_path, {"one": block("one", **keys), "other": block("other", id="id")})
    assert found(alone) == {"one": [], "other": []}


def test_equal_texts_of_other_files_are_told_and_equal_ids_are_not(tmp_path: Path, table: dict[str, list[Any]]) -> None:
    write(tmp_path, table)
    others = ["Quite another note about a cough, rest and what the doctor said about it"] * N
    write(tmp_path, table | {"text": [f"{text} {at}" for at, text in enumerate(others)]}, "other.csv")
    tasks = {"one": block("one", id="id"), "other": block("other", "other.csv", id="id")}
    assert found(study_of(tmp_path, tasks)) == {"one": [], "other": []}
    respelt = [text.upper().replace(",", " -") for text in table["text"]]
    write(tmp_path, {**table, "report": respelt}, "other.csv")
    told = found(study_of(tmp_path, tasks | {"other": block("other", "other.csv", "report", id="id")}))["one"][0]
    assert told.evidence.startswith("by id or group 0, by text 10;")


def test_models_that_do_not_learn_both_leak_nothing(tmp_path: Path, table: dict[str, list[Any]]) -> None:
    write(tmp_path, table)
    tasks = {"one": block("one"), "other": block("other")}
    alone = [{**NAIVE, "name": name, "tasks": [name], "stages": [{"train": {name: 1}}]} for name in tasks]
    others = [
        {"name": "majority", "family": "baseline", "kind": "majority"},
        {"name": "lasso", "family": "classical", "kind": "lasso"},
        {"name": "asked", "family": "causal", "base": "clinfit/tiny", "method": "prompt"},
    ]
    assert found(study_of(tmp_path, tasks, [*alone, *others])) == {}


def test_tasks_that_are_divided_alike_leak_nothing(tmp_path: Path, table: dict[str, list[Any]]) -> None:
    write(tmp_path, table)
    assert found(study_of(tmp_path, {"one": block("one"), "other": block("one")})) == {"one": [], "other": []}


def test_a_run_keeps_it_with_the_findings_of_the_task(tmp_path: Path, table: dict[str, list[Any]]) -> None:
    write(tmp_path, table)
    study = study_of(tmp_path, {"one": block("one"), "other": block("other")})
    data = {name: load_task(name, task, study.folder) for name, task in study.tasks.items()}
    codes = {name: [one["code"] for one in told["findings"]] for name, told in describe_data(study, data).items()}
    assert all("leak-between-tasks" in of_task for of_task in codes.values())


# ---------------------------------------------------------------- where records come from


def origins(**sources: Any) -> dict[str, str]:
    blocks = {name: source if isinstance(source, dict) else {"path": source} for name, source in sources.items()}
    task = {"labels": ["a", "b"]}
    return origins_of(
        {name: task_from(task | {"data": {"inputs": {"x": "x"}, **data}}) for name, data in blocks.items()}
    )


def test_sets_that_are_made_of_the_same_files_have_one_origin() -> None:
    assert origins(a="catalog:pubmedqa", b="catalog:pubmedqa-answers", c="catalog:meqsum") == {
        "a": "a",
        "b": "a",
        "c": "c",
    }
    assert kin("pubmedqa") == ["pubmedqa-answers"] and kin("meqsum") == []
    assert kin("medmcqa-dev") == ["medmcqa"]


def test_sets_of_the_same_documents_in_other_files_name_each_other() -> None:
    assert kin("pubmed-summarization") == ["scientific-papers-pubmed"]
    assert kin("scientific-papers-pubmed") == ["pubmed-summarization"]


def test_files_in_common_join_tasks_also_by_way_of_a_third() -> None:
    assert origins(a="x.csv", b="./x.csv", c="y.csv") == {"a": "a", "b": "a", "c": "c"}
    both = {"files": {"train": "x.csv", "test": "y.csv"}}
    assert len(set(origins(a="x.csv", b="y.csv", c=both).values())) == 1
    assert origins(a="catalog:breast-cancer-wisconsin", b="catalog:breast-cancer-wisconsin") == {"a": "a", "b": "a"}
