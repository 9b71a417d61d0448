"""The numbers in the traps that the catalogue tells, counted anew from the public files."""

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from catalogued import needs_mirror, rows_of
from clinfit.data.archives import archive_files
from clinfit.data.catalog.entry import left_out
from clinfit.data.catalog.files import MIRROR
from clinfit.data.catalog.sets import CATALOG
from clinfit.data.clean import normalised, without_punctuation
from clinfit.data.mentions import patterns_of
from clinfit.data.workbooks import opened_book, sheet_rows
from clinfit.study.lexicon import known_lexicon

pytestmark = needs_mirror

#: For each trap of a set, in their order, the numbers that it tells, in theirs.
Counts = list[list[float]]


def numbers(trap: str) -> list[float]:
    """The numbers of a sentence; code between backticks, and codes that begin with a letter, are none."""
    text = re.sub(r"`[^`]*`", "", trap)
    return [float(found.replace(",", "")) for found in re.findall(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?", text)]


def mirror(path: str) -> Path:
    return Path(os.environ[MIRROR]) / path


def csv_rows(path: str) -> list[dict[str, str]]:
    text = mirror(path).read_bytes().decode("utf-8", errors="replace")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def breast_cancer() -> Counts:
    counts = Counter(rows_of("breast-cancer-wisconsin")["diagnosis"])
    return [[counts["malignant"], counts["benign"]], []]


def cancer_abstracts() -> Counts:
    rows = csv_rows("cancer_abstracts/abstracts.csv")
    words = re.compile("cancer|tumou?r|carcinoma|leuk|lymphoma|melanoma|metasta|malignan", re.I)
    right = sum(
        (words.search(row["title"] + " " + row["abstract"]) is not None) == (row["label"] == "1") for row in rows
    )
    return [[1000, 1000 - len(rows)], [right, len(rows)]]


def medical_abstracts() -> Counts:
    rows = csv_rows("medical_abstracts_tc/medical_tc_test.csv")
    labels: dict[str, list[str]] = {}
    for row in rows:
        labels.setdefault(normalised(row["medical_abstract"]), []).append(row["condition_label"])
    several = [found for found in labels.values() if len(found) > 1]
    assert all(len(set(found)) == len(found) for found in several)
    best = sum(max(Counter(found).values()) for found in labels.values())
    general = Counter(row["condition_label"] for row in rows)["5"]
    return [[len(several), sum(map(len, several)), best, len(rows)], [5, general], [in_ohsumed(set(labels))]]


def in_ohsumed(texts: set[str]) -> int:
    table = rows_of("ohsumed")
    return sum(normalised(title + " " + abstract) in texts for title, abstract in table[["title", "abstract"]].values)


def ohsumed() -> Counts:
    files = [name for name, _ in archive_files(mirror("ohsumed_train/training.tar.gz"))]
    held = Counter(Counter(name.name for name in files).values())
    sizes = Counter(name.parent.name for name in files)
    texts = {normalised(row["medical_abstract"]) for row in csv_rows("medical_abstracts_tc/medical_tc_test.csv")}
    documents = len({name.name for name in files})
    return [
        [min(held), max(held), len(files), documents],
        [sizes["C23"], sizes["C04"], sizes["C03"]],
        [in_ohsumed(texts)],
    ]


def medmcqa_dev() -> Counts:
    items = [json.loads(line) for line in mirror("medmcqa/dev.json").read_text(encoding="utf-8").splitlines()]
    right = Counter(item["cop"] for item in items)
    asked = Counter(
        normalised(" ".join(item[key] for key in ("question", "opa", "opb", "opc", "opd"))) for item in items
    )
    questions = Counter(normalised(item["question"]) for item in items)
    return [
        [1, *(right[option] for option in (1, 2, 3, 4)), round(100 * right[1] / len(items))],
        [sum(bool(item["exp"]) for item in items)],
        [sum(count > 1 for count in questions.values()), sum(count > 1 for count in asked.values())],
        [sum(item["choice_type"] == "multi" for item in items)],
        [sum(not item["topic_name"] for item in items)],
    ]


def pubmedqa() -> Counts:
    items = json.loads(mirror("pubmedqa/ori_pqal.json").read_text(encoding="utf-8"))
    tests = json.loads(mirror("pubmedqa/test_ground_truth.json").read_text(encoding="utf-8"))
    guessed = [
        sum(item[guess] == item["final_decision"] for item in items.values())
        for guess in ("reasoning_required_pred", "reasoning_free_pred")
    ]
    told = [
        pmid
        for pmid, item in items.items()
        if normalised(item["LONG_ANSWER"])[:60] in normalised(" ".join(item["CONTEXTS"]))
    ]
    halves = [
        Counter(item["final_decision"] for pmid, item in items.items() if (pmid in tests) == half) for half in (0, 1)
    ]
    assert halves[0] == halves[1]
    agree = sum(items[pmid]["final_decision"] == answer for pmid, answer in tests.items())
    return [
        [len(tests), agree],
        [*guessed, len(items)],
        [len(told), sum(pmid in tests for pmid in told)],
        [halves[0]["yes"], halves[0].total(), halves[0]["no"], halves[0]["maybe"]],
    ]


def pubmedqa_answers() -> Counts:
    items = json.loads(mirror("pubmedqa/ori_pqal.json").read_text(encoding="utf-8"))
    table = rows_of("pubmedqa-answers")
    assert table["answer"].tolist() == [item["LONG_ANSWER"] for item in items.values()]
    medians: list[float] = [int(table[column].str.split().str.len().median()) for column in ("answer", "contexts")]
    return [[], pubmedqa()[2], medians]


def dreaddit() -> Counts:
    train, test = (csv_rows(f"dreaddit/dreaddit-{split}.csv") for split in ("train", "test"))
    kept = [row for row in train if row["text"].strip() != "#NAME?"]
    texts = {normalised(row["text"]): row["label"] for row in test}
    crossing = [row for row in kept if normalised(row["text"]) in texts]
    assert all(row["label"] != texts[normalised(row["text"])] for row in crossing)
    unsure = [sum(float(row["confidence"]) < 0.7 for row in part) for part in (train, test)]
    posts = [{row["post_id"] for row in part} for part in (train, test)]
    assert not posts[0] & posts[1]
    left = [normalised(row["text"]) for row in kept if row not in crossing]
    return [
        [len(train) - len(kept)],
        [len(crossing)],
        [unsure[0], len(train), unsure[1], len(test), 0.7, sum(float(row["confidence"]) == 0 for row in test), 0],
        [len(posts[0] | posts[1])],
        [len(left) - len(set(left))],
        [sum("\ufffd" in row["text"] for row in train + test), 8],
        [],
    ]


def heart_disease() -> Counts:
    rows = csv_rows("tabular/heart_disease_uci.csv")
    sites: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        sites.setdefault(row["dataset"], []).append(row)
    ohio, others = sites["Cleveland"], [row for row in rows if row["dataset"] != "Cleveland"]
    ill = {name: sum(row["num"] != "0" for row in part) for name, part in sites.items()}
    order = ("Cleveland", "Hungary", "Switzerland", "VA Long Beach")
    zeros = {name: sum(row["chol"] == "0" for row in part) for name, part in sites.items()}
    contents = [tuple(value for key, value in row.items() if key != "id") for row in rows]
    return [
        [sum(not row["ca"] for row in ohio), len(ohio), sum(not row["ca"] for row in others), len(others)],
        [number for name in order for number in (ill[name], len(sites[name]))],
        [
            sum(zeros.values()),
            0,
            zeros["Switzerland"],
            zeros["VA Long Beach"],
            sum(row["trestbps"] == "0" for row in rows),
        ],
        [sum(row["fbs"] == "FAL SE" for row in rows)],
        [303, 294, len(ohio), len(sites["Hungary"])],
        [len(contents) - len(set(contents))],
    ]


def mirna() -> Counts:
    kinds = {kind: csv_rows(f"mirna_cancer_abstracts/{kind}MiRNAs_tbl_df.csv") for kind in ("Colorectal", "Pancreatic")}
    ids = {kind: {row["PMID"] for row in rows} for kind, rows in kinds.items()}
    both = ids["Colorectal"] & ids["Pancreatic"]
    organs = {"Colorectal": "colorectal|colon|rectal|\\bcrc\\b", "Pancreatic": "pancrea|\\bpdac\\b"}
    texts = {
        row["PMID"]: (row["Title"] + " " + row["Abstract"], kind)
        for kind, rows in kinds.items()
        for row in rows
        if row["PMID"] not in both
    }
    named = sum(re.search(organs[kind], text, re.I) is not None for text, kind in texts.values())
    of_kind = Counter(kind for _, kind in texts.values())
    return [
        [sum(map(len, kinds.values())), len(ids["Colorectal"] | ids["Pancreatic"])],
        [len(both)],
        [named, len(texts)],
        [of_kind["Colorectal"], of_kind["Pancreatic"]],
    ]


def cancer_types() -> Counts:
    table = rows_of("cancer-types")
    by_title = table[table["labelled_by"] == "title"]
    types = [[name for name in cell.split("|") if name] for cell in by_title["types"]]
    patterns = patterns_of(known_lexicon("cancer-types"))
    said = [patterns.types(abstract) for abstract in by_title["abstract"]]
    named = sum(bool(found) and set(found) <= set(told) for found, told in zip(types, said, strict=True))
    with_type = sum(map(bool, types))
    return [
        [len(by_title), len(types) - with_type, sum(len(found) > 1 for found in types)],
        [left_out(table)["title names no type"]],
        [len(table) - len(by_title)],
        [named, with_type],
    ]


def mediqa2019_qa() -> Counts:
    files = ("TrainingSet1-LiveQAMed", "TrainingSet2-Alexa", "ValidationSet", "TestSet-wLabels")
    parts: list[list[tuple[str, str, bool]]] = []
    for name in files:
        root = ElementTree.parse(mirror(f"mediqa2019/MEDIQA2019-Task3-QA-{name}.xml")).getroot()
        parts.append(
            [
                (
                    without_punctuation(question.findtext("QuestionText", "")),
                    answer.findtext("AnswerText", ""),
                    int(answer.get("ReferenceScore", "")) > 2,
                )
                for question in root.iter("Question")
                for answer in question.iter("Answer")
            ]
        )
    right = [sum(correct for *_, correct in part) for part in parts]
    asked = [{question for question, *_ in part} for part in parts]
    again, tested = asked[0] & asked[2], asked[1] & asked[3]
    assert not asked[3] & (asked[0] | asked[2]) and not asked[1] & asked[2]
    answers = {(question, normalised(answer)) for question, answer, _ in parts[3]}
    learned = [(question, normalised(answer)) for question, answer, _ in parts[1] if question in tested]
    assert answers.issuperset(learned)
    pairs: dict[tuple[str, str], list[bool]] = {}
    for question, answer, correct in parts[3]:
        pairs.setdefault((question, normalised(answer)), []).append(correct)
    twice = len({question for (question, _), found in pairs.items() if len(found) > 1})
    words = max(len(answer.split()) for part in parts for _, answer, _ in part)
    trained = len(parts[0]) + len(parts[1])
    return [
        [round(sum(map(len, parts)) / sum(map(len, asked)))],
        [
            *(3, 4, 1, 2),
            *(number for part, count in zip(parts, right, strict=True) for number in (count, len(part))),
            round(100 * (right[0] + right[1]) / trained),
            round(100 * right[3] / len(parts[3])),
        ],
        [len(again), sum(question in again for question, *_ in parts[0])],
        [len(tested), len(learned)],
        [twice, len(parts[3]) - len(pairs), sum(len(set(found)) > 1 for found in pairs.values())],
        [words],
    ]


def mediqa2019_rqe() -> Counts:
    parts: list[list[tuple[str, str, str]]] = []
    for name in ("TrainingSet-AMIA2016", "ValidationSet-AMIA2016", "TestSet-wLabels"):
        root = ElementTree.parse(mirror(f"mediqa2019/MEDIQA2019-Task2-RQE-{name}.xml")).getroot()
        parts.append(
            [
                (
                    without_punctuation(pair.findtext("chq") or ""),
                    without_punctuation(pair.findtext("faq") or ""),
                    pair.get("value", ""),
                )
                for pair in root.iter("pair")
            ]
        )
    train, validation, test = parts
    same = [value for question, faq, value in train if question == faq]
    shared = {question for question, *_ in validation} & {question for question, *_ in test}
    pairs: dict[tuple[str, str], set[str]] = {}
    for question, faq, value in train:
        pairs.setdefault((question, faq), set()).add(value)
    return [
        [],
        [len(same), same.count("false")],
        [round(100 * sum(value == "true" for *_, value in part) / len(part)) for part in parts],
        [sum(not question or not faq for question, faq, _ in train)],
        [len(shared), sum(question in shared for question, *_ in validation)],
        [len(train) - len(pairs), sum(len(values) > 1 for values in pairs.values())],
    ]


def mediqa2021_questions() -> Counts:
    test = rows_of("mediqa2021-questions").query("split == 'test'")
    known = set(rows_of("meqsum")["question"].map(normalised))
    return [[sum(normalised(question) in known for question in test["question"]), len(test)]]


def mediqa2021_answers() -> Counts:
    table = rows_of("mediqa2021-answers")
    answers = [table.loc[table["split"] == split, "answers"] for split in ("validation", "test")]
    cells = [
        workbook_rows(f"mediqa2021/{name}.xlsx")
        for name in ("MEDIQA2021_Task2_ValidationSet_Answers", "MEDIQA2021_Task2_MAS_TestSet_Answers")
    ]
    return [[len(table)], [*map(len, cells), *map(len, answers)]]


def workbook_rows(path: str) -> list[list[object]]:
    with opened_book(mirror(path)) as book:
        return [row for row in sheet_rows(book, book.sheetnames[0])[1:] if any(row)]


def meqsum() -> Counts:
    rows = workbook_rows("meqsum/MeQSum_ACL2019_BenAbacha_Demner-Fushman.xlsx")
    tests = set(rows_of("mediqa2021-questions").query("split == 'test'")["question"].map(normalised))
    summaries = [normalised(str(row[2])) for row in rows]
    return [
        [sum(normalised(str(row[1])) in tests for row in rows), len(rows)],
        [sum(str(row[1]).startswith("SUBJECT:") for row in rows)],
        [len(summaries) - len(set(summaries))],
    ]


def medquad() -> Counts:
    pairs: list[tuple[str, str, str, str]] = []
    empty = 0
    for name, content in archive_files(mirror("medquad/medquad_with_answers.tar.gz")):
        if name.suffix == ".xml":
            document = ElementTree.fromstring(content)
            for pair in document.iter("QAPair"):
                question, answer = (normalised(pair.findtext(key) or "") for key in ("Question", "Answer"))
                empty += not answer
                if answer:
                    pairs.append(
                        (name.parts[0], without_punctuation(document.findtext("Focus") or ""), question, answer)
                    )
    sites: dict[str, set[str]] = {}
    foci: dict[str, set[str]] = {}
    for site, focus, _, answer in pairs:
        sites.setdefault(focus, set()).add(site)
        foci.setdefault(answer, set()).add(focus)
    common = {answer for answer, found in foci.items() if len(found) > 1}
    named = {focus: found for focus, found in sites.items() if focus}
    return [
        [
            sum(len(found) > 1 for found in named.values()),
            len(named),
            sum(not focus for _, focus, *_ in pairs),
        ],
        [sum(site in ("3_GHR_QA", "2_GARD_QA") for site, *_ in pairs)],
        [len(common), sum(answer in common for *_, answer in pairs)],
        [len(pairs) - len({(question, answer) for *_, question, answer in pairs})],
        [empty],
    ]


def mts_dialog() -> Counts:
    names = ("TrainingSet", "ValidationSet", "TestSet-1-MEDIQA-Chat-2023", "TestSet-2-MEDIQA-Sum-2023")
    train, *others = (csv_rows(f"mts_dialog/MTS-Dialog-{name}.csv") for name in names)
    rest = [row for part in others for row in part]
    talks, sections = ({normalised(row[key]) for row in rest} for key in ("dialogue", "section_text"))
    same_talk = [row for row in train if normalised(row["dialogue"]) in talks]
    same_section = [
        row
        for row in train
        if row not in same_talk
        and len(normalised(row["section_text"]).split()) > 8
        and normalised(row["section_text"]) in sections
    ]
    words = [len(row["section_text"].split()) for row in train + rest]
    headers = Counter(row["section_header"].strip() for row in train)
    return [
        [len(same_talk), len(same_section), 8],
        [words.count(1), len(words), sum(count <= 3 for count in words)],
        [],
        [headers["FAM/SOCHX"], headers["GENHX"], len(train), headers["LABS"]],
    ]


def evidence_inference() -> Counts:
    table = rows_of("evidence-inference")
    splits = {
        number
        for split in ("train", "validation", "test")
        for number in mirror(f"evidence_inference_ccby/splits/{split}_article_ids.txt").read_text().split()
    }
    texts = {
        name.stem: content.decode("utf-8")
        for name, content in archive_files(mirror("evidence_inference_ccby/txt_files_ccby.tar.gz"))
    }
    outside = [name for name in texts if name.removeprefix("PMC") not in splits]
    inside = {name: text for name, text in texts.items() if name not in outside}
    filled = {
        part: {
            name
            for name, text in inside.items()
            if re.search(rf"^\s*{part}(\.[^\n:]*)?:\s*(?!\s|BODY|ABSTRACT)", text, re.M)
        }
        for part in ("ABSTRACT", "BODY")
    }
    no_text = inside.keys() - filled["BODY"]
    no_abstract = inside.keys() - no_text - filled["ABSTRACT"]
    medians: list[float] = [int(table[column].str.split().str.len().median()) for column in ("article", "abstract")]
    return [[len(texts), len(outside), len(no_text), len(no_abstract)], medians, []]


def evidence_effects() -> Counts:
    table = rows_of("evidence-effects")
    articles = set(rows_of("evidence-inference")["id"])
    asked: dict[str, str] = {}
    codes: dict[str, set[str]] = {}
    for row in csv_rows("evidence_inference_ccby/v2_annotations.csv"):
        asked[row["PromptID"]] = f"PMC{row['PMCID']}"
        codes.setdefault(row["PromptID"], set()).update({row["Label Code"]} if row["Valid Label"] == "True" else ())
    inside = {number for number, article in asked.items() if article in articles}
    none = [number for number in inside if not codes[number]]
    several = [number for number in inside if len(codes[number]) > 1]
    held = [
        sum(words in text for words, text in zip(table[name], table["abstract"], strict=True))
        for name in ("intervention", "comparator")
    ]
    return [
        [len(asked), len(asked) - len(inside), len(none), len(several)],
        [len(table), table["article"].nunique()],
        [float(count) for count in held],
        [],
    ]


def evidence_statements() -> Counts:
    table = rows_of("evidence-statements")
    rows = csv_rows("evidence_inference_ccby/v2_annotations.csv")
    right = [row for row in rows if row["Valid Label"] == row["Valid Reasoning"] == "True"]
    answers: dict[tuple[str, str], set[str]] = {}
    for row in right:
        answers.setdefault((row["PromptID"], " ".join(row["Annotations"].split())), set()).add(row["Label Code"])
    twice = {said for said, codes in answers.items() if len(codes) > 1}
    doubtful = sum((row["PromptID"], " ".join(row["Annotations"].split())) in twice for row in right)
    kept = [said for said in answers if said not in twice]
    questions = Counter(statement for _, statement in kept)
    both = table.groupby("statement")["change"].nunique()
    return [
        [len(rows), len(rows) - len(right), doubtful, len(twice), len(right) - doubtful - len(kept)],
        [float(sum(count > 1 for count in questions.values())), float((both > 1).sum())],
        [len(table), table["article"].nunique()],
        [],
    ]


COUNTS: dict[str, Callable[[], Counts]] = {
    "breast-cancer-wisconsin": breast_cancer,
    "cancer-abstracts": cancer_abstracts,
    "cancer-types": cancer_types,
    "dreaddit": dreaddit,
    "evidence-effects": evidence_effects,
    "evidence-inference": evidence_inference,
    "evidence-statements": evidence_statements,
    "heart-disease": heart_disease,
    "medical-abstracts-tc": medical_abstracts,
    "mediqa2019-qa": mediqa2019_qa,
    "mediqa2019-rqe": mediqa2019_rqe,
    "mediqa2021-answers": mediqa2021_answers,
    "mediqa2021-questions": mediqa2021_questions,
    "medmcqa-dev": medmcqa_dev,
    "medquad": medquad,
    "meqsum": meqsum,
    "mirna-cancer-types": mirna,
    "mts-dialog": mts_dialog,
    "ohsumed": ohsumed,
    "pubmedqa": pubmedqa,
    "pubmedqa-answers": pubmedqa_answers,
}


@pytest.mark.parametrize("name", sorted(name for name, entry in CATALOG.items() if entry.counted))
def test_every_number_of_a_trap_is_that_of_the_files(name: str) -> None:
    assert [numbers(trap) for trap in CATALOG[name].traps] == COUNTS[name]()
