"""Measure clinfit beside its peers: one command, resumable, one process a measurement.

    python benchmarks/run.py --work FOLDER --data MIRROR --llama-factory-python VENV/bin/python --minutes 45

Every round runs all rows in another order, so that a slow spell of the machine does not meet one row only. Each
measurement is appended to FOLDER/results.jsonl; one that is already there is skipped, and none is started that would
not fit into `--minutes`, so an interrupted run is simply started again. At the end report.py prints the tables.
"""

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workload import SCORE_EVERY, SIZES, THREADS, TRAIN_EXAMPLES

HERE = Path(__file__).parent
PEERS = HERE / "peers"
PRECISIONS = ("fp32", "bf16")
#: Instructions without which bf16 is emulated.
BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
TIMEOUT = 900
#: Seconds that a whole process takes on two cores of 2023, for planning only; rows that are not here count 25.
TYPICAL_SECONDS = {
    "train/small/fp32/trl": 75,
    "train/small/bf16/trl": 50,
    "train/wide/fp32/trl": 80,
    "train/wide/bf16/trl": 60,
    "train/small/fp32/llama_factory": 50,
    "train/small/bf16/llama_factory": 40,
    "train/wide/fp32/llama_factory": 50,
    "train/wide/bf16/llama_factory": 40,
    "train/small/fp32/hf": 40,
    "train/wide/fp32/hf": 40,
    "score/fp32/clinfit": 70,
}

Record = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One thing to measure. name: section/workload/precision/peer. command: script and arguments, without python."""

    name: str
    command: tuple[str, ...]
    python: Path


# ------------------------------------------------------------ the rows


def rows(work: Path, python: Path, llama_factory: Path | None, precisions: Sequence[str]) -> Iterator[Row]:
    """All rows; LLaMA-Factory's are left out where its Python is not given."""
    yield Row("gemm", (str(HERE / "gemm.py"),), python)
    for model in SIZES:
        for precision in precisions:
            yield from training_rows(work, model, precision, python, llama_factory)
    for precision in precisions:
        yield from scoring_rows(work, precision, python)


def training_rows(work: Path, model: str, precision: str, python: Path, llama_factory: Path | None) -> Iterator[Row]:
    arguments = ("--work", str(work), "--model", model, "--precision", precision)
    arguments += ("--examples", str(TRAIN_EXAMPLES[model]))
    name = f"train/{model}/{precision}"
    yield Row(f"{name}/clinfit", (str(HERE / "ours.py"), "train", *arguments), python)
    yield Row(f"{name}/trl", (str(PEERS / "train_trl.py"), *arguments), python)
    yield Row(f"{name}/trl_compact", (str(PEERS / "train_trl.py"), *arguments, "--variant", "compact"), python)
    yield Row(f"{name}/hf", (str(PEERS / "train_hf.py"), *arguments), python)
    if llama_factory is not None:
        yield Row(f"{name}/llama_factory", (str(PEERS / "train_llama_factory.py"), *arguments), llama_factory)


def scoring_rows(work: Path, precision: str, python: Path) -> Iterator[Row]:
    arguments = ("--work", str(work), "--precision", precision)
    name = f"score/{precision}"
    yield Row(
        f"{name}/clinfit", (str(HERE / "ours.py"), "score", *arguments, "--every", str(SCORE_EVERY["ours"])), python
    )
    for batch in (1, 8):
        command = (str(PEERS / "score_lm_eval.py"), *arguments, "--batch", str(batch))
        yield Row(f"{name}/lm_eval_b{batch}", command, python)
    yield Row(f"{name}/generate", (str(PEERS / "score_generate.py"), *arguments, "--batch", "8"), python)
    if precision == "fp32":
        yield Row(f"{name}/naive", (str(PEERS / "score_naive.py"), *arguments), python)


# ------------------------------------------------------------ measuring


def environment(work: Path) -> dict[str, str]:
    """The surroundings of every measurement: equal threads, no network."""
    return os.environ | {
        "OMP_NUM_THREADS": str(THREADS),
        "MKL_NUM_THREADS": str(THREADS),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(work / "datasets-cache"),
        "DISABLE_VERSION_CHECK": "1",  # LLaMA-Factory's own check of other packages' versions
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent / "src")]),
        "PYTHONWARNINGS": "ignore",
    }


def busy_seconds() -> float:
    """CPU seconds that all processes of the machine have used so far."""
    user, nice, system, _, _, irq, soft_irq, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")


def measure(row: Row, work: Path) -> Record:
    """Run the row's script once; what it wrote, with wall and CPU seconds and peak memory of the whole process.

    other_cores: cores that other processes used meanwhile; a number above about 0.1 spoils the measurement.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        result, log = Path(folder) / "result.json", Path(folder) / "log.txt"
        command = [str(row.python), *row.command, "--result", str(result)]
        surroundings = environment(work) | {"TMPDIR": folder}  # what a peer leaves behind goes with the folder
        busy, started = busy_seconds(), time.perf_counter()
        with log.open("w") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=surroundings, start_new_session=True
            )
            status, usage = wait(process)
        seconds = time.perf_counter() - started
        cpu = usage.ru_utime + usage.ru_stime
        record: Record = {
            "process_seconds": round(seconds, 2),
            "process_cpu_seconds": round(cpu, 2),
            "process_peak_mb": round(usage.ru_maxrss / 1024),
            "other_cores": round(max(0.0, busy_seconds() - busy - cpu) / seconds, 2),
        }
        if status == 0 and result.exists():
            return record | json.loads(result.read_text())
        return record | {"error": f"exit status {status}: {log.read_text()[-2000:]}"}


def wait(process: subprocess.Popen[bytes]) -> tuple[int, Any]:
    """(exit status, resource usage); the process group is killed after TIMEOUT seconds."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status), usage
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.05)


