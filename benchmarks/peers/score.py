"""What the scoring peers share: their options and the loaded model."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from workload import SCORE_EVERY, THREADS, Example, scoring_examples


@dataclass(frozen=True)
class PeerOptions:
    model: Path
    precision: str
    batch: int
    examples: list[Example]
    result: Path

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bf16" else torch.float32


def options_of(description: str | None) -> PeerOptions:
    """The command line that run.py gives to every scoring script."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, required=True, help="folder made by prepare.py")
    parser.add_argument("--precision", choices=["fp32", "bf16"], required=True)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--every", type=int, default=SCORE_EVERY["peer"], help="score every k-th of the prompts")
    parser.add_argument("--result", type=Path, required=True, help="JSON file to write")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    return PeerOptions(
        model=given.work / "small_ft",
        precision=given.precision,
        batch=given.batch,
        examples=scoring_examples(given.work, given.every),
        result=given.result,
    )


def load(options: PeerOptions, padding_side: str = "right") -> tuple[Any, Any]:
    """(model, tokenizer)"""
    tokenizer = AutoTokenizer.from_pretrained(options.model, padding_side=padding_side)
    return AutoModelForCausalLM.from_pretrained(options.model, dtype=options.dtype).eval(), tokenizer


def token_ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]
