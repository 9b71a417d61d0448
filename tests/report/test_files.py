"""Figures and tables as files: every one of the page, the same bytes each time, and nothing else."""

import csv
import re
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from clinfit.files import hash_files
from clinfit.report.build import context, render
from clinfit.report.files import Table, latex, named, tables_in, write_files
from clinfit.report.inputs import ReportInputs
from clinfit.runs.finish import write_outcome

from .several import PATIENT_TEXT


@pytest.fixture(scope="module")
def folder(cases: dict[str, ReportInputs], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_files(cases["subgroups"], folder)
    return folder


def test_every_figure_of_the_page_in_three_formats(folder: Path, pages: dict[str, str]) -> None:
    shown = re.findall(r'aria-labelledby="(\S+)-title', pages["subgroups"])
    assert len(shown) > 8
    beginnings = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}
    expected = {f"{name}.{suffix}" for name in shown for suffix in beginnings}
    assert {path.name for path in (folder / "figures").iterdir()} == expected | {"captions.csv"}
    for suffix, beginning in beginnings.items():
        assert all(path.read_bytes().startswith(beginning) for path in (folder / "figures").glob(f"*.{suffix}"))


def test_every_table_of_the_page_in_its_cells(folder: Path, pages: dict[str, str]) -> None:
    files = {path.stem: path for path in (folder / "tables").glob("*.csv")}
    assert len(files) == len(re.findall("<table", pages["subgroups"]))
    assert files.keys() == {path.stem for path in (folder / "tables").glob("*.tex")}
    with files["task1-characteristics-characteristics-of-the-records-by-outcome"].open(encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["Characteristic", "All", "benign", "malignant", "Difference"]
    assert rows[2] == ["note, words", "13 [11, 15]", "13 [11, 15]", "\N{EM DASH}", "0.31"]
    together = (folder / "tables/tables.html").read_text(encoding="utf-8")
    assert all(f"({name})" in together for name in files) and "\N{MINUS SIGN}" not in together


def test_the_same_bytes_again_and_no_patient(folder: Path, cases: dict[str, ReportInputs], tmp_path: Path) -> None:
    write_files(cases["subgroups"], tmp_path)
    assert hash_files(tmp_path) == hash_files(folder)
    texts = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not any(PATIENT_TEXT.encode() in text for text in texts)


def test_those_of_an_earlier_evaluation_become_the_new_ones(
    folder: Path, cases: dict[str, ReportInputs], tmp_path: Path
) -> None:
    """Without being asked for: the same folder, with a report on another study. One that was ended before its tables
    were there is made whole."""
    asked, after, ended = tmp_path / "asked", tmp_path / "after", tmp_path / "ended"
    write_outcome(asked, cases["texts"], files=True)
    shutil.copytree(folder, after)
    shutil.copytree(folder / "figures", ended / "figures")
    for earlier in (after, ended):
        write_outcome(earlier, cases["texts"])
        assert hash_files(earlier) == hash_files(asked)


def test_files_that_no_evaluation_has_written_stay(cases: dict[str, ReportInputs], tmp_path: Path) -> None:
    for name in ("figures", "tables"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.csv").write_text("a,b")
    write_outcome(tmp_path, cases["texts"])
    assert [path.name for name in ("figures", "tables") for path in (tmp_path / name).iterdir()] == ["mine.csv"] * 2


def test_latex_takes_any_text() -> None:
    table = Table("task1", r"50 % of a_b & {c} \ d", "", 1, [["Label", "n"], ["≥ 65", "< 0.001"], ["short"]])
    text = latex("task1-x", table)
    assert r"50 \% of a\_b \& \{c\} \textbackslash{} d" in text
    assert r"$\geq$ 65 & \textless{} 0.001 \\" in text and r"short &  \\" in text
    assert text.index(r"\toprule") < text.index("Label") < text.index(r"\midrule") < text.index("short")


@pytest.mark.parametrize("begins", ["[40, 50)", "*", "* other"])
def test_no_row_is_an_option_of_the_command_before_it(begins: str) -> None:
    r"""Behind `\\` and `\midrule` LaTeX reads a bracket or a star, also on the next line, as theirs."""
    text = latex("task1-x", Table("task1", "Ages", "", 1, [[begins, "n"], [begins, "[1, 2]"], ["short", "*"]]))
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert rows == [rf"{{}}{begins} & n \\", rf"{{}}{begins} & [1, 2] \\", r"short & * \\"]


def test_intervals_as_groups_are_rows_that_latex_takes(cases: dict[str, ReportInputs]) -> None:
    results = deepcopy(cases["subgroups"].results)
    (subgroups,) = [found for task in results["tasks"].values() for found in task["sections"]["subgroups"][:1]]
    for row in subgroups["rows"]:
        row["group"] = "[40, 50)"
    inputs = replace(cases["subgroups"], results=results)
    tables = tables_in(render(inputs, context(inputs)))
    lines = [line for table in tables for line in latex("name", table).splitlines()]
    assert any(line.startswith("{}[40, 50)") for line in lines)
    assert not [line for line in lines if line.startswith(("[", "*"))]


def test_hints_are_no_part_of_a_name_and_names_differ() -> None:
    page = (
        '<h3 id="task1-data">Data</h3>'
        + '<table><caption><span class="stay">Who <b>was</b> there? <span class="hint">all <span>of</span> them</span>'
        "</span></caption><thead><tr><th>a</th></tr></thead><tbody><tr><th>b</th></tr></tbody></table>"
        * 2
        + "<table></table>"
    )
    tables = named(tables_in(page))
    assert list(tables) == ["task1-data-who-was-there", "task1-data-who-was-there-2"]
    assert tables["task1-data-who-was-there"] == Table("task1-data", "Who was there?", "all of them", 1, [["a"], ["b"]])
