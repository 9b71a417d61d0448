"""Rules that need no training."""

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clinfit.data.fields import canonical
from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import Lesson, Workspace
from clinfit.models.baselines import BaselineModel
from clinfit.models.texts.writing_rules import Examples
from clinfit.study.data import Data, InputColumn
from clinfit.study.models import Baseline
from clinfit.study.tasks import Classification, Task, task_from
from lessons import TASK, lesson

TEXT = {"note": InputColumn(column="note"), "title": InputColumn(column="title")}


def task(labels: list[str], positive: str | None = None, **data: object) -> Task:
    return Classification(labels=labels, positive=positive, data=Data(path="unused.csv", **{"inputs": TEXT, **data}))


def records(*rows: tuple[str | None, str]) -> list[Record]:
    return [Record(str(i), str(i), {"note": note, "title": None}, target) for i, (note, target) in enumerate(rows)]


def keyword(*patterns: str) -> Baseline:
    return Baseline(name="keyword", family="baseline", kind="keyword", patterns=list(patterns))


MAJORITY = Baseline(name="majority", family="baseline", kind="majority")
ALWAYS = Baseline(name="always", family="baseline", kind="always-positive")


def test_majority_gives_training_prevalence(tmp_path: Path) -> None:
    model = BaselineModel(MAJORITY, {TASK: task(["a", "b", "c"])}, 0)
    train = records(("x", "b"), ("x", "b"), ("x", "a"), ("x", "b"))
    model.fit(lesson(train, records(("x", "c"))), Workspace(tmp_path))
    np.testing.assert_array_equal(
        model.predict(TASK, records(("y", "c"), ("z", "a"))).probabilities, [[0.25, 0.75, 0.0], [0.25, 0.75, 0.0]]
    )


def test_majority_of_several_labels_is_the_prevalence_of_each(tmp_path: Path) -> None:
    several = task_from({"kind": "multilabel", "labels": ["a", "b", "c"], "data": Data(path="unused.csv", inputs=TEXT)})
    model = BaselineModel(MAJORITY, {TASK: several}, 0)
    train = [
        replace(r, target=t) for r, t in zip(records(*[("x", "")] * 4), [("a", "b"), ("a",), (), ("a",)], strict=True)
    ]
    model.fit(lesson(train), Workspace(tmp_path))
    np.testing.assert_array_equal(model.predict(TASK, train[:1]).probabilities, [[0.75, 0.25, 0.0]])


def test_lexicon_gives_each_label_its_frequency_by_whether_the_text_names_it(tmp_path: Path) -> None:
    lexicon = {"name": "own", "types": {"a": {"names": ["asthma"]}, "b": {"names": ["flu"]}}, "negations": ["no"]}
    named = task_from(
        {
            "kind": "multilabel",
            "labels": ["b", "a"],
            "lexicon": lexicon,
            "data": Data(path="unused.csv", inputs={**TEXT}),
        }
    )
    model = BaselineModel(Baseline(name="lexicon", family="baseline", kind="lexicon"), {TASK: named}, 0)
    texts = [("asthma", ("a",)), ("asthma and flu", ("a", "b")), ("flu", ()), ("no flu", ("b",)), ("a fall", ())]
    train = [
        replace(record, target=t) for record, (_, t) in zip(records(*[(x, "") for x, _ in texts]), texts, strict=True)
    ]
    model.fit(lesson(train), Workspace(tmp_path))
    model.save(tmp_path / "saved")
    asked = records(("Flu.", ""), ("ASTHMA", ""), (None, ""))
    b_named, b_not, a_named, a_not = 2 / 4, 2 / 5, 3 / 4, 1 / 5
    for answering in (model, BaselineModel.load(tmp_path / "saved")):
        np.testing.assert_allclose(
            answering.predict(TASK, asked).probabilities, [[b_named, a_not], [b_not, a_named], [b_not, a_not]]
        )


@pytest.mark.parametrize(("positive", "row"), [(None, [0.0, 1.0]), ("a", [1.0, 0.0])])
def test_always_positive_follows_the_declared_positive_label(
    positive: str | None, row: list[float], tmp_path: Path
) -> None:
    model = BaselineModel(ALWAYS, {TASK: task(["a", "b"], positive)}, 0)
    model.fit(lesson(records(("x", "a"))), Workspace(tmp_path))
    np.testing.assert_array_equal(model.predict(TASK, records(("y", "a"))).probabilities, [row])


def test_keyword_gives_smoothed_training_frequencies(tmp_path: Path) -> None:
    model = BaselineModel(keyword("tumou?r", "cancer$"), {TASK: task(["no", "yes"])}, 0)
    train = records(("A TUMOR", "yes"), ("tumour", "yes"), ("lung cancer", "no"), ("cancers", "no"), (None, "no"))
    summary = model.fit(lesson(train), Workspace(tmp_path))
    details = summary.details["tasks"][TASK]
    found = model.predict(TASK, records(("no tumour seen", "no"), ("healthy", "no"), (None, "no"))).probabilities
    np.testing.assert_allclose(found[:, 1], [3 / 5, 1 / 4, 1 / 4])
    assert (details["matched"], details["unmatched"]) == (3, 2)
    assert summary.alarms == []


