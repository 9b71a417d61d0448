"""Encoders: a bidirectional model with a classification head, fine-tuned with LoRA or in full."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from clinfit.data.records import Record
from clinfit.models.base import FitSummary, Outputs, Workspace
from clinfit.models.bases import (
    Precision,
    check_length,
    default_device,
    find_base,
    load_classifier,
    load_config,
    load_tokenizer,
    resolve_precision,
)
from clinfit.models.saved import Saved, read_saved, write_saved
from clinfit.prompts.batches import pad_right, token_batches
from clinfit.prompts.template import document
from clinfit.study import Encoder, Task
from clinfit.training.adapters import adapter_facts, add_adapter, load_adapter, parameter_counts
from clinfit.training.checkpoints import set_trainable, trainable
from clinfit.training.loop import Objective, TrainResult, Validation, train
from clinfit.training.sampling import record_weights
from clinfit.training.signature import fit_signature


@dataclass
class Loaded:
    """The encoder with its head in memory; `adapted` wraps it when it is tuned with LoRA."""

    model: PreTrainedModel
    tokenizer: Any
    precision: Precision
    new_modules: list[str]
    adapted: PeftModel | None = None


class EncoderModel:
    """An encoder with a classification head (contract: models/base.py). It answers only after `fit`."""

    def __init__(self, spec: Encoder, task: Task, seed: int) -> None:
        self.spec, self.task, self.seed = spec, task, seed
        self._loaded: Loaded | None = None

    def fit(self, train_records: Sequence[Record], validation: Sequence[Record], workspace: Workspace) -> FitSummary:
        """Train adapter and head (LoRA) or all weights on the labels of the records."""
        torch.manual_seed(self.seed)  # the new head is drawn while the base is loaded
        loaded = self._loaded = self._load()
        if self.spec.method == "lora":
            loaded.adapted = add_adapter(
                loaded.model,
                self.spec.lora,
                self.seed,
                task_type="SEQ_CLS",
                base_name=self.spec.base,
                new_modules=loaded.new_modules,
            )
        if self.spec.train.gradient_checkpointing:
            loaded.model.gradient_checkpointing_enable({"use_reentrant": False})
            loaded.model.enable_input_require_grads()
        rows, dropped = self._ids(loaded, train_records)
        looked_at, _ = self._ids(loaded, validation)
        targets, gold = self._targets(train_records), self._targets(validation)
        objective = Objective(
            module=HeadLoss(loaded.model, rows, torch.from_numpy(targets), loaded.tokenizer.pad_token_id),
            targets=targets,
            lengths=[len(row) for row in rows],
            answer_tokens=[1] * len(rows),
            weights=record_weights(self.spec.class_weights, self.spec.sampling, self.task.labels, targets, self.seed),
            validate=(lambda: self._validation(looked_at, gold, workspace)) if validation else None,
            sampling=self.spec.sampling,
            gamma=self.spec.focal_gamma,
        )
        objective.module.train()
        signature = fit_signature(self.spec, self.task, self.seed, train_records, validation)
        result = train(objective, self.spec.train, self.seed, loaded.precision, workspace, signature)
        loaded.model.eval()
        return self._summary(loaded, sum(n > 0 for n in dropped), result)

    def predict(self, records: Sequence[Record], *, batch_tokens: int | None = None) -> Outputs:
        """Class probabilities (softmax of the head), computed in fp32: bf16 logits would tie.

        On the processor every record is a batch of its own, so that no padding and no neighbour can change its answer.
        """
        if self._loaded is None:
            raise ValueError("an encoder has no head before fit")
        rows, dropped = self._ids(self._loaded, records)
        logits, seconds = self._logits(self._loaded, rows, batch_tokens)
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return Outputs(
            probabilities=shifted / shifted.sum(axis=1, keepdims=True),
            seconds=seconds,
            prompt_tokens=lengths,
            dropped_tokens=np.array(dropped, dtype=np.int64),
        )

    def save(self, folder: Path) -> None:
        """Adapter and head in PEFT's format, or all weights in safetensors; tokenizer; what names the base."""
        loaded = self._loaded
        if loaded is None:
            raise ValueError("an encoder has nothing to save before fit")
        folder.mkdir(parents=True, exist_ok=True)
        if loaded.adapted is not None:
            loaded.adapted.save_pretrained(str(folder / "adapter"), save_embedding_layers=False)
            (folder / "adapter" / "README.md").unlink(missing_ok=True)  # PEFT's empty card; the pack has its own
        else:
            save_file(trainable(loaded.model), folder / "weights.safetensors")
        loaded.tokenizer.save_pretrained(folder / "tokenizer")
        base = find_base(self.spec.base, self.spec.revision)
        write_saved(folder, self.spec, self.task, self.seed, base=base.as_dict(), precision=loaded.precision)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The saved model. Raises ClinfitError when the base is not the one it was trained on."""
        saved = read_saved(folder, Encoder)
        model = cls(saved.spec, saved.task, saved.seed)
        loaded = model._loaded = model._load(saved, folder / "tokenizer")
        if saved.spec.method == "lora":
            loaded.adapted = load_adapter(loaded.model, folder / "adapter")
        else:
            set_trainable(loaded.model, load_file(folder / "weights.safetensors"))
        loaded.model.eval()
        return model

    # ------------------------------------------------------------ internals

    def _load(self, saved: Saved[Encoder] | None = None, tokenizer_folder: Path | None = None) -> Loaded:
        base = find_base(self.spec.base, saved.base["revision"] if saved else self.spec.revision)
        base.check(saved.base["sha256"] if saved else None)
        device = default_device()
        tokenizer = load_tokenizer(self.spec.base, base.revision, tokenizer_folder)
        check_length(self.spec, load_config(base), tokenizer)
        model, new_modules = load_classifier(base, self.task.labels, device)
        wanted = saved.precision if saved else self.spec.train.precision
        return Loaded(model, tokenizer, resolve_precision(wanted, device), new_modules)

    def _targets(self, records: Sequence[Record]) -> NDArray[np.int64]:
        return np.array([self.task.labels.index(str(record.target)) for record in records], dtype=np.int64)

    def _ids(self, loaded: Loaded, records: Sequence[Record]) -> tuple[list[list[int]], list[int]]:
        """Ids of each record's document, special tokens included, and how many tokens of it were left out."""
        if not records:
            return [], []
        texts = [document(self.task, record.inputs) for record in records]
        plain = loaded.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        before, after = special_frame(loaded.tokenizer)
        room = self.spec.train.max_length - len(before) - len(after)
        dropped = [max(len(ids) - room, 0) for ids in plain]
        return [[*before, *shortened(ids, room, self.spec.train.shorten), *after] for ids in plain], dropped

    def _logits(
        self, loaded: Loaded, rows: list[list[int]], batch_tokens: int | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n, K) logits and (n,) seconds."""
        if loaded.model.device.type == "cpu":
            batches = [[i] for i in range(len(rows))]
        else:
            batches = token_batches([len(row) for row in rows], batch_tokens or 4 * self.spec.train.batch_tokens)
        logits, seconds = np.zeros((len(rows), len(self.task.labels))), np.zeros(len(rows))
        for batch in batches:
            started = time.perf_counter()
            with torch.inference_mode():
                out = head_logits(loaded.model, [rows[i] for i in batch], loaded.tokenizer.pad_token_id)
            logits[batch] = out.float().cpu().numpy()
            seconds[batch] = (time.perf_counter() - started) / len(batch)
        return logits, seconds

    def _validation(self, rows: list[list[int]], gold: NDArray[np.int64], workspace: Workspace) -> Validation:
        assert self._loaded is not None
        logits, _ = self._logits(self._loaded, rows, None)
        log_probabilities = torch.from_numpy(logits).log_softmax(-1).numpy()
        loss = -float(log_probabilities[np.arange(len(gold)), gold].mean())
        primary = workspace.primary(gold, np.exp(log_probabilities)) if workspace.primary else None
        shares = np.bincount(logits.argmax(axis=1), minlength=logits.shape[1]) / len(gold)
        return Validation(loss, primary, shares.tolist())

    def _summary(self, loaded: Loaded, dropped: int, result: TrainResult) -> FitSummary:
        parameters, n_trainable = parameter_counts(loaded.adapted or loaded.model)
        details = {
            **result.details,
            "best_step": result.best_step,
            "method": self.spec.method,
            "adapter": adapter_facts(loaded.adapted) if loaded.adapted is not None else None,
            "base": find_base(self.spec.base, self.spec.revision).as_dict(),
            "base_commit": getattr(loaded.model.config, "_commit_hash", None),
            "max_length": self.spec.train.max_length,
            "shortened_records": dropped,
        }
        return FitSummary(result.seconds, parameters, n_trainable, details, result.alarms)


class HeadLoss(nn.Module):
    """forward(indices) -> (rows,) cross-entropy of those records' labels."""

    def __init__(self, model: PreTrainedModel, rows: list[list[int]], targets: Tensor, pad_id: int) -> None:
        super().__init__()
        self.model, self.rows, self.targets, self.pad_id = model, rows, targets, pad_id

    def forward(self, indices: list[int]) -> Tensor:
        logits = head_logits(self.model, [self.rows[i] for i in indices], self.pad_id)
        return F.cross_entropy(logits.float(), self.targets[indices].to(logits.device), reduction="none")


def head_logits(model: PreTrainedModel, rows: list[list[int]], pad_id: int) -> Tensor:
    """(rows, K) logits of the classification head; padding is masked, and absent where all rows are equally long."""
    ids = pad_right(rows, pad_id, model.device)
    lengths = torch.tensor([len(row) for row in rows], device=model.device)
    mask = (torch.arange(ids.shape[1], device=model.device) < lengths[:, None]).long()
    return model(input_ids=ids, attention_mask=mask).logits


def special_frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that this tokenizer puts before and after a text."""
    framed, plain = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (True, False))
    start = next(i for i in range(len(framed)) if framed[i : i + len(plain)] == plain)
    return framed[:start], framed[start + len(plain) :]


def shortened(ids: list[int], room: int, where: str) -> list[int]:
    """At most `room` ids, less the middle or the end of the document."""
    if len(ids) <= room:
        return ids
    if where == "end":
        return ids[:room]
    first = (room + 1) // 2
    return ids[:first] + ids[len(ids) - (room - first) :]
