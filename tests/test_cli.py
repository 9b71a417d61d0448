"""The command line as a user meets it: in its own process, with what goes wrong at the start of a project.

The processes are forked, see forked.py; `clinfit version` is started as a user does.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import clinfit
import forked
from clinfit.cli import one_flag_a_model
from clinfit.files import hash_files


def clinfit_(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return forked.run(["-m", "clinfit", *words], cwd)


def table(n: int = 30) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"r{k}" for k in range(n)],
            "text": [f"note {k % 7} {'abc'[k % 3]}" for k in range(n)],
            "label": [k % 2 for k in range(n)],
        }
    )


def study(**changes: Any) -> dict[str, Any]:
    data = {
        "path": "data.csv",
        "id": "id",
        "inputs": {"text": "text"},
        "label": {"column": "label", "map": {0: "no", 1: "yes"}},
    }
    content: dict[str, Any] = {
        "name": "small",
        "tasks": {"t": {"labels": ["no", "yes"], "data": data | changes.pop("data", {})}},
        "models": [{"name": "majority", "family": "baseline", "kind": "majority"}],
        "evaluation": {"bootstrap": 100},
    }
    return content | changes


def write(folder: Path, rows: pd.DataFrame | None = None, **changes: Any) -> None:
    (table() if rows is None else rows).to_csv(folder / "data.csv", index=False)
    (folder / "study.yaml").write_text(yaml.safe_dump(study(**changes)))


# ---------------------------------------------------------------- bad input


def missing_study(folder: Path) -> None:
    (folder / "study.yaml").unlink()


def missing_data(folder: Path) -> None:
    (folder / "data.csv").unlink()


def misspelt_column(folder: Path) -> None:
    write(folder, data={"inputs": {"text": "txt"}})


def empty_file(folder: Path) -> None:
    (folder / "data.csv").write_text("")


def no_rows(folder: Path) -> None:
    write(folder, table(0))


def one_row(folder: Path) -> None:
    write(folder, table(1))


def wrong_encoding(folder: Path) -> None:
    (folder / "data.csv").write_bytes("id,text,label\n1,Krebs ausgeschloßen,0\n2,x,1\n".encode("latin-1"))


def duplicate_ids(folder: Path) -> None:
    write(folder, table().assign(id="r1"))


def unmapped_label(folder: Path) -> None:
    write(folder, table().assign(label=lambda rows: [2, *rows["label"][1:]]))


def missing_label(folder: Path) -> None:
    write(folder, table().assign(label=lambda rows: [None, *rows["label"][1:]]))


def booleans_by_words(folder: Path) -> None:
    """The trap of old code: Python booleans through a map of words fell into one class."""
    write(folder, table().assign(label=lambda rows: rows["label"] == 1), data={
        "label": {"column": "label", "map": {"positive": "yes", "negative": "no"}}
    })  # fmt: skip


def label_once(folder: Path) -> None:
    write(folder, table().assign(label=[1] + [0] * 29))


def misspelt_keys(folder: Path) -> None:
    write(folder, modles=[], evaluation={"primry": "auroc", "bootstrap": 100})


def hub_id_offline(folder: Path) -> None:
    write(folder, models=[{"name": "llama", "family": "causal", "base": "nobody/no-such-model"}])


def base_that_is_nowhere(folder: Path) -> None:
    write(folder, models=[{"name": "llama", "family": "causal", "base": "./no-such-folder"}])


def base(folder: Path, architecture: str, **model: Any) -> None:
    """A study with a base that has a configuration and no weights."""
    config = {"architectures": [architecture], "model_type": "bert" if "Bert" in architecture else "llama"}
    sizes = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 9,
    }
    (folder / "base").mkdir()
    (folder / "base/config.json").write_text(json.dumps(config | sizes))
    (folder / "base/model.safetensors").write_bytes(b"")
    write(folder, models=[{"name": "llama", "family": "causal", "base": "base", **model}])


def base_is_not_causal(folder: Path) -> None:
    base(folder, "BertForMaskedLM")


def lora_targets_that_match_nothing(folder: Path) -> None:
    base(folder, "LlamaForCausalLM", lora={"targets": ["q_prjo"]})


BAD_INPUT: dict[Callable[[Path], None], list[str]] = {
    missing_study: ["study.yaml"],
    missing_data: ["data.csv"],
    misspelt_column: ["'txt'", "text"],
    empty_file: ["data.csv", "empty"],
    no_rows: ["data.csv"],
    one_row: ["1"],
    wrong_encoding: ["utf-8", "encoding"],
    duplicate_ids: ["id", "r1"],
    unmapped_label: ["label", "2"],
    missing_label: ["label"],
    booleans_by_words: ["label"],
    label_once: ["yes"],
    misspelt_keys: ["modles", "models", "primry", "primary"],
    hub_id_offline: ["nobody/no-such-model", "--online"],
    base_that_is_nowhere: ["no-such-folder"],
    base_is_not_causal: ["not a causal language model", "BertForMaskedLM"],
    lora_targets_that_match_nothing: ["q_prjo"],
}


@pytest.mark.parametrize("spoil", BAD_INPUT, ids=lambda spoil: spoil.__name__)
def test_bad_input_ends_with_one_clear_message(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    write(tmp_path)
    spoil(tmp_path)
    before = hash_files(tmp_path)
    done = clinfit_("run", "study.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and done.stderr.startswith("clinfit: ")
    assert [word for word in BAD_INPUT[spoil] if word not in done.stderr] == [], done.stderr
    assert hash_files(tmp_path) == before and not (tmp_path / "out").exists()


def test_a_study_changed_under_an_existing_run_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    assert clinfit_("run", "study.yaml", "--out", "out", cwd=tmp_path).returncode == 0
    before = hash_files(tmp_path / "out")
    write(tmp_path, evaluation={"bootstrap": 101})
    done = clinfit_("run", "study.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2 and "changed under an existing run" in done.stderr and "--out" in done.stderr
    assert hash_files(tmp_path / "out") == before


def test_one_class_on_test_withholds_the_numbers_and_the_packs(tmp_path: Path) -> None:
    """Nothing is wrong with the run itself, so it ends with 0 and says why it gives no number."""
    split = ["train"] * 20 + ["test"] * 10
    write(
        tmp_path,
        table().assign(split=split, label=lambda rows: [*rows["label"][:20], *[1] * 10]),
        data={"split": {"column": "split"}},
    )
    done = clinfit_("run", "study.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("No packs, since the numbers are withheld"))
    assert "label 'yes'" in line
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())["tasks"]["t"]
    assert metrics["withheld"] and not list((tmp_path / "out").rglob("pack"))
    assert {metric["value"] for system in metrics["systems"] for metric in system["metrics"].values()} == {None}


def test_messages_hold_no_patient_text(tmp_path: Path) -> None:
    write(tmp_path, table().assign(text="zebrafishcanary", label=7))
    done = clinfit_("run", "study.yaml", cwd=tmp_path)
    assert done.returncode == 2 and "zebrafishcanary" not in done.stderr + done.stdout


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    done = clinfit_("run", "study.yaml", "--out", "data.csv/run", cwd=tmp_path)
    assert done.returncode == 2 and "cannot write" in done.stderr and "Traceback" not in done.stderr


def test_a_full_disk_ends_the_run_with_one_message(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk."""
    write(tmp_path)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))"
    code = f"{limit}; from clinfit.cli import main; main()"
    done = forked.run(["-c", code, "run", "study.yaml", "--out", "out"], tmp_path)
    assert done.returncode == 2 and "cannot write" in done.stderr and "Traceback" not in done.stderr
    assert not list((tmp_path / "out").rglob("*.tmp-*"))


