"""MedQuAD: questions on diseases with the answers of twelve sites of the NIH, the nine whose answers are public."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from clinfit.data.archives import archive_files
from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, hashed_splits, leave_out, table_of
from clinfit.data.clean import without_punctuation

COLUMNS = {
    "id": "collection and number of the question",
    "question": "question, mostly made from a template",
    "answer": "answer of the site",
    "question_type": "what it asks: information, symptoms, treatment and others",
    "focus": "the disease, drug or other thing that it asks about",
    "focus_group": "the focus without case and punctuation; where there is none, the document",
    "collection": "the site: GHR, GARD and seven others",
    "url": "where it stands",
    "split": "train, validation or test",
}


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """Pairs without an answer are left out; those of one focus are in one split."""
    rows: list[list[object]] = []
    for name, content in archive_files(paths[0]):
        if name.suffix != ".xml":
            continue
        document = ElementTree.fromstring(content)
        focus = (document.findtext("Focus") or "").strip()
        group = without_punctuation(focus) or f"{name.parent.name} {document.get('id')}"
        for pair in document.iter("QAPair"):
            question, answer = pair.find("Question"), (pair.findtext("Answer") or "").strip()
            if question is None:
                continue
            rows.append(
                [
                    f"{name.parent.name}-{name.stem}-{pair.get('pid')}",
                    (question.text or "").strip(),
                    answer,
                    question.get("qtype"),
                    focus,
                    group,
                    document.get("source"),
                    document.get("url"),
                ]
            )
    splits = hashed_splits([str(row[5]) for row in rows])
    table: Any = table_of([[*row, split] for row, split in zip(rows, splits, strict=True)], list(COLUMNS))
    return leave_out(table, {"no answer": table["answer"] == ""})


MEDQUAD = CatalogEntry(
    title="MedQuAD: questions on diseases with the answers of nine sites of the NIH",
    licence="CC BY 4.0",
    source="https://github.com/abachaa/MedQuAD",
    citation="Ben Abacha and Demner-Fushman, A Question-Entailment Approach to Question Answering, BMC Bioinformatics "
    "2019",
    read=read,
    columns=COLUMNS,
    records=16407,
    splits={"train": 10087, "validation": 3124, "test": 3196},
    division="none is published: here by the SHA-256 of the disease, so that all questions on one are in one split",
    group="focus_group",
    traps=(
        "638 of the 4,711 foci stand in several collections, so that a split by row or by document asks about a "
        "disease that was learned: a focus is in one split here. 14 pairs without a focus go by document.",
        "10,819 pairs are from two sites (GHR and GARD) and read like filled-in forms.",
        "51 answers stand under several foci, in 593 pairs: a phrase for all, which is not taken for a leak.",
        "48 pairs repeat another one: `clean: {drop_duplicates: true}` drops them.",
        "5 pairs have no answer and are left out, as are three more collections, whose answers were withdrawn.",
    ),
    files=(
        CatalogFile(
            path="medquad/medquad_with_answers.tar.gz",
            source="https://github.com/abachaa/MedQuAD/archive/577bd37b96c02d1833b2c9eed2de9f96964e96cb.tar.gz",
            members=r"[^/]+/(?P<name>\d_[^/]+/.+|LICENSE\.txt|readme\.txt)",
            sha256="e05e58006b0966f3370e0506e5384b98b617e35cd962f5bbb81384cd6dcd22e9",
        ),
    ),
)
