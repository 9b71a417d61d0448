"""What is refused before any weight is read."""

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.estimates.precheck import check_base
from clinfit.study.models import Causal, Encoder, Lora, Train
from clinfit.study.tasks import Task, task_from
from lessons import TASK
from two_layer import CHAT_TEMPLATE, train_tokenizer

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def without_weights(kind: str, architecture: str, template: str | None = CHAT_TEMPLATE, **settings: Any) -> str:
    """Folder of a base of which only configuration and tokenizer are there."""
    folder = Path(tempfile.mkdtemp(prefix="clinfit-bases-")) / kind
    tokenizer = train_tokenizer(template=template)
    sizes = {**SIZES, "vocab_size": len(tokenizer), "max_position_embeddings": 256, **settings}
    AutoConfig.for_model(kind, **sizes, architectures=[architecture]).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"unread")
    return str(folder)


def causal(base: str, **more: Any) -> Causal:
    return Causal(name="m", family="causal", base=base, train=Train(max_length=200), **more)


@pytest.mark.parametrize(
    ("kind", "architecture", "settings", "said"),
    [
        ("modernbert-decoder", "ModernBertDecoderForCausalLM", {}, "more than one product"),
        ("llama4_text", "Llama4ForCausalLM", {}, "no hidden states"),
        ("gemma3_text", "Gemma3ForCausalLM", {"use_bidirectional_attention": True}, "reads both ways"),
        ("laguna", "LagunaForCausalLM", {}, "does not load"),
    ],
)
def test_an_architecture_that_does_not_work(
    kind: str, architecture: str, settings: dict[str, Any], said: str, text_task: Task
) -> None:
    with pytest.raises(ClinfitError, match=said):
        check_base(causal(without_weights(kind, architecture, **settings)), {TASK: text_task}, {TASK: []})


def test_an_encoder_and_decoder_under_a_head(text_task: Task) -> None:
    base = without_weights("bart", "BartModel", d_model=32)
    with pytest.raises(ClinfitError, match="an encoder and a decoder"):
        check_base(
            Encoder(name="m", family="encoder", base=base, train=Train(max_length=200)), {TASK: text_task}, {TASK: []}
        )


def test_a_template_a_length_and_targets_that_cannot_be(text_task: Task) -> None:
    base = without_weights("llama", "LlamaForCausalLM")
    check_base(causal(base), {TASK: text_task}, {TASK: []})
    with pytest.raises(ClinfitError, match="reads at most 256"):
        check_base(causal(base).model_copy(update={"train": Train(max_length=300)}), {TASK: text_task}, {TASK: []})
    with pytest.raises(ClinfitError, match="free answer"):
        check_base(causal(base, generate=100), {TASK: text_task}, {TASK: []})
    with pytest.raises(ClinfitError, match="match no module"):
        check_base(causal(base, lora=Lora(targets=["c_attn"])), {TASK: text_task}, {TASK: []})
    never_ends = without_weights("llama", "LlamaForCausalLM", CHAT_TEMPLATE.replace("<|end|>", ""))
    with pytest.raises(ClinfitError, match="end-of-turn"):
        check_base(causal(never_ends), {TASK: text_task}, {TASK: []})


def test_the_length_that_is_advised_leaves_room_for_the_references() -> None:
    """Of prompts shortened to it, the one with the longest reference is nearly as long as the base reads."""
    data = {"path": "x.csv", "inputs": {"text": "text"}, "label": "note"}
    task = task_from({"kind": "generation", "max_new_tokens": 8, "data": data})
    records = [
        Record(f"r{n}", f"r{n}", {"text": "a dry cough " * 400}, "a dry cough " * n, split, TASK)
        for n, split in ((3, "train"), (12, "validation"), (20, "test"))
    ]
    base = without_weights("llama", "LlamaForCausalLM", max_position_embeddings=512)
    spec = Causal(name="m", family="causal", base=base, train=Train(max_length=480))
    with pytest.raises(ClinfitError, match="more than base") as caught:
        check_base(spec, {TASK: task}, {TASK: records})
    fits = int(str(caught.value.fix).removeprefix("max_length: "))
    assert 16 <= fits < 480
    for length in (fits, fits + 16):
        shorter = spec.model_copy(update={"train": Train(max_length=length)})
        with pytest.raises(ClinfitError, match="more than base") if length > fits else nullcontext():
            check_base(shorter, {TASK: task}, {TASK: records})


def test_no_layer_for_an_adapter(text_task: Task) -> None:
    """I-BERT's products are quantised by layers of its own."""
    base = without_weights("ibert", "IBertForMaskedLM")
    spec = Encoder(name="m", family="encoder", base=base, train=Train(max_length=200))
    with pytest.raises(ClinfitError, match="no layers that an adapter can stand around"):
        check_base(spec, {TASK: text_task}, {TASK: []})
    check_base(spec.model_copy(update={"method": "full"}), {TASK: text_task}, {TASK: []})
    assert torch.get_default_device().type == "cpu"
