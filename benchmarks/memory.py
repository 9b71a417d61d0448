"""The memory that `clinfit check` estimates, beside what a run of the same model takes.

    benchmarks/memory.py                        all cases
    benchmarks/memory.py tiny minilm            those whose names begin so

Each case is a study of one model on made-up texts of one length, run by `clinfit run --executor processes`: its worker
process tells the most memory that it held, with everything that it imported. Prints a line a case, and their ratio.
"""

import argparse
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console

import clinfit
from clinfit.data.load import load_task
from clinfit.runs.checking.models import prepare
from clinfit.runs.folder import RunFolder
from clinfit.runs.steps.executors import Processes
from clinfit.study.load import load_study

#: What a record says, over and over.
WORDS = "the patient was seen in the clinic with a cough and a fever that had lasted for three days and "
WRITING = {"kind": "generation", "max_new_tokens": 16}


@dataclass(frozen=True)
class Case:
    """words: of each text. model: its block. task: what is asked; default: one of two labels. records: of training."""

    words: int
    model: dict[str, Any]
    task: dict[str, Any] = field(default_factory=lambda: {"labels": ["no", "yes"]})
    records: int = 16


def causal(base: str, **train: Any) -> dict[str, Any]:
    settings = {"epochs": 1, "max_steps": 1, "max_length": 512, "batch_size": 8} | train
    return {"name": "model", "family": "causal", "base": base, "compare_base": False, "train": settings}


def encoder(**train: Any) -> dict[str, Any]:
    return causal("clinfit/minilm", max_length=256, **train) | {"family": "encoder"}


def without(model: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in model.items() if name not in names}


CASES = {
    "tiny": Case(300, causal("clinfit/tiny")),
    "tiny, large batches": Case(300, causal("clinfit/tiny", batch_tokens=16384, batch_size=64), records=80),
    "tiny, fp32": Case(300, causal("clinfit/tiny", precision="fp32")),
    "tiny, writing": Case(300, causal("clinfit/tiny"), WRITING),
    "smollm2": Case(300, causal("clinfit/smollm2")),
    "smollm2, fp32": Case(300, causal("clinfit/smollm2", precision="fp32")),
    "smollm2, short": Case(60, causal("clinfit/smollm2", batch_tokens=1024)),
    "smollm2, asked only": Case(300, without(causal("clinfit/smollm2"), "compare_base") | {"method": "prompt"}),
    "smollm2, writing": Case(120, causal("clinfit/smollm2"), WRITING),
    "minilm": Case(200, without(encoder(), "compare_base")),
    "minilm, large batches": Case(200, without(encoder(batch_tokens=16384, batch_size=64), "compare_base"), records=80),
}


def write_study(folder: Path, case: Case) -> Path:
    """The study of a case and its records: a number makes each text another one."""
    folder.mkdir(parents=True)
    words = WORDS.split()
    text = " ".join(words[at % len(words)] for at in range(case.words))
    splits = ["train"] * case.records + ["validation"] * 4 + ["test"] * 4
    writes = case.task.get("kind") == "generation"
    answers = [f"Fever for {k} days, and a cough" if writes else ["no", "yes"][k % 2] for k in range(len(splits))]
    rows = {"id": range(len(splits)), "text": [f"{k}: {text}" for k in range(len(splits))], "split": splits}
    pd.DataFrame(rows | {"answer": answers}).to_csv(folder / "records.csv", index=False)
    data: dict[str, Any] = {
        "path": "records.csv",
        "id": "id",
        "inputs": {"text": "text"},
        "label": "answer",
        "split": {"column": "split"},
    }
    study = {"name": "memory", "tasks": {"t": case.task | {"data": data}}, "models": [case.model]}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study | {"evaluation": {"bootstrap": 100}}, sort_keys=False))
    return path


def estimated(path: Path) -> float:
    """GB that `clinfit check` says."""
    study = load_study(path)
    data = {name: load_task(name, task, study.folder) for name, task in study.tasks.items()}
    (prepared,), _ = prepare(study, data)
    return prepared.estimate.memory / 1e9


def measured(path: Path) -> float:
    """GB that the worker of a run held at most."""
    quiet = Console(file=io.StringIO())
    result = clinfit.run(path, out=path.parent / "run", executor=Processes(), console=quiet)
    (run,) = RunFolder(result.folder).models()
    record = run.read_record()
    if not result.ok:
        raise SystemExit(f"the run failed: {record['reason']}")
    return record["peak_memory_mb"] / 1e3


def both(names: Sequence[str]) -> Iterator[tuple[str, float, float]]:
    """Case, GB estimated, GB measured."""
    for name in names:
        with tempfile.TemporaryDirectory(prefix="clinfit-memory-") as folder:
            path = write_study(Path(folder) / "study", CASES[name])
            yield name, estimated(path), measured(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="beginnings of names")
    asked = parser.parse_args().cases
    names = [name for name in CASES if not asked or any(name.startswith(word) for word in asked)]
    print(f"{'case':26} {'estimated':>10} {'measured':>10} {'ratio':>6}")
    for name, told, held in both(names):
        print(f"{name:26} {told:8.2f} GB {held:8.2f} GB {told / held:6.2f}", flush=True)


if __name__ == "__main__":
    main()
