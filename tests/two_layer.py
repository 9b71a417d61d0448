"""Two-layer bases with random weights: large enough to show a wrong mask, small enough for milliseconds."""

import tempfile
from functools import cache
from pathlib import Path

import torch
from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIALS = ["<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|pad|>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
SENTENCES = [
    "Tumour growth was seen in patients with lung carcinoma after chemotherapy.",
    "Blood pressure fell in adults with hypertension who took the drug each day.",
    "Is this abstract about cancer? Answer with one of Cancer or Non-Cancer. Title: Abstract: 0123456789",
]


def train_tokenizer(specials: list[str] = SPECIALS, template: str | None = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 400 tokens trained on the sentences above.

    specials: first the beginning, second the end of turn, last the padding. Only these have a name in the tokenizer;
    the others are special added tokens, as the chat markup of Phi-3, Llama 3 and Gemma 3 is.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        SENTENCES * 3,
        trainers.BpeTrainer(vocab_size=400, special_tokens=specials, show_progress=False, initial_alphabet=alphabet),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=specials[0],
        eos_token=specials[1],
        pad_token=specials[-1],
    )
    fast.add_tokens([AddedToken(token, special=True, normalized=False) for token in specials[2:-1]])
    fast.chat_template = template
    return fast


@cache
def llama_base() -> Path:
    """Folder of a two-layer Llama (16 wide) with the tokenizer above."""
    folder = Path(tempfile.mkdtemp(prefix="clinfit-bases-")) / "two-layer-llama"
    tokenizer = train_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=5,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@cache
def bert_base() -> Path:
    """Folder of a two-layer BERT (16 wide) with the same tokenizer."""
    folder = Path(tempfile.mkdtemp(prefix="clinfit-bases-")) / "two-layer-bert"
    tokenizer = train_tokenizer()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        pad_token_id=5,
        initializer_range=0.3,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
