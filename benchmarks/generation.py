"""How long it takes to write free answers: clinfit beside Transformers, one prompt at a time and in batches.

    benchmarks/generation.py --data MIRROR [--prompts 64] [--tokens 64] [--rounds 3] [--every 1]

Questions of PubMedQA with their abstracts, through clinfit's own renderer, so that every way gets the same ids; every
way writes exactly `--tokens` tokens greedily, whatever the model calls an end. Other work on the machine stretches
wall time: what is compared is CPU time of the process, all threads, and medians over the rounds. In every round all
ways take turns in another order; those that take one prompt at a time get every `--every`-th prompt, sorted by length,
in every round others. Uses no peer beside Transformers.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    ContinuousBatchingConfig,
    GenerationConfig,
    PreTrainedModel,
)
from transformers.utils import logging

from clinfit.data.records import Record
from clinfit.models.bases.pretrained import find_base
from clinfit.prompts.encode import Renderer
from clinfit.scoring.generate import Generator, Request
from clinfit.study.data import Data
from clinfit.study.tasks import Classification

#: The bases of this size have no more; the answer comes on top.
MAX_LENGTH = 1024
OURS, ALONE, GENERATE, BATCH = "clinfit", "clinfit, one at a time", "generate, one at a time", "generate_batch"
TASK = Classification(
    labels=["yes", "no", "maybe"],
    data=Data(path="pubmedqa", inputs={"question": "question", "abstract": "abstract"}),
    prompt="Answer the question from the abstract.\n\nAbstract: {{ abstract }}\n\nQuestion: {{ question }}",
)

Ids = list[int]
Way = Callable[[Sequence[Ids]], list[Ids]]


def prompts(data: Path, tokenizer: object, n: int) -> list[Ids]:
    """The first n questions as ids, the shortest first."""
    items = json.loads((data / "pubmedqa" / "ori_pqal.json").read_text(encoding="utf-8"))
    records = [
        Record(key, key, {"question": item["QUESTION"], "abstract": " ".join(item["CONTEXTS"])}, None)
        for key, item in list(items.items())[:n]
    ]
    renderer = Renderer(TASK, tokenizer, max_length=MAX_LENGTH)
    return sorted((item.prompt_ids for item in renderer.encode_all(records)), key=len)


def ways(model: PreTrainedModel, tokens: int) -> dict[str, Way]:
    """Each by its name: prompts to what is written behind them."""

    def ours(together: bool | None) -> Way:
        generator = Generator(model, together)
        return lambda ids: [one.ids for one in generator.write([Request(own, tokens) for own in ids], ())]

    # No token is -1, so that nothing ends early.
    settings = GenerationConfig(max_new_tokens=tokens, do_sample=False, eos_token_id=-1, pad_token_id=0)

    def generate(ids: Sequence[Ids]) -> list[Ids]:
        rows = [torch.tensor([own]) for own in ids]
        found = [model.generate(row, attention_mask=torch.ones_like(row), generation_config=settings) for row in rows]
        return [row[0, len(own) :].tolist() for row, own in zip(found, ids, strict=True)]

    def generate_batch(ids: Sequence[Ids]) -> list[Ids]:
        pages = sum(-(-(len(own) + tokens) // 256) for own in ids) + 2
        # Memory for all prompts at once; its own choice would be most of the machine's.
        memory = ContinuousBatchingConfig(num_blocks=pages, max_batch_tokens=2048)
        found = model.generate_batch(
            list(ids), generation_config=settings, continuous_batching_config=memory, warmup=False
        )
        written = {tuple(one.prompt_ids): one.generated_tokens for one in found.values()}
        return [written[tuple(own)] for own in ids]

    return {OURS: ours(None), ALONE: ours(False), GENERATE: generate, BATCH: generate_batch}


def measure(
    chosen: dict[str, Way], ids: list[Ids], rounds: int, every: int
) -> tuple[dict[str, list[float]], dict[str, list[Ids]]]:
    """CPU seconds a prompt of every way in every round, and what it wrote behind each prompt."""
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    written: dict[str, list[Ids]] = {name: [[] for _ in ids] for name in chosen}
    for number in range(rounds):
        names = list(chosen)
        turn = number % len(names)
        for name in [*names[turn:], *names[:turn]]:
            places = range(len(ids))[number % every :: every] if name in (ALONE, GENERATE) else range(len(ids))
            began, wall = time.process_time(), time.perf_counter()
            found = chosen[name]([ids[place] for place in places])
            seconds[name].append((time.process_time() - began) / len(places))
            wall = (time.perf_counter() - wall) / len(places)
            for place, text in zip(places, found, strict=True):
                written[name][place] = text
            print(f"round {number + 1}: {name}: {seconds[name][-1]:.2f} s CPU a prompt, {wall:.2f} s wall", flush=True)
    return seconds, written


@torch.inference_mode()
def margin(model: PreTrainedModel, prompt: Ids, a: Ids, b: Ids) -> float:
    """Where two texts part: by how much the logits of their tokens differ, as the larger part of their distance."""
    at = next(i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
    logits = model(torch.tensor([[*prompt, *a[:at]]])).logits[0, -1]
    return float((logits[a[at]] - logits[b[at]]).abs())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with pubmedqa/ori_pqal.json")
    parser.add_argument("--base", default="clinfit/smollm2")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=int, default=1, help="one at a time: every k-th prompt")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--ways", nargs="+", default=[OURS, GENERATE, BATCH], choices=[OURS, ALONE, GENERATE, BATCH])
    options = parser.parse_args()
    torch.set_num_threads(2)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    folder = find_base(options.base).source
    tokenizer = AutoTokenizer.from_pretrained(folder)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[options.precision]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    ids = prompts(options.data, tokenizer, options.prompts)
    lengths = [len(own) for own in ids]
    print(
        f"{len(ids)} prompts of {lengths[0]} to {lengths[-1]} tokens, mean {statistics.mean(lengths):.0f}", flush=True
    )
    known = ways(model, options.tokens)
    chosen = {name: known[name] for name in options.ways}
    for way in chosen.values():
        way(ids[:1])  # loads, compiles and tries what it must
    seconds, written = measure(chosen, ids, options.rounds, options.every)
    print("\n| | CPU s a prompt, median (range) | clinfit is faster by | same texts | largest margin where they part |")
    print("|---|---|---|---|---|")
    ours = statistics.median(seconds[OURS])
    for name, taken in seconds.items():
        pairs = [(i, a, b) for i, (a, b) in enumerate(zip(written[OURS], written[name], strict=True)) if b and a != b]
        both = sum(bool(text) for text in written[name])
        parted = max((margin(model, ids[i], a, b) for i, a, b in pairs), default=0.0)
        median = statistics.median(taken)
        print(
            f"| {name} | {median:.2f} ({min(taken):.2f}-{max(taken):.2f}) | {median / ours:.2f} "
            f"| {both - len(pairs)} of {both} | {parted:.1e} |"
        )


if __name__ == "__main__":
    main()
