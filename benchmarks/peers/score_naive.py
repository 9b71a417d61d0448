"""The reference for the margins: one plain fp32 forward over prompt and answer for each label, nothing shared.

The answer's log-probability is given without and with the end-of-turn token, since tools differ in what they count.
"""

import time

import torch
from score import load, options_of, token_ids
from workload import EOT, LABELS, rendered, write_result


def answer_log_probability(model: torch.nn.Module, prompt: list[int], answer: list[int]) -> list[float]:
    """Running sum of the log-probabilities of the answer's tokens."""
    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].double()
    log_probabilities = torch.log_softmax(logits, dim=-1)
    return log_probabilities[torch.arange(len(answer)), torch.tensor(answer)].cumsum(0).tolist()


if __name__ == "__main__":
    options = options_of(__doc__)
    model, tokenizer = load(options)
    margins, margins_with_end = [], []
    started = time.perf_counter()
    with torch.inference_mode():
        for example in options.examples:
            prompt = token_ids(tokenizer, rendered(example.prompt))
            negative, positive = (
                answer_log_probability(model, prompt, token_ids(tokenizer, label + EOT)) for label in LABELS
            )
            margins.append(positive[-2] - negative[-2])
            margins_with_end.append(positive[-1] - negative[-1])
    seconds = time.perf_counter() - started
    write_result(
        options.result,
        seconds=seconds,
        prompts=len(options.examples),
        margins=margins,
        margins_with_end=margins_with_end,
    )
