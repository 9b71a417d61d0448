"""Probes: made-up records that a pack carries with the model's answers, so that it can be tried anywhere.

A record is made from what the task declares of its inputs and from nothing else: texts are neutral sentences of this
file, numbers are round values that occur in the declared unit, categories are those that many training records share.
No value is taken from a record, and none from statistics of the training data, whose minimum or maximum may be one
person's. The same task gives the same probes, always.

    probes.json   {"made_on": where the answers are from (`surroundings`),
                   "tasks": {task: [{"id", "inputs", "probabilities": the model's own, in the order of the labels;
                                     of generation "text_sha256": see `text_hashes`}]}}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinfit.data.declared import declared_categories, is_impossible
from clinfit.data.records import Record, Value
from clinfit.errors import ClinfitError
from clinfit.files import hash_json, read_json
from clinfit.machine import library_version, processor_flags, processor_name
from clinfit.models.base import Answerer, TextOutputs
from clinfit.packs.decide import ask
from clinfit.study.data import InputColumn
from clinfit.study.tasks import MultipleChoice, Task, Writing

Floats = NDArray[np.float64]

#: Probes of a task.
COUNT = 8
#: Most tokens of the text that is written to a probe.
PROBE_TOKENS = 32
#: What a model says of the probes of a task: (n, K) probabilities, or the hashes of n texts.
References = Floats | list[str]

SENTENCES = (
    "The sample was kept at room temperature and measured twice.",
    "No difference between the two groups was seen after six weeks.",
    "Treatment was well tolerated and follow-up was complete.",
    "A second reading gave the same result as the first.",
    "The report describes the method, the setting and the main findings.",
    "Symptoms had begun three days before the visit.",
    "One measurement was repeated because the first value was missing.",
    "Imaging showed no change, and laboratory values were as before.",
)
#: Texts of options; short, as options are.
OPTIONS = (
    "Rest",
    "A second opinion",
    "Surgery",
    "No treatment",
    "Antibiotics",
    "A blood test",
    "Physiotherapy",
    "X-ray",
)
#: Numbers without a known unit.
NUMBERS = (0.0, 1.0, 2.5, 7.0, 20.0, 50.0, 120.0, 400.0)
#: Numbers by unit: round values that occur in people, from general knowledge.
UNITS = {
    "years": (2.0, 18.0, 30.0, 45.0, 55.0, 65.0, 75.0, 90.0),
    "months": (1.0, 3.0, 6.0, 12.0, 18.0, 24.0, 36.0, 60.0),
    "days": (1.0, 2.0, 3.0, 7.0, 14.0, 30.0, 90.0, 365.0),
    "kg": (3.5, 12.0, 30.0, 50.0, 65.0, 80.0, 100.0, 130.0),
    "cm": (50.0, 90.0, 120.0, 150.0, 165.0, 175.0, 185.0, 200.0),
    "kg/m2": (16.0, 18.5, 20.0, 22.5, 25.0, 30.0, 35.0, 40.0),
    "mmhg": (50.0, 60.0, 80.0, 90.0, 110.0, 130.0, 150.0, 190.0),
    "%": (0.0, 5.0, 20.0, 40.0, 60.0, 80.0, 95.0, 100.0),
    "°c": (35.0, 36.5, 37.0, 37.5, 38.0, 38.5, 39.0, 40.5),
}
#: A category that no training record holds.
OTHER = "another value"

#: Libraries that a probability passes through.
LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "transformers", "tokenizers", "peft", "mlx", "mlx-lm")


@dataclass(frozen=True)
class Probes:
    """The probes of a pack. made_on: the surroundings of the reference answers."""

    made_on: dict[str, Any]
    records: dict[str, list[Record]]
    references: dict[str, References]

    def as_dict(self) -> dict[str, Any]:
        """The content of probes.json."""
        tasks = {
            name: [
                {"id": record.id, "inputs": record.inputs} | _told(said)
                for record, said in zip(records, self.references[name], strict=True)
            ]
            for name, records in self.records.items()
        }
        return {"made_on": self.made_on, "tasks": tasks}


def probe_records(name: str, task: Task, categories: Mapping[str, Sequence[str]]) -> list[Record]:
    """The probes of a task. categories: input -> values that many training records share; others are unknown here.

    In the first probe every input is missing but the first and the options; the last has the longest text.
    """
    return [Record(f"probe-{k + 1}", f"probe-{k + 1}", _inputs(task, k, categories), task=name) for k in range(COUNT)]


def _inputs(task: Task, k: int, categories: Mapping[str, Sequence[str]]) -> dict[str, Value]:
    options = task.options if isinstance(task, MultipleChoice) else []
    values: dict[str, Value] = {}
    for j, (name, column) in enumerate(task.data.columns.items()):
        if name in options:
            values[name] = OPTIONS[(k + options.index(name)) % len(OPTIONS)]
        elif k == 0 and j > 0:
            values[name] = None
        else:
            values[name] = _value(column, k, j, categories.get(name, ()))
    return values


def _value(column: InputColumn, k: int, j: int, categories: Sequence[str]) -> Value:
    """The value of the k-th probe in the j-th input."""
    match column.type:
        case "number":
            ladder = UNITS.get((column.unit or "").casefold(), NUMBERS)
            ladder = [value for value in ladder if not is_impossible(value, column)] or list(column.range or ())
            return ladder[(k + 3 * j) % len(ladder)]
        case "category":
            values = [*(declared_categories(column) or categories), OTHER]
            return values[(k + j) % len(values)]
        case "text":
            count = 3 * len(SENTENCES) if k == COUNT - 1 else 1 + k % 4
            return " ".join(SENTENCES[(k + 3 * j + i) % len(SENTENCES)] for i in range(count))


def _told(said: Floats | str) -> dict[str, Any]:
    return {"text_sha256": said} if isinstance(said, str) else {"probabilities": said.tolist()}


def ask_probes(model: Answerer, task: str, records: Sequence[Record]) -> References:
    """What the model says, one record at a time: the reference answer on any device."""
    if isinstance(model.tasks[task], Writing):
        return text_hashes(model, task, records)
    return np.concatenate([model.predict(task, [record]).probabilities for record in records])


def text_hashes(model: Answerer, task: str, records: Sequence[Record]) -> list[str]:
    """The SHA-256 of each record and the first PROBE_TOKENS tokens that the model writes to it: a model may have
    learned a text by heart, and a pack quotes none."""
    outputs = [(record, ask(model, task, [record], PROBE_TOKENS)) for record in records]
    return [
        hash_json([record.id, record.inputs, said.texts[0]])
        for record, said in outputs
        if isinstance(said, TextOutputs)
    ]


def read_probes(path: Path) -> Probes:
    """probes.json of a pack whose files are as they were written."""
    content = read_json(path)
    tasks: dict[str, list[dict[str, Any]]] = content["tasks"]
    records = {
        name: [Record(entry["id"], entry["id"], entry["inputs"], task=name) for entry in entries]
        for name, entries in tasks.items()
    }
    references: dict[str, References] = {
        name: [entry["text_sha256"] for entry in entries]
        if "text_sha256" in entries[0]
        else np.array([entry["probabilities"] for entry in entries], dtype=np.float64)
        for name, entries in tasks.items()
    }
    return Probes(content["made_on"], records, references)


def surroundings(neural: bool) -> dict[str, Any]:
    """What decides the last bits of a probability: processor or accelerator, threads, versions. No names of hosts.

    instructions: of the processor, as eight digits of a hash, since many virtual processors share one name.
    neural: whether the model computes with torch, which is then loaded already.
    """
    instructions = hash_json(sorted(processor_flags().split()))[:8]
    found: dict[str, Any] = {"processor": processor_name(), "instructions": instructions}
    if neural:
        import torch

        from clinfit.training.precision import default_device

        device = default_device()
        found["accelerator"] = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        found["threads"] = torch.get_num_threads()
    return found | {"libraries": {name: library_version(name) for name in LIBRARIES}}


# ---------------------------------------------------------------- the self-test


@dataclass(frozen=True)
class TaskParity:
    """How the probes of a task are answered here, beside the answers that the pack carries. change: largest of a
    probability, None where texts are written. flipped: decisions that differ, in the label, in who decides, or in the
    text."""

    probes: int
    change: float | None
    flipped: int

    def passed(self, tolerance: float) -> bool:
        """Texts must be the same to the letter."""
        return not self.flipped if self.change is None else self.change <= tolerance


@dataclass(frozen=True)
class SelfTest:
    """The result of `Pack.self_test`. same_machine: whether everything here is as where the pack was written, so that
    not one bit may change. tolerance: the largest change that is allowed here."""

    tasks: dict[str, TaskParity]
    same_machine: bool
    tolerance: float

    @property
    def passed(self) -> bool:
        return not self._failed

    @property
    def _failed(self) -> list[str]:
        return [name for name, parity in self.tasks.items() if not parity.passed(self.tolerance)]

    def lines(self) -> list[str]:
        """The result in words, one line a task."""
        where = "machine and versions as" if self.same_machine else "machine or versions other than"
        return [
            f"self-test of task {name}: {parity.probes} made-up records, {where} where the pack was written; "
            + (
                f"texts that differ: {parity.flipped} (allowed 0)"
                if parity.change is None
                else f"largest change of a probability {parity.change:.2g} (allowed {self.tolerance:g}), decisions "
                f"flipped: {parity.flipped}"
            )
            for name, parity in self.tasks.items()
        ]

    def check(self) -> None:
        """Raise ClinfitError unless the test is passed."""
        if not self.passed:
            raise ClinfitError(
                f"the pack does not answer here as where it was written: self-test of {', '.join(self._failed)}",
                expected=f"a change of a probability of at most {self.tolerance:g}, and texts that are the same",
                fix="install the versions that the pack's probes.json names, or use another machine",
            )
