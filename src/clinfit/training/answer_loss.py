"""The loss of records of a causal model: how unlikely it finds their answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from clinfit.prompts.batches import pad_right
from clinfit.prompts.encode import Encoded
from clinfit.scoring.answer_logits import answer_logits, states_at
from clinfit.scoring.rows import apart, together
from clinfit.training.losses import answer_losses
from clinfit.training.retention.kl import Teacher, kl_rows


@dataclass(frozen=True)
class Positions:
    """The answer positions of a batch. logits: (m, vocabulary). targets: (m,) the tokens there. of_token: (m,) which
    answer each belongs to. of_answer: (answers,) which record each answer belongs to. n: records."""

    logits: Tensor
    targets: Tensor
    of_token: Tensor
    of_answer: Tensor
    n: int

    def of_records(self, of_answers: Tensor) -> Tensor:
        """(n,) mean over each record's answers."""
        sums = of_answers.new_zeros(self.n).index_add(0, self.of_answer, of_answers)
        return sums / torch.bincount(self.of_answer, minlength=self.n)


class AnswerLoss(nn.Module):
    """forward(indices) -> (rows,) negative log-likelihood of those records' answers, ends of turn included; with a
    teacher, plus its share (retention/kl.py).

    A record that is asked several questions has as loss the mean over its answers; they stand behind one prompt, each
    seeing its own question only. side_by_side: whether the architecture can do that; else each gets a row of its own.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        encoded: Sequence[Encoded],
        pad_id: int,
        side_by_side: bool = True,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.model, self.encoded, self.pad_id, self.side_by_side = model, encoded, pad_id, side_by_side
        self.teacher = teacher
        self._counted = torch.zeros(2)

    def counted(self) -> Tensor:
        """(2,) answer tokens that were the most probable of the vocabulary behind the true ones before them, and all
        answer tokens, since this was asked last."""
        found, self._counted = self._counted, torch.zeros_like(self._counted)
        return found

    def forward(self, indices: list[int]) -> Tensor:
        batch = [self.encoded[i] for i in indices]
        find = self._questions if any(asks_several(item) for item in batch) else self._one_answer
        taught = None
        if self.teacher is not None:
            with self.teacher():  # first, since its weights are in place meanwhile
                taught = find(batch).logits
        found = find(batch)
        with torch.no_grad():
            right = (found.logits.argmax(dim=-1) == found.targets).sum()
            self._counted = self._counted.to(right.device) + torch.stack([right, right.new_tensor(len(found.targets))])
        losses = answer_losses(found.logits, found.targets, found.of_token, len(found.of_answer))
        if self.teacher is not None and taught is not None:
            distance = kl_rows(taught, found.logits, found.of_token, len(found.of_answer))
            losses = losses + self.teacher.strength * distance
        return found.of_records(losses)

    def _one_answer(self, batch: list[Encoded]) -> Positions:
        device = self.model.device
        ids = pad_right([item.ids for item in batch], self.pad_id, device)
        # The hidden state at position i predicts the token at i + 1.
        rows = torch.tensor([r for r, item in enumerate(batch) for _ in item.answer_ids], device=device)
        positions = torch.tensor(
            [len(item.prompt_ids) - 1 + i for item in batch for i in range(len(item.answer_ids))], device=device
        )
        targets = torch.tensor([token for item in batch for token in item.answer_ids], device=device)
        logits = answer_logits(self.model, states_at(self.model, ids, rows, positions))
        return Positions(logits, targets, rows, torch.arange(len(batch), device=device), len(batch))

    def _questions(self, batch: list[Encoded]) -> Positions:
        way = together if self.side_by_side else apart
        behind = [[(part.context, [part.answer]) for part in item.trained] for item in batch]
        rows = way(self.model, [item.prompt_ids for item in batch], behind, self.pad_id)
        states = states_at(self.model, rows.ids, rows.rows, rows.columns, **rows.extra)
        logits, device = answer_logits(self.model, states)[rows.index], rows.ids.device
        answers = [part.answer for item in batch for part in item.trained]
        of_token = torch.tensor([k for k, answer in enumerate(answers) for _ in answer], device=device)
        of_answer = torch.tensor([r for r, item in enumerate(batch) for _ in item.trained], device=device)
        return Positions(logits, rows.tokens, of_token, of_answer, len(batch))


def asks_several(item: Encoded) -> bool:
    """Whether questions stand between the record's prompt and its answers."""
    return any(part.context for part in item.trained)
