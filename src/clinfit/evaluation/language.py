"""What language models read and wrote on test, beside the metrics that every system has."""

import numpy as np
import pandas as pd

from clinfit.evaluation.answers import Floats, numbers
from clinfit.evaluation.generated import check_generated, generated_result
from clinfit.evaluation.results import TaskResult
from clinfit.evaluation.system_results import LanguageDict, SystemResult
from clinfit.findings import Finding
from clinfit.study import Causal, Study

LANGUAGE_FAMILIES = ("causal", "encoder")


def add_language(result: TaskResult, study: Study, table: pd.DataFrame) -> list[Finding]:
    """Fill `language` and `generated` of every language model; returns the findings about free answers.

    table: the task's predictions.
    """
    limits = {spec.name: spec.generate for spec in study.models if isinstance(spec, Causal)}
    findings = []
    for system in result["systems"]:
        if system["family"] not in LANGUAGE_FAMILIES:
            continue
        rows = _test_rows(table, system)
        system["language"] = language_facts(rows)
        if limit := limits.get(system["model"]):
            system["generated"] = generated_result(rows, result["labels"], limit, study.evaluation)
        if system["generated"] is not None:
            findings += check_generated(system["name"], system["trained"], system["generated"])
    return findings


def language_facts(rows: pd.DataFrame) -> LanguageDict:
    """Spread of prompt lengths and label mass, and the items whose text was shortened; rows: of one system on test."""
    dropped = numbers(rows, "dropped_tokens") if "dropped_tokens" in rows else np.array([])
    known = dropped[np.isfinite(dropped)]
    return LanguageDict(
        n=len(rows),
        prompt_tokens=_quartiles(numbers(rows, "prompt_tokens")),
        label_mass=_quartiles(numbers(rows, "label_mass")),
        shortened=int((known > 0).sum()) if len(known) else None,
    )


def _test_rows(table: pd.DataFrame, system: SystemResult) -> pd.DataFrame:
    same = (
        (table["model"] == system["model"])
        & (table["seed"] == system["seed"])
        & (table["stage"] == system["stage"])
        & (table["split"] == "test")
    )
    return table.loc[same]


def _quartiles(values: Floats) -> list[float] | None:
    """Minimum, quartiles and maximum of the known values; None when there are none."""
    known = values[np.isfinite(values)]
    return np.quantile(known, [0, 0.25, 0.5, 0.75, 1]).tolist() if len(known) else None
