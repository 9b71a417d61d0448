"""How long it takes until a large set is ready to train on, and whether that grows in proportion.

    python benchmarks/loading.py [--records 20000 60000 180000]

The development set of MedMCQA, repeated to each number of records (180,000 is about the size of its training set), with
a number in front of every question, so that no two are the same. Each size runs in a process of its own: read the file,
make records with splits, render them for clinfit/tiny, put them into batches. Prints seconds of each part, processor
time (which other work on the machine changes less) in all and for 10,000 records, and the peak of
memory. Reads the set from the folder that CLINFIT_DATA names. Uses no peer.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BATCH_TOKENS = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[20_000, 60_000, 180_000])
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.file is not None:
        print(json.dumps(measured(arguments.file)))
        return
    print("| records | read and divided | rendered | batched | together | processor | for 10,000 | peak memory |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for records in arguments.records:
            path = Path(folder) / f"{records}.jsonl"
            write_repeated(path, records)
            command = [sys.executable, __file__, "--file", str(path)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            row = json.loads(done.stdout.splitlines()[-1])
            parts = [*(row[part] for part in PARTS), sum(row[part] for part in PARTS), row["processor"]]
            print(
                f"| {records:,} | "
                + " | ".join(f"{seconds:.1f} s" for seconds in [*parts, 10_000 * row["processor"] / records])
                + f" | {row['peak_mb']:,.0f} MB |",
                flush=True,
            )


PARTS = ("load", "render", "batch")


def write_repeated(path: Path, records: int) -> None:
    """The development set over and over, as JSON lines."""
    from clinfit.data.catalog.sets import read_catalog

    rows = read_catalog("medmcqa-dev").to_dict("records")
    with path.open("w", encoding="utf-8") as file:
        for at in range(records):
            row = rows[at % len(rows)]
            file.write(json.dumps(row | {"id": f"q{at}", "question": f"{at}. {row['question']}"}) + "\n")


def measured(path: Path) -> dict[str, float]:
    """Seconds of each part and peak memory in MB, in this process; imports and the tokenizer are not counted."""
    from transformers import AutoTokenizer

    from clinfit.data.load import load_task
    from clinfit.models.bases.pretrained import find_base
    from clinfit.prompts.batches import token_batches
    from clinfit.prompts.encode import Renderer
    from clinfit.study.tasks import task_from

    task = task_from(
        {
            "kind": "multiple-choice",
            "options": ["a", "b", "c", "d"],
            "data": {
                "path": path.name,
                "id": "id",
                "inputs": {"question": "question", "a": "opa", "b": "opb", "c": "opc", "d": "opd"},
                "label": {"column": "cop", "map": {1: "A", 2: "B", 3: "C", 4: "D"}},
            },
            "prompt": "{{ question }}\n\n{{ options }}\n\nWhich option is right? Answer with {{ labels }}.",
        }
    )
    renderer = Renderer(task, AutoTokenizer.from_pretrained(find_base("clinfit/tiny", None).source), max_length=512)
    seconds: dict[str, float] = {}
    began = time.process_time()
    with timed(seconds, "load"):
        data = load_task("exam", task, path.parent)
    with timed(seconds, "render"):
        encoded = renderer.encode_all(data.records)
    with timed(seconds, "batch"):
        token_batches([len(item.ids) for item in encoded], BATCH_TOKENS)
    seconds["processor"] = time.process_time() - began
    return seconds | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


@contextmanager
def timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - began


if __name__ == "__main__":
    main()
