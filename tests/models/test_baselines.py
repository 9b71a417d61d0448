"""Rules that need no training."""

from pathlib import Path

import numpy as np
import pytest

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import Workspace
from clinfit.models.baselines import BaselineModel
from clinfit.study import Baseline, Data, InputColumn, Task

TEXT = {"note": InputColumn(column="note"), "title": InputColumn(column="title")}


def task(labels: list[str], positive: str | None = None, **data: object) -> Task:
    return Task(labels=labels, positive=positive, data=Data(path="unused.csv", **{"inputs": TEXT, **data}))


def records(*rows: tuple[str | None, str]) -> list[Record]:
    return [Record(str(i), str(i), {"note": note, "title": None}, target) for i, (note, target) in enumerate(rows)]


def keyword(*patterns: str) -> Baseline:
    return Baseline(name="keyword", family="baseline", kind="keyword", patterns=list(patterns))


MAJORITY = Baseline(name="majority", family="baseline", kind="majority")
ALWAYS = Baseline(name="always", family="baseline", kind="always-positive")


def test_majority_gives_training_prevalence(tmp_path: Path) -> None:
    model = BaselineModel(MAJORITY, task(["a", "b", "c"]), 0)
    model.fit(records(("x", "b"), ("x", "b"), ("x", "a"), ("x", "b")), records(("x", "c")), Workspace(tmp_path))
    np.testing.assert_array_equal(
        model.predict(records(("y", "c"), ("z", "a"))).probabilities, [[0.25, 0.75, 0.0], [0.25, 0.75, 0.0]]
    )


@pytest.mark.parametrize(("positive", "row"), [(None, [0.0, 1.0]), ("a", [1.0, 0.0])])
def test_always_positive_follows_the_declared_positive_label(
    positive: str | None, row: list[float], tmp_path: Path
) -> None:
    model = BaselineModel(ALWAYS, task(["a", "b"], positive), 0)
    model.fit(records(("x", "a")), [], Workspace(tmp_path))
    np.testing.assert_array_equal(model.predict(records(("y", "a"))).probabilities, [row])


def test_keyword_gives_smoothed_training_frequencies(tmp_path: Path) -> None:
    model = BaselineModel(keyword("tumou?r", "cancer$"), task(["no", "yes"]), 0)
    train = records(("A TUMOR", "yes"), ("tumour", "yes"), ("lung cancer", "no"), ("cancers", "no"), (None, "no"))
    summary = model.fit(train, [], Workspace(tmp_path))
    found = model.predict(records(("no tumour seen", "no"), ("healthy", "no"), (None, "no"))).probabilities
    np.testing.assert_allclose(found[:, 1], [3 / 5, 1 / 4, 1 / 4])
    assert (summary.details["matched"], summary.details["unmatched"]) == (3, 2)
    assert summary.alarms == []


def test_keyword_searches_every_text_input_but_no_other(tmp_path: Path) -> None:
    inputs = {"title": InputColumn(column="t"), "site": InputColumn(column="s", type="category")}
    model = BaselineModel(keyword("tumour"), task(["no", "yes"], inputs=inputs), 0)
    train = [
        Record("1", "1", {"title": "tumour", "site": "x"}, "yes"),
        Record("2", "2", {"title": "y", "site": "tumour"}, "no"),
    ]
    assert model.fit(train, [], Workspace(tmp_path)).details["matched"] == 1


def test_rule_that_training_contradicts_keeps_its_frequencies_and_raises_an_alarm(tmp_path: Path) -> None:
    model = BaselineModel(keyword("tumour"), task(["no", "yes"]), 0)
    train = records(("tumour", "no"), ("tumour", "no"), ("other", "yes"), ("other", "yes"), ("other", "yes"))
    summary = model.fit(train, [], Workspace(tmp_path))
    assert len(summary.alarms) == 2
    np.testing.assert_allclose(model.predict(records(("tumour", "no"))).probabilities, [[3 / 4, 1 / 4]])


def test_broken_pattern_is_named(tmp_path: Path) -> None:
    model = BaselineModel(keyword("tumour("), task(["no", "yes"]), 0)
    with pytest.raises(ClinfitError, match=r"tumour\("):
        model.fit(records(("x", "no")), [], Workspace(tmp_path))
