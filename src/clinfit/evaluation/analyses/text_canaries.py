"""Made-up texts through the very functions that score the models' texts: a broken harness must not go unseen.

What they score is known beforehand, whatever the data: the metrics of an item are computed of made-up strings, and the
means by the engine, as for every system.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clinfit.evaluation.analyses.canaries import TOLERANCE, Expected, canary, failed
from clinfit.evaluation.context import Context, Outcome
from clinfit.evaluation.metrics.generation import GENERATION
from clinfit.evaluation.metrics.text.definitions import METRICS, item_scores, unavailable
from clinfit.evaluation.results import Canary
from clinfit.predictions import NATS, SCORE

SOURCES = (
    "The patient took 5 mg of warfarin daily and denied chest pain.",
    "There was no fever on day 3, and the left knee was swollen.",
    "Haemoglobin rose from 9.0 to 11.5 g/dl after two units of blood.",
)
REFERENCES = (
    "Warfarin 5 mg daily without chest pain.",
    "The left knee was swollen on day 3.",
    "Haemoglobin rose to 11.5 g/dl.",
)
OTHER_NUMBERS = (
    "Warfarin 50 mg daily without chest pain.",
    "The left knee was swollen on day 8.",
    "Haemoglobin rose to 17.5 g/dl.",
)
UNRELATED = ("Zebras graze quietly.", "Seven ships sail.", "Clouds drift westward.")
#: Nats a token of the references that are equally likely among so many tokens.
VOCABULARY, TOKENS = 50, 4


def text_canaries(context: Context) -> Outcome:
    """One without its known value is an error: the harness itself is broken, so no number may be believed."""
    found = run_text_canaries()
    return found, [failed(each) for each in found if not each["passed"]]


def run_text_canaries() -> list[Canary]:
    """The reference itself, a text that shares nothing, none at all, one wrong number in each, texts that do not end,
    and references that are all equally likely."""
    shared = [name for name in ("token_f1", "rougeL", "chrf") if name not in unavailable()]
    low = [name for name in shared if name != "chrf"]
    predictors: list[tuple[str, Sequence[str], str, Expected]] = [
        (
            "perfect",
            REFERENCES,
            "stop",
            {**dict.fromkeys([*shared, "exact_match", "number_recall"], 1.0), "empty": 0.0},
        ),
        ("unrelated", UNRELATED, "stop", {**dict.fromkeys(low, 0.0), "exact_match": 0.0, "number_recall": 0.0}),
        ("empty", ("", "", ""), "stop", {**dict.fromkeys(shared, 0.0), "empty": 1.0}),
        (
            "other numbers",
            OTHER_NUMBERS,
            "stop",
            {"number_recall": 0.0, "number_precision": 0.0, "unsupported_numbers": 1.0, "exact_match": 0.0},
        ),
        ("never ends", REFERENCES, "length", {"cut_off": 1.0, "token_f1": 1.0}),
        (
            "all tokens alike",
            REFERENCES,
            "stop",
            {"perplexity": float(VOCABULARY), "bits_per_byte": TOKENS * float(np.log2(VOCABULARY)) / 10},
        ),
    ]
    return [
        canary(name, _measure(texts, reason), expected, 1e3 * TOLERANCE) for name, texts, reason, expected in predictors
    ]


def _measure(texts: Sequence[str], finish_reason: str) -> dict[str, float]:
    rows = [
        item_scores(text, [reference], source, finish_reason)
        for text, reference, source in zip(texts, REFERENCES, SOURCES, strict=True)
    ]
    table = pd.DataFrame({SCORE + name: [row[name] for row in rows] for name in METRICS}).astype(np.float64)
    table["gold"], table["status"] = REFERENCES, "ok"
    for column, value in zip(NATS, (TOKENS * np.log(VOCABULARY), TOKENS, 10), strict=True):
        table[column] = float(value)
    answers, _ = GENERATION.read(table, [], None)
    return GENERATION.estimates(answers)
