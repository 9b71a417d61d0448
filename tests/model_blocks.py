"""Small models of the architectures that blocks name, each with the chat template of the real one.

trl ships the templates of most. Of the others, the facts stand here that the handling of prompts depends on.
"""

import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from architectures import SIZES, SPECIAL
from clinfit.study.blocks import BLOCKS
from two_layer import train_tokenizer

_CHATML = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\nA helper.<|im_end|>\n"
    "{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
#: Turns alternate, a system text is put before the user's message, and a space stands before every answer.
_MISTRAL = (
    "{% if messages[0]['role'] == 'system' %}{% set system, turns = messages[0]['content'], messages[1:] %}"
    "{% else %}{% set system, turns = '', messages %}{% endif %}{{ bos_token }}{% for m in turns %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + (system + '\n\n' if system and loop.first else '') + m['content'] + "
    "'[/INST]' }}{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
#: The markers of turns are plain text.
_ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
_LLAMA3 = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<pad>"]
_IM = ["<s>", "<|im_end|>", "<|im_start|>", "<pad>"]
_DEEPSEEK = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<pad>"]
#: Block -> special tokens (first: beginning, second: end of turn, last: padding), and template or trl's file of it.
TEMPLATES: dict[str, tuple[list[str], str]] = {
    "smollm2-135m": (_IM, _CHATML),
    "tinyllama-1.1b": (["<s>", "</s>", "<pad>"], _ZEPHYR),
    "llama-3.2-1b": (_LLAMA3, "llama3_2"),
    "llama-3.2-3b": (_LLAMA3, "llama3_2"),
    "llama-3.1-8b": (_LLAMA3, "llama3_1"),
    "mistral-7b": (["<s>", "</s>", "[INST]", "[/INST]", "<pad>"], _MISTRAL),
    "phi-3-mini": (["<s>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|endoftext|>", "<pad>"], "phi3"),
    "qwen-2.5-7b": (_IM, "qwen2_5"),
    "qwen-3-4b": (_IM, "qwen3"),
    "gemma-3-4b": (["<bos>", "<end_of_turn>", "<start_of_turn>", "<pad>"], "gemma3"),
    "deepseek-r1-distill-qwen-1.5b": (_DEEPSEEK, "deepseek_r1_distill"),
    "deepseek-r1-distill-llama-8b": (_DEEPSEEK, "deepseek_r1_distill"),
}


def block_tokenizer(name: str) -> Any:
    """A tokenizer of 400 tokens with the markup and the template of a block."""
    specials, template = TEMPLATES[name]
    if "{%" not in template:
        template = (files("trl") / "chat_templates" / f"{template}.jinja").read_text(encoding="utf-8")
    return train_tokenizer(specials, template)


@cache
def small_base(name: str) -> Path:
    """Folder of a model of the block's architecture, two to four layers of 32 numbers, with random weights."""
    folder = Path(tempfile.mkdtemp(prefix="clinfit-blocks-")) / name
    tokenizer, kind = block_tokenizer(name), BLOCKS[name].architecture
    ends = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": 0, "eos_token_id": 1}
    sizes = {
        **SIZES,
        **SPECIAL.get(kind, {}),
        "vocab_size": 400,
        **ends,
        "max_position_embeddings": 512,
        "initializer_range": 0.1,
    }
    if "text_config" in sizes:
        sizes["text_config"] = {**sizes["text_config"], **ends, "max_position_embeddings": 512}
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
