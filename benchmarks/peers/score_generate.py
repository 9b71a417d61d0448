"""`generate` of Transformers: greedy, at most 8 new tokens. It gives a label, but no probability."""

import time

import torch
from score import load, options_of
from workload import rendered, write_result

if __name__ == "__main__":
    options = options_of(__doc__)
    model, tokenizer = load(options, padding_side="left")
    prompts = [rendered(example.prompt) for example in options.examples]
    texts, new_tokens = [], 0
    started = time.perf_counter()
    with torch.inference_mode():
        for start in range(0, len(prompts), options.batch):
            batch = tokenizer(
                prompts[start : start + options.batch], return_tensors="pt", padding=True, add_special_tokens=False
            )
            inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
            generated = model.generate(**inputs, max_new_tokens=8, do_sample=False)[:, inputs["input_ids"].shape[1] :]
            new_tokens += generated.shape[1]
            texts += tokenizer.batch_decode(generated, skip_special_tokens=True)
    seconds = time.perf_counter() - started
    write_result(options.result, seconds=seconds, prompts=len(prompts), labels=texts, new_tokens=new_tokens)
