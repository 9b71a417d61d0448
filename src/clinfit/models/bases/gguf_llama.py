"""A Llama model in a GGUF file, written as a folder that Transformers reads: weights dequantised, configuration,
tokenizer.

Everything comes from the file by the package `gguf` (the GGUF project's own reader) and is written here, not by
Transformers' own GGUF loader: that one is changing from release to release, writes its version into config.json, and
does not know this tokenizer's splitting of digits, so that its token ids differ. Tests compare the two.
"""

from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, TokenType
from gguf.quants import dequantize
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from clinfit.errors import ClinfitError
from clinfit.files import write_json

#: GGUF's names below `blk.<n>.` and Transformers' below `model.layers.<n>.`.
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def convert(gguf: Path, folder: Path) -> None:
    """Write config.json, generation_config.json, the tokenizer's files and model.safetensors into an empty folder.

    Weights are fp32: 0.5 GB for 135 million parameters. A block of Q4_1 is d q + m with d and m in fp16 and q below 16,
    which fp32 holds without rounding for every weight of SmolLM2; fp16 would change 42 % of them and bf16 79 %.
    Nothing is rounded and nothing is summed in an order that a machine could choose, so that the bytes, and the hash by
    which models know their base, are the same everywhere.

    Raises ClinfitError when the file holds another kind of model or tokenizer.
    """
    reader = GGUFReader(gguf)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    kinds = [facts.get(name) for name in ("general.architecture", "tokenizer.ggml.model", "tokenizer.ggml.pre")]
    if kinds != ["llama", "gpt2", "smollm"]:
        raise ClinfitError(
            f"{gguf} holds a model of architecture {kinds[0]} with tokenizer {kinds[1]}, {kinds[2]}",
            expected="architecture llama with tokenizer gpt2, smollm",
        )
    weights = _weights(reader, facts)
    config = _config(facts, tied="lm_head.weight" not in weights)
    write_json(folder / "config.json", config)
    ends = {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    write_json(folder / "generation_config.json", ends)
    _tokenizer(facts).save_pretrained(folder)
    file = folder / "model.safetensors"
    save_file(weights, file, metadata={"format": "pt"})
    file.chmod(0o644)  # safetensors leaves it to its owner, and a cache may be shared


# ---------------------------------------------------------------- weights


def _weights(reader: GGUFReader, facts: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    heads = {"attn_q": facts["llama.attention.head_count"], "attn_k": facts["llama.attention.head_count_kv"]}
    weights = {}
    for tensor in reader.tensors:
        *layer, part, _ = tensor.name.split(".")  # blk.<n>.<part>.weight or <part>.weight
        weight = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        if part in heads:
            weight = halves_together(weight, heads[part])
        name = f"model.layers.{layer[1]}.{LAYER_NAMES[part]}" if layer else NAMES[part]
        weights[f"{name}.weight"] = np.ascontiguousarray(weight)
    return weights


def halves_together(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """The (rows, d) weight of queries or keys with each head's rows in Transformers' order.

    Rotary embeddings turn pairs of rows. GGUF's Llama keeps a pair's rows side by side (0 and 1, 2 and 3, ...);
    Transformers keeps them half a head apart (0 and h/2, 1 and h/2 + 1, ...).
    """
    pairs = weight.reshape(heads, len(weight) // heads // 2, 2, weight.shape[1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def _config(facts: dict[str, Any], tied: bool) -> dict[str, Any]:
    """Transformers' configuration, without its version: the file is part of the base's hash."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": facts["tokenizer.ggml.bos_token_id"],
        "dtype": "float32",
        "eos_token_id": facts["tokenizer.ggml.eos_token_id"],
        "head_dim": facts["llama.rope.dimension_count"],
        "hidden_act": "silu",
        "hidden_size": facts["llama.embedding_length"],
        "intermediate_size": facts["llama.feed_forward_length"],
        "max_position_embeddings": facts["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": facts["llama.attention.head_count"],
        "num_hidden_layers": facts["llama.block_count"],
        "num_key_value_heads": facts["llama.attention.head_count_kv"],
        "pad_token_id": facts["tokenizer.ggml.padding_token_id"],
        # GGUF keeps it in fp32, where 1e-5 is 9.99999975e-06; as written by people it is the shortest that reads alike.
        "rms_norm_eps": float(str(np.float32(facts["llama.attention.layer_norm_rms_epsilon"]))),
        "rope_parameters": {"rope_theta": facts["llama.rope.freq_base"], "rope_type": "default"},
        "rope_theta": facts["llama.rope.freq_base"],  # where other readers of such folders look for it
        "tie_word_embeddings": tied,
        "vocab_size": facts["llama.vocab_size"],
    }


# ---------------------------------------------------------------- tokenizer


def _tokenizer(facts: dict[str, Any]) -> PreTrainedTokenizerFast:
    """Byte-level BPE with every digit a token of its own, which GGUF calls the pre-tokenizer `smollm`."""
    tokens = facts["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in facts["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    control = [
        token
        for token, kind in zip(tokens, facts["tokenizer.ggml.token_type"], strict=True)
        if kind == TokenType.CONTROL
    ]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in control])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens[facts["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[facts["tokenizer.ggml.eos_token_id"]],
        unk_token=tokens[facts["tokenizer.ggml.unknown_token_id"]],
        pad_token=tokens[facts["tokenizer.ggml.padding_token_id"]],
        model_max_length=facts["llama.context_length"],
        clean_up_tokenization_spaces=False,
        chat_template=facts["tokenizer.chat_template"],
    )
