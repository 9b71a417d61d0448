"""Causal language models: fine-tuned on the answer, scored by the likelihood of each label."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import FitSummary, Outputs, Workspace
from clinfit.models.bases import (
    DTYPES,
    Precision,
    check_length,
    default_device,
    find_base,
    four_bit_supported,
    load_causal,
    load_config,
    load_tokenizer,
    resolve_precision,
)
from clinfit.models.saved import Saved, read_saved, write_saved
from clinfit.prompts.batches import pad_right, token_batches
from clinfit.prompts.encode import Encoded, Renderer
from clinfit.scoring.answers import answer_logits, check_answer_logits, states_at
from clinfit.scoring.generate import greedy_answer, stop_tokens
from clinfit.scoring.label_likelihood import LabelScorer
from clinfit.study import Causal, Task
from clinfit.training.adapters import adapter_facts, add_adapter, load_adapter, parameter_counts
from clinfit.training.loop import Objective, TrainResult, Validation, train
from clinfit.training.losses import answer_losses
from clinfit.training.sampling import record_weights
from clinfit.training.signature import fit_signature


@dataclass
class Loaded:
    """A base in memory, with the renderer of one task. `adapted` is the same base with an adapter around it."""

    base: PreTrainedModel
    renderer: Renderer
    precision: Precision
    four_bit: bool
    notes: list[str]
    adapted: PeftModel | None = None


class CausalModel:
    """A causal language model with an optional adapter (contract: models/base.py).

    Before `fit` it answers as the base does; after it, with the adapter.
    """

    def __init__(self, spec: Causal, task: Task, seed: int) -> None:
        self.spec, self.task, self.seed = spec, task, seed
        self._loaded: Loaded | None = None

    def fit(self, train_records: Sequence[Record], validation: Sequence[Record], workspace: Workspace) -> FitSummary:
        """Train an adapter on the answers of the records; see training/loop.py."""
        if self._loaded is not None and self._loaded.adapted is not None:
            self._loaded = None  # fitted before: start from the base again
        loaded = self._load()
        encoded = loaded.renderer.encode_all(train_records)
        looked_at = loaded.renderer.encode_all(validation)
        model = add_adapter(loaded.base, self.spec.lora, self.seed, task_type="CAUSAL_LM", base_name=self.spec.base)
        loaded.adapted = model
        if self.spec.train.gradient_checkpointing:
            loaded.base.gradient_checkpointing_enable({"use_reentrant": False})
            loaded.base.enable_input_require_grads()
        model.train()
        targets, gold = (
            np.array([self.task.labels.index(str(record.target)) for record in records], dtype=np.int64)
            for records in (train_records, validation)
        )
        objective = Objective(
            module=AnswerLoss(loaded.base, encoded, loaded.renderer.tokenizer.pad_token_id),
            targets=targets,
            lengths=[len(item.ids) for item in encoded],
            answer_tokens=[len(item.answer_ids) for item in encoded],
            weights=record_weights(self.spec.class_weights, self.spec.sampling, self.task.labels, targets, self.seed),
            validate=(lambda: self._validation(looked_at, gold, workspace)) if validation else None,
            sampling=self.spec.sampling,
            gamma=self.spec.focal_gamma,
        )
        signature = fit_signature(self.spec, self.task, self.seed, train_records, validation)
        result = train(objective, self.spec.train, self.seed, loaded.precision, workspace, signature)
        model.eval()
        return self._summary(loaded, encoded, result)

    def predict(self, records: Sequence[Record], *, batch_tokens: int | None = None) -> Outputs:
        """Label probabilities by likelihood.

        On the processor every record is a batch of its own: no padding, and an answer that cannot depend on its
        neighbours. On a GPU records of like length share a batch of `batch_tokens` tokens.
        """
        loaded = self._load()
        encoded = loaded.renderer.encode_all(records)
        scorer = self._scorer(loaded, with_end=False)
        n, k = len(records), len(self.task.labels)
        probabilities, mass, seconds = np.zeros((n, k)), np.zeros(n), np.zeros(n)
        for batch in self._batches(loaded, encoded, batch_tokens):
            started = time.perf_counter()
            with autocast(loaded):
                scores = scorer.score(loaded.base, [encoded[i].prompt_ids for i in batch])
            probabilities[batch], mass[batch] = scores.probabilities, scores.label_mass
            seconds[batch] = (time.perf_counter() - started) / len(batch)
        return Outputs(
            probabilities=probabilities,
            seconds=seconds,
            label_mass=mass,
            prompt_tokens=np.array([len(item.prompt_ids) for item in encoded], dtype=np.int64),
            dropped_tokens=np.array([item.dropped for item in encoded], dtype=np.int64),
        )

    def generate(self, records: Sequence[Record], limit: int) -> tuple[list[str], NDArray[np.int64]]:
        """The answer that the model writes by itself to each record, greedily, and (n,) its tokens.

        limit: most new tokens; an answer of as many was not seen to end. The texts may quote the record.
        Raises ClinfitError when prompt and answer together may be longer than the base reads.
        """
        loaded = self._load()
        tokenizer = loaded.renderer.tokenizer
        check_length(self.spec, loaded.base.config, tokenizer, limit)
        stops = stop_tokens(loaded.base, loaded.renderer.end_ids)
        answers = []
        for item in loaded.renderer.encode_all(records):
            with autocast(loaded):
                answers.append(greedy_answer(loaded.base, item.prompt_ids, stops, limit))
        texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in answers]
        return texts, np.array([len(ids) for ids in answers], dtype=np.int64)

    def save(self, folder: Path) -> None:
        """Adapter in PEFT's format, tokenizer, and what names the base; the base's weights are not copied."""
        loaded = self._load()
        folder.mkdir(parents=True, exist_ok=True)
        if loaded.adapted is not None:
            # Whether embeddings changed would be looked up on the hub; LoRA leaves them as they are.
            loaded.adapted.save_pretrained(str(folder / "adapter"), save_embedding_layers=False)
            (folder / "adapter" / "README.md").unlink(missing_ok=True)  # PEFT's empty card; the pack has its own
        loaded.renderer.tokenizer.save_pretrained(folder / "tokenizer")
        base = find_base(self.spec.base, self.spec.revision)
        write_saved(
            folder,
            self.spec,
            self.task,
            self.seed,
            base=base.as_dict(),
            precision=loaded.precision,
            four_bit=loaded.four_bit,
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The saved model. Raises ClinfitError when the base is not the one it was trained on."""
        saved = read_saved(folder, Causal)
        model = cls(saved.spec, saved.task, saved.seed)
        loaded = model._loaded = load_for_task(saved.spec, saved.task, saved, folder / "tokenizer")
        if (folder / "adapter").is_dir():
            loaded.adapted = load_adapter(loaded.base, folder / "adapter")
        return model

    def opened(self) -> Loaded:
        """Base, adapter and renderer in memory, for a look inside (models/diagnosis.py)."""
        return self._load()

    # ------------------------------------------------------------ internals

    def _load(self) -> Loaded:
        if self._loaded is None:
            self._loaded = load_for_task(self.spec, self.task)
        return self._loaded

    def _scorer(self, loaded: Loaded, with_end: bool) -> LabelScorer:
        renderer = loaded.renderer
        return LabelScorer(renderer.label_ids, renderer.end_ids, renderer.tokenizer.pad_token_id, with_end)

    def _batches(self, loaded: Loaded, encoded: list[Encoded], batch_tokens: int | None) -> list[list[int]]:
        if loaded.base.device.type == "cpu":
            return [[i] for i in range(len(encoded))]
        budget = batch_tokens or 4 * self.spec.train.batch_tokens
        return token_batches([len(item.prompt_ids) for item in encoded], budget)

    def _validation(self, encoded: list[Encoded], gold: NDArray[np.int64], workspace: Workspace) -> Validation:
        """Loss of the gold answers as in training (end of turn included), and the primary metric."""
        loaded = self._load()
        scorer = self._scorer(loaded, with_end=True)
        n, k = len(encoded), len(self.task.labels)
        probabilities, losses = np.zeros((n, k)), np.zeros(n)
        for batch in self._batches(loaded, encoded, None):
            with autocast(loaded):
                scores = scorer.score(loaded.base, [encoded[i].prompt_ids for i in batch])
            assert scores.end is not None
            probabilities[batch] = scores.probabilities
            rows = np.arange(len(batch))
            losses[batch] = -(scores.log_likelihood + scores.end)[rows, gold[batch]]
        primary = workspace.primary(gold, probabilities) if workspace.primary else None
        shares = np.bincount(probabilities.argmax(axis=1), minlength=k) / n
        return Validation(float(losses.mean()), primary, shares.tolist())

    def _summary(self, loaded: Loaded, encoded: list[Encoded], result: TrainResult) -> FitSummary:
        assert loaded.adapted is not None
        parameters, trainable = parameter_counts(loaded.adapted)
        details = {
            **result.details,
            "best_step": result.best_step,
            "adapter": adapter_facts(loaded.adapted),
            "base": find_base(self.spec.base, self.spec.revision).as_dict(),
            "base_commit": getattr(loaded.base.config, "_commit_hash", None),
            "max_length": self.spec.train.max_length,
            "shortened_records": sum(item.dropped > 0 for item in encoded),
            "dropped_tokens": sum(item.dropped for item in encoded),
            "answer_tokens": sum(len(item.answer_ids) for item in encoded),
            "prompt_sha256": loaded.renderer.fingerprint,
            "label_tokens": dict(zip(self.task.labels, map(len, loaded.renderer.label_ids), strict=True)),
        }
        return FitSummary(result.seconds, parameters, trainable, details, loaded.notes + result.alarms)


