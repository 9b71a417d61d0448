"""Make what the rows share: tokenizer, examples, random-weight models and one model to score with.

    python benchmarks/prepare.py --data MIRROR --work FOLDER      about two minutes, 0.9 GB

MIRROR holds cancer_abstracts/abstracts.csv (default: the setting CLINFIT_DATA). All seeds are fixed.
"""

import argparse
import json
import os
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from workload import (
    BOS,
    CHAT_TEMPLATE,
    EOT,
    HEADER_END,
    HEADER_START,
    LABELS,
    MAX_LENGTH,
    PAD,
    SCORE_PROMPTS,
    SIZES,
    SPECIAL_TOKENS,
    Example,
    Size,
    read_abstracts,
    rendered,
    user_text,
    write_examples,
)

TOKENIZER_VOCABULARY = 8_000
FULL_STEPS = 12  # optimizer steps that teach `small_ft` to answer with a label


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE of 8,000 tokens; one for all models, so that an example has the same length everywhere."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENIZER_VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOT,
        pad_token=PAD,
        additional_special_tokens=[HEADER_START, HEADER_END],
        model_max_length=2048,
        padding_side="right",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def token_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def fitting_example(tokenizer: PreTrainedTokenizerFast, row: dict[str, str]) -> Example:
    """The row as an example; the abstract loses its end until either label fits, so that no peer truncates."""
    abstract, answer = row["abstract"], LABELS[int(row["label"])]
    while True:
        prompt = user_text(row["title"], abstract)
        longest = max(len(token_ids(tokenizer, rendered(prompt) + label + EOT)) for label in LABELS)
        if longest <= MAX_LENGTH:
            return Example(prompt, answer, tokens=len(token_ids(tokenizer, rendered(prompt) + answer + EOT)))
        abstract = abstract[: int(len(abstract) * MAX_LENGTH / longest * 0.99)]


def random_llama(size: Size) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=size.hidden,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_value_heads,
        vocab_size=size.vocabulary,
        tie_word_embeddings=size.tied,
        max_position_embeddings=2048,
        bos_token_id=SPECIAL_TOKENS.index(BOS),
        eos_token_id=SPECIAL_TOKENS.index(EOT),
        pad_token_id=SPECIAL_TOKENS.index(PAD),
    )
    return LlamaForCausalLM(config)


def teach_to_answer(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, examples: list[Example]) -> None:
    """A few steps over all weights, so that greedy generation ends in a label instead of running to its limit."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    for step in range(FULL_STEPS):
        ids, labels = [], []
        for example in examples[8 * step : 8 * step + 8]:
            prompt, answer = token_ids(tokenizer, rendered(example.prompt)), token_ids(tokenizer, example.answer + EOT)
            ids.append(torch.tensor((prompt + answer)[-256:]))
            labels.append(torch.tensor(([-100] * len(prompt) + answer)[-256:]))
        padded_ids = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=SPECIAL_TOKENS.index(PAD))
        padded_labels = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
        lengths = torch.tensor([len(row) for row in ids])
        attention_mask = (torch.arange(padded_ids.shape[1]) < lengths[:, None]).long()
        loss = model(input_ids=padded_ids, attention_mask=attention_mask, labels=padded_labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"small_ft step {step}: loss {loss.item():.3f}", flush=True)


def parameters_of(model: LlamaForCausalLM, size: Size) -> dict[str, Any]:
    """What report.py needs for the work that is needed: all parameters, and those inside the layers."""
    in_layers = sum(p.numel() for name, p in model.named_parameters() if ".layers." in name)
    return asdict(size) | {"parameters": model.num_parameters(), "parameters_in_layers": in_layers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("CLINFIT_DATA"), help="local data mirror")
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    if options.data is None:
        parser.error("give --data or set CLINFIT_DATA to the folder that holds cancer_abstracts/abstracts.csv")

    rows = read_abstracts(Path(options.data))
    random.Random(0).shuffle(rows)
    tokenizer = train_tokenizer([user_text(row["title"], row["abstract"]) for row in rows])
    examples = [fitting_example(tokenizer, row) for row in rows]
    options.work.mkdir(parents=True, exist_ok=True)
    write_examples(options.work / "examples.jsonl", examples)

    described = {}
    for name, size in SIZES.items():
        model = random_llama(size)
        described[name] = parameters_of(model, size)
        model.save_pretrained(options.work / name)
        tokenizer.save_pretrained(options.work / name)
        if name == "small":
            teach_to_answer(model, tokenizer, examples[-SCORE_PROMPTS - 8 * FULL_STEPS : -SCORE_PROMPTS])
            model.save_pretrained(options.work / "small_ft")
            tokenizer.save_pretrained(options.work / "small_ft")
    (options.work / "models.json").write_text(json.dumps(described, indent=1))
    print(json.dumps(described, indent=1))


if __name__ == "__main__":
    main()
