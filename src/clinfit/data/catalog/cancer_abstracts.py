"""PubMed abstracts: about cancer or not."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, leave_out, read_csv

#: The rows of the public file that the set holds are those whose bit is 0, counted from the lowest; the other 200 were
#: kept for a final check.
KEPT_BACK = int(
    "2eca042100000000012c12401042410130200000523810024000000009049019212008c304500008c205"
    "400d01a00404e9200240e108028803ccc22058018080018005808a48000084000a0100310030c1818180"
    "0500d40224699a050005000000290a0036000090114205320100289b012c00ba504804058108002100",
    16,
)


ADDRESS = (
    "https://github.com/Ashish-Gore/biomedical-abstract-classifier-llm-finetuning"
    "/raw/2e90846a6623c4573e0b17a738969d361d940349/data/raw/dataset.csv"
)
EXTRACT = CatalogFile(
    path="cancer_abstracts/abstracts.csv",
    source=ADDRESS,
    sha256="5b270a05ba7000de203a325f54acea7ed876bce45faeb9c20df98fa9241ec5bd",
)


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """From the public file of 1,000 rows, or from a copy that holds the 800 of the set already."""
    table = read_csv(paths[0])
    if paths[0].name == EXTRACT.path.rpartition("/")[2]:
        return table
    kept_back = [bool(KEPT_BACK >> at & 1) for at in range(len(table))]
    return leave_out(table[["pmid", "title", "abstract", "label"]], {"kept for a final check": kept_back})


CANCER_ABSTRACTS = CatalogEntry(
    title="PubMed abstracts: about cancer or not",
    licence="MIT (repository); the abstracts may be their publishers'",
    source="https://github.com/Ashish-Gore/biomedical-abstract-classifier-llm-finetuning",
    citation="the repository",
    read=read,
    columns={"pmid": "PubMed id", "title": "title", "abstract": "abstract", "label": "1 about cancer, 0 not"},
    records=800,
    division="by ratio, stratified",
    traps=(
        "The public file has 1,000 records; 200 of them are kept for a final check and left out.",
        "A rule on words such as cancer, tumour, carcinoma and leukaemia is right for 749 of 800: that is the bar, and "
        "no majority.",
    ),
    files=(
        CatalogFile(
            path="cancer_abstracts/dataset.csv",
            source=ADDRESS,
            sha256="1db9e7de1ed5de295928232921d84ccaf39490027d9b00696d944a7e0dd33ef3",
            extract=EXTRACT,
        ),
    ),
)
