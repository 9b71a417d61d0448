"""One text for every record: it is told, and no claim stands on beating less than that."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from clinfit.data.records import Record
from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.metrics.generation import GENERATION
from clinfit.predictions import SCORE
from clinfit.runs.steps.item_scores import score_table, with_scores
from clinfit.study.evaluation import Evaluation, settings_of
from clinfit.study.tasks import Generation, task_from
from predicted import predictions_of, study_of, task_of

N = 60
CODE = "few-different-texts"


def written(task: Generation, texts: Any) -> pd.DataFrame:
    """Predictions in which the trained model writes texts(references) instead; scored."""
    table, settings = predictions_of("t", task, N), settings_of("generation", Evaluation())
    ours = (table["model"] == "tiny") & (table["stage"] == 1)
    parts = [table.loc[~ours]]
    for _, rows in table.loc[ours].groupby("split"):
        rows = rows.drop(columns=[column for column in table if str(column).startswith(SCORE)]).reset_index(drop=True)
        wrote = texts(list(rows["gold"]))
        rows = rows.assign(predicted=wrote, raw=wrote, finish_reason="stop")
        records = [Record(id, id, {"text": f"Seen: {gold}"}) for id, gold in zip(rows["id"], rows["gold"], strict=True)]
        parts.append(with_scores(rows, score_table(task, settings, records, rows)))
    return pd.concat(parts, ignore_index=True)


def evaluated(texts: Any, **block: Any) -> Any:
    task = task_of("generation", primary="token_f1").model_copy(update=block)
    assert isinstance(task, Generation)
    return evaluate(study_of({"t": task}, bootstrap=200), written(task, texts))["tasks"]["t"]


def told(result: Any, code: str) -> list[Any]:
    return [finding for finding in result["findings"] if finding["code"] == code]


@pytest.fixture(scope="module")
def constant() -> Any:
    """The model gives the first reference of a split to every record of it."""
    return evaluated(lambda references: [references[0]] * len(references))


def test_one_text_for_all_is_told_with_how_many_different_ones_there_are(constant: Any) -> None:
    (finding,) = told(constant, CODE)
    assert (finding["level"], finding["system"]) == ("warn", "tiny (after)")
    assert "60 of 60 (100.0 %)" in finding["title"]
    assert finding["evidence"] == "1 different texts among 60 records, which have 60 different references"


def test_it_is_not_shown_to_be_better_than_one_reference_for_every_text(constant: Any) -> None:
    gain = next(c for c in constant["comparisons"] if c["kind"] == "before-after")["rows"][0]
    assert gain["metric"] == "token_f1" and gain["direction"] == "better" and not gain["supported"]
    assert "not shown to be better than one reference for every text (Token F1 (proxy)" in gain["sentence"]
    assert any("one reference for every text" in line for line in constant["verdict"])


def test_a_model_that_reads_its_records_is_better_than_that() -> None:
    result = evaluated(lambda references: [text.replace("fever", "cough") for text in references], sampling=None)
    gain = next(c for c in result["comparisons"] if c["kind"] == "before-after")["rows"][0]
    assert gain["supported"] and not told(result, CODE) and not told(result, "sampled-once")


@pytest.mark.parametrize(("alike", "found"), [(30, 0), (31, 1)])
def test_more_than_half_of_the_records_is_too_many(alike: int, found: int) -> None:
    result = evaluated(lambda references: ["fever and cough"] * alike + references[alike:])
    assert len(told(result, CODE)) == found


def of_the_mother(references: list[str]) -> list[str]:
    """Five of the records with a fever; their source, `Seen: <reference>`, speaks of the patient."""
    those = [at for at, text in enumerate(references) if "fever" in text][:5]
    return [f"Her mother had {text}" if at in those else text for at, text in enumerate(references)]


def test_a_relatives_illness_given_to_the_patient_is_to_be_feared() -> None:
    turned = evaluated(of_the_mother, sampling=None)
    (finding,) = told(turned, "subject-flips")
    assert ": 5 of " in finding["title"] and "give the patient what is a relative's" in finding["title"]
    listed = turned["sections"]["doubtful_texts"]["listed"]
    assert sum(any("subject" in reason for reason in text["reasons"]) for text in listed) == 5
    assert any("give the patient what is a relative's" in line for line in turned["verdict"])
    assert not told(evaluated(list, sampling=None), "subject-flips")


def test_that_texts_were_drawn_once_is_said() -> None:
    sampling = {"temperature": 0.7, "top_p": 0.9}
    block = {"kind": "generation", "max_new_tokens": 16, "sampling": sampling}
    task: Any = task_from(block | {"data": {"path": "items.csv", "inputs": {"text": "text"}}})
    (finding,) = told(evaluated(lambda references: references, sampling=task.sampling), "sampled-once")
    assert finding["level"] == "info" and "one draw for each record" in finding["title"]
    assert "temperature 0.7, top_p 0.9" in finding["evidence"]


def answers(references: list[str]) -> Any:
    columns: dict[str, Any] = {SCORE + name: 0.0 for name in ("token_f1", "exact_match", "number_precision")}
    table = pd.DataFrame({"gold": references, "status": "ok"} | columns)
    return GENERATION.read(table, [], None)[0]


def test_the_one_text_is_the_reference_that_shares_most_with_the_others_of_validation() -> None:
    validation = answers(["no fever", "left knee pain", "left knee swollen", "pain in the left knee"])
    test = answers(["left knee pain", "the left hip", "fever"])
    (usual,) = GENERATION.usual(test, validation).values()
    np.testing.assert_allclose(usual.score("token_f1"), [1.0, 2 / 5, 0.0])
    assert np.isnan(usual.score("number_precision")).all(), "it has no source of its own"
    assert GENERATION.usual(test, answers([])) == {} == GENERATION.usual(test, answers(["alone"]))


def test_reasoning_is_told_with_those_that_do_not_end() -> None:
    def reasoned(references: list[str]) -> list[str]:
        return [f"<think>{text}" if k < 3 else f"<think>why</think>{text}" for k, text in enumerate(references)]

    (finding,) = told(evaluated(reasoned), "reasoning-in-texts")
    assert (finding["level"], finding["system"]) == ("warn", "tiny (after)")
    assert "60 of 60 (100.0 %)" in finding["title"] and finding["evidence"].startswith("3 answers empty")
    (whole,) = told(evaluated(lambda references: [f"why</think>{text}" for text in references]), "reasoning-in-texts")
    assert whole["level"] == "info" and whole["evidence"] == "each reasoning has an end"


def test_records_that_were_read_in_pieces_are_told_beside_their_likelihood(constant: Any) -> None:
    task = task_of("generation", primary="token_f1")
    assert isinstance(task, Generation)
    table = written(task, list)
    ours = np.flatnonzero((table["model"] == "tiny") & (table["stage"] == 1) & (table["split"] == "test"))
    for column, count in (("pieces", 4), ("rounds", 1)):
        table[column] = pd.array([0] * len(table), dtype="Int64")
        table.loc[ours[:5].tolist(), column] = count
    result = evaluate(study_of({"t": task}, bootstrap=200), table)["tasks"]["t"]
    (finding,) = told(result, "likelihood-of-shortened")
    assert "5 of 60 (8.3 %)" in finding["title"] and not told(constant, "likelihood-of-shortened")
