"""What every row of the benchmark works on: prompts, labels, sizes and settings. Imports no torch.

Each peer's own Python imports this module, so it uses the standard library only.
"""

import csv
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

LABELS = ("Non-Cancer", "Cancer")
INSTRUCTION = (
    "Decide whether this biomedical abstract is about cancer. Answer with exactly one label: Cancer or Non-Cancer."
)
MAX_LENGTH = 512
SEED = 42
THREADS = 2
EFFECTIVE_BATCH = 16
MICRO_BATCH = 8  # peers: 2 accumulated micro-batches of 8
LEARNING_RATE = 2e-4
LORA_RANK, LORA_ALPHA = 16, 32

# Llama 3 markup, which LLaMA-Factory has built in as `template: llama3`, so that all rows see equal tokens.
BOS, EOT, HEADER_START, HEADER_END, PAD = SPECIAL_TOKENS = (
    "<|begin_of_text|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|pad|>",
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' "
    "+ message['content'] + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Size:
    """A random-weight Llama: eight heads, four of them for keys and values, feed-forward width 1,536."""

    layers: int
    vocabulary: int
    tied: bool
    hidden: int = 512
    feed_forward: int = 1536
    heads: int = 8
    key_value_heads: int = 4


SIZES = {
    "small": Size(layers=8, vocabulary=32_000, tied=False),
    "wide": Size(layers=6, vocabulary=128_256, tied=True),
}
#: Training examples of one measurement: two optimizer steps of 16 for small, one for wide.
TRAIN_EXAMPLES = {"small": 32, "wide": 16}
#: The held-out prompts that are scored, and the share of them (every k-th) that the slow peers are given: every 8th
#: has the same mean length as all.
SCORE_PROMPTS = 400
SCORE_EVERY = {"ours": 1, "peer": 8}


@dataclass(frozen=True)
class Example:
    """A prompt that fits, with its answer, into `MAX_LENGTH` tokens; `tokens` counts both and the markup."""

    prompt: str
    answer: str
    tokens: int


def read_abstracts(data: Path) -> list[dict[str, str]]:
    """Rows (pmid, title, abstract, label) of the cancer_abstracts set below a local data mirror."""
    with (data / "cancer_abstracts" / "abstracts.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def user_text(title: str, abstract: str) -> str:
    return f"{INSTRUCTION}\n\nTitle: {title.strip()}\nAbstract: {abstract.strip()}"


def rendered(prompt: str) -> str:
    """The chat up to the point where the answer begins, as `CHAT_TEMPLATE` writes it."""
    return (
        f"{BOS}{HEADER_START}user{HEADER_END}\n\n{prompt}{EOT}"  # one user turn
        f"{HEADER_START}assistant{HEADER_END}\n\n"
    )


def write_examples(path: Path, examples: list[Example]) -> None:
    path.write_text("".join(json.dumps(asdict(example)) + "\n" for example in examples), encoding="utf-8")


def read_examples(work: Path) -> list[Example]:
    lines = (work / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    return [Example(**json.loads(line)) for line in lines]


def training_examples(work: Path, n: int) -> list[Example]:
    """The first n examples."""
    return read_examples(work)[:n]


def scoring_examples(work: Path, every: int) -> list[Example]:
    """Every k-th of the last `SCORE_PROMPTS` examples: a subset has the same mix of lengths as the whole."""
    return read_examples(work)[-SCORE_PROMPTS:][::every]


def write_result(path: Path, **values: object) -> None:
    """What a measuring script has to say, with the peak memory of its process (Linux: VmHWM)."""
    status = Path("/proc/self/status").read_text()
    peak_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    path.write_text(json.dumps(values | {"peak_mb": round(peak_kib / 1024), "pid": os.getpid()}))
