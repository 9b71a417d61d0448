"""How the neural models of a study would read its tasks: what is shortened, which tokens answer, how long it takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from clinfit.data.load import TaskData
from clinfit.data.records import SPLITS, Record, Split, in_split, labels_in
from clinfit.errors import ClinfitError
from clinfit.evaluation.checks.shortened import shortened_findings
from clinfit.findings import Finding
from clinfit.models.bases.pretrained import check_rows, find_base, four_bit_supported, load_config, load_tokenizer
from clinfit.models.estimates.estimate import Estimate, Work, estimate, gemm_rate, model_size
from clinfit.models.examples import drawn_examples, told_examples
from clinfit.prompts.encode import Encoded, Renderer
from clinfit.prompts.template import document
from clinfit.runs.steps.plan import answers_before_training
from clinfit.study.models import Causal, Encoder, LanguageModel, Mlx, Neural
from clinfit.study.schema import Study
from clinfit.study.tasks import Generation, Task, Writing
from clinfit.study.taught import Taught, stages_of
from clinfit.training.precision import default_device, precision_of


@dataclass(frozen=True)
class Reading:
    """How one model reads the records of one task.

    lengths, dropped: tokens of each record as it is read, and of what it loses, by split. whole: tokens of the longest
    record before it is shortened.
    answers: tokens of each answer that the model can give. first: the first training record. thinking: what became of
    the reasoning that its template would begin (prompts/chat.py). examples: how many stand in every prompt, and whence.
    in_pieces: whether answers read a long record in pieces (`long_input: map-reduce`), so that only training and
    likelihood lose text. references, most: tokens of the references of validation and test, and of texts there that end
    nowhere; 0 where no text is written. All only of models that read prompts.
    """

    task: str
    lengths: Mapping[Split, list[int]]
    dropped: Mapping[Split, list[int]]
    whole: int
    answers: Mapping[str, list[int]]
    answer_tokens: int = 1
    first: Encoded | None = None
    thinking: Literal["none", "off", "stripped"] = "none"
    examples: str = ""
    in_pieces: bool = False
    references: int = 0
    most: int = 0

    @property
    def records(self) -> int:
        return sum(len(lengths) for lengths in self.lengths.values())

    @property
    def shortened(self) -> int:
        return sum(lost > 0 for part in self.dropped.values() for lost in part)


@dataclass(frozen=True)
class Prepared:
    """A neural model with its tasks as it would read them."""

    spec: Causal | Encoder | Mlx
    tokenizer: Any
    readings: list[Reading]
    estimate: Estimate


def prepare(study: Study, data: Mapping[str, TaskData]) -> tuple[list[Prepared], list[Finding]]:
    """Each neural model that can be prepared, a finding for each that cannot, and those on what it would not read."""
    ready: list[Prepared] = []
    problems: list[Finding] = []
    for spec in study.models:
        if isinstance(spec, Neural):
            try:
                ready.append(_prepared(study, spec, data))
                problems += _not_quantized(spec)
                problems += _reasoning(spec, ready[-1].readings)
                problems += [
                    found
                    for reading in ready[-1].readings
                    for found in _lost_text(spec, reading, data[reading.task], len(study.tasks) > 1)
                ]
            except ClinfitError as error:
                advice = " ".join(part for part in (error.expected, error.fix) if part)
                problems.append(Finding("error", "model-cannot-run", error.found, advice=advice, system=spec.name))
    return ready, problems


def _not_quantized(spec: Neural) -> list[Finding]:
    """Whether 4-bit weights are asked for where there can be none."""
    if not spec.four_bit or four_bit_supported(default_device()):
        return []
    return [
        Finding(
            "warn",
            "not-quantized",
            f"{spec.name}: the base would be loaded unquantized here",
            "quantization: 4bit needs an NVIDIA GPU and bitsandbytes; the estimate is that of whole weights",
            "run it on such a machine, or leave quantization out",
            spec.name,
        )
    ]


def _reasoning(spec: Neural, readings: Sequence[Reading]) -> list[Finding]:
    """Whether the base is made to reason before it answers, which no answer here has room for."""
    ways = {reading.thinking for reading in readings} - {"none"}
    if not ways:
        return []
    stripped = "stripped" in ways
    done = "is taken away" if stripped else "is switched off in its chat template, which leaves it empty"
    return [
        Finding(
            "warn" if stripped else "info",
            "reasoning-model",
            f"{spec.name}: its base reasons before it answers, and here it does not",
            f"the reasoning {done}, in training and in serving; labels are scored right behind the prompt",
            "expect weak answers before fine-tuning, or choose a base that answers without reasoning"
            if stripped
            else "",
            spec.name,
        )
    ]


def _lost_text(spec: Neural, reading: Reading, data: TaskData, several: bool) -> list[Finding]:
    """What max_length takes from the records of a task, by label."""
    records = [record for split in SPLITS for record in in_split(data.records, split)]
    dropped, read = (
        np.array([count for split in SPLITS for count in counts[split]], dtype=np.float64)
        for counts in (reading.dropped, reading.lengths)
    )
    held = {
        label: np.array([label in labels_in(record.target) for record in records], dtype=bool)
        for label in data.task.labels
    }
    found = shortened_findings(spec.name, "records", dropped, read, held)
    if reading.in_pieces:
        advice = "answers read all of them in pieces (long_input: map-reduce); raise train.max_length to train on more"
        found = [replace(one, title=f"{one.title} in training and likelihood", advice=advice) for one in found]
    return [replace(one, title=f"{reading.task}: {one.title}") for one in found] if several else found


def _prepared(study: Study, spec: Causal | Encoder | Mlx, data: Mapping[str, TaskData]) -> Prepared:
    tokenizer, tasks = load_tokenizer(spec.base, spec.revision), study.tasks_of(spec)
    read: Callable[..., Reading] = _prompts if spec.prompted else _documents
    readings = [read(spec, name, task, data[name].records, tokenizer, study.seeds[0]) for name, task in tasks.items()]
    device = default_device()
    precision = precision_of(spec, device)
    labels = sum(len(task.labels) for task in tasks.values())
    config = load_config(find_base(spec.base, spec.revision))
    written = [reading for reading in readings if reading.most]  # a reference is never cut
    check_rows(
        spec, config, tokenizer, max((n for one in written for part in one.lengths.values() for n in part), default=0)
    )
    size = model_size(spec, config, labels)
    rate = gemm_rate(spec.train.batch_tokens, size.hidden, precision, device)
    loaded = spec if not _not_quantized(spec) else spec.model_copy(update={"quantization": "none"})
    return Prepared(spec, tokenizer, readings, estimate(loaded, size, work_of(study, spec, readings), precision, rate))


def _prompts(
    spec: LanguageModel, name: str, task: Task, records: Sequence[Record], tokenizer: Any, seed: int
) -> Reading:
    seed = spec.seeds[0] if spec.seeds else seed
    shots = spec.shots if isinstance(spec, Causal) else 0
    examples = drawn_examples(in_split(records, "train"), task.labels, shots, name, seed) if shots else []
    renderer = Renderer(
        task, tokenizer, max_length=spec.train.max_length, shorten=spec.train.shorten, examples=examples
    )
    encoded = renderer.encode_all(records)
    return Reading(
        task=name,
        lengths=_by_split(records, [len(item.ids) for item in encoded]),
        dropped=_by_split(records, [item.dropped for item in encoded]),
        whole=max(_with_longest_answer(item) + item.dropped for item in encoded),
        answers=renderer.answers,
        answer_tokens=max(sum(label >= 0 for label in item.labels) for item in encoded),
        first=next(item for item, record in zip(encoded, records, strict=True) if record.split == "train"),
        thinking=renderer.thinking,
        examples=f"{told_examples(examples, task.labels)}; with seed {seed}" if examples else "",
        in_pieces=isinstance(task, Generation) and task.long_input == "map-reduce",
        **(_written(task, records, encoded) if isinstance(task, Writing) else {}),
    )


def _written(task: Writing, records: Sequence[Record], encoded: Sequence[Encoded]) -> dict[str, int]:
    asked = [item for item, record in zip(encoded, records, strict=True) if record.split in ("validation", "test")]
    references = [sum(label >= 0 for label in item.labels) for item in asked]
    return {"references": sum(references), "most": len(asked) * task.max_new_tokens}


def _with_longest_answer(item: Encoded) -> int:
    """Tokens of the prompt and the longest of what may stand behind it: what `max_length` limits."""
    return len(item.prompt_ids) + max(branch.longest for branch in item.branches)


def _documents(spec: Encoder, name: str, task: Task, records: Sequence[Record], tokenizer: Any, seed: int) -> Reading:
    texts = [document(task, record.inputs) for record in records]
    whole = [len(ids) for ids in tokenizer(texts, truncation=False, verbose=False)["input_ids"]]
    return Reading(
        task=name,
        lengths=_by_split(records, [min(length, spec.train.max_length) for length in whole]),
        dropped=_by_split(records, [max(0, length - spec.train.max_length) for length in whole]),
        whole=max(whole),
        answers={},
    )


def _by_split(records: Sequence[Record], lengths: Sequence[int]) -> dict[Split, list[int]]:
    return {
        split: [length for length, record in zip(lengths, records, strict=True) if record.split == split]
        for split in SPLITS
    }


def work_of(study: Study, spec: Causal | Encoder | Mlx, readings: Sequence[Reading]) -> Work:
    """What all stages train on, and what is scored: validation each epoch, then validation and test of every task after
    every stage, and before the first one where the base is asked too. A task of texts is read twice, for the text and
    for the likelihood of its reference; a base that is not trained for it may write on until it is stopped."""
    stages = stages_of(study, spec)
    trained = [] if spec.prompting else stages
    learned = [
        (reading, _shown(stage, reading)) for stage in trained for reading in readings if reading.task in stage.weights
    ]
    learned += [
        (reading, stage.stage.retain.rehearsal)
        for stage in trained
        for reading in readings
        if reading.task in stage.rehearsed and stage.stage.retain is not None
    ]
    final = sum(
        (sum(reading.lengths["validation"]) + sum(reading.lengths["test"])) * (2 if reading.most else 1)
        for reading in readings
    )
    before = answers_before_training(spec)
    return Work(
        train_lengths=[length for reading, share in learned for length in _as_many(reading.lengths["train"], share)],
        scored_tokens=round(spec.train.epochs * sum(sum(reading.lengths["validation"]) for reading, _ in learned))
        + final * (len(stages) + before),
        answer_tokens=max(reading.answer_tokens for reading in readings),
        written_tokens=sum(len(stages) * reading.references + before * reading.most for reading in readings),
    )


def _shown(stage: Taught, reading: Reading) -> float:
    """Share of the records of a task that an epoch of the stage shows; with a temperature about all of them."""
    mix = stage.stage.mix
    n = len(reading.lengths["train"])
    return 1.0 if mix is None or mix.records is None else mix.records.get(reading.task, n) / n


def _as_many(lengths: list[int], share: float) -> list[int]:
    whole, rest = divmod(round(share * len(lengths)), len(lengths))
    return lengths * whole + lengths[:rest]
