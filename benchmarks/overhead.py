"""What the runner of studies costs: the same fits and answers by `clinfit run` and by a plain loop.

    benchmarks/overhead.py [--rounds 3] [--steps 0 60] [--records 600] [--seeds 3]

One study on a made-up table: rules, three classical models and, where training steps are given, the language model
that comes with clinfit with two settings; every model with every seed. Three ways do all of it, each in a process of
its own, in turns:

    plain      fit, save, load, answer, shuffle inputs: the library's functions in one loop, and nothing else
    inline     the steps of `clinfit run`: plan, hashes, records of what is done, status
    processes  the same by worker processes, one for each base

Metrics, report and packs are left out: they are work that a plain loop would have to do as well. Compares processor
time of a way and all its children, since wall time belongs to whoever else uses the machine. Several sizes tell what
every run costs (the programs that are started) from what grows with the study.
"""

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

WAYS = ("plain", "inline", "processes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[0, 60], help="training steps of the language models; 0: without them"
    )
    parser.add_argument("--records", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--study", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way is not None:
        WORK[asked.way](asked.study)
        return
    with tempfile.TemporaryDirectory(prefix="clinfit-overhead-") as folder:
        for steps in asked.steps:
            study = write_study(Path(folder) / str(steps), steps, asked.records, asked.seeds)
            report(steps, [{way: processor_seconds(way, study) for way in WAYS} for _ in range(asked.rounds)])


def report(steps: int, rounds: list[dict[str, float]]) -> None:
    """Medians of the rounds, and of their differences and ratios."""
    what = f"{steps} steps a language model" if steps else "no language model"
    print(f"{what}, n = {len(rounds)}: processor seconds beside a plain loop")
    for way in WAYS:
        taken = statistics.median(one[way] for one in rounds)
        more = statistics.median(one[way] - one["plain"] for one in rounds)
        ratio = statistics.median(one[way] / one["plain"] for one in rounds)
        print(f"  {way:10} {taken:8.1f} s {more:+8.1f} s {ratio:8.3f}", flush=True)


def processor_seconds(way: str, study: Path) -> float:
    """Of the process that does all of a study one way, and of all that it starts."""
    command = [sys.executable, __file__, "--way", way, "--study", str(study)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, code, used = os.wait4(process.pid, 0)
    if code:
        raise SystemExit(f"{way} ended with code {os.waitstatus_to_exitcode(code)}")
    return used.ru_utime + used.ru_stime


# ---------------------------------------------------------------- the study


def write_study(folder: Path, steps: int, records: int, seeds: int) -> Path:
    """Eight numbers, a category and an outcome that some of them decide."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    numbers = draw.normal(size=(records, 8)).round(2)
    outcome = numbers[:, 0] + numbers[:, 1] + draw.normal(size=records) > 0
    table = pd.DataFrame(numbers, columns=[f"x{k}" for k in range(8)])
    table["ward"] = draw.choice(["north", "south", "west"], size=records)
    table.assign(answer=np.where(outcome, "yes", "no")).to_csv(folder / "records.csv", index=False)
    inputs = {f"x{k}": {"column": f"x{k}", "type": "number"} for k in range(8)}
    inputs["ward"] = {"column": "ward", "type": "category"}
    data = {"path": "records.csv", "inputs": inputs, "label": "answer"}
    classical = ("lasso", "random-forest", "gradient-boosting")
    models = [
        {"name": "majority", "family": "baseline", "kind": "majority"},
        *({"name": kind, "family": "classical", "kind": kind} for kind in classical),
        *(language_model(rank, steps) for rank in (8, 16) if steps),
    ]
    study = {"name": "overhead", "tasks": {"t": {"labels": ["no", "yes"], "data": data}}, "models": models}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study | {"seeds": list(range(1, seeds + 1))}, sort_keys=False))
    return path


def language_model(rank: int, steps: int) -> dict[str, object]:
    train = {"epochs": 1000, "max_steps": steps, "max_length": 256, "batch_size": 16, "learning_rate": 1e-3}
    train |= {"evaluate_every": max(1, steps // 4)}
    own = {"name": f"tiny-{rank}", "family": "causal", "base": "clinfit/tiny", "compare_base": False}
    return own | {"lora": {"rank": rank}, "train": train}


# ---------------------------------------------------------------- the ways


def plain(path: Path) -> None:
    """Every model with every seed: fit, save, load, answer, write."""
    from clinfit.data.load import load_task
    from clinfit.data.records import in_split
    from clinfit.models.base import Lesson, Workspace, unheard
    from clinfit.models.families import create_model, load_model
    from clinfit.predictions import Source, predictions_table
    from clinfit.runs.steps.importance import write_importance
    from clinfit.study.load import load_study

    study = load_study(path)
    bases: Any = None
    if any(spec.neural for spec in study.models):
        from clinfit.models.bases.pretrained import Bases

        bases = Bases()
    ((name, task),) = study.tasks.items()
    records = load_task(name, task, study.folder).records
    train, validation = in_split(records, "train"), in_split(records, "validation")
    for spec in study.models:
        for seed in study.seeds_of(spec):
            with tempfile.TemporaryDirectory() as folder:
                place, saved = Path(folder) / "fit", Path(folder) / "model"
                place.mkdir()
                saved.mkdir()
                model = create_model(spec, study.tasks, seed, bases)
                model.fit(Lesson(train, validation, {name: 1.0}), Workspace(place, unheard))
                model.save(saved)
                model = load_model(spec.family, saved, bases)
                for split in ("validation", "test"):
                    asked = in_split(records, split)
                    source = Source(spec.name, spec.name, seed, 1)
                    table = predictions_table(source, name, task, split, asked, model.predict(name, asked))
                    table.to_parquet(Path(folder) / f"{split}.parquet")
                if spec.asked_importance:
                    source, place = Source(spec.name, spec.name, seed, 1), Path(folder) / "importance"
                    write_importance(place, model, source, name, train, validation, unheard, spec.named_words)


def inline(path: Path) -> None:
    from clinfit.runs.steps.executors import Inline

    steps_by(path, Inline())


def processes(path: Path) -> None:
    from clinfit.runs.steps.executors import Processes

    steps_by(path, Processes())


def steps_by(path: Path, executor: Any) -> None:
    """The steps of a run, without metrics, report and packs."""
    from rich.console import Console

    import clinfit
    from clinfit.runs import execute

    # What comes after the steps is no work of the runner, and `run` has no way to leave it out.
    execute.conclude = lambda study, failed, monitor, again: execute.Result(  # type: ignore[assignment]
        monitor.folder.path, None, None, {}, failed
    )
    with tempfile.TemporaryDirectory() as folder:
        quiet = Console(file=io.StringIO())
        if not clinfit.run(path, out=Path(folder) / "run", executor=executor, console=quiet).ok:
            raise SystemExit("a model failed")


WORK = {"plain": plain, "inline": inline, "processes": processes}

if __name__ == "__main__":
    main()
