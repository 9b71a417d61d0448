"""The table between models and metrics: common columns, then the kind's own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clinfit.errors import ClinfitError
from clinfit.models.base import LabelOutputs, TextOutputs
from clinfit.predictions import (
    COLUMNS,
    Source,
    labels_of,
    predictions_table,
    probabilities_of,
    read_predictions,
)
from kinds import dataset

SOURCE = Source("tiny-seed1", "tiny", 1, 2)


def outputs(*rows: list[float], **more: object) -> LabelOutputs:
    return LabelOutputs(np.array(rows), np.full(len(rows), 0.5), **more)  # type: ignore[arg-type]


def table(data: str, found: LabelOutputs) -> pd.DataFrame:
    case = dataset(data)
    records = case.part("test")[: len(found.probabilities)]
    return predictions_table(SOURCE, "finding", case.task, "test", records, found)


def test_classification_predicts_the_most_probable_label() -> None:
    found = table("text", outputs([0.25, 0.75], [0.5, 0.5], label_mass=np.array([0.9, 0.8])))
    assert list(found.columns) == [*COLUMNS, "p_Non-Cancer", "p_Krebs, gesichert ≥ T2", "label_mass"]
    assert found["predicted"].tolist() == ["Krebs, gesichert ≥ T2", "Non-Cancer"]
    assert found["label_mass"].tolist() == [0.9, 0.8]
    first = dataset("text").part("test")[0]
    assert found.loc[0, ["run", "model", "seed", "stage", "task", "kind", "split", "id", "group", "gold"]].tolist() == [
        "tiny-seed1", "tiny", 1, 2, "finding", "classification", "test", first.id, first.group, first.target,
    ]  # fmt: skip


def test_multilabel_predicts_every_label_that_holds_and_joins_them_in_the_task_s_order() -> None:
    found = table("several", outputs([0.9, 0.5, 0.1, 0.6], [0.4, 0.3, 0.2, 0.1]))
    assert found["predicted"].tolist() == ["renal|tumour|human study", ""]
    assert found["gold"].tolist() == ["|".join(r.target or ()) for r in dataset("several").part("test")[:2]]
    assert labels_of(found) == ["renal", "tumour", "never trained", "human study"]
    assert "label_mass" not in found.columns and set(found["kind"]) == {"multilabel"}


def test_options_have_their_scorings_or_null() -> None:
    scorings = {name: np.array([[0.2, 0.3, 0.5]]) for name in ("letters", "texts", "texts-normalised")}
    scored = table("options", outputs([0.2, 0.3, 0.5], scorings=scorings, label_mass=np.array([0.4])))
    assert scored["predicted"].tolist() == ["C"] and scored["texts-normalised_B"].tolist() == [0.3]
    plain = table("options", outputs([0.2, 0.3, 0.5]))
    assert list(plain.columns) == list(scored.columns)
    assert plain[[f"{name}_{letter}" for name in scorings for letter in "ABC"]].isna().all(axis=None)
    np.testing.assert_array_equal(probabilities_of(plain), [[0.2, 0.3, 0.5]])


def test_what_a_model_wrote_stands_beside_its_probabilities() -> None:
    written = TextOutputs(["no", "yes it"], ["stop", "length"], np.array([1, 2]), np.array([0.1, 0.1]))
    found = table("text", outputs([0.25, 0.75], [0.5, 0.5]).with_texts(written))
    assert found["raw"].tolist() == ["no", "yes it"] and found["finish_reason"].tolist() == ["stop", "length"]
    assert found["output_tokens"].tolist() == [1, 2] and found["seconds"].tolist() == [0.5, 0.5]
    silent = table("text", outputs([0.25, 0.75]))
    assert silent[["raw", "finish_reason", "output_tokens", "dropped_tokens"]].isna().all(axis=None)


@pytest.mark.parametrize("data", ["text", "several", "options"])
def test_a_table_survives_its_file(data: str, tmp_path: Path) -> None:
    k = len(dataset(data).task.labels)
    found = table(data, outputs([1 / k] * k, [1 / k] * k))
    found.to_parquet(tmp_path / "t.parquet", index=False)
    again = read_predictions(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(again, found, check_dtype=False)
    pd.DataFrame({"id": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(ClinfitError, match="not a predictions table"):
        read_predictions(tmp_path / "other.parquet")


def test_no_records_no_rows() -> None:
    found = table("text", LabelOutputs(np.zeros((0, 2)), np.zeros(0)))
    assert len(found) == 0 and list(found.columns)[: len(COLUMNS)] == COLUMNS


def test_a_broken_contract_stops() -> None:
    good = outputs([0.25, 0.75])
    for broken in ([[0.5, 0.75]], [[0.5, 0.25, 0.25]]):
        with pytest.raises(ValueError):
            table("text", replace(good, probabilities=np.array(broken)))
    with pytest.raises(ValueError):
        table("several", outputs([0.5, 1.5, 0.0, 0.0]))
    for impossible in (np.nan, -0.5):
        with pytest.raises(ClinfitError, match="not finite"):
            table("several", outputs([0.5, impossible, 0.0, 0.0]))
