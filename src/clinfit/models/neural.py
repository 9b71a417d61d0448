"""What encoders and causal models share: how they are fitted, continued, saved and loaded. A family says how a base is
opened, how records are read, what a record's loss is, and how a task's answers are judged."""

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

import numpy as np
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import FitSummary, LabelOutputs, Lesson, Progress, Workspace, unheard
from clinfit.models.bases.long_rope import RopeSet
from clinfit.models.bases.pretrained import Base, Bases, find_base
from clinfit.models.saved import TOKENIZER, Pretrained, Saved, read_saved, write_saved
from clinfit.models.targets import targets_of
from clinfit.models.validation import Judged, Looked, validation
from clinfit.prompts.batches import token_batches
from clinfit.study.models import Neural
from clinfit.study.stages import Merge
from clinfit.study.tasks import Task
from clinfit.training.adapters import (
    FIRST,
    ON_TOP,
    adapter_facts,
    add_adapter,
    add_on_top,
    load_adapter,
    parameter_counts,
)
from clinfit.training.checkpoints import set_trainable, trainable
from clinfit.training.imbalance import Part, check_names, epoch_sizes, mixed_epoch, mixed_weights
from clinfit.training.loop import Objective, TrainResult, train
from clinfit.training.losses import StepLoss, share_of_losses
from clinfit.training.precision import DTYPES, Precision, in_fp32
from clinfit.training.retention.kl import Teacher, teacher_of
from clinfit.training.retention.l2 import L2
from clinfit.training.retention.merging import write_merged, write_together
from clinfit.training.signature import fit_signature

ADAPTER, WEIGHTS, OTHERS = "adapter", "weights.safetensors", "others"


@dataclass
class Loaded:
    """A base in memory. adapted: the same base with an adapter around it. new_modules: those that are trained whole, a
    head and a pooler that the base did not bring. notes: what to tell about how it was loaded. rope: the set of
    frequencies in use (models/bases/long_rope.py)."""

    model: PreTrainedModel
    tokenizer: Any
    precision: Precision
    four_bit: bool = False
    new_modules: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    adapted: PeftModel | None = None
    rope: RopeSet | None = None

    def autocast(self) -> torch.autocast:
        """The precision that a model was trained in, for every pass through it."""
        return torch.autocast(self.model.device.type, DTYPES[self.precision], enabled=self.precision != "fp32")

    def writing(self) -> AbstractContextManager[Any]:
        """The precision in which texts are written: on a processor fp32, elsewhere that of training."""
        return in_fp32(self.model) if self.model.device.type == "cpu" else self.autocast()


@dataclass(frozen=True)
class Read:
    """Records as a model reads them.

    items: what its family makes of each. lengths: tokens of each. answer_tokens: trained tokens of each, of a record
    with several answers their mean. dropped: tokens of each that were left out.
    """

    items: Sequence[Any]
    lengths: Sequence[int]
    answer_tokens: Sequence[float]
    dropped: Sequence[int]


@dataclass(frozen=True)
class Retained:
    """What a loss is told of the stages before. earlier: the tasks that they taught."""

    teacher: Teacher | None
    earlier: Sequence[str]


def told(batches: Sequence[list[int]], progress: Progress) -> Iterator[list[int]]:
    """The batches, and after each how many of their records are done."""
    done, total = 0, sum(map(len, batches))
    for batch in batches:
        yield batch
        done += len(batch)
        progress(done, total, "")


SpecT = TypeVar("SpecT", bound=Neural)
LoadedT = TypeVar("LoadedT", bound=Loaded)


