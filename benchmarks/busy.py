"""Scoring on a quiet machine and beside a program that takes one core, with OpenMP's own way of waiting and clinfit's.

    python benchmarks/busy.py --rounds 5

Each measurement is a process of its own: `clinfit/tiny` scores 160 records of the quickstart study, on every core. The
four ways take turns within a round, each round in another order, and the median of each way counts. Wall seconds tell
how long a user waits, CPU seconds what spinning costs. Work of others disturbs both: the cores that it took are shown,
and a run on a machine that was not quiet should be repeated.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORDS = 160

#: way -> what is imported first: OpenMP reads how to wait when torch loads it, which is before clinfit has a say.
FIRST = {"default": "torch", "clinfit": "clinfit"}

#: What would decide how threads wait, or how many there are.
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

GOALS = {"busy / quiet, clinfit": 2.2, "clinfit / default, quiet": 1.02}


def measure(first: str) -> dict[str, float]:
    """Wall and CPU seconds of scoring, in this process; loading and one record to warm up are not counted."""
    __import__(first)
    from clinfit.data.load import load_task
    from clinfit.models.families import create_model
    from clinfit.study.load import load_study

    study = load_study(ROOT / "studies" / "quickstart.yaml")
    (spec,) = (spec for spec in study.models if spec.name == "tiny")
    ((name, task),) = study.tasks.items()
    records = load_task(name, task, study.folder).records[:RECORDS]
    model = create_model(spec, study.tasks_of(spec), 42)
    model.predict(name, records[:1])
    wall, cpu = time.perf_counter(), time.process_time()
    model.predict(name, records)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def child(first: str, busy: bool) -> dict[str, float]:
    """One measurement in a process of its own, with or without a program beside it that never rests."""
    environment = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    environment["PYTHONPATH"] = str(ROOT / "src")
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        began, before = time.perf_counter(), machine_seconds()
        command = [sys.executable, __file__, "--measure", first]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        elapsed, used = time.perf_counter() - began, machine_seconds() - before
    finally:
        if burner:
            burner.kill()
            burner.wait()
    told = json.loads(done.stdout.splitlines()[-1])
    return told | {"others": max(0.0, (used - told["all"]) / elapsed - busy)}


def machine_seconds() -> float:
    """CPU seconds that all programs of this machine have used since it started."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq, *_ = map(int, fields)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", choices=list(FIRST.values()), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        told = measure(options.measure)
        used = os.times()
        print(json.dumps(told | {"all": used.user + used.system}))
        return
    ways = [(way, busy) for busy in (False, True) for way in FIRST]
    found: dict[tuple[str, bool], list[dict[str, float]]] = {way: [] for way in ways}
    for number in range(options.rounds):
        turn = number % len(ways)
        for way, busy in ways[turn:] + ways[:turn]:
            found[way, busy].append(child(FIRST[way], busy))
    report(found)


def report(found: dict[tuple[str, bool], list[dict[str, float]]]) -> None:
    def middle(way: str, busy: bool, value: str) -> float:
        return statistics.median(one[value] for one in found[way, busy])

    rounds = len(next(iter(found.values())))
    print(f"{RECORDS} records, {os.cpu_count()} cores, median of {rounds} rounds")
    print(f"{'waiting':10} {'machine':8} {'wall s':>8} {'CPU s':>8} {'others':>8}")
    for way, busy in found:
        numbers = " ".join(f"{middle(way, busy, value):8.2f}" for value in ("wall", "cpu", "others"))
        print(f"{way:10} {'busy' if busy else 'quiet':8} {numbers}")
    for value in ("wall", "cpu"):
        ratios = {
            "busy / quiet, default": middle("default", True, value) / middle("default", False, value),
            "busy / quiet, clinfit": middle("clinfit", True, value) / middle("clinfit", False, value),
            "clinfit / default, quiet": middle("clinfit", False, value) / middle("default", False, value),
            "clinfit / default, busy": middle("clinfit", True, value) / middle("default", True, value),
        }
        for what, ratio in ratios.items():
            goal = f"   goal: at most {GOALS[what]}" if what in GOALS and value == "wall" else ""
            print(f"{value:4} {what:26} {ratio:6.3f}{goal}")


if __name__ == "__main__":
    main()
