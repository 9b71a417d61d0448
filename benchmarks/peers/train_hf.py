"""The plain Transformers Trainer with PEFT, as most people write it: full logits, masked labels, padded batches."""

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from train import PeerOptions, measure, options_of, settings
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)
from workload import EOT, LORA_ALPHA, LORA_RANK, SEED, Example, rendered


def tokenized(tokenizer: PreTrainedTokenizerBase, example: Example) -> dict[str, list[int]]:
    prompt = tokenizer(rendered(example.prompt), add_special_tokens=False)["input_ids"]
    answer = tokenizer(example.answer + EOT, add_special_tokens=False)["input_ids"]
    ids = prompt + answer
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": [-100] * len(prompt) + answer}


def trainer(options: PeerOptions) -> Trainer:
    set_seed(SEED)  # before the adapters are made, so that losses can be compared
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    adapter = LoraConfig(r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype), adapter)
    return Trainer(
        model=model,
        args=TrainingArguments(**settings(options)),
        train_dataset=Dataset.from_list([tokenized(tokenizer, example) for example in options.examples]),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )


if __name__ == "__main__":
    options = options_of(__doc__)
    measure(trainer(options), options)
