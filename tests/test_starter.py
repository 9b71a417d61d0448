"""`clinfit init`: what it writes loads, reads the data it was made from, and never replaces a file."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinfit.data.load import load_task
from clinfit.errors import ClinfitError
from clinfit.starter import write_starter
from clinfit.study import Study, Task, load_study


def started(folder: Path, table: pd.DataFrame, name: str = "table.csv") -> tuple[Study, Task]:
    """The starter for a table, loaded."""
    (folder / "data").mkdir(exist_ok=True)
    table.to_csv(folder / "data" / name, index=False)
    write_starter(folder / "my-study.yaml", folder / "data" / name)
    study = load_study(folder / "my-study.yaml")
    return study, next(iter(study.tasks.values()))


def patients(n: int = 40) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "visit_id": [f"v{row}" for row in range(n)],
            "patient": [f"p{row // 2}" for row in range(n)],
            "Age (years)": [30 + row % 41 for row in range(n)],
            "sex": ["f", "m"] * (n // 2),
            "note": [f"Seen on day {row} with a cough that had lasted for some weeks" for row in range(n)],
            "hospital": ["north"] * n,
            "outcome": [row // 2 % 2 for row in range(n)],
        }
    )


def test_without_data_the_starter_is_a_study_that_can_run_as_it_is(tmp_path: Path) -> None:
    write_starter(tmp_path / "my-study.yaml")
    study = load_study(tmp_path / "my-study.yaml")
    task = study.tasks["diagnosis"]
    assert task.labels == ["benign", "malignant"]
    assert task.positive_label == "malignant"
    assert len(load_task(task, study.folder).records) == 569
    assert (tmp_path / "my-study.md").read_text().count("{{") == 31


def test_columns_are_guessed_and_marked(tmp_path: Path) -> None:
    study, task = started(tmp_path, patients())
    data = task.data
    assert (data.id, data.group, data.path) == ("visit_id", "patient", "data/table.csv")
    assert {name: column.type for name, column in data.columns.items()} == {
        "age_years": "number", "sex": "category", "note": "text",
    }  # fmt: skip
    assert task.labels == ["no", "yes"]
    assert data.label_column.map == {0: "no", 1: "yes"}
    assert {model.name for model in study.models} >= {"majority", "tfidf", "lasso", "random-forest", "tiny"}
    assert len(load_task(task, study.folder).records) == 40
    text = (tmp_path / "my-study.yaml").read_text()
    assert text.count("# guess") >= 6
    assert "hospital" in text.split("left out")[1]


def test_no_value_of_the_data_but_the_labels_is_written(tmp_path: Path) -> None:
    started(tmp_path, patients())
    written = (tmp_path / "my-study.yaml").read_text() + (tmp_path / "my-study.md").read_text()
    assert "cough" not in written
    assert "north" not in written
    assert "p7" not in written


@pytest.mark.parametrize(
    ("values", "labels", "mapped"),
    [
        (["No", "Yes"], ["No", "Yes"], None),
        (["True", "False"], ["False", "True"], None),
        (["1", "2", "3"], ["class 1", "class 2", "class 3"], {1: "class 1", 2: "class 2", 3: "class 3"}),
        (["flu, mild", "flu: severe"], ["flu, mild", "flu: severe"], None),
    ],
)
def test_labels_come_from_the_label_column(tmp_path: Path, values: list[str], labels: list[str], mapped) -> None:
    rows = 10 * len(values)
    _, task = started(tmp_path, pd.DataFrame({"x": range(rows), "label": values * 10}))
    assert task.labels == labels
    assert task.data.label_column.map == mapped
    assert len(load_task(task, tmp_path).records) == rows


def test_booleans_of_a_typed_file_are_mapped_as_booleans(tmp_path: Path) -> None:
    pd.DataFrame({"x": range(20), "label": [True, False] * 10}).to_parquet(tmp_path / "t.parquet")
    write_starter(tmp_path / "s.yaml", tmp_path / "t.parquet")
    study = load_study(tmp_path / "s.yaml")
    task = study.tasks["label"]
    assert task.data.label_column.map == {False: "no", True: "yes"}
    assert len(load_task(task, study.folder).records) == 20


def test_an_encoding_other_than_utf8_is_found(tmp_path: Path) -> None:
    text = "note,label\n" + "".join(f"Größe {row} und noch viel mehr Text dazu,{'ab'[row % 2]}\n" for row in range(20))
    (tmp_path / "t.csv").write_bytes(text.encode("cp1252"))
    write_starter(tmp_path / "s.yaml", tmp_path / "t.csv")
    study = load_study(tmp_path / "s.yaml")
    assert study.tasks["label"].data.encoding == "cp1252"
    assert "Größe" in str(load_task(study.tasks["label"], study.folder).records[0].inputs["note"])


@pytest.mark.parametrize("existing", ["my-study.yaml", "my-study.md"])
def test_an_existing_file_is_never_replaced(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("mine")
    with pytest.raises(ClinfitError, match="exists already"):
        write_starter(tmp_path / "my-study.yaml")
    assert [file.name for file in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "mine"


def test_what_cannot_be_started_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ClinfitError, match="not named as a study"):
        write_starter(tmp_path / "my-study.txt")
    with pytest.raises(ClinfitError, match="there is no folder"):
        write_starter(tmp_path / "nowhere" / "s.yaml")
    with pytest.raises(ClinfitError, match="does not exist"):
        write_starter(tmp_path / "s.yaml", tmp_path / "missing.csv")
    pd.DataFrame({"a": range(30), "b": range(30)}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ClinfitError, match="looks like a label"):
        write_starter(tmp_path / "s.yaml", tmp_path / "t.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]


names = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    columns=st.lists(names.map(str.strip).filter(bool), min_size=2, max_size=5, unique=True),
    labels=st.lists(names.map(str.strip).filter(bool), min_size=2, max_size=3, unique_by=str.casefold),
)
def test_whatever_columns_and_labels_are_called_the_starter_loads(
    tmp_path_factory: pytest.TempPathFactory, columns: list[str], labels: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("starter")
    rows = 12 * len(labels)
    values = {name: [f"value {position} of {row}" for row in range(rows)] for position, name in enumerate(columns)}
    values[columns[-1]] = labels * 12
    pd.DataFrame(values).to_json(folder / "t.jsonl", orient="records", lines=True)
    try:
        write_starter(folder / "s.yaml", folder / "t.jsonl")
    except ClinfitError as error:  # labels that all mean "missing"
        assert "looks like a label" in str(error)
        return
    study = load_study(folder / "s.yaml")
    assert len(next(iter(study.tasks.values())).labels) >= 2


def test_a_disk_that_refuses_the_study_leaves_no_prompt_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("clinfit.starter._study", full)
        with pytest.raises(ClinfitError, match="disk is full"):
            write_starter(tmp_path / "my-study.yaml")
    assert list(tmp_path.iterdir()) == []
    write_starter(tmp_path / "my-study.yaml")