def test_keyword_searches_every_text_input_but_no_other(tmp_path: Path) -> None:
    inputs = {"title": InputColumn(column="t"), "site": InputColumn(column="s", type="category")}
    model = BaselineModel(keyword("tumour"), {TASK: task(["no", "yes"], inputs=inputs)}, 0)
    train = [
        Record("1", "1", {"title": "tumour", "site": "x"}, "yes"),
        Record("2", "2", {"title": "y", "site": "tumour"}, "no"),
    ]
    assert model.fit(lesson(train), Workspace(tmp_path)).details["tasks"][TASK]["matched"] == 1


def test_rule_that_training_contradicts_keeps_its_frequencies_and_raises_an_alarm(tmp_path: Path) -> None:
    model = BaselineModel(keyword("tumour"), {TASK: task(["no", "yes"])}, 0)
    train = records(("tumour", "no"), ("tumour", "no"), ("other", "yes"), ("other", "yes"), ("other", "yes"))
    summary = model.fit(lesson(train), Workspace(tmp_path))
    assert len(summary.alarms) == 2
    np.testing.assert_allclose(model.predict(TASK, records(("tumour", "no"))).probabilities, [[3 / 4, 1 / 4]])


def test_broken_pattern_is_named(tmp_path: Path) -> None:
    model = BaselineModel(keyword("tumour("), {TASK: task(["no", "yes"])}, 0)
    with pytest.raises(ClinfitError, match=r"tumour\("):
        model.fit(lesson(records(("x", "no"))), Workspace(tmp_path))


# ---------------------------------------------------------------- rules that write


def written(kind: str, train: list[tuple[str, str]], asked: list[str], **settings: Any) -> list[str]:
    """What a rule writes to records of one text; train: sources and references."""
    task = task_from(
        {"kind": "generation", "max_new_tokens": 4, "data": {"path": "unused.csv", "inputs": {"text": "text"}}}
    )
    model = BaselineModel(Baseline(name="m", family="baseline", kind=kind, **settings), {"t": task}, 1)  # type: ignore[arg-type]
    known = [Record(f"k{i}", f"k{i}", {"text": text}, answer, "train", "t") for i, (text, answer) in enumerate(train)]
    model.fit(Lesson(known, [], {"t": 1.0}), Workspace(Path("unused")))
    return model.generate("t", [Record(f"a{i}", f"a{i}", {"text": text}) for i, text in enumerate(asked)], 9).texts


def test_copy_ends_at_a_number_of_words() -> None:
    assert written("copy", [], ["one two\nthree  four five", "one"]) == ["one two\nthree  four", "one"]
    assert written("copy", [], ["one two three"], most_words=2) == ["one two"]


def test_lead_takes_the_first_sentences() -> None:
    text = "First, at 2.5 mg. Second!\nThird? Fourth."
    assert written("lead", [], [text, ""], sentences=2) == ["First, at 2.5 mg. Second!", ""]


def test_nearest_answers_as_the_most_similar_training_record() -> None:
    train = [("fever and cough", "A cold."), ("a broken left arm", "A fracture."), ("cough at night", "Asthma.")]
    assert written("nearest", train, ["my arm is broken", "fever with cough"]) == ["A fracture.", "A cold."]
    assert written("nearest", [], ["anything"]) == [""]


def test_nearest_does_not_hold_all_similarities_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Examples([f"finding {k}" for k in range(1500)], [str(k) for k in range(1500)])
    asked = [f"finding {k}" for k in range(1500)]
    monkeypatch.setattr("clinfit.models.texts.writing_rules.MOST_CELLS", 2**16)
    tracemalloc.start()
    found = known.nearest(asked)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == known.references and peak < 1500 * 1500 * 8 / 2
    monkeypatch.setattr("clinfit.models.texts.writing_rules.MOST_CELLS", 1)
    assert known.nearest(asked[:9]) == known.references[:9]


def test_the_most_frequent_value_of_each_field() -> None:
    """A text that few training records have would name them; a value of a list that the study declares does not."""
    fields = {"side": {"values": ["left", "right"]}, "drug": "string", "place": "string", "days": "integer"}
    task = task_from(
        {"kind": "extraction", "fields": fields, "data": {"path": "unused.csv", "inputs": {"text": "text"}}}
    )
    model = BaselineModel(Baseline(name="m", family="baseline", kind="majority"), {"t": task}, 1)
    targets = [
        canonical({"side": "right" if k < 8 else "left", "drug": "aspirin", "place": f"at {k}", "days": k % 2})
        for k in range(12)
    ]
    known = [Record(f"k{k}", f"k{k}", {"text": "x"}, target, "train", "t") for k, target in enumerate(targets)]
    model.fit(Lesson(known, [], {"t": 1.0}), Workspace(Path("unused")))
    texts = model.generate("t", [Record("a", "a", {"text": "y"})], 9).texts
    assert texts == ['{"side": "right", "drug": "aspirin", "place": "", "days": 0}']
