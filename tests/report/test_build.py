"""The page as a whole: complete, honest, accessible, and nothing but itself."""

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from clinfit.evaluation.results import Results
from clinfit.evaluation.system_results import MetricDict
from clinfit.report.build import ReportInputs, render, write_report

from .conftest import CASES, PATIENT_TEXT, SEVERAL

VOID = {"meta", "link", "br", "hr", "img", "input"}
every_case = pytest.mark.parametrize("name", [*CASES, *SEVERAL])


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""
    inside: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """All elements with their text and their ancestors; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.open: list[Element] = []
        self.texts: list[list[str]] = []
        self.feed(text)
        assert not self.open, f"never closed: {[element.tag for element in self.open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {k: v or "" for k, v in attrs}, inside=[parent.tag for parent in self.open])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)
            self.texts.append([])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.close_last()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1].tag == tag, (
            f"</{tag}> closes {self.open[-1].tag if self.open else 'nothing'}"
        )
        self.close_last()

    def close_last(self) -> None:
        """An element has its text when it is closed, and passes it on to the one that holds it."""
        element = self.open.pop()
        element.text = "".join(self.texts.pop())
        if self.texts:
            self.texts[-1].append(element.text)

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1].append(data)

    def all(self, *tags: str) -> list[Element]:
        return [element for element in self.elements if element.tag in tags]


#: Parsed once, for all tests that only read it.
parsed = cache(Page)


def metrics_in(results: Results) -> Iterator[MetricDict]:
    for task in results["tasks"].values():
        for system in task["systems"]:
            yield from system["metrics"].values()
            for entry in system["sections"].get("classes", []):
                yield from entry["metrics"].values()


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


# ---------------------------------------------------------------- form


@every_case
def test_page_is_well_formed_and_ids_are_unique(pages: dict[str, str], name: str) -> None:
    page = parsed(pages[name])
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    targets = {e.attributes["href"][1:] for e in page.all("a", "use") if e.attributes.get("href", "").startswith("#")}
    assert targets and targets <= set(ids)
    clips = set(re.findall(r"url\(#([^)]+)\)", pages[name]))
    assert clips <= set(ids)


@every_case
def test_page_fetches_nothing_and_runs_one_known_script(pages: dict[str, str], name: str) -> None:
    text, page = pages[name], parsed(pages[name])
    assert not page.all("iframe", "img", "object", "embed", "form")
    assert all(e.attributes["href"].startswith(("#", "data:")) for e in page.elements if "href" in e.attributes)
    assert not any("src" in e.attributes or any(key.startswith("on") for key in e.attributes) for e in page.elements)
    assert "http:" not in text and "https:" not in text and "@import" not in text
    policy = next(e for e in page.all("meta") if e.attributes.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy.attributes["content"]
    run = [e.text for e in page.all("script") if e.attributes.get("type") != "application/json"]
    allowed = re.findall(r"script-src (\S+)", policy.attributes["content"])
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in run]
    assert allowed == [f"'sha256-{digest}'" for digest in digests] and len(run) <= 1
    assert len(text.encode()) < 850_000 * len(SEVERAL.get(name, ("finding",)))


@every_case
def test_page_is_accessible(pages: dict[str, str], name: str) -> None:
    page = parsed(pages[name])
    assert page.all("html")[0].attributes["lang"] == "en"
    levels = [int(e.tag[1]) for e in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(caption.text.strip() for caption in page.all("caption"))
    assert all(e.attributes.get("scope") in {"row", "col"} for e in page.all("th"))
    figures = page.all("svg")
    assert all(e.attributes["role"] == "img" and e.attributes["aria-labelledby"] for e in figures)
    described = [e.text for e in page.all("desc") if e.inside[-1] == "svg"]
    assert len(described) == len(figures) and all(len(text) > 10 for text in described)
    scrolling = [e for e in page.all("div") if e.attributes.get("class") == "scroll"]
    assert scrolling and all(e.attributes["tabindex"] == "0" and e.attributes["aria-label"] for e in scrolling)


def test_same_inputs_give_the_same_bytes(cases: dict[str, ReportInputs], pages: dict[str, str], tmp_path: Any) -> None:
    write_report(cases["three labels"], tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == pages["three labels"]


# ---------------------------------------------------------------- content


@every_case
def test_every_number_is_in_the_page_in_full(cases: dict[str, ReportInputs], pages: dict[str, str], name: str) -> None:
    values = {e.attributes["data-value"] for e in parsed(pages[name]).elements if "data-value" in e.attributes}
    known = [metric["value"] for metric in metrics_in(cases[name].results) if metric["value"] is not None]
    assert {repr(value) for value in known} <= values


@every_case
def test_no_patient_text_and_ids_only_of_errors_and_of_what_lost_text(
    cases: dict[str, ReportInputs], pages: dict[str, str], name: str
) -> None:
    assert PATIENT_TEXT not in pages[name]
    known: set[str] = set()
    for task in cases[name].results["tasks"].values():
        sections = task["sections"]
        mistakes = sections["errors"]["confident"] if "errors" in sections else []
        sets = sections["set_errors"]["worst"] if "set_errors" in sections else []
        texts = sections["doubtful_texts"]["listed"] if "doubtful_texts" in sections else []
        read = [system["sections"].get("language") for system in task["systems"]]
        cut = [item for language in read if language is not None for item in language["cut"]]
        known |= {item["id"] for item in [*mistakes, *sets, *texts, *cut, *sections.get("label_errors", [])]}
    assert set(re.findall(r"secret-\w+-\d+", pages[name])) == known


@every_case
def test_disclaimer_command_and_hash(cases: dict[str, ReportInputs], pages: dict[str, str], name: str) -> None:
    text = words(parsed(pages[name]).all("main")[0].text)
    assert "Research use only." in text and "not be used in the care of patients" in text
    assert cases[name].command in text
    assert "ef" * 32 in text


def test_verdict_and_findings_come_first(cases: dict[str, ReportInputs], pages: dict[str, str]) -> None:
    front = parsed(pages["binary"]).all("section")[0]
    (task,) = cases["binary"].results["tasks"].values()
    assert task["verdict"] and task["advice"]
    assert all(words(sentence) in words(front.text) for sentence in task["verdict"])
    told = [f for f in task["findings"] if f["level"] == "warn" and f["system"] in (None, task["chosen"]["system"])]
    assert told and all(words(finding["title"]) in words(front.text) for finding in told)
    assert str(task["counts"]["test"]["n"]) in front.text
    whole = words(parsed(pages["binary"]).all("main")[0].text)
    assert all(words(f["title"]) in whole and words(f["advice"]) in whole for f in task["findings"])
    assert all(words(sentence) in whole for sentence in task["advice"])


def test_before_and_after_rows(cases: dict[str, ReportInputs], pages: dict[str, str]) -> None:
    (task,) = cases["binary"].results["tasks"].values()
    comparison = next(c for c in task["comparisons"] if c["kind"] == "before-after")
    page = parsed(pages["binary"])
    cells = [words(e.text) for e in page.all("td")]
    assert not any(words(row["sentence"]) in cells for row in comparison["rows"]), "one sentence is enough"
    assert words(comparison["sentence"]) in words(page.all("main")[0].text)
    table = next(e for e in page.all("table") if e.text.strip().startswith("tiny (before) and tiny (after)"))
    titles = [row["title"] for row in comparison["rows"]]
    assert "Sensitivity" in titles and not any(title.startswith("Recall") for title in titles)
    rows = [row for row in comparison["rows"] if row["metric"] != "f1:malignant"]
    assert table.text.count("yes, better") == sum(row["supported"] for row in rows)
    assert "F1 of 'benign'" in table.text and "F1 of 'malignant'" not in table.text
    accuracy = next(row for row in comparison["rows"] if row["metric"] == "accuracy")
    assert any(text.startswith(f"+{accuracy['points']:.1f} [") for text in cells)


def test_confusion_keeps_unparsed_answers(cases: dict[str, ReportInputs], pages: dict[str, str]) -> None:
    (task,) = cases["binary"].results["tasks"].values()
    before = next(system for system in task["systems"] if system["moment"] == "before")
    assert before["unparsed"] > 0
    table = next(
        e
        for e in parsed(pages["binary"]).all("table")
        if "confusion" in e.attributes.get("class", "") and before["name"] in e.text
    )
    assert "unparsed" in table.text
    for row in before["sections"]["confusion"]["counts"]:
        assert all(str(count) in table.text for count in row)


def test_undefined_is_told_and_never_zero(cases: dict[str, ReportInputs], pages: dict[str, str]) -> None:
    undefined = [m for m in metrics_in(cases["binary"].results) if m["status"] == "undefined"]
    assert undefined, "the majority baseline never answers one label"
    cells = [words(e.text) for e in parsed(pages["binary"]).all("td") if "empty" in e.attributes.get("class", "")]
    assert cells and all(text.startswith("not estimable (") for text in cells)
    assert {f"not estimable ({metric['reason']})" for metric in undefined} <= set(cells)


def test_withheld_shows_why_and_no_numbers(cases: dict[str, ReportInputs], pages: dict[str, str]) -> None:
    (task,) = cases["one class"].results["tasks"].values()
    error = next(finding for finding in task["findings"] if finding["level"] == "error")
    page = parsed(pages["one class"])
    box = next(e for e in page.all("section") if "verdict" in e.attributes["class"])
    assert "error" in box.attributes["class"]
    assert words(box.text).index(error["title"]) < words(box.text).index("Test records")
    systems = next(e for e in page.all("table") if "systems" in e.attributes.get("class", ""))
    assert systems.text.count("withheld:") == len(task["systems"]) and "in figures" not in page.all("section")[0].text
    inside = [e for e in page.all("td") if "primary" in e.attributes.get("class", "")]
    assert not inside, "no headline number is printed"
    titles = [e.text for e in page.all("title")]
    assert not any("ROC" in title or "Calibration" in title for title in titles)


def test_failed_model_is_listed_with_its_reason(pages: dict[str, str]) -> None:
    table = next(e for e in parsed(pages["failed model"]).all("table") if "systems" in e.attributes.get("class", ""))
    assert "tiny-seed42" in table.text
    assert "did not finish: the training loss is not a finite number at step 3" in table.text


def test_without_neural_model_there_is_no_training(pages: dict[str, str]) -> None:
    page = parsed(pages["no neural model"])
    titles = " ".join(e.text for e in page.all("h3"))
    assert "Training curves" not in titles and "Before and after" not in titles
    assert "random-forest" in page.all("main")[0].text


def test_figures_of_a_binary_task(pages: dict[str, str]) -> None:
    titles = [e.text for e in parsed(pages["binary"]).all("title")]
    expected = ["ROC curves", "Precision-recall curves", "Calibration of tiny (after)"]
    expected += ["Predicted risk by outcome: tiny (after)", "Training of tiny-seed42"]
    assert set(expected) <= set(titles)
    assert not any("majority" in title for title in titles), "a constant has no curve worth drawing"


def test_words_of_the_study_are_escaped(pages: dict[str, str]) -> None:
    assert "<script>alert" not in pages["hostile words"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in pages["hostile words"]


def test_several_tasks_share_a_page(cases: dict[str, ReportInputs]) -> None:
    inputs = cases["hostile words"]
    (task,) = inputs.results["tasks"].values()
    results: Results = {**inputs.results, "tasks": {"first": task, "second": task}}
    study = inputs.study.model_copy(update={"tasks": dict.fromkeys(results["tasks"], inputs.study.tasks["finding"])})
    page = Page(render(replace(inputs, results=results, study=study)))
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    assert [e.text for e in page.all("h2")][:3] == ["Summary of all 2 tasks", "Result: first", "Result: second"]


def test_a_declared_range_is_shaded_and_a_missing_one_told(cases: dict[str, ReportInputs]) -> None:
    inputs = cases["no neural model"]
    assert "No range of thresholds was declared" in words(Page(render(inputs)).all("main")[0].text)
    evaluation = inputs.study.evaluation.model_copy(update={"decision_range": [0.05, 0.25]})
    declared_range = replace(inputs, study=inputs.study.model_copy(update={"evaluation": evaluation}))
    page = Page(render(declared_range))
    assert "Shaded: 0.05 to 0.25" in words(page.all("main")[0].text)
    described = next(e.text for e in page.all("desc") if e.text.startswith("Net benefit"))
    assert "thresholds 0.05 to 0.25" in described
    heads = {e.text for e in page.all("th") if e.attributes["scope"] == "row"}
    assert {"0.05", "0.25"} <= heads
