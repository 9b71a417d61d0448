"""PubMedQA, the expert-labelled set: does the abstract of a study answer its title's question with yes, no or maybe?

And the same questions with the conclusion of the abstract as the answer: a set of its own, so that it is never a column
beside yes, no and maybe, which it names.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, table_of

ADDRESS = "https://github.com/pubmedqa/pubmedqa/raw/1cbae8e92f72f20c8d3747cbb3bf5bc53554d997/data"

FILES = (
    CatalogFile(
        path="pubmedqa/ori_pqal.json",
        source=f"{ADDRESS}/ori_pqal.json",
        sha256="8b3276be8942ebbd77f3ddcda12c1749bf0e490045a736fd8438ee40cf37a41d",
    ),
    CatalogFile(
        path="pubmedqa/test_ground_truth.json",
        source=f"{ADDRESS}/test_ground_truth.json",
        sha256="939fe566f09017d13b1ca64d2ddfee0bc2374b366048152997669cccedc44d51",
    ),
)
COLUMNS = {
    "id": "PubMed id",
    "question": "the question, which is the title of the study",
    "contexts": "the abstract without its conclusion, one line a section, each after the name of the section",
    "mesh": "MeSH terms, joined by ;",
    "year": "year of publication",
    "answer": "yes, no or maybe",
    "split": "train or test",
}


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: all items, and the answers of the official test items.

    LONG_ANSWER (the conclusion) and the annotators' guesses name the answer, so that neither becomes a column.
    """
    items, tests = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    rows = [
        [
            pmid,
            item["QUESTION"],
            "\n".join(f"{name}: {text}" for name, text in zip(item["LABELS"], item["CONTEXTS"], strict=True)),
            "; ".join(item["MESHES"]),
            item["YEAR"],
            item["final_decision"],
            "test" if pmid in tests else "train",
        ]
        for pmid, item in items.items()
    ]
    return table_of(rows, list(COLUMNS))


PUBMEDQA = CatalogEntry(
    title="PubMedQA, expert-labelled: a research question answered yes, no or maybe from an abstract",
    licence="MIT; the abstracts are from PubMed",
    source="https://github.com/pubmedqa/pubmedqa",
    citation="Jin, Dhingra, Liu, Cohen and Lu, PubMedQA: A Dataset for Biomedical Research Question Answering, "
    "EMNLP-IJCNLP 2019",
    read=read,
    columns=COLUMNS,
    records=1000,
    splits={"train": 500, "test": 500},
    official=True,
    division="official, 500 for training and 500 for testing; validation is taken from training "
    "(validation_of_train), where the paper divides it tenfold",
    traps=(
        "The file of all items holds the answers of the 500 test items too: the file of test answers says which these "
        "are, and agrees with it on all 500.",
        "LONG_ANSWER is the conclusion of the abstract and names the answer, and so do the annotators' guesses (781 "
        "and 916 of 1,000 are the answer): none of the three is a column.",
        "In 5 records, 2 of them of the test split, the contexts hold the beginning of the conclusion nevertheless: "
        "they stay, since the split is official.",
        "Always answering yes is right for 276 of 500 in either half; no holds for 169 and maybe for 55, so that "
        "accuracy hides a model that never says maybe.",
    ),
    pretrained_on={
        "clinfit/tiny": "question, contexts and MeSH terms of the 500 official training items, never an answer or a "
        "conclusion, and nothing of the test items",
    },
    files=FILES,
)

ANSWER_COLUMNS = {
    "id": "PubMed id",
    "question": "the question, which is the title of the study",
    "contexts": "the abstract without its conclusion, one line a section, each after the name of the section",
    "answer": "the conclusion of the abstract, which answers the question in words",
    "split": "train or test",
}


def read_answers(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: as of `read`. Yes, no and maybe are no column: the answer in words says them."""
    items, tests = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    rows = [
        [
            pmid,
            item["QUESTION"],
            "\n".join(f"{name}: {text}" for name, text in zip(item["LABELS"], item["CONTEXTS"], strict=True)),
            item["LONG_ANSWER"],
            "test" if pmid in tests else "train",
        ]
        for pmid, item in items.items()
    ]
    return table_of(rows, list(ANSWER_COLUMNS))


PUBMEDQA_ANSWERS = CatalogEntry(
    title="PubMedQA, expert-labelled: a research question answered in words from an abstract",
    licence="MIT; the abstracts are from PubMed",
    source="https://github.com/pubmedqa/pubmedqa",
    citation=PUBMEDQA.citation,
    read=read_answers,
    columns=ANSWER_COLUMNS,
    records=1000,
    splits={"train": 500, "test": 500},
    official=True,
    division=PUBMEDQA.division,
    traps=(
        "The answers are the conclusions of the authors, written before anybody asked: a good answer may say less.",
        "In 5 records, 2 of them of the test split, the contexts hold the beginning of the conclusion: copying it is "
        "then an answer.",
        "Answers have 37 words at the median, contexts 206: an answer is no copy of what is given, and its numbers "
        "often stand there in another form.",
    ),
    pretrained_on=PUBMEDQA.pretrained_on,
    files=FILES,
)
