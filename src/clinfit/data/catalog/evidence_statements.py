"""Evidence Inference 2.0, statement by statement: whether a sentence of a trial says that an outcome changed."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from clinfit.data.catalog.entry import leave_out, read_csv
from clinfit.data.catalog.evidence_effects import EFFECTS
from clinfit.data.catalog.evidence_inference import split_of_articles

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

    Left out are annotations that reviewers call wrong in label or reasoning, what was said before to the same question,
    and articles in no split.
    """
    split_of = split_of_articles(paths[:-2])
    questions = read_csv(paths[-2]).set_index("PromptID")
    said = read_csv(paths[-1])
    asked = questions.loc[said["PromptID"]].reset_index()
    words = {name: asked[name].str.split().str.join(" ") for name in ("Intervention", "Comparator", "Outcome")}
    effect = said["Label Code"].map(EFFECTS)
    table = pd.DataFrame(
        {
            "id": said["PromptID"],
            "article": "PMC" + said["PMCID"],
            "question": "Did "
            + words["Intervention"]
            + ", compared with "
            + words["Comparator"]
            + ", change "
            + words["Outcome"]
            + "?",
            "statement": said["Annotations"].str.split().str.join(" "),
            "effect": effect,
            "change": effect.map(lambda found: "no" if found == EFFECTS["0"] else "yes"),
            "split": said["PMCID"].map(split_of).fillna(""),
        }
    )
    valid = (said["Valid Label"] == "True") & (said["Valid Reasoning"] == "True")
    told = table[["id", "statement"]].where(valid)
    kept = leave_out(
        table,
        {
            "called wrong by reviewers": ~valid,
            "said before": told.duplicated() & valid,
            "article in no split": table["split"] == "",
        },
    )
    number = kept.groupby("id").cumcount() + 1
    return kept.assign(id=kept["id"] + "-" + number.astype(str))
