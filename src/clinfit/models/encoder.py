"""Encoders: a bidirectional model with a classification head, fine-tuned with LoRA or in full.

The head is as wide as the labels of all tasks together; each task has its slice of it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from clinfit.data.records import Record
from clinfit.models.base import Attribution, LabelOutputs, Lesson, Progress, unheard, untaught
from clinfit.models.bases.architectures import check_architecture, check_padding
from clinfit.models.bases.long_rope import fix_frequencies
from clinfit.models.bases.pretrained import Base, check_length, load_config, load_tokenizer
from clinfit.models.engines.base import Engine
from clinfit.models.heads import PROBABILITIES, ids_of, shortened, slices, special_frame
from clinfit.models.neural import Loaded, NeuralModel, Read, Retained, told
from clinfit.models.saved import Pretrained
from clinfit.models.targets import shares_of, targets_of
from clinfit.models.validation import Judged, Looked
from clinfit.prompts.batches import pad_right
from clinfit.prompts.places import Place, neutral_token, places_in
from clinfit.prompts.template import document
from clinfit.scoring.gradients import integrated_gradients
from clinfit.study.models import Encoder
from clinfit.study.tasks import Task
from clinfit.training.precision import default_device, resolve_precision, torch_engine
from clinfit.training.retention.kl import kl_rows

# ---------------------------------------------------------------- by kind


def _label_losses(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits, targets, reduction="none")


def _labels_losses(logits: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none").mean(dim=1)


#: (rows,) losses from fp32 logits (rows, K) and targets: label indices (rows,), or whether each label holds (rows, K).
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "classification": _label_losses,
    "multilabel": _labels_losses,
}


def _label_distances(teacher: Tensor, student: Tensor) -> Tensor:
    return kl_rows(teacher, student, torch.arange(len(student), device=student.device), len(student))


def _labels_distances(teacher: Tensor, student: Tensor) -> Tensor:
    says = torch.sigmoid(teacher)
    crossed, own = (F.binary_cross_entropy_with_logits(logits, says, reduction="none") for logits in (student, teacher))
    return (crossed - own).mean(dim=1)


#: (rows,) KL(teacher || student) from fp32 logits (rows, K), of several labels the mean.
DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "classification": _label_distances,
    "multilabel": _labels_distances,
}


@dataclass(frozen=True)
class TorchEngine:
    """The reference (contract: models/engines/base.py): the model as it is in memory, adapter beside its weights."""

    model: PreTrainedModel
    pad_id: int

    @property
    def name(self) -> str:
        return torch_engine(self.model.device)

    def logits(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return head_logits(self.model, list(rows), self.pad_id).float().cpu().numpy()


@dataclass
class LoadedEncoder(Loaded):
    """An encoder in memory. engine: what computes its answers."""

    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = TorchEngine(self.model, self.tokenizer.pad_token_id)

    def merged(self) -> PreTrainedModel:
        """A copy with the adapter merged into its weights."""
        if self.adapted is None:
            return deepcopy(self.model)
        merged: Any = deepcopy(self.adapted)
        return merged.merge_and_unload().eval()


class EncoderModel(NeuralModel[Encoder, LoadedEncoder]):
    """An encoder with a classification head (contract: models/base.py). It answers only after `fit`."""

    spec_type = Encoder
    task_type = "SEQ_CLS"

    @property
    def engine(self) -> str:
        """What computes the answers, as every answer names it."""
        return self._ready().engine.name

    def _predict(
        self, task: str, records: Sequence[Record], batch_tokens: int | None, progress: Progress
    ) -> LabelOutputs:
        """Class probabilities (softmax or sigmoid of the head), computed in fp32: bf16 logits would tie."""
        if self._loaded is None or task not in self._taught:
            raise untaught(self.spec, task)
        loaded = self._loaded
        rows, dropped = ids_of(loaded.tokenizer, self.spec.train, self.tasks[task], records)
        logits, seconds = self._logits(loaded, task, rows, batch_tokens, progress)
        return LabelOutputs(
            probabilities=PROBABILITIES[self.tasks[task].kind](logits) if len(rows) else logits,
            seconds=seconds,
            prompt_tokens=np.array([len(row) for row in rows], dtype=np.int64),
            dropped_tokens=np.array(dropped, dtype=np.int64),
        )

    def attribute(self, task: str, record: Record, label: str, steps: int) -> Attribution:
        """Integrated gradients of the head's probability of this label, by torch whatever engine answers."""
        loaded, asked = self._answering(task)._ready(), self.tasks[task]
        own, wanted = slices(self.tasks)[task], asked.labels.index(label)
        ((row,), _), places = (
            ids_of(loaded.tokenizer, self.spec.train, asked, [record]),
            self._places(loaded, asked, record),
        )

        def probability() -> Tensor:
            logits = head_logits(loaded.model, [row], loaded.tokenizer.pad_token_id)[0, own].float()
            return (logits.softmax(0) if asked.kind == "classification" else logits.sigmoid())[wanted]

        with loaded.writing():
            at, neutral = [place.at for place in places], neutral_token(loaded.tokenizer)
            found = integrated_gradients(loaded.model, at, neutral, probability, steps)
        return Attribution(places, *found)

    # ------------------------------------------------------------ what NeuralModel asks

    def _open(self, base: Base, pretrained: Pretrained | None, tokenizer_folder: Path | None) -> LoadedEncoder:
        device = default_device()
        tokenizer = load_tokenizer(self.spec.base, base.revision, tokenizer_folder)
        config = load_config(base)
        check_architecture(self.spec, config)
        check_length(self.spec, config, tokenizer)
        torch.manual_seed(self.seed)  # the new head is drawn while the base is loaded
        outputs = sum(len(task.labels) for task in self.tasks.values())
        model, new_modules = self._bases.classifier(base, outputs, device, copy=self.spec.trains_all)
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id  # decoders read the last token before it
        model.config.get_text_config().use_cache = False
        rope = fix_frequencies(model, self.spec.train.max_length)
        check_padding(model, tokenizer("a text")["input_ids"], tokenizer.pad_token_id)
        precision = resolve_precision(pretrained.precision if pretrained else self.spec.train.precision, device)
        return LoadedEncoder(model, tokenizer, precision, new_modules=new_modules, rope=rope)

    def _read(self, loaded: LoadedEncoder, records: Sequence[Record]) -> Read:
        rows: list[list[int]] = [[] for _ in records]
        dropped = [0] * len(records)
        for name, task in self.tasks.items():
            members = [i for i, record in enumerate(records) if record.task == name]
            found = ids_of(loaded.tokenizer, self.spec.train, task, [records[i] for i in members])
            for i, row, left_out in zip(members, *found, strict=True):
                rows[i], dropped[i] = row, left_out
        return Read(rows, [len(row) for row in rows], [1] * len(rows), dropped)

    def _losses(self, loaded: LoadedEncoder, records: Sequence[Record], read: Read, retained: Retained) -> nn.Module:
        return HeadLoss(loaded.model, self.tasks, records, read.items, loaded.tokenizer.pad_token_id, retained)

    def _judge(self, loaded: LoadedEncoder, task: str, looked: Looked) -> Judged:
        kind = self.tasks[task].kind
        logits, _ = self._logits(loaded, task, looked.items, None, unheard)
        losses = LOSSES[kind](torch.from_numpy(logits), torch.from_numpy(looked.gold))
        return Judged(losses.numpy(), PROBABILITIES[kind](logits))

    def _initialise_head(self, loaded: LoadedEncoder, lesson: Lesson, new: Sequence[str]) -> None:
        """The outputs of a new multilabel task begin at the log-odds of their labels in training (Lin et al., 2017).

        From 0, the quickest way to a small loss on rare labels is to say no by way of the features, which then say
        nothing else.
        """
        for name in new:
            if self.tasks[name].kind != "multilabel":
                continue
            targets = targets_of(self.tasks[name], [record for record in lesson.train if record.task == name])
            least = 0.5 / (len(targets) + 1)
            shares = np.clip(shares_of(self.tasks[name], targets), least, 1 - least)
            bias = _head_bias(loaded.model, sum(len(task.labels) for task in self.tasks.values()))
            if bias is not None:
                with torch.no_grad():
                    bias[slices(self.tasks)[name]] = torch.from_numpy(np.log(shares / (1 - shares))).to(bias)

    def _task_facts(self, loaded: LoadedEncoder, task: str) -> dict[str, Any]:
        return {}

    # ------------------------------------------------------------ internals

    def _places(self, loaded: LoadedEncoder, task: Task, record: Record) -> list[Place]:
        """Where the record's texts stand in its row, as far as the row holds them."""
        texts = {name: str(record.inputs[name]) for name in task.text_inputs if record.inputs.get(name)}
        found = places_in(loaded.tokenizer, task, partial(document, task), texts, record.inputs)
        before, after = special_frame(loaded.tokenizer)
        tokens = len(loaded.tokenizer(document(task, record.inputs), add_special_tokens=False)["input_ids"])
        room = self.spec.train.max_length - len(before) - len(after)
        kept = shortened(list(range(tokens)), room, self.spec.train.shorten)
        at = {token: len(before) + k for k, token in enumerate(kept)}
        return [replace(place, at=at[place.at]) for place in found if place.at in at]

    def _logits(
        self, loaded: LoadedEncoder, task: str, rows: Sequence[list[int]], batch_tokens: int | None, progress: Progress
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n, K) logits of the task's slice and (n,) seconds."""
        own = slices(self.tasks)[task]
        logits, seconds = np.zeros((len(rows), own.stop - own.start)), np.zeros(len(rows))
        for batch in told(self._batches(loaded, [len(row) for row in rows], batch_tokens), progress):
            started = time.perf_counter()
            logits[batch] = loaded.engine.logits([rows[i] for i in batch])[:, own]
            seconds[batch] = (time.perf_counter() - started) / len(batch)
        return logits, seconds


