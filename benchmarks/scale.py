"""Does cost grow in proportion? Time and peak memory of clinfit for N and for ten times as many records.

    python benchmarks/scale.py --work FOLDER [--records 32] [--precision bf16] [--rounds 3]

Ten times the records should take ten times the time within 10 %, and no more memory. Measured on `small_ft` (scoring)
and `small` (training), each size in a process of its own, in turns; start-up is left out of the time. Also prints how
long `clinfit --help` takes. Uses no peer.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import HERE, Record, Row, measure
from workload import read_examples, write_examples

FACTOR = 10


def repeated_examples(work: Path, folder: Path, records: int) -> Path:
    """A work folder whose examples are the first `records`, over and over, so that both sizes have the same lengths."""
    scaled = folder / "work"
    scaled.mkdir()
    for model in ("small", "small_ft"):
        (scaled / model).symlink_to((work / model).resolve())
    write_examples(scaled / "examples.jsonl", read_examples(work)[:records] * FACTOR)
    return scaled


def sizes(job: str, work: Path, records: int, precision: str) -> dict[int, Row]:
    """Row for each number of records."""
    command = (str(HERE / "ours.py"), job, "--work", str(work), "--precision", precision)
    command += ("--model", "small" if job == "train" else "small_ft")
    return {
        n: Row(f"{job} {n}", (*command, "--examples", str(n)), Path(sys.executable))
        for n in (records, FACTOR * records)
    }


def proportion(job: str, rows: dict[int, Row], work: Path, rounds: int) -> str:
    """Measure in turns; one line of the table."""
    found: dict[int, list[Record]] = {n: [] for n in rows}
    for number in range(rounds):
        order = list(rows)
        random.Random(number).shuffle(order)
        for n in order:
            record = measure(rows[n], work)
            if "error" in record:
                raise SystemExit(f"{job} of {n} records failed: {record['error']}")
            found[n].append(record)
    small, large = rows
    seconds = {n: statistics.median(record["seconds"] for record in found[n]) for n in rows}
    memory = {n: statistics.median(record["process_peak_mb"] for record in found[n]) for n in rows}
    return (
        f"| {job} | {small} -> {large} | {seconds[small]:.2f} -> {seconds[large]:.2f} s "
        f"| {seconds[large] / seconds[small]:.2f} | {memory[small]:.0f} -> {memory[large]:.0f} MB "
        f"| {memory[large] / memory[small]:.2f} |"
    )


def help_seconds(rounds: int) -> float:
    """Median wall time of `clinfit --help`."""
    program = shutil.which("clinfit", path=str(Path(sys.executable).parent))
    command = [program, "--help"] if program else [sys.executable, "-m", "clinfit", "--help"]
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder made by prepare.py")
    parser.add_argument("--records", type=int, default=32)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| | records | time | times | peak memory | times |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        work = repeated_examples(options.work, Path(folder), options.records)
        for job in ("score", "train"):
            rows = sizes(job, work, options.records, options.precision)
            print(proportion(job, rows, work, options.rounds), flush=True)
    print(f"\n`clinfit --help`: {help_seconds(options.rounds):.2f} s")


if __name__ == "__main__":
    main()
