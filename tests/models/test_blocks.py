"""Model blocks: each architecture, built small, goes through all that a study does with it; what a block says holds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from typer.testing import CliRunner

from clinfit.cli import app
from clinfit.data.records import Record
from clinfit.models.base import Workspace
from clinfit.models.causal import CausalModel
from clinfit.models.estimates.described import described_block, memory_gb
from clinfit.models.estimates.estimate import model_size
from clinfit.prompts.encode import Renderer
from clinfit.study.blocks import BLOCKS, Block, filled
from clinfit.study.models import Causal, Lora, Train
from clinfit.study.tasks import Task
from clinfit.training.adaptable import check_targets
from kinds import dataset
from lessons import TASK, lesson
from model_blocks import TEMPLATES, block_tokenizer, small_base

each_block = pytest.mark.parametrize("name", BLOCKS)
#: Blocks whose architecture and template together are those of no block before them.
NEW = list({(block.architecture, TEMPLATES[name][1]): name for name, block in reversed(BLOCKS.items())}.values())


def config_of(block: Block) -> PretrainedConfig:
    return AutoConfig.for_model(block.architecture, **block.shape)


def on_meta(block: Block) -> PreTrainedModel:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config_of(block))


@each_block
def test_the_counts_of_a_block_are_those_of_its_shape(name: str) -> None:
    block = BLOCKS[name]
    size = model_size(Causal(name="m", family="causal", base="b"), config_of(block), 2)
    assert (size.parameters, size.multiplied) == (block.parameters, block.multiplied)
    assert block.multiplied * 0.5625 / 1e9 < memory_gb(block, 4) < memory_gb(block, 16) == block.parameters * 2 / 1e9


@each_block
def test_the_targets_of_a_block_are_the_layers_of_its_architecture(name: str) -> None:
    block, model = BLOCKS[name], on_meta(BLOCKS[name])
    check_targets(model, Lora(targets=list(block.targets)))
    head = model.get_output_embeddings()
    layers = {
        full.rsplit(".", 1)[-1]
        for full, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head and "vision" not in full
    }
    assert layers == set(block.targets)


@each_block
def test_a_block_fills_a_valid_model(name: str) -> None:
    spec = Causal.model_validate(filled({}, name))
    assert (spec.name, spec.base, spec.lora.targets) == (name, BLOCKS[name].base, list(BLOCKS[name].targets))


@each_block
@pytest.mark.parametrize("system", [None, "You are a physician."])
def test_prompts_of_a_block(name: str, system: str | None, text_task: Task) -> None:
    """The answer and its end are trained, and no reasoning stands open before it."""
    task = text_task.model_copy(update={"system": system})
    tokenizer = block_tokenizer(name)
    renderer = Renderer(task, tokenizer)
    encoded = renderer.encode(Record("a", "a", {"title": "T", "abstract": "Tumour growth."}, "Non-Cancer"))
    trained = tokenizer.decode([token for token in encoded.labels if token != -100])
    assert trained.strip() == "Non-Cancer" + TEMPLATES[name][0][1]
    prompt = tokenizer.decode(encoded.prompt_ids)
    assert "Abstract: Tumour growth." in prompt and (system is None or system in prompt)
    assert prompt.count("<think>") == prompt.count("</think>")
    assert renderer.thinking == BLOCKS[name].thinking


@pytest.mark.slow
@pytest.mark.parametrize("name", NEW)
def test_a_block_renders_trains_scores_writes_saves_and_loads(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CausalModel, "_fluency", lambda *_, **__: None)  # of random weights, and most of the time
    data = dataset("text", TASK)
    spec = Causal(
        name="m",
        family="causal",
        base=str(small_base(name)),
        lora=Lora(rank=2, targets=list(BLOCKS[name].targets)),
        train=Train(epochs=1, max_steps=2, learning_rate=1e-2, max_length=400, precision="fp32"),
    )
    model = CausalModel(spec, {TASK: data.task}, 1)
    records = data.part("test")[:4]
    before = model.predict(TASK, records).probabilities
    summary = model.fit(lesson(data.part("train")[:8], data.part("validation")[:4]), Workspace(tmp_path / "work"))
    after = model.predict(TASK, records).probabilities
    assert summary.trainable_parameters > 0 and not np.array_equal(before, after)
    written = model.generate(TASK, records, 4)
    assert [len(text) > 0 or tokens > 0 for text, tokens in zip(written.texts, written.tokens, strict=True)]
    model.save(tmp_path / "saved")
    loaded = CausalModel.load(tmp_path / "saved")
    assert np.array_equal(loaded.predict(TASK, records).probabilities, after)
    assert loaded.generate(TASK, records, 4).texts == written.texts


def test_all_that_is_known_of_a_block_is_shown() -> None:
    for name, block in BLOCKS.items():
        shown = CliRunner().invoke(app, ["models", "show", name])
        assert shown.exit_code == 0 and block.base in shown.output and "estimated" in shown.output
        lines = [line for part in described_block(block).values() for line in part]
        assert all(line in shown.output for line in lines)
    listed: Any = CliRunner().invoke(app, ["models", "list"], env={"COLUMNS": "250"})
    assert all(name in listed.output for name in BLOCKS)
