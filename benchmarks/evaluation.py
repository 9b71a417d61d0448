"""How long `evaluate` takes on a million predictions of each of eight models, and how much memory.

    benchmarks/evaluation.py --items 1000000 --models 8

Makes up the predictions, then times `evaluate` on the table in memory (reading parquet is outside the clock). Prints
wall and CPU seconds, the split by step, and the peak memory of the process, table included.
"""

import argparse
import cProfile
import json
import pstats
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd

from clinfit.evaluation.evaluate import evaluate
from clinfit.study.data import Data
from clinfit.study.evaluation import Evaluation
from clinfit.study.models import Classical
from clinfit.study.schema import Study
from clinfit.study.tasks import Classification

LABELS = ("No", "Yes")
#: Functions whose own part of the time is shown: module and name, with everything they call.
STEPS = (
    ("systems", "find_systems"),
    ("canaries", "run_canaries"),
    ("gates", "check_items"),
    ("scoring", "estimates"),
    ("scoring", "replicates"),
    ("measure", "measure"),
    ("classification", "overall_metrics"),
    ("assemble", "system_result"),
    ("claims", "compare"),
)


def study(models: int, bootstrap: int) -> Study:
    """A study that declares the models; nothing is trained."""
    data = Data(path="items.csv", inputs={"text": "text"})
    return Study(
        name="made-up",
        tasks={"outcome": Classification(labels=list(LABELS), positive="Yes", data=data)},
        models=[Classical(name=f"model-{k}", family="classical", kind="lasso") for k in range(models)],
        evaluation=Evaluation(bootstrap=bootstrap, primary="auroc"),
    )


def predictions(items: int, models: int, per_group: int, seed: int = 0) -> pd.DataFrame:
    """Test rows of all models, each better than the one before, plus 2,000 validation rows each; prevalence 0.3."""
    rng = np.random.default_rng(seed)
    tables = []
    for split, n in (("validation", min(items, 2_000)), ("test", items)):
        positive = rng.random(n) < 0.3
        shared = rng.normal(size=n)
        frame = pd.DataFrame({"id": np.char.mod(f"{split}-%07d", np.arange(n))})
        frame["group"] = np.char.mod(f"{split}-%07d", np.arange(n) // per_group)
        frame["gold"] = np.where(positive, "Yes", "No")
        for k in range(models):
            linear = (1 + 0.05 * k) * (2 * positive - 1) + 0.7 * shared + 0.7 * rng.normal(size=n) - 0.85
            yes = 1 / (1 + np.exp(-linear))
            tables.append(
                frame.assign(
                    run=f"model-{k}-seed42",
                    model=f"model-{k}",
                    seed=42,
                    stage=1,
                    task="outcome",
                    split=split,
                    predicted=np.where(yes > 0.5, "Yes", "No"),
                    status="ok",
                    p_No=1 - yes,
                    p_Yes=yes,
                    label_mass=np.nan,
                    prompt_tokens=np.nan,
                    output_tokens=np.nan,
                    seconds=0.001,
                )
            )
    return pd.concat(tables, ignore_index=True)


def peak() -> float:
    """Largest memory of the process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--bootstrap", type=int, default=2_000)
    parser.add_argument("--per-group", type=int, default=1, help="items of one patient; more than 1 resamples groups")
    parser.add_argument("--out", type=Path, help="metrics.json to write, to compare two versions of the code")
    parser.add_argument("--profile", type=Path, help="profile to write, for pstats")
    options = parser.parse_args()
    table = predictions(options.items, options.models, options.per_group)
    print(f"{len(table):,} rows made; the process holds {peak():.2f} GB")
    profile = cProfile.Profile(time.process_time)
    wall, cpu = time.perf_counter(), time.process_time()
    profile.enable()
    results = evaluate(study(options.models, options.bootstrap), table)
    profile.disable()
    print(f"evaluate: {time.perf_counter() - wall:.1f} s wall, {time.process_time() - cpu:.1f} s CPU")
    print(f"peak memory: {peak():.2f} GB")
    if options.profile is not None:
        profile.dump_stats(options.profile)
    stats: dict = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for module, name in STEPS:
        spent = sum(
            row[3] for (file, _, function), row in stats.items() if function == name and Path(file).stem == module
        )
        print(f"  {module}.{name:<18} {spent:6.1f} s")
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
