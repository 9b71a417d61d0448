"""clinfit's own rows, through the code that a study runs: `CausalModel.fit` and `CausalModel.predict`.

python ours.py train --work FOLDER --model small --precision fp32 --examples 32 --result FILE
python ours.py score --work FOLDER --precision fp32 --every 1 --result FILE
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from workload import (
    EFFECTIVE_BATCH,
    LABELS,
    LEARNING_RATE,
    LORA_ALPHA,
    LORA_RANK,
    MAX_LENGTH,
    SEED,
    THREADS,
    Example,
    scoring_examples,
    training_examples,
    write_result,
)

from clinfit.data.records import Record
from clinfit.models.base import Lesson, Workspace
from clinfit.models.causal import CausalModel
from clinfit.study.data import Data
from clinfit.study.models import Causal, Lora, Train
from clinfit.study.tasks import Classification

NAME = "examples"
#: The examples carry the whole user message, so that every row of the benchmark sees the same tokens.
TASK = Classification(
    labels=list(LABELS), data=Data(path="examples.jsonl", inputs={"prompt": "prompt"}), prompt="{{ prompt }}"
)


def specification(base: Path, precision: str) -> Causal:
    return Causal(
        name="bench",
        family="causal",
        base=str(base),
        lora=Lora(rank=LORA_RANK, alpha=LORA_ALPHA),
        train=Train(
            epochs=1,
            learning_rate=LEARNING_RATE,
            schedule="constant",
            warmup=0.0,
            batch_size=EFFECTIVE_BATCH,
            max_length=MAX_LENGTH,
            precision=precision,  # type: ignore[arg-type]
            loss_per="token",
        ),
    )


def records(examples: list[Example]) -> list[Record]:
    return [
        Record(
            id=str(i), group=str(i), inputs={"prompt": example.prompt}, target=example.answer, split="train", task=NAME
        )
        for i, example in enumerate(examples)
    ]


def train(base: Path, precision: str, examples: list[Example], result: Path) -> None:
    """Seconds of the loop, as the peers' `train_runtime`: without loading and tokenizing."""
    model = CausalModel(specification(base, precision), {NAME: TASK}, SEED)
    with tempfile.TemporaryDirectory() as folder:
        summary = model.fit(Lesson(records(examples), [], {NAME: 1.0}), Workspace(Path(folder)))
        log = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    tokens = summary.details["tokens"]
    assert tokens == sum(example.tokens for example in examples), "clinfit and its peers must see the same tokens"
    write_result(
        result,
        seconds=summary.seconds,
        examples=len(examples),
        losses=[row["loss"] for row in log],
        cells=round(tokens / (1 - summary.details["padding"])),
        tokens=tokens,
        answer_tokens=summary.details["answer_tokens"],
    )


def score(base: Path, precision: str, examples: list[Example], result: Path) -> None:
    """Seconds of `predict` with the model in memory, as the peers are timed.

    margins: log P(Cancer) - log P(Non-Cancer).
    """
    model = CausalModel(specification(base, precision), {NAME: TASK}, SEED)
    model.predict(NAME, records(examples[:1]))  # loads the model
    started = time.perf_counter()
    outputs = model.predict(NAME, records(examples))
    seconds = time.perf_counter() - started
    log_probabilities = np.log(outputs.probabilities)
    write_result(
        result,
        seconds=seconds,
        prompts=len(examples),
        tokens=int(outputs.prompt_tokens.sum()) if outputs.prompt_tokens is not None else None,
        margins=(log_probabilities[:, 1] - log_probabilities[:, 0]).tolist(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=["train", "score"])
    parser.add_argument("--work", type=Path, required=True, help="folder made by prepare.py")
    parser.add_argument("--model", default="small_ft")
    parser.add_argument("--precision", choices=["fp32", "bf16"], required=True)
    parser.add_argument("--examples", type=int, help="the first n examples")
    parser.add_argument("--every", type=int, help="score: every k-th of the prompts that are kept for scoring")
    parser.add_argument("--result", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    if options.every:
        examples = scoring_examples(options.work, options.every)
    else:
        examples = training_examples(options.work, options.examples)
    measure = train if options.job == "train" else score
    measure(options.work / options.model, options.precision, examples, options.result)


if __name__ == "__main__":
    main()