class HeadLoss(nn.Module):
    """forward(indices) -> (rows,) losses of those records, each under its task's slice of the head; with a teacher,
    plus its share: how far the heads of earlier tasks are from what they said (retention/kl.py)."""

    def __init__(
        self,
        model: PreTrainedModel,
        tasks: Mapping[str, Task],
        records: Sequence[Record],
        rows: Sequence[list[int]],
        pad_id: int,
        retained: Retained,
    ) -> None:
        super().__init__()
        self.model, self.rows, self.pad_id, self.retained = model, rows, pad_id, retained
        self.names = [record.task for record in records]
        self.kinds = {name: task.kind for name, task in tasks.items()}
        self.slices = slices(tasks)
        self.targets = [torch.from_numpy(targets_of(tasks[record.task], [record])) for record in records]

    def forward(self, indices: list[int]) -> Tensor:
        rows, teacher, taught = [self.rows[i] for i in indices], self.retained.teacher, None
        if teacher is not None:
            with teacher():  # first, since its weights are in place meanwhile
                taught = head_logits(self.model, rows, self.pad_id).float()
        logits = head_logits(self.model, rows, self.pad_id).float()
        losses = self._own(logits, indices)
        if teacher is None or taught is None:
            return losses
        for name in self.retained.earlier:
            own = self.slices[name]
            losses = losses + teacher.strength * DISTANCES[self.kinds[name]](taught[:, own], logits[:, own])
        return losses

    def _own(self, logits: Tensor, indices: list[int]) -> Tensor:
        losses = logits.new_zeros(len(indices))
        for name in dict.fromkeys(self.names[i] for i in indices):
            rows = [row for row, i in enumerate(indices) if self.names[i] == name]
            targets = torch.cat([self.targets[indices[row]] for row in rows]).to(logits.device)
            found = LOSSES[self.kinds[name]](logits[rows, self.slices[name]], targets)
            losses = losses.index_put((torch.tensor(rows, device=logits.device),), found)
        return losses


def _head_bias(model: PreTrainedModel, outputs: int) -> Tensor | None:
    """(outputs,) the trained bias of the head's last product; None for heads without one."""
    heads = [
        module.bias
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.out_features == outputs and module.bias is not None
    ]
    return next((bias for bias in reversed(heads) if bias.requires_grad), None)


def head_logits(model: PreTrainedModel, rows: list[list[int]], pad_id: int) -> Tensor:
    """(rows, outputs) logits of the classification head; padding is masked, and absent where all rows are equally
    long."""
    ids = pad_right(rows, pad_id, model.device)
    lengths = torch.tensor([len(row) for row in rows], device=model.device)
    mask = (torch.arange(ids.shape[1], device=model.device) < lengths[:, None]).long()
    return model(input_ids=ids, attention_mask=mask).logits
