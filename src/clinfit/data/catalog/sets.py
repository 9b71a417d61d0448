"""The catalogue: every public set by its name, as a study writes it (`path: catalog:NAME`)."""

import pandas as pd

from clinfit.data.catalog.breast_cancer import BREAST_CANCER_WISCONSIN
from clinfit.data.catalog.cancer_abstracts import CANCER_ABSTRACTS
from clinfit.data.catalog.cancer_types import CANCER_TYPES
from clinfit.data.catalog.dreaddit import DREADDIT
from clinfit.data.catalog.entry import CATALOG_PREFIX, CatalogEntry, SetNote, left_out
from clinfit.data.catalog.evidence_effects import EVIDENCE_EFFECTS
from clinfit.data.catalog.evidence_inference import EVIDENCE_INFERENCE
from clinfit.data.catalog.evidence_statements import EVIDENCE_STATEMENTS
from clinfit.data.catalog.files import checked_file, mirror_folder
from clinfit.data.catalog.heart_disease import HEART_DISEASE
from clinfit.data.catalog.medical_abstracts import MEDICAL_ABSTRACTS_TC
from clinfit.data.catalog.mediqa2019 import MEDIQA2019_QA, MEDIQA2019_RQE
from clinfit.data.catalog.mediqa2021 import MEDIQA2021_ANSWERS, MEDIQA2021_QUESTIONS
from clinfit.data.catalog.medmcqa import MEDMCQA, MEDMCQA_DEV
from clinfit.data.catalog.medquad import MEDQUAD
from clinfit.data.catalog.meqsum import MEQSUM
from clinfit.data.catalog.mirna_cancer import MIRNA_CANCER_TYPES
from clinfit.data.catalog.mts_dialog import MTS_DIALOG
from clinfit.data.catalog.ohsumed import OHSUMED
from clinfit.data.catalog.pubmed_summaries import PUBMED_SUMMARIZATION, SCIENTIFIC_PAPERS_PUBMED
from clinfit.data.catalog.pubmedqa import PUBMEDQA, PUBMEDQA_ANSWERS
from clinfit.errors import ClinfitError, nearest

CATALOG: dict[str, CatalogEntry] = {
    "breast-cancer-wisconsin": BREAST_CANCER_WISCONSIN,
    "cancer-abstracts": CANCER_ABSTRACTS,
    "cancer-types": CANCER_TYPES,
    "dreaddit": DREADDIT,
    "evidence-effects": EVIDENCE_EFFECTS,
    "evidence-inference": EVIDENCE_INFERENCE,
    "evidence-statements": EVIDENCE_STATEMENTS,
    "heart-disease": HEART_DISEASE,
    "medical-abstracts-tc": MEDICAL_ABSTRACTS_TC,
    "mediqa2019-qa": MEDIQA2019_QA,
    "mediqa2019-rqe": MEDIQA2019_RQE,
    "mediqa2021-answers": MEDIQA2021_ANSWERS,
    "mediqa2021-questions": MEDIQA2021_QUESTIONS,
    "medmcqa": MEDMCQA,
    "medmcqa-dev": MEDMCQA_DEV,
    "medquad": MEDQUAD,
    "meqsum": MEQSUM,
    "mirna-cancer-types": MIRNA_CANCER_TYPES,
    "mts-dialog": MTS_DIALOG,
    "ohsumed": OHSUMED,
    "pubmed-summarization": PUBMED_SUMMARIZATION,
    "pubmedqa": PUBMEDQA,
    "pubmedqa-answers": PUBMEDQA_ANSWERS,
    "scientific-papers-pubmed": SCIENTIFIC_PAPERS_PUBMED,
}


def own_name(name: str, command: str | None = None) -> str:
    """The name of a set, also where it is given as a study writes it: catalog:NAME. command: what it was typed behind;
    None: it stands in a study.

    Raises ClinfitError for an unknown name.
    """
    name = name.removeprefix(CATALOG_PREFIX)
    if name not in CATALOG:
        near = nearest(name, CATALOG)
        if command is None:
            fix = f"path: catalog:{near or sorted(CATALOG)[0]}"
        else:
            fix = f"{command} {near}; all names: clinfit data list" if near else "clinfit data list"
        raise ClinfitError(
            f"the catalogue has no set called {name!r}", expected=f"one of {', '.join(sorted(CATALOG))}", fix=fix
        )
    return name


def entry_of(name: str) -> CatalogEntry:
    """What the catalogue says of a set; raises ClinfitError for an unknown name."""
    return CATALOG[own_name(name)]


def kin(name: str) -> list[str]:
    """The other sets that are made of one of its files, or of its documents in other files: their records are no
    others, or of the same documents."""
    own = CATALOG[name]

    def alike(entry: CatalogEntry) -> bool:
        return bool({*own.files} & {*entry.files}) or (own.corpus is not None and own.corpus == entry.corpus)

    return [other for other, entry in CATALOG.items() if other != name and alike(entry)]


def read_catalog(name: str) -> pd.DataFrame:
    """The rows of a named set, with its note (`note_of`).

    Raises ClinfitError for an unknown name, an absent file or a wrong checksum.
    """
    name = own_name(name)
    entry = CATALOG[name]
    found = [checked_file(file, name) for file in entry.files]
    table = entry.read([file.path for file in found])
    hashes = {file.path.relative_to(mirror_folder()).as_posix(): file.sha256 for file in found}
    table.attrs["set"] = SetNote(name, entry.title, hashes, len(table), left_out(table))
    return table
