"""How the neural models of a study would read its tasks: what is shortened, which tokens answer, how long it takes."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clinfit.data.load import TaskData
from clinfit.data.records import SPLITS, Record, Split, in_split, labels_in
from clinfit.errors import ClinfitError
from clinfit.evaluation.checks.shortened import shortened_findings
from clinfit.findings import Finding
from clinfit.models.bases.pretrained import check_rows, find_base, four_bit_supported, load_config, load_tokenizer
from clinfit.models.estimates.estimate import Estimate, Work, estimate, gemm_rate, model_size
from clinfit.models.estimates.precheck import check_base
from clinfit.models.estimates.room import room, verified
from clinfit.models.examples import drawn_examples, told_examples
from clinfit.prompts.encode import Encoded, Renderer
from clinfit.prompts.template import document
from clinfit.runs.checking.work import Reading, work_of
from clinfit.runs.steps.plan import ANSWERED
from clinfit.study.models import Causal, Encoder, LanguageModel, Mlx, Neural
from clinfit.study.schema import Study
from clinfit.study.tasks import Generation, Task, Writing
from clinfit.study.train import Lora
from clinfit.training.precision import default_device, precision_of

#: Settings of `train` by which a model that learns nothing reads all the same.
READ_WITH = {"max_length", "shorten", "precision", "batch_tokens"}
#: Share of references that an answer should be able to be as long as; a lower one is a warning.
HELD = 0.95


@dataclass(frozen=True)
class Prepared:
    """A neural model with its tasks as it would read them. estimate: of all that it does with one seed. takes: the
    estimate of a part of that. verified: whether its memory was ever compared with that of runs
    (models/estimates/room.py)."""

    spec: Causal | Encoder | Mlx
    tokenizer: Any
    readings: list[Reading]
    estimate: Estimate
    takes: Callable[[Work], Estimate]
    verified: bool


def prepare(study: Study, data: Mapping[str, TaskData]) -> tuple[list[Prepared], list[Finding]]:
    """Each neural model that can be prepared, a finding for each that cannot, and those on what it would not read."""
    ready: list[Prepared] = []
    problems: list[Finding] = []
    for spec in study.models:
        if isinstance(spec, Neural):
            try:
                ready.append(_prepared(study, spec, data))
                problems += _not_quantized(spec)
                problems += _unused(spec)
                problems += _too_large(ready[-1])
                problems += _reasoning(spec, ready[-1].readings)
                problems += [
                    found
                    for reading in ready[-1].readings
                    for found in (
                        *_lost_text(spec, reading, data[reading.task], len(study.tasks) > 1),
                        *_long_references(spec, reading, len(study.tasks) > 1),
                    )
                ]
            except ClinfitError as error:
                advice = "; ".join(part for part in (error.expected, error.fix) if part)
                problems.append(Finding("error", "model-cannot-run", error.found, advice=advice, system=spec.name))
    return ready, problems


def prepared_models(study: Study, data: Mapping[str, TaskData], specs: Collection[Neural]) -> list[Prepared]:
    """Those of the models that can be prepared, on the records of the first fold where there are folds: what a run
    of one takes."""
    if not specs:
        return []
    first = next(iter(study.folds or [None]))
    chosen = study.model_copy(update={"models": list(specs)})
    return prepare(chosen, {name: found.of(first) for name, found in data.items()})[0]


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


def _unused(spec: Neural) -> list[Finding]:
    """Settings of a block that change nothing, as those that it shares with others by a merge key may."""
    names = ["lora"] if (spec.prompting or spec.trains_all) and spec.lora != Lora() else []
    if spec.prompting:
        changed = spec.train.model_dump(exclude_defaults=True)
        names += [f"train.{name}" for name in changed if name not in READ_WITH]
    if not names:
        return []
    method, why = ("prompt", "trains nothing") if spec.prompting else ("full", "trains all weights and no adapter")
    return [
        Finding(
            "warn",
            "settings-unused",
            f"{spec.name}: {', '.join(names)} {'changes' if len(names) == 1 else 'change'} nothing",
            f"`method: {method}` {why}",
            "leave them out of this block",
            spec.name,
        )
    ]


def _too_large(prepared: "Prepared") -> list[Finding]:
    """Whether a model is estimated to need more memory than there is: processes that train it together share that of a
    processor, and have a GPU each."""
    spec, needed, device = prepared.spec, prepared.estimate, default_device()
    there, where = room(device)
    copies = spec.processes if device.type == "cpu" else 1
    if (memory := needed.memory_of(copies)) <= there:
        return []
    together, fewer = (f" in {copies} processes", "train.processes, ") if copies > 1 else ("", "")
    parts = {name: getattr(needed, name) for name in ("weights", "training", "activations", "logits")}
    return [
        Finding(
            "warn",
            "too-large",
            f"{spec.name} is estimated to need {memory / 1e9:.1f} GB{together}, and {where} has {there / 1e9:.1f} GB",
            ", ".join(f"{name} {size / 1e9:.1f} GB" for name, size in parts.items())
            + (" in each of them" if together else "")
            + ("" if prepared.verified else "; estimated, not verified"),
            f"lower {fewer}train.batch_tokens or train.max_length, set train.gradient_checkpointing, or choose a "
            "smaller base",
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


def _long_references(spec: Neural, reading: Reading, several: bool) -> list[Finding]:
    """References that no answer can be as long as, and the limits that would hold them. Their ends are counted: a text
    that reaches the limit was not seen to end, and counts as cut off."""
    sizes = np.array([size for split in SPLITS for size in reading.references.get(split, []) if size])
    too_long = sizes > reading.most
    if not too_long.any():
        return []
    most, longest = int(np.quantile(sizes, HELD, method="higher")), int(sizes.max())
    held = f"max_new_tokens: {most} holds {100 * HELD:g} % of them, " if reading.most < most < longest else ""
    title = f"{too_long.sum()} of {len(sizes)} references are longer than max_new_tokens ({reading.most})"
    return [
        Finding(
            "warn" if too_long.mean() > 1 - HELD else "info",
            "long-references",
            f"{reading.task}: {title}" if several else title,
            "no answer can be as long as these; the limit counts the token that ends an answer",
            f"{held}max_new_tokens: {longest} all; train.max_length keeps so much room behind every prompt",
            spec.name,
        )
    ]


def _prepared(study: Study, spec: Causal | Encoder | Mlx, data: Mapping[str, TaskData]) -> Prepared:
    tasks = study.tasks_of(spec)
    # As a run does before the first model is trained.
    check_base(spec, tasks, {name: data[name].records for name in tasks})
    tokenizer = load_tokenizer(spec.base, spec.revision)
    read: Callable[..., Reading] = _prompts if spec.prompted else _documents
    readings = [read(spec, name, task, data[name].records, tokenizer, study.seeds[0]) for name, task in tasks.items()]
    device = default_device()
    precision = precision_of(spec, device)
    labels = sum(len(task.labels) for task in tasks.values())
    config = load_config(find_base(spec.base, spec.revision))
    # The examples of a prompt are not known to the check before a run: here they are in the lengths.
    rows = [n for one in readings if one.most for split in ANSWERED for n in one.lengths[split]]
    check_rows(spec, config, tokenizer, max(rows, default=0))
    size = model_size(spec, config, labels)
    rate = gemm_rate(spec.train.batch_tokens, size.hidden, precision, device)
    loaded = spec if not _not_quantized(spec) else spec.model_copy(update={"quantization": "none"})

    def takes(work: Work) -> Estimate:
        return estimate(loaded, size, work, precision, rate, device)

    found = takes(work_of(study, spec, readings))
    return Prepared(spec, tokenizer, readings, found, takes, verified(spec, device))


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


def _written(task: Writing, records: Sequence[Record], encoded: Sequence[Encoded]) -> dict[str, Any]:
    references = _by_split(records, [len(item.answer_ids) for item in encoded])
    return {"references": references, "most": task.max_new_tokens}


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