class NeuralModel(ABC, Generic[SpecT, LoadedT]):
    """A pretrained base with an adapter, or with all of its weights trained (contract: models/base.py)."""

    #: The family's class of specs, and PEFT's name of what its adapters are for.
    spec_type: ClassVar[type[Neural]]
    task_type: ClassVar[str]

    def __init__(self, spec: SpecT, tasks: Mapping[str, Task], seed: int, bases: Bases | None = None) -> None:
        self.spec, self.tasks, self.seed = spec, tasks, seed
        self._bases = Bases() if bases is None else bases
        self._loaded: LoadedT | None = None
        self._taught: list[str] = []
        #: Earlier models of this one that answer tasks with adapters of their own.
        self._others: dict[str, Self] = {}

    def parts(self) -> list[LoadedT]:
        """What answers: the model, and earlier ones that answer tasks with adapters of their own."""
        models = {id(model): model for model in (self, *self._others.values())}
        return [model._ready() for model in models.values()]

    def share(self, module: nn.Module, indices: list[int], weights: torch.Tensor, step: StepLoss) -> torch.Tensor:
        """The share of a micro-batch in a step's loss."""
        return share_of_losses(module, indices, weights, step)

    # ------------------------------------------------------------ what a family says

    @abstractmethod
    def _open(self, base: Base, pretrained: Pretrained | None, tokenizer_folder: Path | None) -> LoadedT:
        """The base in memory, without what was trained; a saved model brings its tokenizer, and the precision and
        quantization of its training."""

    @abstractmethod
    def _read(self, loaded: LoadedT, records: Sequence[Record]) -> Read:
        """Labelled records of any of the tasks, to be trained on."""

    @abstractmethod
    def _losses(self, loaded: LoadedT, records: Sequence[Record], read: Read, retained: Retained) -> nn.Module:
        """A module whose forward takes a list of positions among the records and returns their losses, the teacher's
        share among them."""

    @abstractmethod
    def _judge(self, loaded: LoadedT, task: str, looked: Looked) -> Judged:
        """What the model says of validation records."""

    @abstractmethod
    def _task_facts(self, loaded: LoadedT, task: str) -> dict[str, Any]:
        """What the summary of a fit tells of a task."""

    def _token_losses(self, loaded: LoadedT, task: str, records: Sequence[Record]) -> dict[str, Any]:
        """What the summary tells of losses by token, on validation records, for models that have them."""
        return {}

    def _fluency(self, loaded: LoadedT, *, base: bool) -> dict[str, Any] | None:
        """What became of the base's own language, for models that have one. base: that of the base beside it."""
        return None

    def _initialise_head(self, loaded: LoadedT, lesson: Lesson, new: Sequence[str]) -> None:
        """Set outputs of tasks that are taught for the first time, before the first step; nothing by default."""

    @abstractmethod
    def _predict(
        self, task: str, records: Sequence[Record], batch_tokens: int | None, progress: Progress
    ) -> LabelOutputs:
        """Answer the task for each record."""

    # ------------------------------------------------------------ fit

    def fit(self, lesson: Lesson, workspace: Workspace) -> FitSummary:
        """Train the adapter (or all weights) on the answers of the records; see training/loop.py."""
        lesson = lesson.taught
        check_names(self.spec.class_weights, [label for task in self.tasks.values() for label in task.labels])
        settings = lesson.settings(self.spec.train)
        loaded = self._loaded = self._begin(lesson)
        signature = fit_signature(self.spec, self.tasks, self.seed, lesson, loaded.precision)
        earlier = list(self._taught)
        new = [task for task in lesson.weights if task not in self._taught]
        self._taught += new
        self._initialise_head(loaded, lesson, new)
        read = self._read(loaded, lesson.train)
        looked = self._looked_at(loaded, lesson)
        parts = self._parts(lesson)
        if settings.gradient_checkpointing:
            loaded.model.activation_checkpointing_enable()
        sampling, retain = self.spec.sampling, lesson.retain
        retained = Retained(teacher_of(loaded.model, loaded.adapted, retain), earlier)
        sizes = epoch_sizes(parts, sampling, self.seed, lesson.mix) if lesson.mix is not None else None
        objective = Objective(
            module=self._losses(loaded, lesson.train, read, retained),
            epoch=partial(mixed_epoch, list(parts.values()), sampling, seed=self.seed, sizes=sizes),
            lengths=read.lengths,
            answer_tokens=read.answer_tokens,
            weights=mixed_weights(
                list(parts.values()),
                [lesson.weights[task] for task in parts],
                self.spec.class_weights,
                sampling,
                self.seed,
            ),
            validate=partial(validation, self.tasks, looked, partial(self._judge, loaded), workspace.primary)
            if looked
            else None,
            gamma=self.spec.focal_gamma,
            penalty=L2(loaded.model, retain.l2, retain.l2_on) if retain.l2 else None,
            share=self.share,
        )
        objective.module.train()
        result = train(objective, settings, self.seed, loaded.precision, workspace, signature)
        objective.module.eval()
        summary = self._summary(loaded, lesson, read, result)
        if lesson.adapter == "stack":
            both = cast(PeftModel, loaded.adapted)
            self._become(write_together(both, [FIRST, ON_TOP], [1.0, 1.0], workspace.folder / "together"))
        return replace(
            summary, details=summary.details | {"general_text": self._fluency(self._ready(), base=lesson.start is None)}
        )

    def _begin(self, lesson: Lesson) -> LoadedT:
        """What is trained, with its weights as they are before."""
        self._taught, self._others = [], {}
        start = lesson.start
        if start is not None:
            saved = read_saved(start, self.spec_type)
            if _answers(saved.tasks) != _answers(self.tasks):
                raise ClinfitError(f"the model in {start} was made for other tasks than {', '.join(self.tasks)}")
            if lesson.adapter != "new":
                loaded = self._restored(saved, start, trains=lesson.adapter == "continue")
                if lesson.adapter == "stack":
                    add_on_top(cast(PeftModel, loaded.adapted), self.spec.lora, self.seed)
                self._others = {task: other for task, other in self._others.items() if task not in lesson.weights}
                return loaded
            earlier = self.load(start, self._bases)
            self._others = {
                task: earlier._others.get(task, earlier) for task in earlier._taught if task not in lesson.weights
            }
        fresh = self._loaded if self._loaded is not None and not self._trained() else self._fresh()
        if not self.spec.trains_all:
            fresh.adapted = add_adapter(
                fresh.model,
                self.spec.lora,
                self.seed,
                task_type=self.task_type,
                base_name=self.spec.base,
                new_modules=fresh.new_modules,
            )
        if start is not None:
            self._taught = list(self._others)
        return fresh

    def merge(self, starts: Sequence[Path], merge: Merge, workspace: Workspace) -> FitSummary:
        """Become what the adapters of earlier stages give together; nothing is trained."""
        started = time.perf_counter()
        saved = [read_saved(start, self.spec_type) for start in starts]
        loaded = self._loaded = self._restored(saved[0], starts[0], trains=False)
        self._taught, self._others = list(dict.fromkeys(task for each in saved for task in each.taught)), {}
        if len(starts) > 1:
            adapters = [start / ADAPTER for start in starts[1:]]
            self._become(
                write_merged(cast(PeftModel, loaded.adapted), adapters, merge, self.seed, workspace.folder / "together")
            )
        loaded = self._ready()
        parameters, _ = parameter_counts(loaded.adapted or loaded.model)
        details = {
            "merge": merge.model_dump(mode="json"),
            "adapter": adapter_facts(cast(PeftModel, loaded.adapted)),
            "general_text": self._fluency(loaded, base=False),
        }
        return FitSummary(time.perf_counter() - started, parameters, 0, details, loaded.notes)

    def _become(self, adapter: Path) -> None:
        """Stand on the base with the adapter of a folder, which is then no longer needed."""
        loaded = self._loaded = self._fresh()
        loaded.adapted = load_adapter(loaded.model, adapter)
        loaded.model.eval()
        shutil.rmtree(adapter.parent)

    def _trained(self) -> bool:
        """Whether what is in memory is no longer the base."""
        return self._loaded is not None and (self.spec.trains_all or self._loaded.adapted is not None)

    def _parts(self, lesson: Lesson) -> dict[str, Part]:
        """The tasks of the lesson in its order, each with its training records."""
        parts = {}
        for name in lesson.weights:
            members = np.array([i for i, record in enumerate(lesson.train) if record.task == name], dtype=np.int64)
            if len(members):
                targets = targets_of(self.tasks[name], [lesson.train[i] for i in members])
                labels = self.tasks[name].labels
                parts[name] = Part(members, labels, targets if labels and targets.ndim == 1 else None)
        return parts

    def _looked_at(self, loaded: LoadedT, lesson: Lesson) -> dict[str, Looked]:
        per_token, looked = self.spec.train.loss_per == "token", {}
        for name, weight in lesson.weights.items():
            records = [record for record in lesson.validation if record.task == name]
            if records:
                read, gold = self._read(loaded, records), targets_of(self.tasks[name], records)
                counts = np.array(read.answer_tokens if per_token else np.ones(len(records)), dtype=np.float64)
                looked[name] = Looked(records, read.items, gold, counts, weight)
        return looked

    def _summary(self, loaded: LoadedT, lesson: Lesson, read: Read, result: TrainResult) -> FitSummary:
        parameters, n_trainable = parameter_counts(loaded.adapted or loaded.model)
        details = {
            **result.details,
            "best_step": result.best_step,
            "adapter": adapter_facts(loaded.adapted) if loaded.adapted is not None else None,
            "base": find_base(self.spec.base, self.spec.revision).as_dict(),
            "base_commit": getattr(loaded.model.config, "_commit_hash", None),
            "max_length": self.spec.train.max_length,
            "rope": loaded.rope,
            "shortened_records": sum(dropped > 0 for dropped in read.dropped),
            "dropped_tokens": sum(read.dropped),
            "answer_tokens": sum(read.answer_tokens),
            "tasks": {
                name: {
                    "weight": weight,
                    "records": sum(record.task == name for record in lesson.train),
                    **self._task_facts(loaded, name),
                    **self._token_losses(loaded, name, [one for one in lesson.validation if one.task == name]),
                }
                for name, weight in lesson.weights.items()
            },
        }
        return FitSummary(result.seconds, parameters, n_trainable, details, loaded.notes + result.alarms)

    # ------------------------------------------------------------ answering

    def predict(
        self,
        task: str,
        records: Sequence[Record],
        *,
        batch_tokens: int | None = None,
        progress: Progress = unheard,
    ) -> LabelOutputs:
        """Answer the task for each record, with the adapter that the task has for itself where there is one."""
        return self._answering(task)._predict(task, records, batch_tokens, progress)

    def _answering(self, task: str) -> Self:
        """The model that answers a task."""
        return self._others.get(task, self)

    def _batches(self, loaded: LoadedT, lengths: Sequence[int], batch_tokens: int | None) -> list[list[int]]:
        """On the processor every record is a batch of its own: no padding, and an answer that cannot depend on its
        neighbours. On a GPU records of like length share a batch of `batch_tokens` tokens."""
        if loaded.model.device.type == "cpu":
            return [[i] for i in range(len(lengths))]
        return token_batches(lengths, batch_tokens or 4 * self.spec.train.batch_tokens)

    # ------------------------------------------------------------ save and load

    def save(self, folder: Path) -> None:
        """Adapter (and head) in PEFT's format, or all weights in safetensors; tokenizer; what names the base, whose
        weights are not copied. Earlier models that answer tasks of their own lie below it, as they were."""
        others = list({id(other): other for other in self._others.values()}.values())
        places = {id(other): f"{OTHERS}/{number}" for number, other in enumerate(others, 1)}
        self._save(folder, {task: places[id(other)] for task, other in self._others.items()})
        for other in others:
            other._save(folder / places[id(other)], {})

    def _save(self, folder: Path, others: Mapping[str, str]) -> None:
        loaded = self._ready()
        folder.mkdir(parents=True, exist_ok=True)
        if loaded.adapted is not None:
            # Whether embeddings changed would be looked up on the hub; LoRA leaves them as they are.
            loaded.adapted.save_pretrained(str(folder / ADAPTER), save_embedding_layers=False)
            (folder / ADAPTER / "README.md").unlink(missing_ok=True)  # PEFT's empty card; the pack has its own
        elif self.spec.trains_all:
            save_file(trainable(loaded.model), folder / WEIGHTS)
        loaded.tokenizer.save_pretrained(folder / TOKENIZER)
        base = find_base(self.spec.base, self.spec.revision)
        pretrained = Pretrained(base.as_dict(), loaded.precision, loaded.four_bit)
        write_saved(folder, Saved(self.spec, self.tasks, self.seed, self._taught, pretrained, others))

    @classmethod
    def load(cls, folder: Path, bases: Bases | None = None) -> Self:
        """The saved model. Raises ClinfitError when the base is not the one it was trained on."""
        saved = read_saved(folder, cls.spec_type)
        model = cls(saved.spec, saved.tasks, saved.seed, bases)  # type: ignore[arg-type]  # spec_type is SpecT's class
        model._loaded = model._restored(saved, folder, trains=False)
        return model

    def _restored(self, saved: Saved[Any], folder: Path, *, trains: bool) -> LoadedT:
        """A saved model; trains: to be trained further."""
        assert saved.pretrained is not None
        self._taught = list(saved.taught)
        models = {place: self.load(folder / place, self._bases) for place in dict.fromkeys(saved.others.values())}
        self._others = {task: models[place] for task, place in saved.others.items()}
        base = find_base(self.spec.base, saved.pretrained.base["revision"])
        base.check(saved.pretrained.base["sha256"])
        loaded = self._open(base, saved.pretrained, folder / TOKENIZER)
        if (folder / ADAPTER).is_dir():
            loaded.adapted = load_adapter(loaded.model, folder / ADAPTER, trains)
        elif self.spec.trains_all:
            set_trainable(loaded.model, load_file(folder / WEIGHTS))
        loaded.model.eval()
        return loaded

    def _fresh(self) -> LoadedT:
        return self._open(find_base(self.spec.base, self.spec.revision), None, None)

    def _ready(self) -> LoadedT:
        """What is in memory; the base, where nothing was trained yet."""
        if self._loaded is None:
            self._loaded = self._fresh()
        return self._loaded


def _answers(tasks: Mapping[str, Task]) -> list[tuple[str, str, list[str]]]:
    """What a model can say, in the order of its head."""
    return [(name, task.kind, task.labels) for name, task in tasks.items()]
