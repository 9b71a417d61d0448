"""Evidence Inference 2.0, statement by statement: whether a sentence of a trial says that an outcome changed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry, leave_out, read_csv
from clinfit.data.catalog.evidence_effects import ANNOTATIONS, EFFECTS
from clinfit.data.catalog.evidence_inference import ADDRESS, EVIDENCE_INFERENCE, split_of_articles

COLUMNS = {
    "id": "number of the question, and of the statement among those to it",
    "article": "PubMed Central number",
    "question": "Did INTERVENTION, compared with COMPARATOR, change OUTCOME? in the words of a physician",
    "statement": "what an annotator took for evidence, a sentence or a few, on one line",
    "effect": "increased, decreased or no difference: the outcome with the intervention, against the comparator",
    "change": "yes where it increased or decreased, no where there was no difference",
    "split": "train, validation or test, of the article",
}


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: the article numbers of train, validation and test, then the questions and their annotations.

    Left out are annotations that reviewers call wrong in label or reasoning, statements that two annotators read in two
    ways, what was said before to the same question, and articles in no split.
    """
    split_of = split_of_articles(paths[:-2])
    questions: Any = read_csv(paths[-2]).set_index("PromptID")
    said: Any = read_csv(paths[-1])
    asked = questions.loc[said["PromptID"]].reset_index()
    words = {name: asked[name].str.split().str.join(" ") for name in ("Intervention", "Comparator", "Outcome")}
    table = pd.DataFrame(
        {
            "id": said["PromptID"],
            "article": "PMC" + said["PMCID"],
            "question": [
                f"Did {given}, compared with {other}, change {outcome}?"
                for given, other, outcome in zip(*words.values(), strict=True)
            ],
            "statement": said["Annotations"].str.split().str.join(" "),
            "effect": said["Label Code"].map(EFFECTS),
            "change": ["no" if code == "0" else "yes" for code in said["Label Code"]],
            "split": said["PMCID"].map(split_of).fillna(""),
        }
    )
    valid = (said["Valid Label"] == "True") & (said["Valid Reasoning"] == "True")
    told: Any = table[["id", "statement"]].where(valid)
    effects: Any = table["effect"].where(valid).groupby([told["id"], told["statement"]])
    kept = leave_out(
        table,
        {
            "called wrong by reviewers": ~valid,
            "said with two effects": effects.transform("nunique") > 1,
            "said before": told.duplicated() & valid,
            "article in no split": table["split"] == "",
        },
    )
    number = kept.groupby("id").cumcount() + 1
    return kept.assign(id=kept["id"] + "-" + number.astype(str))


EVIDENCE_STATEMENTS = CatalogEntry(
    title="Evidence Inference 2.0: does a sentence of a randomised trial say that an outcome changed?",
    licence="MIT (repository); the statements quote articles, which have licences of their own",
    source=ADDRESS,
    citation=EVIDENCE_INFERENCE.citation,
    read=read,
    columns=COLUMNS,
    records=3532,
    splits={"train": 2823, "validation": 344, "test": 365},
    official=True,
    group="article",
    division="official, by article",
    traps=(
        "Of 4,876 annotations, 403 are called wrong by reviewers, in their label or their evidence, 9 more are on 4 "
        "statements that were read in two ways, and 932 more say to a question what was said to it before: left out.",
        "87 statements stand under more than one question, 11 of them with both answers: the question must be read.",
        "The 3,532 statements are from 912 articles: `group: article`.",
        "Annotators chose sentences that tell: whole abstracts are harder to answer from.",
    ),
    pretrained_on=EVIDENCE_INFERENCE.pretrained_on,
    files=(*EVIDENCE_INFERENCE.files[1:], *ANNOTATIONS),
)
