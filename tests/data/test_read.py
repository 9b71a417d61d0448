import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest
from openpyxl.chart import BarChart, Reference

from clinfit.data.read import read_new_rows, read_rows
from clinfit.data.workbooks import STRICT
from clinfit.errors import ClinfitError
from clinfit.study.data import Data


def data(**block: Any) -> Data:
    return Data.model_validate({"path": "x", **block})


def read(path: Path, **block: Any) -> pd.DataFrame:
    return read_rows(path.name, path.parent, data(**block))


def error_of(path: Path, **block: Any) -> ClinfitError:
    with pytest.raises(ClinfitError) as error:
        read(path, **block)
    return error.value


TABLE = pd.DataFrame({"id": ["1", "2"], "text": ["a, b", 'say "no"\nnow'], "label": ["yes", "NA"]})


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.xlsx", "t.parquet"])
def test_every_format_gives_the_same_table(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    writers: dict[str, Callable[[], Any]] = {
        ".csv": lambda: TABLE.to_csv(path, index=False),
        ".tsv": lambda: TABLE.to_csv(path, index=False, sep="\t"),
        ".jsonl": lambda: TABLE.to_json(path, orient="records", lines=True),
        ".xlsx": lambda: TABLE.to_excel(path, index=False),
        ".parquet": lambda: TABLE.to_parquet(path),
    }
    writers[path.suffix]()
    assert read(path).to_dict("records") == TABLE.to_dict("records")


@pytest.mark.parametrize("name", ["t.jsonl", "t.xlsx", "t.parquet"])
def test_typed_formats_keep_booleans_apart_from_numbers(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame({"flag": [True, False], "count": [1, 0], "text": ["a", "b"]})
    path = tmp_path / name
    if name == "t.jsonl":
        path.write_text("\n".join(json.dumps(row) for row in [{"flag": True, "count": 1}, {"flag": False, "count": 0}]))
    else:
        table.to_excel(path, index=False) if name == "t.xlsx" else table.to_parquet(path)
    rows = read(path)
    assert [type(cell) for cell in rows["flag"]] == [bool, bool]
    assert all(isinstance(cell, int | np.integer) and not isinstance(cell, bool) for cell in rows["count"])


@pytest.mark.parametrize(
    "content",
    [
        '{"id": "a", "n": 1}\n{"id": "b", "n": null}\n',
        '[{"id": "a", "n": 1}, {"id": "b"}]',
        '{"a": {"n": 1}, "b": {"n": null}}',
    ],
)
def test_json_of_every_layout(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.json").write_text(content)
    assert read(tmp_path / "t.json").to_dict("records") == [{"id": "a", "n": 1}, {"id": "b", "n": None}]


def test_json_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"a": 1,\n"b": 2}')
    assert error_of(tmp_path / "t.json").found.startswith("t.json, line 1, column 1: not valid JSON")
    (tmp_path / "t.json").write_text("[1, 2]")
    assert error_of(tmp_path / "t.json").found == "t.json, line 1: a JSON list, not an object"


PUBMEDQA = Path(os.environ.get("CLINFIT_DATA", "absent")) / "pubmedqa/ori_pqal.json"


@pytest.mark.skipif(not PUBMEDQA.is_file(), reason="the folder of CLINFIT_DATA does not hold it")
def test_pubmedqa_as_it_is_published() -> None:
    table = read(PUBMEDQA)
    assert len(table) == 1000 and table["id"].is_unique
    assert table["final_decision"].value_counts().to_dict() == {"yes": 552, "no": 338, "maybe": 110}
    assert all(isinstance(paragraphs, list) for paragraphs in table["CONTEXTS"])


def test_parquet_integers_with_gaps_stay_integers(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"id": pd.array([2**60 + 1, None], dtype="Int64")}).to_parquet(path)
    assert read(path)["id"].tolist() == [2**60 + 1, None]


def test_semicolons_of_a_european_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id;text\n1;a, b\n")
    assert read(path).to_dict("records") == [{"id": "1", "text": "a, b"}]


@pytest.mark.parametrize(
    "content",
    [
        "sep=;\nid;text;label\n1;a, b;yes\n",
        'sep=,\nid,text,label\n1,"a, b",yes\n',
        '\n\nid,text,label\n1,"a, b",yes\n',
        ';;\nid;text;label\n1;"a, b";yes\n',
        'id,text,label,,\n1,"a, b",yes,,\n',
        'id,text,label,\n1,"a, b",yes,\n',
        'id,text,label\n1,"a, b",yes,,,\n',
        "id\ttext\tlabel\n1\ta, b\tyes\n",
    ],
)
def test_what_spreadsheets_leave_in_a_csv_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    assert read(path).to_dict("records") == [{"id": "1", "text": "a, b", "label": "yes"}]


def test_a_comma_in_a_name_between_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for header in ('id;"age, years";label', "id;age, years;label"):
        path.write_text(f"{header}\n1;5,5;yes\n")
        assert read(path).to_dict("records") == [{"id": "1", "age, years": "5,5", "label": "yes"}]
    path.write_text("id,a;b;c,label\n1,2,yes\n")
    assert list(read(path)) == ["id", "a;b;c", "label"]
    path.write_text("text\na; b\n")
    assert list(read(path)) == ["text"]


def test_columns_with_values_and_no_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,,\n1,2,3\n")
    assert error_of(path).found == "t.csv: columns 2, 3 hold values and have no name"


def test_a_byte_order_mark_is_not_part_of_the_first_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,text\n1,a\n", encoding="utf-8-sig")
    assert list(read(path).columns) == ["id", "text"]


def test_long_reports_are_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,text\n1," + "x" * 300_000 + "\n")
    assert len(read(path)["text"][0]) == 300_000


def test_sheets_by_name(tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    with pd.ExcelWriter(path) as book:
        pd.DataFrame({"a": [1]}).to_excel(book, sheet_name="first", index=False)
        pd.DataFrame({"b": [2]}).to_excel(book, sheet_name="Visits", index=False)
    assert list(read(path).columns) == ["a"]
    assert list(read(path, sheet="Visits").columns) == ["b"]
    assert "sheet: Visits" in error_of(path, sheet="visit").fix


# ---------------------------------------------------------------- what can be wrong with a file


def test_a_chart_has_a_sheet_of_its_own(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.worksheets[0].append(["text"])
    book.worksheets[0].append(["a"])
    chart = BarChart()
    chart.add_data(Reference(book.worksheets[0], min_col=1, min_row=1, max_row=2))
    book.create_chartsheet("Chart", 0).add_chart(chart)
    book.save(tmp_path / "t.xlsx")
    assert read(tmp_path / "t.xlsx").to_dict("records") == [{"text": "a"}]
    assert error_of(tmp_path / "t.xlsx", sheet="Chart").expected == "one of Sheet"


def test_a_formula_without_its_result_is_not_a_missing_value(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["text", "n"], ["a", None], ["b", "=1+1"]):
        book.worksheets[0].append(row)
    book.save(tmp_path / "t.xlsx")
    assert error_of(tmp_path / "t.xlsx").found == "t.xlsx, cell B3: a formula without its result"


def test_a_missing_file_names_its_nearest_neighbour(tmp_path: Path) -> None:
    (tmp_path / "abstracts.csv").write_text("a\n1\n")
    assert error_of(tmp_path / "abstract.csv").fix == "path: abstracts.csv"
    assert "no folder" in error_of(tmp_path / "nowhere" / "abstract.csv").found


@pytest.mark.parametrize(("name", "content"), [("t.csv", ""), ("t.csv", "a,b\n"), ("t.jsonl", ""), ("t.jsonl", "\n\n")])
def test_an_empty_file(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert any(word in error_of(tmp_path / name).found for word in ("empty", "no records"))


def test_an_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "t.sav").write_text("x")
    assert ".parquet" in error_of(tmp_path / "t.sav").expected


@pytest.mark.parametrize(
    ("content", "declared", "works"),
    [
        ("id,text\n1,Müller – 5°\n".encode("cp1252"), "utf-8", "cp1252"),
        ("id,text\n1,Müller \x81\n".encode("latin-1"), "utf-8", "latin-1"),
        ("id,text\n1,Müller\n".encode(), "ascii", "utf-8"),
        ("id,text\n1,Müller\n".encode("utf-16"), "utf-8", "utf-16"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_wrong_encoding_names_one_that_reads_the_file(
    tmp_path: Path, content: bytes, declared: str, works: str, suffix: str
) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_bytes(content)
    if suffix == ".csv":
        read(path, encoding=works)
    assert error_of(path, encoding=declared).fix.split(",")[0] == f"encoding: {works}"


def test_an_encoding_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n")
    assert "utf8000" in error_of(tmp_path / "t.csv", encoding="utf8000").found


def test_a_binary_file_called_csv(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"PK\x03\x04\x00\x00\xff\xfe\x00")
    assert "not a text file" in error_of(tmp_path / "t.csv").found


@pytest.mark.parametrize(
    "content", [b"\x00\x01\x02\x03", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", bytes(range(256)) * 9]
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json"])
def test_a_binary_file_is_told_as_one_in_any_encoding(
    tmp_path: Path, content: bytes, encoding: str, suffix: str
) -> None:
    """Latin-1 reads any byte, so that a picture would be a table without rows."""
    (tmp_path / f"t{suffix}").write_bytes(content)
    error = error_of(tmp_path / f"t{suffix}", encoding=encoding)
    assert "is not a text file" in error.found and error.expected


def test_a_control_character_in_a_note_makes_no_binary_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"id,text\n1,a\x0b\x00b\n" + b"2,a longer note\n" * 50)
    assert len(read(tmp_path / "t.csv")) == 51


def test_a_row_with_too_many_values_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,text\n1,secret, told\n")
    error = error_of(tmp_path / "t.csv")
    assert "line 2: 3 values under 2 column names" in error.found
    assert "secret" not in str(error)


def test_an_open_quote_does_not_swallow_the_rest(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('id,text\n1,"never closed\n2,b\n3,c\n')
    assert "quotes do not match" in error_of(tmp_path / "t.csv").found


def test_a_column_name_that_stands_twice(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,text,text\n1,a,b\n")
    assert "several columns are called text" in error_of(tmp_path / "t.csv").found


@pytest.mark.parametrize("line", ['{"a": 1', "[1, 2]", "nothing"])
def test_a_bad_json_line_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n\n' + line + "\n")
    assert "t.jsonl, line 3" in error_of(tmp_path / "t.jsonl").found


@pytest.mark.parametrize("name", ["t.xlsx", "t.parquet", "t.tar.gz"])
def test_a_file_that_is_not_what_its_name_says(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("id,text\n1,a\n")
    assert "cannot be read" in error_of(tmp_path / name).found


# ---------------------------------------------------------------- folders

ABSTRACT = "<ID:7>\nTitle: On x\nAbstract: First line.\nSecond line.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "ill/1.txt": ABSTRACT,
        "well/2.txt": ABSTRACT.replace("7", "8"),
        "well/.DS_Store": "junk",
    }.items():
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "texts"


def pack(folder: Path, archive: Path, prefix: str = "") -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.rglob("*.txt")):
            tar.add(path, prefix + str(path.relative_to(folder)))
    return archive


def test_a_folder_a_class(folder: Path) -> None:
    assert read(folder).to_dict("records") == [
        {"id": "1", "label": "ill", "text": ABSTRACT},
        {"id": "2", "label": "well", "text": ABSTRACT.replace("7", "8")},
    ]


def test_title_and_abstract_lines(folder: Path) -> None:
    first = read(folder, parse_abstracts=True).to_dict("records")[0]
    assert first == {"id": "7", "label": "ill", "title": " On x", "abstract": " First line.\nSecond line.\n"}


def test_files_without_these_lines_are_an_error(folder: Path) -> None:
    (folder / "ill" / "3.txt").write_text("A note.")
    assert "ill/3.txt" in error_of(folder, parse_abstracts=True).found


@pytest.mark.parametrize("prefix", ["", "./", "Dataset/deep/"])
def test_an_archive_reads_as_its_folder(folder: Path, tmp_path: Path, prefix: str) -> None:
    archive = pack(folder, tmp_path / "texts.tar.gz", prefix)
    assert read(archive).to_dict("records") == read(folder).to_dict("records")


@pytest.mark.parametrize("name", ["../../evil.txt", "/etc/evil.txt"])
def test_an_archive_that_reaches_out_is_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "t.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    assert "outside its own folder" in error_of(archive).found


def test_links_in_an_archive_are_passed_over(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "t.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder / "ill" / "1.txt", "ill/1.txt")
        link = tarfile.TarInfo("ill/2.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert read(archive)["id"].tolist() == ["1"]


def test_an_archive_cut_short(folder: Path, tmp_path: Path) -> None:
    archive = pack(folder, tmp_path / "t.tar.gz")
    archive.write_bytes(archive.read_bytes()[:-40])
    assert "cannot be read" in error_of(archive).found


def test_rows_that_end_early_in_a_workbook_are_filled_up(tmp_path: Path) -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("t")
    for row in (["a", "b", "c"], [1], [2, 3, 4], [5, 6]):
        sheet.append(row)
    book.save(tmp_path / "t.xlsx")
    assert read(tmp_path / "t.xlsx").to_numpy().tolist() == [[1, None, None], [2, 3, 4], [5, 6, None]]


def test_text_files_from_windows_may_end_in_capitals(folder: Path) -> None:
    for path in list(folder.rglob("*.txt")):
        path.rename(path.with_suffix(".TXT"))
    assert len(read(folder)) > 0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_new_data_are_read_in_their_own_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "new.csv"
    path.write_bytes("a\nfièvre\n".encode(encoding))
    data = Data.model_validate({"path": "t.csv", "inputs": {"a": "a"}, "encoding": "latin-1"})
    assert read_new_rows(path, data)["a"].tolist() == ["fièvre"]


def test_new_workbooks_may_lack_the_sheet_of_the_study(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_excel(tmp_path / "new.xlsx", index=False)
    data = Data.model_validate({"path": "t.xlsx", "inputs": {"a": "a"}, "sheet": "Visits"})
    assert read_new_rows(tmp_path / "new.xlsx", data)["a"].tolist() == [1]


def test_a_workbook_saved_as_strict_open_xml_is_read_like_any_other(tmp_path: Path) -> None:
    """openpyxl finds no sheet in it, since all its names are of another standard."""
    pd.DataFrame({"id": [1, 2], "note": ["a", "b"]}).to_excel(tmp_path / "usual.xlsx", index=False)
    with zipfile.ZipFile(tmp_path / "usual.xlsx") as usual, zipfile.ZipFile(tmp_path / "t.xlsx", "w") as strict:
        for name in usual.namelist():
            content = usual.read(name)
            for short, long in STRICT.items():
                content = content.replace(long, short)
            strict.writestr(name, content)
    assert openpyxl.load_workbook(tmp_path / "t.xlsx").sheetnames == []
    assert read(tmp_path / "t.xlsx").to_dict("records") == [{"id": 1, "note": "a"}, {"id": 2, "note": "b"}]
