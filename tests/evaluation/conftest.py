"""Small made-up studies and predictions tables, handed out as functions."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from clinfit.evaluation.answers import UNPARSED, LabelAnswers
from clinfit.study.data import Data
from clinfit.study.evaluation import Evaluation
from clinfit.study.models import Baseline, Causal, Classical
from clinfit.study.schema import Study
from clinfit.study.tasks import Classification


def _study(
    labels: Sequence[str] = ("No", "Yes"),
    positive: str | None = None,
    seeds: Sequence[int] = (42,),
    **evaluation: object,
) -> Study:
    data = Data(path="items.csv", inputs={"text": "text"})
    return Study(
        name="made-up",
        tasks={"outcome": Classification(labels=list(labels), positive=positive, data=data)},
        models=[
            Baseline(name="always", family="baseline", kind="majority"),
            Classical(name="forest", family="classical", kind="random-forest"),
            Causal(name="tiny", family="causal", base="clinfit/tiny"),
        ],
        seeds=list(seeds),
        evaluation=Evaluation(**{"bootstrap": 200, "primary": "accuracy"} | evaluation),
    )


def _rows(
    model: str,
    gold: Sequence[object],
    predicted: Sequence[str | None],
    labels: Sequence[str] = ("No", "Yes"),
    *,
    probabilities: np.ndarray | None = None,
    stage: int = 1,
    seed: int = 42,
    split: str = "test",
    groups: Sequence[str] | None = None,
) -> pd.DataFrame:
    n = len(gold)
    ids = [f"{split}-{i:05d}" for i in range(n)]
    if probabilities is None:
        certain = {label: np.eye(len(labels))[k] for k, label in enumerate(labels)}
        probabilities = np.array([certain.get(p or "", np.full(len(labels), np.nan)) for p in predicted])
    table = pd.DataFrame(
        {
            "run": f"{model}-seed{seed}",
            "model": model,
            "seed": seed,
            "stage": stage,
            "task": "outcome",
            "split": split,
            "id": ids,
            "group": list(groups) if groups is not None else ids,
            "gold": list(gold),
            "predicted": list(predicted),
            "status": ["unparsed" if p is None else "ok" for p in predicted],
        }
    )
    for k, label in enumerate(labels):
        table["p_" + label] = probabilities[:, k]
    return table.assign(
        label_mass=np.nan,
        raw=None,
        prompt_tokens=pd.array([None] * n, dtype="Int64"),
        output_tokens=pd.array([None] * n, dtype="Int64"),
        seconds=0.001,
    )


def _from_counts(tp: int, fn: int, fp: int, tn: int) -> tuple[list[str], list[str]]:
    gold = ["Yes"] * (tp + fn) + ["No"] * (fp + tn)
    return gold, ["Yes"] * tp + ["No"] * fn + ["Yes"] * fp + ["No"] * tn


def _answers(
    gold: Sequence[int],
    predicted: Sequence[int | None],
    probabilities: np.ndarray | None = None,
    labels: Sequence[str] = ("no", "yes"),
) -> LabelAnswers:
    codes = np.array([UNPARSED if p is None else p for p in predicted], dtype=np.int64)
    k = len(labels)
    if probabilities is None:
        probabilities = np.array([np.full(k, np.nan) if c == UNPARSED else np.eye(k)[c] for c in codes]).reshape(-1, k)
    nothing = np.full(len(codes), np.nan)
    return LabelAnswers(
        tuple(labels), 1 if k == 2 else None, np.array(gold, dtype=np.int64), codes, probabilities, nothing
    )


@pytest.fixture(scope="session")
def make_study() -> Callable[..., Study]:
    """Study with a majority baseline `always`, a classical `forest` and a causal `tiny`; primary metric accuracy."""
    return _study


@pytest.fixture(scope="session")
def rows() -> Callable[..., pd.DataFrame]:
    """Predictions table; without probabilities the predicted label has 1, and an unparsed answer (None) has none."""
    return _rows


@pytest.fixture(scope="session")
def from_counts() -> Callable[[int, int, int, int], tuple[list[str], list[str]]]:
    """Gold and predicted labels with these counts (tp, fn, fp, tn)."""
    return _from_counts


@pytest.fixture(scope="session")
def make_answers() -> Callable[..., LabelAnswers]:
    """LabelAnswers from label indices; None is unparsed; two labels are `no` and `yes`, the latter positive."""
    return _answers
