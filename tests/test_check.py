"""`clinfit check`: what is printed about a study before it runs, and the size estimates."""

import io
from pathlib import Path

import pandas as pd
import pytest
import torch
from peft import LoraConfig, get_peft_model
from rich.console import Console
from transformers import AutoModelForCausalLM, BertConfig, GPT2Config, LlamaConfig, PretrainedConfig

from clinfit.check import check_study, masked
from clinfit.errors import ClinfitError
from clinfit.estimate import Work, estimate, gemm_rate, model_size
from clinfit.prompts.encode import Encoded
from clinfit.study import Causal, Encoder, Lora, Study, Train, load_study

STUDY = """\
name: tiny-check
tasks:
  cough:
    labels: [absent, present]
    data:
      path: notes.csv
      id: id
      inputs: {note: note, age: {column: age, type: number, unit: years}}
      label: label
    prompt: "Cough? {{ note }} Age {{ age }}. Answer {{ labels }}."
models:
  - {name: majority, family: baseline, kind: majority}
  - {name: tiny, family: causal, base: clinfit/tiny, train: {max_length: 48, batch_tokens: 256}}
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    words = ("the patient came with a dry cough that " + "would not go away for weeks").split(" ")
    table = pd.DataFrame(
        {
            "id": [f"r{row}" for row in range(40)],
            "note": [" ".join(words[row % 5 :] + [f"visit{row}"] * (1 + row % 30)) for row in range(40)],
            "age": [None if row == 3 else 40 + row for row in range(40)],
            "label": ["absent", "present"] * 20,
        }
    )
    table.to_csv(tmp_path / "notes.csv", index=False)
    (tmp_path / "study.yaml").write_text(STUDY)
    return load_study(tmp_path / "study.yaml")


def printed(study: Study, **options: bool) -> tuple[str, list]:
    stream = io.StringIO()
    findings = check_study(study, Console(file=stream, width=140), **options)
    return stream.getvalue(), findings


def test_check_shows_data_tokens_record_findings_and_estimate(study: Study) -> None:
    text, findings = printed(study)
    assert "the study file is valid" in text
    assert "LoRA rank 16, alpha 32; 3 epochs" in text
    assert "40 records from notes.csv" in text
    assert "number, years" in text
    assert "of 40 records are shortened to 48 tokens" in text
    assert "0 of 40" not in text
    assert "label present:" in text
    assert "⟦" in text.split("First training record")[1]
    assert "M  " in text.split("Estimates")[1]
    assert all(finding.title in text for finding in findings)


def test_the_record_is_left_out_on_request(study: Study) -> None:
    text, _ = printed(study, show_record=False)
    assert "dry cough" not in text
    assert "First training record" not in text


def test_a_base_that_is_not_there_is_a_finding_beside_the_others(study: Study) -> None:
    lost = Causal(name="lost", family="causal", base="./no-such-folder")
    text, findings = printed(study.model_copy(update={"models": [lost, *study.models]}), show_record=False)
    assert findings[0].level == "error"
    assert findings[0].system == "lost"
    assert "no-such-folder" in text
    assert "label present:" in text  # the other model is still shown


def test_data_that_cannot_be_read_is_an_error(study: Study) -> None:
    (study.folder / "notes.csv").unlink()
    with pytest.raises(ClinfitError, match=r"notes\.csv does not exist"):
        printed(study)


class Letters:
    """A tokenizer of one character a token."""

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def test_the_answer_is_told_apart_with_and_without_colour() -> None:
    item = Encoded("r1", [ord(char) for char in "cough [bold]?\x1b[2J\n"], [ord(char) for char in "yes"], 0)
    plain = masked(item, Letters(), colour=False)
    assert plain.plain.endswith("cough [bold]?·[2J\n⟦yes⟧")  # markup stays text; control characters cannot act
    coloured = masked(item, Letters(), colour=True)
    assert "⟦" not in coloured.plain
    answer = [span for span in coloured.spans if coloured.plain[span.start : span.end] == "yes"]
    assert [str(span.style) for span in answer] == ["bold green"]


# ---------------------------------------------------------------- estimate

LLAMA = LlamaConfig(
    vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, tie_word_embeddings=True,
)  # fmt: skip
GPT2 = GPT2Config(vocab_size=96, n_embd=32, n_layer=2, n_head=4, n_positions=64)
BERT = BertConfig(
    vocab_size=96, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
)  # fmt: skip
WORK = Work(train_lengths=[10] * 50, scored_tokens=300, answer_tokens=2)


def causal(**changes) -> Causal:
    return Causal(name="m", family="causal", base="x", **changes)


@pytest.mark.parametrize("config", [LLAMA, GPT2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("dora", [False, True])
def test_parameters_are_those_of_the_real_model_and_adapter(config: PretrainedConfig, dora: bool) -> None:
    size = model_size(causal(lora=Lora(rank=4, dora=dora)), config, labels=2)
    model = AutoModelForCausalLM.from_config(config)
    assert size.parameters == sum(parameter.numel() for parameter in model.parameters())
    adapter = LoraConfig(r=4, target_modules="all-linear", use_dora=dora, task_type="CAUSAL_LM")
    assert size.trained == get_peft_model(model, adapter).get_nb_trainable_parameters()[0]


def test_named_targets_adapt_fewer_layers() -> None:
    size = model_size(causal(lora=Lora(rank=4, targets=["q_proj", "v_proj"])), LLAMA, labels=2)
    assert size.trained == 2 * 4 * ((32 + 32) + (32 + 16))


def test_an_encoder_trained_in_full_trains_everything() -> None:
    size = model_size(Encoder(name="e", family="encoder", base="x", method="full"), BERT, labels=3)
    assert size.trained == size.parameters


def test_an_encoder_keeps_its_weights_in_fp32() -> None:
    spec = Encoder(name="e", family="encoder", base="x")
    size = model_size(spec, BERT, labels=3)
    assert estimate(spec, size, WORK, "bf16", rate=1e9).weights == size.parameters * 4


def test_estimates_follow_their_formulas() -> None:
    size = model_size(causal(), LLAMA, labels=2)
    spec = causal(train=Train(epochs=2.0, batch_tokens=100))
    fp32 = estimate(spec, size, WORK, "fp32", rate=1e9)
    bf16 = estimate(spec, size, WORK, "bf16", rate=1e9)
    assert fp32.weights == size.parameters * 4 == 2 * bf16.weights
    assert fp32.activations == 2 * bf16.activations == 2 * 4 * size.output_widths * 100
    assert fp32.logits == 10 * 2 * 96 * 12  # ten rows of ten tokens, two answer tokens each
    assert fp32.training == size.trained * 16
    twice = estimate(spec, size, WORK, "fp32", rate=2e9)
    assert fp32.seconds == pytest.approx(2 * twice.seconds)
    saving = spec.model_copy(update={"train": Train(epochs=2.0, batch_tokens=100, gradient_checkpointing=True)})
    assert estimate(saving, size, WORK, "fp32", rate=1e9).activations < fp32.activations


def test_the_measured_rate_is_a_rate() -> None:
    assert 1e6 < gemm_rate(64, 64, "fp32", torch.device("cpu"), seconds=0.01) < 1e16