# ---------------------------------------------------------------- verbs


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the small study has run to `out`."""
    folder = tmp_path_factory.mktemp("ran")
    models = [
        {"name": "majority", "family": "baseline", "kind": "majority"},
        {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic", "c_grid": [1.0]},
    ]
    write(folder, models=models)
    done = clinfit_("run", "study.yaml", "--out", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "out/report.html"
    return folder


def test_models_by_name(tmp_path: Path) -> None:
    write(tmp_path)
    unknown = clinfit_("run", "study.yaml", "--models", "majorty", cwd=tmp_path)
    assert unknown.returncode == 2 and "did you mean majority?" in unknown.stderr
    assert not (tmp_path / "runs").exists()


def test_evaluate_makes_the_same_metrics_again(ran: Path) -> None:
    before = (ran / "out/metrics.json").read_bytes()
    (ran / "out/metrics.json").unlink()
    done = clinfit_("evaluate", "out", cwd=ran)
    assert done.returncode == 0, done.stderr
    assert (ran / "out/metrics.json").read_bytes() == before
    assert done.stdout.splitlines()[-1] == "out/report.html"


def test_status(ran: Path) -> None:
    done = clinfit_("status", "out", cwd=ran)
    assert done.returncode == 0 and "out: done" in done.stdout and "tfidf-seed42: done" in done.stdout
    nowhere = clinfit_("status", "nowhere", cwd=ran)
    assert nowhere.returncode == 2 and "is not a run folder" in nowhere.stderr


def test_predict_refuses_to_overwrite_until_told(ran: Path) -> None:
    words = ["predict", "out/models/tfidf-seed42/pack", "--input", "data.csv", "--output", "answers.csv"]
    assert clinfit_(*words, cwd=ran).returncode == 0
    answers = (ran / "answers.csv").read_bytes()
    again = clinfit_(*words, cwd=ran)
    assert again.returncode == 2 and "--overwrite" in again.stderr
    assert clinfit_(*words, "--overwrite", cwd=ran).returncode == 0
    assert (ran / "answers.csv").read_bytes() == answers


@pytest.mark.parametrize(
    ("pack", "target", "word"),
    [
        ("out/models/tfidf-seed42/pack", "answers.docx", ".parquet"),
        ("out/models/tfidf-seed42/pack", "out", ".csv"),
        ("out", "new.csv", "not a pack"),
    ],
)
def test_predict_with_wrong_words(ran: Path, pack: str, target: str, word: str) -> None:
    done = clinfit_("predict", pack, "--input", "data.csv", "--output", target, cwd=ran)
    assert done.returncode == 2 and word in done.stderr and not (ran / "new.csv").exists()


def test_predict_spares_its_input(ran: Path) -> None:
    table().to_csv(ran / "new.csv", index=False)
    before = (ran / "new.csv").read_bytes()
    words = ["predict", "out/models/majority-seed42/pack", "--input", "new.csv", "--output", "./new.csv", "--overwrite"]
    done = clinfit_(*words, cwd=ran)
    assert done.returncode == 2 and "is the input file" in done.stderr and (ran / "new.csv").read_bytes() == before
    (ran / "new.csv").unlink()


def test_predict_without_its_input(ran: Path) -> None:
    words = ["predict", "out/models/majority-seed42/pack", "--input", "nowhere.csv", "--output", "nothing.csv"]
    done = clinfit_(*words, cwd=ran)
    assert done.returncode == 2 and "there is no file nowhere.csv" in done.stderr and "study" not in done.stderr


def test_predict_with_repeated_ids(ran: Path) -> None:
    table().assign(id="r1").to_csv(ran / "repeated.csv", index=False)
    words = ["predict", "out/models/majority-seed42/pack", "--input", "repeated.csv", "--output", "nothing.csv"]
    done = clinfit_(*words, cwd=ran)
    assert done.returncode == 2 and "repeated.csv an id of its own" in done.stderr and "group:" not in done.stderr


def test_predict_with_a_column_missing(ran: Path) -> None:
    table().drop(columns="text").to_csv(ran / "bare.csv", index=False)
    words = ["out/models/tfidf-seed42/pack", "--input", "bare.csv", "--output", "bare-answers.csv"]
    done = clinfit_("predict", *words, cwd=ran)
    assert done.returncode == 2 and "'text'" in done.stderr and not (ran / "bare-answers.csv").exists()


def test_schema_is_json() -> None:
    done = clinfit_("schema")
    assert done.returncode == 0 and "tasks" in json.loads(done.stdout)["properties"]


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version(word: str) -> None:
    program = [sys.executable, "-m", "clinfit", word]
    environment = os.environ | {"PYTHONPATH": forked.SOURCE}
    done = subprocess.run(program, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, clinfit.__version__)


def test_usage_errors_end_with_2() -> None:
    assert clinfit_("run").returncode == 2
    assert clinfit_("rum", "study.yaml").returncode == 2


# ---------------------------------------------------------------- the unexpected


STOPPED_CHECK = """
import clinfit.study.load
def stop(path): raise KeyboardInterrupt
clinfit.study.load.load_study = stop
from clinfit.cli import main
main()
"""


def test_ctrl_c_is_one_line_anywhere() -> None:
    done = forked.run(["-c", STOPPED_CHECK, "check", "study.yaml"])
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")


def test_an_unexpected_error_is_one_line_and_a_log_without_messages(tmp_path: Path) -> None:
    code = (
        "import sys, clinfit.study.schema\n"
        "def broken(): raise ValueError('zebrafishcanary')\n"
        "clinfit.study.schema.json_schema = broken\n"
        "from clinfit.cli import main\n"
        "main()"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    program = ["-c", code, "schema"]
    done = forked.run(program, env=environment)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "ValueError" in done.stderr
    (log,) = tmp_path.glob("clinfit-*.log")
    assert str(log) in done.stderr and "broken" in log.read_text()
    assert "zebrafishcanary" not in done.stderr + log.read_text()
    shown = forked.run([*program, "--debug"], env=environment)
    assert shown.returncode == 1 and "zebrafishcanary" in shown.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("run s.yaml --models a", "run s.yaml --models a"),
        ("run s.yaml --models a b --out x", "run s.yaml --models a --models b --out x"),
        ("run --models a b s.yaml", "run --models a --models b s.yaml"),
        ("run s.yaml --models a --models b", "run s.yaml --models a --models b"),
        ("predict p --input a --output b", "predict p --input a --output b"),
    ],
)
def test_several_names_after_models(words: str, expected: str) -> None:
    assert one_flag_a_model(words.split()) == expected.split()