def instructions() -> list[str]:
    """The vector instructions that decide which arithmetic is fast."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = next((line for line in info.splitlines() if line.lower().startswith(("flags", "features"))), "").split()
    return [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16") if name in flags]


def machine() -> Record:
    """The machine, for the reader of the results."""
    info = Path("/proc/cpuinfo").read_text()
    return {
        "job": "machine",
        "processor": next(line for line in info.splitlines() if line.startswith("model name")).split(":")[1].strip(),
        "cores": os.cpu_count(),
        "instructions": instructions(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": platform.platform(),
    }


def versions(python: Path) -> Record:
    """Versions of the packages that matter, in one environment."""
    names = ["torch", "transformers", "peft", "accelerate", "trl", "lm_eval", "llamafactory"]
    code = (
        "import importlib.metadata as m, json, platform\n"
        "found = {d.metadata['Name'].lower().replace('-', '_'): d.version for d in m.distributions()}\n"
        f"print(json.dumps({{'python': platform.python_version()}} | {{n: found[n] for n in {names} if n in found}}))"
    )
    return json.loads(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout)


# ------------------------------------------------------------ the command


def read(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(path: Path, record: Record) -> None:
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def expected_seconds(name: str, records: list[Record]) -> float:
    """What the row took last time, else what it typically takes."""
    known = [record["process_seconds"] for record in records if record["job"] == name and "error" not in record]
    return known[-1] if known else TYPICAL_SECONDS.get(name, 25)


def plan(all_rows: list[Row], rounds: int, records: list[Record]) -> list[tuple[Row, int]]:
    """What is left to measure: (row, round), every round in another order."""
    done = {(record["job"], record["round"]) for record in records if "round" in record and "error" not in record}
    order = []
    for number in range(rounds):
        shuffled = list(all_rows)
        random.Random(number).shuffle(shuffled)
        order += [(row, number) for row in shuffled if (row.name, number) not in done]
    return order


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for models, examples and results")
    parser.add_argument("--data", default=os.environ.get("CLINFIT_DATA"), help="data mirror; default: CLINFIT_DATA")
    parser.add_argument("--results", type=Path, help="default: results.jsonl in the work folder")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="has clinfit, trl and lm-eval")
    parser.add_argument(
        "--llama-factory-python",
        type=Path,
        default=os.environ.get("LLAMA_FACTORY_PYTHON"),
        help="Python of LLaMA-Factory's own environment; default: LLAMA_FACTORY_PYTHON, else its rows are left out",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=45, help="start nothing that would not fit")
    parser.add_argument("--only", default="", help="parts of row names, separated by commas")
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=PRECISIONS,
        default=PRECISIONS if BF16 & set(instructions()) else PRECISIONS[:1],
        help="default: bf16 only on a processor with instructions for it; elsewhere it is emulated and tells nothing",
    )
    parser.add_argument("--plan", action="store_true", help="print what would run, and for how long")
    return parser.parse_args()


def main() -> int:
    chosen = options()
    end = time.monotonic() + 60 * chosen.minutes
    work = chosen.work.resolve()
    results = chosen.results or work / "results.jsonl"
    llama_factory = Path(chosen.llama_factory_python).absolute() if chosen.llama_factory_python else None
    wanted = list(rows(work, chosen.python.absolute(), llama_factory, chosen.precisions))
    wanted = [row for row in wanted if any(part in row.name for part in chosen.only.split(","))]
    todo = plan(wanted, chosen.rounds, read(results))
    if chosen.plan:
        total = sum(expected_seconds(row.name, read(results)) for row, _ in todo)
        print(*(f"round {number}: {row.name}" for row, number in todo), f"about {total / 60:.0f} minutes", sep="\n")
        return 0
    if not (work / "models.json").exists():
        if not chosen.data:
            print("run.py: no data: set CLINFIT_DATA, or give --data, a folder with cancer_abstracts/", file=sys.stderr)
            return 2
        subprocess.run([chosen.python, HERE / "prepare.py", "--work", work, "--data", chosen.data], check=True)
    if not read(results):
        pythons = {"clinfit": chosen.python} | ({"llama_factory": llama_factory} if llama_factory else {})
        models = json.loads((work / "models.json").read_text())
        found = {name: versions(python) for name, python in pythons.items()}
        append(results, machine() | {"versions": found, "models": models})

    left = 0
    for row, number in todo:
        if time.monotonic() + expected_seconds(row.name, read(results)) > end:
            left += 1
            continue
        print(f"round {number + 1}: {row.name} ", end="", flush=True)
        record = {"job": row.name, "round": number} | measure(row, work)
        append(results, record)
        print(record.get("error") or f"{record['process_seconds']} s", flush=True)
    if left:
        print(f"{left} measurements did not fit into {chosen.minutes:g} minutes; run again to continue")
    return subprocess.run([sys.executable, HERE / "report.py", results]).returncode


if __name__ == "__main__":
    sys.exit(main())
