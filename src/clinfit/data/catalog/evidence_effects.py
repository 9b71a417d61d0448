"""Evidence Inference 2.0, annotated again: what was compared in a trial, and which way an outcome went."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from clinfit.data.catalog.entry import CatalogEntry, CatalogFile, leave_out
from clinfit.data.catalog.evidence_inference import ADDRESS, EVIDENCE_INFERENCE
from clinfit.data.catalog.evidence_inference import read as read_articles

#: The effect by the code that every annotation carries beside its words, which are spelt in two ways.
EFFECTS = {"-1": "decreased", "0": "no difference", "1": "increased"}
COLUMNS = {
    "id": "number of the question",
    "article": "PubMed Central number",
    "title": "title of the article",
    "abstract": "its abstract, one line a section, each after its heading",
    "outcome": "the outcome that is asked about",
    "intervention": "what was given, as a physician wrote it",
    "comparator": "what it was compared with",
    "effect": "increased, decreased or no difference: the outcome with the intervention, against the comparator",
    "split": "train, validation or test, of the article",
}


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """paths: those of `evidence-inference`, then the questions and their annotations.

    Left out are questions on articles that `evidence-inference` leaves out, and those of whose annotations that their
    reviewers call valid there is none, or two differ.
    """
    articles: Any = read_articles(paths[:-2]).set_index("id")
    tables: list[Any] = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in paths[-2:]]
    questions, annotations = tables
    valid = annotations[annotations["Valid Label"] == "True"]
    said = valid.groupby("PromptID")["Label Code"].agg(lambda codes: "/".join(sorted(set(codes))))
    asked = questions[questions["PromptID"].isin(annotations["PromptID"])].reset_index(drop=True)
    article = "PMC" + asked["PMCID"]
    codes = asked["PromptID"].map(said).fillna("")
    table = pd.DataFrame(
        {
            "id": asked["PromptID"],
            "article": article,
            **{name: article.map(articles[name]).fillna("") for name in ("title", "abstract")},
            **{name: asked[name.capitalize()].str.strip() for name in ("outcome", "intervention", "comparator")},
            "effect": codes.map(EFFECTS).fillna(""),
            "split": article.map(articles["split"]).fillna(""),
        }
    )
    reasons = {
        "article not among those under CC BY with an abstract": table["split"] == "",
        "no valid annotation": codes == "",
        "annotations that differ": codes.str.contains("/"),
    }
    return leave_out(table, reasons)


#: The questions, and the annotations of them.
ANNOTATIONS = tuple(
    CatalogFile(
        path=f"evidence_inference_ccby/{name}",
        source=f"{EVIDENCE_INFERENCE.files[1].source.rpartition('/splits/')[0]}/{name}",
        sha256=sha256,
    )
    for name, sha256 in (
        ("prompts_merged.csv", "0d70d9e1e78d113fdbbd4919310eab7768d6a328368f7d8f9d5a3b48f99c25d3"),
        ("v2_annotations.csv", "aa77fa384dac276d3f0be1d40e914422ca4298c7fd1c5e5fe79703acab99127a"),
    )
)

EVIDENCE_EFFECTS = CatalogEntry(
    title="Evidence Inference 2.0 (CC BY): intervention, comparator and effect of a randomised trial",
    licence=EVIDENCE_INFERENCE.licence,
    source=ADDRESS,
    citation=EVIDENCE_INFERENCE.citation,
    read=read,
    columns=COLUMNS,
    records=1128,
    splits={"train": 928, "validation": 89, "test": 111},
    official=True,
    group="article",
    division="official, of the articles whose own licence is CC BY",
    traps=(
        "Of 2,444 questions that were annotated again, 1,289 are on articles that the set `evidence-inference` leaves "
        "out, 19 more have no annotation that reviewers call valid, and 8 more have valid ones that differ: left out.",
        "The 1,128 questions are on 424 articles, so that records of one article must stay together: `group: article`.",
        "Intervention and comparator are a physician's own words: 759 and 827 of them stand in the abstract to the "
        "letter. Of the others exact match asks for more than the abstract holds.",
        "The annotations were made on the whole article; an effect need not be told in its abstract.",
    ),
    pretrained_on=EVIDENCE_INFERENCE.pretrained_on,
    files=(
        *EVIDENCE_INFERENCE.files,
        *ANNOTATIONS,
    ),
)
