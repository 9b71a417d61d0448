"""Dreaddit: do a few sentences of a Reddit post express stress?"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, leave_out
from clinfit.data.clean import normalised

ADDRESS = "https://github.com/gillian850413/Insight_Stress_Analysis/raw/e081ea1669ec6c66d26803e567abd2a5c6e0841e/data"

#: What a spreadsheet program made of a text that begins with a sign of arithmetic.
ARTEFACT = "#NAME?"


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: the training file and the test file. All test rows stay, so that the test is the official one."""
    parts = []
    for path, split in zip(paths, ("train", "test"), strict=True):
        text = path.read_bytes().decode("utf-8", errors="replace")
        parts.append(pd.read_csv(io.StringIO(text), dtype=object, na_filter=False).copy().assign(split=split))
    table: Any = pd.concat(parts, ignore_index=True)
    training = table["split"] == "train"
    texts = table["text"].map(normalised)
    return leave_out(
        table,
        {
            f"training text is {ARTEFACT}": training & (table["text"].str.strip() == ARTEFACT),
            "training text repeats a test text": training & texts.isin(set(texts[~training])),
        },
    )


DREADDIT = CatalogEntry(
    title="Dreaddit: stress or no stress in some sentences of a Reddit post",
    licence="none stated: published for research, and the texts are their authors'; do not try to identify them",
    source="https://aclanthology.org/D19-6213 (files: https://github.com/gillian850413/Insight_Stress_Analysis)",
    citation="Turcan and McKeown, Dreaddit: A Reddit Dataset for Stress Analysis in Social Media, LOUHI 2019",
    read=read,
    columns={
        "id": "number of the segment",
        "post_id": "the post that the segment is from",
        "sentence_range": "which of its sentences",
        "subreddit": "the forum, one of ten",
        "text": "some sentences in a row, median 80 words",
        "label": "1 stress, 0 no stress",
        "confidence": "share of the annotators who agree with the label; 0 in test where it was not recorded",
        "social_*": "time, karma, votes and comments of the post",
        "syntax_*": "two measures of readability",
        "lex_*": "lexical measures (LIWC and others)",
        "sentiment": "a lexicon's sentiment of the text",
        "split": "train or test",
    },
    records=3546,
    splits={"train": 2831, "test": 715},
    official=True,
    division="official, 2,838 for training, of which 7 are left out, and 715 for testing; validation is taken from "
    "training (validation_of_train)",
    group="post_id",
    traps=(
        "4 texts of the training file are the spreadsheet artefact #NAME?: left out.",
        "3 texts stand in both files, each with another label in each: they are left out of training, the official "
        "test stays whole.",
        "972 labels of the 2,838 in the training file and 269 of the 715 in the test file have a confidence below 0.7, "
        "98 of the latter 0, which looks like not recorded: they stay, and `subgroups: [{column: confidence, bins: "
        "[0.7]}]` shows the figures with and without them.",
        "One post gave several segments (2,929 posts in the two files, none of them in both): `group: post_id` keeps "
        "them together when validation is taken from training.",
        "16 other texts of the training file repeat an earlier one, some under another post: `clean: "
        "{drop_duplicates: true}` keeps the first.",
        "5 texts hold bytes that are not UTF-8, which are read as the replacement character.",
        "The texts speak of abuse and trauma; the forums differ in topic, and the name of the forum alone tells much: "
        "it is no input unless a study makes it one.",
    ),
    files=(
        CatalogFile(
            path="dreaddit/dreaddit-train.csv",
            source=f"{ADDRESS}/dreaddit-train.csv",
            sha256="d11c4451f0b1d65ade05d0c1fd7ea0f39f4b6c7e62814415d428fa36edf20243",
        ),
        CatalogFile(
            path="dreaddit/dreaddit-test.csv",
            source=f"{ADDRESS}/dreaddit-test.csv",
            sha256="a646ad3ffe1dfe0e6be301d8d8a2ef93fe995692ebbdffaca6bc55beb6ebc336",
        ),
    ),
)
