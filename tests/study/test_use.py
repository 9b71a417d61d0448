"""`use: NAME` in a model of a study: filled in when it is loaded, what is written wins."""

from pathlib import Path

import pytest

from clinfit.errors import ClinfitError
from clinfit.study.load import load_study, study_yaml
from clinfit.study.models import Causal, Encoder
from clinfit.study.schema import study_hash

HEAD = """\
name: s
tasks: {t: {labels: [No, Yes], data: {path: a.csv, inputs: {x: x}, label: y}}}
models:
"""


def loaded(tmp_path: Path, *models: str):
    path = tmp_path / "study.yaml"
    path.write_text(HEAD + "".join(f"  - {model}\n" for model in models), encoding="utf-8")
    return load_study(path)


def test_a_block_fills_in_what_is_left_out(tmp_path: Path) -> None:
    (model,) = loaded(tmp_path, "{use: phi-3-mini}").models
    assert isinstance(model, Causal)
    assert (model.name, model.base) == ("phi-3-mini", "microsoft/Phi-3-mini-4k-instruct")
    assert model.lora.targets == ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]


def test_what_the_study_writes_wins(tmp_path: Path) -> None:
    study = loaded(
        tmp_path,
        "{use: llama-3.2-1b, name: a, lora: {rank: 4}, train: {epochs: 1}}",
        "{use: llama-3.2-1b, name: b, lora: {targets: all-linear}, revision: abc}",
        "{use: llama-3.2-1b, name: c, base: clinfit/tiny}",
        "{use: llama-3.2-1b, name: d, family: encoder}",
    )
    a, b, c, d = study.models
    assert isinstance(a, Causal) and isinstance(b, Causal) and isinstance(c, Causal) and isinstance(d, Encoder)
    assert (a.lora.rank, a.train.epochs, len(a.lora.targets)) == (4, 1, 7)
    assert (b.lora.targets, b.revision) == ("all-linear", "abc")
    assert (c.base, c.lora.targets) == ("clinfit/tiny", "all-linear")
    assert (d.base, d.lora.targets) == (a.base, "all-linear")


def test_the_resolved_study_holds_the_values(tmp_path: Path) -> None:
    used = loaded(tmp_path, "{use: qwen-3-4b, name: q}")
    assert "use:" not in study_yaml(used) and "base: Qwen/Qwen3-4B" in study_yaml(used)
    targets = "[q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]"
    written = loaded(tmp_path, f"{{name: q, family: causal, base: Qwen/Qwen3-4B, lora: {{targets: {targets}}}}}")
    assert study_hash(used) == study_hash(written)


def test_an_unknown_block_is_one_error_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ClinfitError) as raised:
        loaded(tmp_path, "{use: lama-3.2-1b}", "{use: 7, name: b}")
    text = str(raised.value)
    assert "2 errors" in text and "study.yaml:4: models[0].use" in text and "did you mean llama-3.2-1b?" in text
