"""Exports: the merged model is the pack's to the last digits, loads in plain Transformers, and says what it is."""

import stat
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

import clinfit
from clinfit.cli import app
from clinfit.errors import ClinfitError
from clinfit.files import read_json
from clinfit.packs.export import NOTE, export_gguf, export_merged, find_converter
from clinfit.packs.write import write_packs
from three_tasks import described, results_of, study_of, train
from two_layer import llama_base

CONVERTER = """\
import pathlib, sys
folder, _, out, *_ = sys.argv[1:]
names = sorted(path.name for path in pathlib.Path(folder).iterdir())
if "config.json" not in names: sys.exit("no model")
pathlib.Path(out).write_bytes(b"GGUF")
"""


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    training = {"epochs": 1, "learning_rate": 2e-2, "batch_size": 8, "max_length": 200, "precision": "fp32"}
    model = {"name": "words", "family": "causal", "base": str(llama_base()), "lora": {"rank": 2}, "train": training}
    study = study_of(model)
    trained, _ = train(study, tmp_path_factory.mktemp("exported"))
    return write_packs(trained, study, results_of(study), described(study))["words-seed42"]


def test_merged_weights_answer_as_the_pack(pack: Path, tmp_path: Path) -> None:
    changes = export_merged(pack, tmp_path / "merged", "fp32")
    assert [change.task for change in changes] == list(clinfit.load_pack(pack).tasks)
    assert all(change.value < 1e-5 for change in changes)
    rounded = export_merged(pack, tmp_path / "rounded", "bf16")
    assert max(change.value for change in rounded) > max(change.value for change in changes), "rounding is told"


def test_the_adapter_is_in_it(pack: Path, tmp_path: Path) -> None:
    """Plain Transformers loads it offline, and it is not the base any more."""
    export_merged(pack, tmp_path / "merged", "fp32")
    merged, base = (AutoModelForCausalLM.from_pretrained(folder) for folder in (tmp_path / "merged", llama_base()))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    note = read_json(tmp_path / "merged" / NOTE)
    task = next(iter(note["tasks"].values()))
    ids = torch.tensor([tokenizer(task["example"], add_special_tokens=False)["input_ids"]])
    with torch.inference_mode():
        assert not torch.allclose(merged(ids).logits, base(ids).logits, atol=1e-3)
    assert note["pack"] == clinfit.load_pack(pack).content.sha256 and "evaluated is the pack" in note["beware"]
    assert not [path for path in (tmp_path / "merged").rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]


def test_what_is_exported_before_is_not_replaced(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ClinfitError, match="is there already"):
        export_merged(pack, tmp_path / "mine", "fp32")
    assert list((tmp_path / "mine").iterdir()) == []


def test_packs_without_an_adapter_are_refused(tmp_path: Path, make_study) -> None:
    from rich.console import Console

    result = clinfit.run(make_study(), console=Console(quiet=True))
    with pytest.raises(ClinfitError, match="holds no adapter"):
        export_merged(next(iter(result.packs.values())), tmp_path / "merged", "fp32")
    assert not (tmp_path / "merged").exists()


def test_the_converter_makes_one_file(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "convert_hf_to_gguf.py"
    script.write_text(CONVERTER)
    words = ["export", str(pack), "--out", str(tmp_path / "merged"), "--precision", "fp32", "--gguf"]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClinfitError, match="on the path"):
        find_converter(None, tmp_path / "none.gguf")
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code != 0 and not (tmp_path / "merged").exists(), "nothing is done before it is found"
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    assert find_converter(None, tmp_path / "none.gguf") == script
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "largest change of a probability" in done.output
    assert (tmp_path / "merged.gguf").read_bytes() == b"GGUF"
    with pytest.raises(ClinfitError, match=r"merged\.gguf is there already"):
        find_converter(None, tmp_path / "merged.gguf")
    with pytest.raises(ClinfitError, match="did not convert the model: no model"):
        export_gguf(tmp_path, tmp_path / "other.gguf", script)
    assert not list(tmp_path.glob(".*begun"))
