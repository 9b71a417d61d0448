"""`clinfit init`: what it writes loads, reads the data it was made from, and never replaces a file."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clinfit.data.load import load_task
from clinfit.errors import ClinfitError
from clinfit.prompts.template import user_message
from clinfit.runs.starter import write_starter
from clinfit.study.load import load_study
from clinfit.study.schema import Study
from clinfit.study.tasks import Task


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
    assert len(load_task("label", task, study.folder).records) == 569
    assert (tmp_path / "my-study.md").read_text().count("{{") == 2


def test_sheets_are_named_and_one_with_a_label_is_chosen(tmp_path: Path) -> None:
    for name, first, chosen in (("a", pd.DataFrame({"about": ["x"]}), "Patients"), ("b", patients(), None)):
        with pd.ExcelWriter(tmp_path / f"{name}.xlsx") as book:
            first.to_excel(book, sheet_name="First", index=False)
            patients().to_excel(book, sheet_name="Patients", index=False)
        write_starter(tmp_path / f"{name}.yaml", tmp_path / f"{name}.xlsx")
        (task,) = load_study(tmp_path / f"{name}.yaml").tasks.values()
        assert task.data.sheet == chosen and len(load_task("t", task, tmp_path).records) == 40
        assert "Patients" in (tmp_path / f"{name}.yaml").read_text()


def test_a_decimal_comma_is_guessed(tmp_path: Path) -> None:
    weights = [f"{50 + row},5" for row in range(40)]
    _, task = started(tmp_path, patients().assign(weight=weights))
    assert task.data.decimal == "," and task.data.columns["weight"].type == "number"
    assert load_task("t", task, tmp_path).records[0].inputs["weight"] == 50.5
    (tmp_path / "points").mkdir()
    thousands = patients().assign(weight=[f"{1 + row},234" for row in range(40)])
    assert started(tmp_path / "points", thousands)[1].data.decimal == "."


def test_an_input_is_taken_out_by_one_edit(tmp_path: Path) -> None:
    _, task = started(tmp_path, patients())
    record = load_task("t", task, tmp_path).records[0]
    assert "age years: 30" in user_message(task, record.inputs)
    path = tmp_path / "my-study.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "age_years" not in line))
    (less,) = load_study(path).tasks.values()
    message = user_message(less, load_task("t", less, tmp_path).records[0].inputs)
    assert "age" not in message and "- sex: f" in message and "with a cough" in message


def test_the_positive_label_is_not_the_healthy_one(tmp_path: Path) -> None:
    _, task = started(tmp_path, patients().assign(outcome=["ill", "well"] * 20))
    assert task.positive_label == "ill"


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
    assert len(load_task("label", task, study.folder).records) == 40
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
        (["True", "False"], ["no", "yes"], {False: "no", True: "yes"}),
        (["1", "2", "3"], ["class 1", "class 2", "class 3"], {1: "class 1", 2: "class 2", 3: "class 3"}),
        (["flu, mild", "flu: severe"], ["flu, mild", "flu: severe"], None),
    ],
)
def test_labels_come_from_the_label_column(tmp_path: Path, values: list[str], labels: list[str], mapped) -> None:
    rows = 10 * len(values)
    _, task = started(tmp_path, pd.DataFrame({"x": range(rows), "label": values * 10}))
    assert task.labels == labels
    assert task.data.label_column.map == mapped
    assert len(load_task("label", task, tmp_path).records) == rows


def test_booleans_of_a_typed_file_are_mapped_as_booleans(tmp_path: Path) -> None:
    pd.DataFrame({"x": range(20), "label": [True, False] * 10}).to_parquet(tmp_path / "t.parquet")
    write_starter(tmp_path / "s.yaml", tmp_path / "t.parquet")
    study = load_study(tmp_path / "s.yaml")
    task = study.tasks["label"]
    assert task.data.label_column.map == {False: "no", True: "yes"}
    assert len(load_task("label", task, study.folder).records) == 20


def test_an_encoding_other_than_utf8_is_found(tmp_path: Path) -> None:
    text = "note,label\n" + "".join(f"Größe {row} und noch viel mehr Text dazu,{'ab'[row % 2]}\n" for row in range(20))
    (tmp_path / "t.csv").write_bytes(text.encode("cp1252"))
    write_starter(tmp_path / "s.yaml", tmp_path / "t.csv")
    study = load_study(tmp_path / "s.yaml")
    assert study.tasks["label"].data.encoding == "cp1252"
    assert "Größe" in str(load_task("label", study.tasks["label"], study.folder).records[0].inputs["note"])


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
@example(columns=["a", "b"], labels=["0", "00"])
@example(columns=["a", "b"], labels=["0", "FALSE"])
@example(columns=["a", "b"], labels=["2", "true"])
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
        patch.setattr("clinfit.runs.starter._study", full)
        with pytest.raises(ClinfitError, match="disk is full"):
            write_starter(tmp_path / "my-study.yaml")
    assert list(tmp_path.iterdir()) == []
    write_starter(tmp_path / "my-study.yaml")


def test_row_numbers_ids_and_an_annotators_confidence_are_no_inputs(tmp_path: Path) -> None:
    table = patients().assign(
        rownames=range(1, 41), post_id=[f"x{row // 3}" for row in range(40)], confidence=[0.2, 0.8] * 20,
        sample=[f"S-{row:04}" for row in range(40)],
    )  # fmt: skip
    _, task = started(tmp_path, table)
    assert list(task.data.columns) == ["age_years", "sex", "note"]
    text = (tmp_path / "my-study.yaml").read_text()
    for line in ("it numbers the rows: rownames", "belong together: post_id", "of the answer: confidence"):
        assert line in text
    assert "another code in every row: sample" in text


def test_a_data_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "heart.csv").write_text("a\n")
    with pytest.raises(ClinfitError) as caught:
        write_starter(tmp_path / "s.yaml", tmp_path / "hart.csv")
    assert caught.value.found == f"{tmp_path / 'hart.csv'} does not exist"
    assert caught.value.fix == f"clinfit init {tmp_path / 's.yaml'} --data {tmp_path / 'heart.csv'}"


def test_a_data_file_in_the_place_of_a_study_offers_init(tmp_path: Path) -> None:
    with pytest.raises(ClinfitError) as caught:
        load_study(tmp_path / "heart.csv")
    assert caught.value.fix == f"clinfit init {tmp_path / 'heart.yaml'} --data {tmp_path / 'heart.csv'}"
