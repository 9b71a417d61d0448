"""Made-up answers through the very functions that score declared fields: what they score is known beforehand."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clinfit.evaluation.analyses.canaries import TOLERANCE, Expected, canary, failed
from clinfit.evaluation.context import Context, Outcome
from clinfit.evaluation.metrics.extraction import EXTRACTION
from clinfit.evaluation.metrics.fields import columns_of, field_scores
from clinfit.evaluation.results import Canary
from clinfit.predictions import NATS, SCORE
from clinfit.study.fields import ExtractedField

FIELDS = {
    "drug": ExtractedField(),
    "dose": ExtractedField(type="number", required=False),
    "side": ExtractedField(values=["left", "right"]),
}
REFERENCES = (
    '{"drug": "warfarin", "dose": 5, "side": "left"}',
    '{"drug": "aspirin", "dose": null, "side": "right"}',
)
OTHER_DRUG = (
    '{"drug": "heparin", "dose": 5, "side": "left"}',
    '{"drug": "heparin", "dose": null, "side": "right"}',
)
SPELT_OTHERWISE = (
    '{"side": "left", "dose": 5.0, "drug": "Warfarin."}',
    '{"drug": "the aspirin", "side": "right"}',
)
FENCED = tuple(f"```json\n{reference}\n```" for reference in REFERENCES)
QUOTED = tuple(reference.replace("5", '"5"').replace("null", '"none"') for reference in REFERENCES)


def field_canaries(context: Context) -> Outcome:
    """One without its known value is an error: the harness itself is broken, so no number may be believed."""
    found = run_field_canaries()
    return found, [failed(each) for each in found if not each["passed"]]


def run_field_canaries() -> list[Canary]:
    """The reference, the same spelt otherwise, one wrong field of three, an object in a fence, numbers in quotes, no
    text at all, and no text to a record that lacks a value. The references hold five values in six fields."""
    wrong = {"valid_output": 0.0, "all_fields": 0.0, "field_f1": 0.0, "field_precision": 0.0, "accuracy:side": 0.0}
    right = {"valid_output": 1.0, "all_fields": 1.0, "field_f1": 1.0, "accuracy:dose": 1.0}
    predictors: list[tuple[str, Sequence[str], Expected]] = [
        ("perfect", REFERENCES, {**right}),
        ("spelt otherwise", SPELT_OTHERWISE, {**right}),
        ("another drug", OTHER_DRUG, {"valid_output": 1.0, "all_fields": 0.0, "field_f1": 3 / 5, "accuracy:drug": 0.0}),
        ("in a fence", FENCED, {**wrong, "not_json": 1.0}),
        ("numbers in quotes", QUOTED, {**wrong, "not_json": 0.0, "wrong_type": 1.0}),
        ("empty", ("", ""), {**wrong, "not_json": 1.0}),
        # Three of five values are right, of six given: an invalid answer pays for a field that has no value, too.
        (
            "half of it no object",
            (REFERENCES[0], ""),
            {"valid_output": 0.5, "field_precision": 1 / 2, "field_f1": 6 / 11},
        ),
    ]
    return [canary(name, _measure(texts), expected, TOLERANCE) for name, texts, expected in predictors]


def _measure(texts: Sequence[str]) -> dict[str, float]:
    rows = [field_scores(text, gold, FIELDS, "stop") for text, gold in zip(texts, REFERENCES, strict=True)]
    table = pd.DataFrame({SCORE + name: [row[name] for row in rows] for name in columns_of(FIELDS)}).astype(np.float64)
    table["gold"], table["status"] = REFERENCES, "ok"
    answers, _ = EXTRACTION.read(table.assign(**dict.fromkeys(NATS, np.nan)), [], None)
    return EXTRACTION.estimates(answers)
