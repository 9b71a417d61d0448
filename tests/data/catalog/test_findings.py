"""What a study on public sets is told: its split, rows that belong together, and what its bases have seen."""

from typing import Any

import pytest

from clinfit.data.catalog.findings import contamination, set_findings, sets_of
from clinfit.findings import Finding
from clinfit.study.models import Causal, Classical, ModelSpec
from clinfit.study.tasks import Task, task_from

OFFICIAL = {"column": "split", "validation_of_train": 0.2}


def task_on(source: str, **data: Any) -> Task:
    block = {"path": f"catalog:{source}", "id": "id", "inputs": {"text": "text"}, "label": "label"} | data
    return task_from({"labels": ["no", "yes"], "data": block, "prompt": "{{ text }} {{ labels }}"})


def causal(name: str, base: str) -> ModelSpec:
    return Causal(name=name, family="causal", base=base)


def codes(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.code) for finding in found]


def test_sets_are_those_that_the_study_names() -> None:
    assert list(sets_of(task_on("pubmedqa"))) == ["pubmedqa"]
    files = {"train": "catalog:meqsum", "test": "catalog:mediqa2021-questions"}
    assert list(sets_of(task_on("", path=None, files=files))) == ["meqsum", "mediqa2021-questions"]
    assert sets_of(task_on("", path="notes.csv")) == {}


@pytest.mark.parametrize(
    ("source", "data", "expected"),
    [
        ("pubmedqa", {"split": OFFICIAL}, []),
        ("pubmedqa", {}, [("warn", "official-split-unused")]),
        ("dreaddit", {"split": OFFICIAL}, [("warn", "group-not-declared")]),
        ("dreaddit", {"split": OFFICIAL, "group": "post_id"}, []),
        ("medmcqa-dev", {}, []),
        ("cancer-abstracts", {}, []),
    ],
)
def test_a_published_split_and_a_group_are_asked_for(
    source: str, data: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert codes(list(set_findings(task_on(source, **data)))) == expected


def test_a_base_that_saw_a_part_of_the_set_is_told_with_what_it_saw() -> None:
    models = [causal("one", "clinfit/tiny"), causal("two", "clinfit/tiny")]
    (found,) = contamination(task_on("pubmedqa", split=OFFICIAL), models)
    assert (found.level, found.code) == ("info", "contamination-known")
    assert found.evidence.startswith("one, two: it saw question, contexts") and "nothing of the test" in found.evidence
    (own,) = contamination(task_on("pubmedqa"), models)  # any item may be tested, those that it saw as well
    assert (own.level, own.code) == ("warn", "contamination-known")


def test_a_base_whose_texts_nobody_knows_is_told_and_one_that_saw_nothing_is_not() -> None:
    models = [
        causal("tiny", "clinfit/tiny"),
        causal("small", "clinfit/smollm2"),
        Classical(name="tfidf", family="classical", kind="tfidf-logistic"),
    ]
    (found,) = contamination(task_on("dreaddit", split=OFFICIAL), models)
    assert (found.level, found.code) == ("info", "contamination-unknown")
    assert "clinfit/smollm2" in found.title and found.evidence.startswith("small:")
    assert list(contamination(task_on("", path="notes.csv"), models)) == []
