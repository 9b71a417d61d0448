"""PubMed abstracts on microRNAs in colorectal or pancreatic cancer: which of the two is it?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, leave_out, read_csv

ADDRESS = (
    "https://github.com/vincentarelbundock/Rdatasets/raw/1dcc2bf5f955cc1224a3e1307256e1fe86b68dae/csv/OncoDataSets"
)


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: the rows on colorectal and those on pancreatic cancer, one for each microRNA of an abstract.

    One row a PubMed id; abstracts that stand in both files have no one answer.
    """
    kinds = ("colorectal", "pancreatic")
    rows: Any = pd.concat([read_csv(path).assign(cancer=kind) for path, kind in zip(paths, kinds, strict=True)])
    several = rows.groupby("PMID")["cancer"].nunique() > 1
    named = rows.groupby("PMID")["miRNA"].agg(lambda names: "; ".join(dict.fromkeys(names)))
    table: Any = rows.drop_duplicates("PMID").reset_index(drop=True)
    table["mirna"] = table["PMID"].map(named)
    kept = table[["PMID", "Year", "Title", "Abstract", "Language", "mirna", "cancer"]].rename(columns=str.lower)
    return leave_out(kept, {"in both files": table["PMID"].map(several)})


MIRNA_CANCER_TYPES = CatalogEntry(
    title="PubMed abstracts on microRNAs in cancer: colorectal or pancreatic",
    licence="GPL-3 (repository); the abstracts may be their publishers'",
    source="https://github.com/vincentarelbundock/Rdatasets (OncoDataSets, miRetrieve)",
    citation="Friedrich, Hammes and Krenning, miRetrieve: an R package and web application for miRNA text mining, NAR "
    "Genomics and Bioinformatics 2021",
    read=read,
    columns={
        "pmid": "PubMed id",
        "year": "year of publication",
        "title": "title",
        "abstract": "abstract",
        "language": "language of the article; the abstracts are English",
        "mirna": "the microRNAs that the files name for it, joined by ;",
        "cancer": "colorectal or pancreatic",
    },
    records=763,
    division="by ratio, stratified: one row is one PubMed id, so that none straddles splits",
    traps=(
        "The files have a row for each microRNA of an abstract, 889 rows for 772 abstracts: divided by row, one "
        "abstract would stand in several splits. Here one PubMed id is one row.",
        "9 abstracts stand in both files: left out, since they have no one answer.",
        "The organ is named in title or abstract of 728 of the 763, so that a rule on two words comes close to the "
        "best model.",
        "450 abstracts are colorectal and 313 pancreatic.",
    ),
    files=(
        CatalogFile(
            path="mirna_cancer_abstracts/ColorectalMiRNAs_tbl_df.csv",
            source=f"{ADDRESS}/ColorectalMiRNAs_tbl_df.csv",
            sha256="09708e7d541504198a0a3f79da90b5c2f2008696378704fe6717e5d5ac5ccef1",
        ),
        CatalogFile(
            path="mirna_cancer_abstracts/PancreaticMiRNAs_tbl_df.csv",
            source=f"{ADDRESS}/PancreaticMiRNAs_tbl_df.csv",
            sha256="d3f8e7361c7987f8208118f3e65697e68fbf264de808e71ad86072886804d12a",
        ),
    ),
)