class AnswerLoss(nn.Module):
    """forward(indices) -> (rows,) negative log-likelihood of those records' answers, end of turn included."""

    def __init__(self, model: PreTrainedModel, encoded: list[Encoded], pad_id: int) -> None:
        super().__init__()
        self.model, self.encoded, self.pad_id = model, encoded, pad_id

    def forward(self, indices: list[int]) -> Tensor:
        batch = [self.encoded[i] for i in indices]
        device = self.model.device
        ids = pad_right([item.ids for item in batch], self.pad_id, device)
        # The hidden state at position i predicts the token at i + 1.
        rows = torch.tensor([r for r, item in enumerate(batch) for _ in item.answer_ids], device=device)
        positions = torch.tensor(
            [len(item.prompt_ids) - 1 + i for item in batch for i in range(len(item.answer_ids))], device=device
        )
        targets = torch.tensor([token for item in batch for token in item.answer_ids], device=device)
        states = states_at(self.model, ids, rows, positions)
        return answer_losses(answer_logits(self.model, states), targets, rows, len(batch))


def load_for_task(
    spec: Causal, task: Task, saved: Saved[Causal] | None = None, tokenizer_folder: Path | None = None
) -> Loaded:
    """Base and renderer; a saved model brings its tokenizer, and the base, precision and quantization of its training.

    Raises ClinfitError when the base here is not that one, or cannot be quantized as it was.
    """
    base = find_base(spec.base, saved.base["revision"] if saved else spec.revision)
    base.check(saved.base["sha256"] if saved else None)
    device = default_device()
    four_bit = spec.quantization == "4bit" and four_bit_supported(device)
    notes = []
    if saved is not None and saved.four_bit != four_bit:
        raise ClinfitError(
            f"model {spec.name} was trained on a {'4-bit' if saved.four_bit else 'not quantized'} base, "
            "which this machine does not load alike, so its answers would differ",
            expected="an NVIDIA GPU and bitsandbytes" if saved.four_bit else "a machine without 4-bit support",
        )
    if spec.quantization == "4bit" and not four_bit:
        notes.append("4-bit weights need an NVIDIA GPU and bitsandbytes; the base was loaded unquantized instead")
    precision = resolve_precision(saved.precision if saved else spec.train.precision, device)
    tokenizer = load_tokenizer(spec.base, base.revision, tokenizer_folder)
    renderer = Renderer(task, tokenizer, max_length=spec.train.max_length, shorten=spec.train.shorten)
    check_length(spec, load_config(base), tokenizer, spec.generate)
    model = load_causal(base, precision, device, four_bit)
    check_answer_logits(model, renderer.label_ids[0] + renderer.end_ids)
    return Loaded(model, renderer, precision, four_bit, notes)


def autocast(loaded: Loaded) -> torch.autocast:
    """The precision that a model was trained in, for every pass through it."""
    return torch.autocast(loaded.base.device.type, DTYPES[loaded.precision], enabled=loaded.precision != "fp32")
