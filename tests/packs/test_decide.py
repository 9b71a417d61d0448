"""From probabilities to decisions, kind by kind; and answers as a table."""

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from clinfit.evaluation.decisions.recalibration import Recalibration
from clinfit.evaluation.decisions.referral_rule import Referral
from clinfit.evaluation.decisions.thresholds import ThresholdChoice
from clinfit.packs.answer import Answer, answers_table
from clinfit.packs.decide import DECIDE, Served, decide, label_sets
from clinfit.study.data import Data
from clinfit.study.evaluation import SETTINGS
from clinfit.study.tasks import Classification, Multilabel, MultipleChoice

DATA = Data(path="unused.csv", inputs={"question": "q", "first": "a", "second": "b", "third": "c"})
ONE = Served(
    Classification(labels=["no", "yes"], data=DATA), Recalibration(), {"": ThresholdChoice("fixed", 0.4)}, None, {}
)
MANY = Served(
    Multilabel(kind="multilabel", labels=["heart", "lung", "skin"], data=DATA),
    Recalibration(),
    {"skin": ThresholdChoice("f1", 0.2), "heart": ThresholdChoice("f1", 0.5), "lung": ThresholdChoice("f1", 0.9)},
    None,
    {},
)
OPTIONS = Served(
    MultipleChoice(kind="multiple-choice", options=["first", "second", "third"], data=DATA),
    Recalibration(),
    {},
    None,
    {},
)


def test_every_kind_of_task_is_decided() -> None:
    assert DECIDE.keys() == SETTINGS.keys() - {"generation", "extraction"}, "of a text nothing is decided"


def test_one_label_by_its_threshold() -> None:
    decided = decide(ONE, np.array([[0.61, 0.39], [0.6, 0.4], [0.1, 0.9]]))
    assert decided.decided == ["no", "yes", "yes"] and not decided.referred.any() and decided.sets is None


def test_one_of_three_labels_by_label_weights() -> None:
    weights = {"no": 1.0, "yes": 0.5, "maybe": 3.0}
    served = replace(
        ONE,
        task=Classification(labels=["no", "yes", "maybe"], data=DATA),
        thresholds={"": ThresholdChoice("macro-f1", weights=weights)},
    )
    decided = decide(served, np.array([[0.3, 0.55, 0.15], [0.2, 0.7, 0.1], [0.1, 0.55, 0.35]]))
    assert decided.predicted == ["yes", "yes", "yes"] and decided.decided == ["maybe", "yes", "maybe"]
    assert served.used_thresholds == {} and served.label_weights == weights


def test_every_label_has_its_own_threshold_and_none_may_reach_it() -> None:
    decided = decide(MANY, np.array([[0.5, 0.89, 0.1], [0.49, 0.89, 0.19], [0.9, 0.9, 0.9]]))
    assert decided.decided == [("heart",), (), ("heart", "lung", "skin")]


def test_the_most_probable_option_and_of_equal_ones_the_first() -> None:
    decided = decide(OPTIONS, np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]))
    assert decided.decided == ["B", "A"]


def test_recalibration_comes_before_the_threshold_and_referral_behind_it() -> None:
    sharper = Recalibration("temperature", {"temperature": [0.5], "floor": [1e-6]})
    served = replace(ONE, recalibration=sharper, referral=Referral("conformal", 0.9, {"cut": [0.25]}))
    decided = decide(served, np.array([[0.65, 0.35], [0.5, 0.5]]))
    assert decided.probabilities[0, 1] == pytest.approx(0.35**2 / (0.35**2 + 0.65**2))
    assert decided.decided == ["no", "yes"] and decided.referred.tolist() == [False, True]
    assert decided.sets is not None and label_sets(["no", "yes"], decided.sets) == [("no",), ("no", "yes")]


def answer(**changes: Any) -> Answer:
    shares, limits = {"heart": 0.25, "lung": 0.5}, {"heart": 0.5, "lung": 0.4}
    plain = Answer("t", "r1", "multilabel", (), (), limits, shares, "ok", (), None, None, "12" * 32, "rules")
    return replace(plain, **changes)


def test_answers_are_plain_data() -> None:
    text = json.dumps(asdict(answer(predicted=("heart", "lung"), prediction_set=("lung",))))
    assert json.loads(text)["predicted"] == ["heart", "lung"] and json.loads(text)["probabilities"]["heart"] == 0.25


def test_labels_of_one_cell_are_joined_and_none_is_the_empty_text() -> None:
    table = answers_table([answer(), answer(predicted=("heart", "lung"))], ["heart", "lung"], sets=False)
    assert list(table.columns) == ["id", "p_heart", "p_lung", "predicted", "decision", "threshold", "status", "notes"]
    assert list(table["predicted"]) == ["", "heart|lung"] and table["p_lung"].dtype == np.float64


def test_no_answers_are_a_table_with_the_same_columns() -> None:
    table = answers_table([], ["heart", "lung"], sets=True)
    assert list(table.columns) == [
        "id",
        "p_heart",
        "p_lung",
        "predicted",
        "decision",
        "threshold",
        "status",
        "notes",
        "prediction_set",
    ]
    assert table["p_heart"].dtype == np.float64
