"""Breast Cancer Wisconsin (Diagnostic), as scikit-learn carries it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry


def read(_: Sequence[Path]) -> pd.DataFrame:
    """569 tumours, 30 features of cell nuclei; target 0 is malignant, 1 benign."""
    from sklearn.datasets import load_breast_cancer  # a second to load

    bunch: Any = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in bunch.feature_names]
    table = pd.DataFrame(bunch.data, columns=pd.Index(names), dtype=object)
    table.insert(0, "id", [f"wdbc-{row:03d}" for row in range(1, len(table) + 1)])
    table["diagnosis"] = [str(bunch.target_names[target]) for target in bunch.target]
    return table


BREAST_CANCER_WISCONSIN = CatalogEntry(
    title="Breast Cancer Wisconsin (Diagnostic): malignant or benign from 30 features of cell nuclei",
    licence="CC BY 4.0",
    source="https://archive.ics.uci.edu/dataset/17 (the copy in scikit-learn)",
    citation="Street, Wolberg and Mangasarian, Nuclear feature extraction for breast tumor diagnosis, 1993",
    read=read,
    columns={
        "id": "the row",
        "mean_*": "mean of a feature over the nuclei, lengths in the arbitrary units of the image",
        "*_error": "its standard error",
        "worst_*": "mean of its three largest values",
        "diagnosis": "malignant or benign",
    },
    records=569,
    division="by ratio, stratified",
    traps=(
        "212 tumours are malignant and 357 benign, which is no prevalence of any clinic.",
        "Nothing is missing, and the features of one kind (radius, perimeter, area) say nearly the same.",
    ),
)
