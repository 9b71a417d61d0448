"""Probability of each label of a task, given a prompt.

One pass over the prompt serves all labels: their tokens stand behind it in the same row, each label seeing the prompt
and itself but no other label, at the positions it would have if it stood there alone. A label's log-likelihood is the
sum of its tokens' log-probabilities; no label is favoured for being short beyond what the model itself says.

Where the architecture cannot take a custom attention mask (sliding windows shorter than the row, recurrent layers),
each label gets a row of its own; the answer is the same, the cost higher.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from clinfit.prompts.batches import pad_right
from clinfit.scoring.answers import answer_logits, states_at, token_logits


@dataclass(frozen=True)
class LabelScores:
    """n prompts by K labels. log_likelihood: of the label's tokens. end: of the end of turn behind them."""

    log_likelihood: NDArray[np.float64]
    end: NDArray[np.float64] | None

    @property
    def label_mass(self) -> NDArray[np.float64]:
        """(n,) total probability of all labels. At most 1, because no label's tokens begin another's (else the end of
        turn is counted in, see `LabelScorer`)."""
        return np.exp(self._total).sum(axis=1).clip(0, 1)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(n, K) probabilities given that the answer is one of the labels; rows sum to 1."""
        shifted = np.exp(self._total - self._total.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)

    @property
    def _total(self) -> NDArray[np.float64]:
        return self.log_likelihood if self.end is None else self.log_likelihood + self.end


class LabelScorer:
    """Scores prompts against one set of labels.

    label_ids: K token sequences; end_ids: the end of turn, scored too when `with_end`, and always when one label's
    tokens begin another's ("cancer", "cancer free"), since otherwise the two events would overlap.
    """

    def __init__(
        self, label_ids: Sequence[Sequence[int]], end_ids: Sequence[int], pad_id: int, with_end: bool = False
    ) -> None:
        self.pad_id = pad_id
        self.with_end = with_end or _any_begins_another(label_ids)
        self.targets = [[*ids, *(end_ids if self.with_end else [])] for ids in label_ids]
        self.label_lengths = [len(ids) for ids in label_ids]
        self._shares: bool | None = None

    @torch.inference_mode()
    def score(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> LabelScores:
        """Scores for the prompts of one batch, in their order."""
        together = self._can_share_a_row(model, max(map(len, prompts)) + sum(map(len, self.targets)))
        token_scores = self._together(model, prompts) if together else self._apart(model, prompts)
        sums = np.array(
            [[(sum(row[k][:m]), sum(row[k][m:])) for k, m in enumerate(self.label_lengths)] for row in token_scores]
        )
        return LabelScores(sums[:, :, 0], sums[:, :, 1] if self.with_end else None)

    def _can_share_a_row(self, model: PreTrainedModel, width: int) -> bool:
        """Whether labels may stand side by side: full attention over the row, and, tried once on a few tokens, the same
        scores as in rows of their own (positions or masks may be built in ways that no configuration tells)."""
        if not _attends_everywhere(model, width):
            return False
        if self._shares is None:
            probe = [[*self.targets[0], *self.targets[-1]]]
            together, apart = (_flat(way(model, probe)) for way in (self._together, self._apart))
            self._shares = bool(np.allclose(together, apart, atol=0.05, rtol=0.02))
        return self._shares

    def _together(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> list[list[list[float]]]:
        """Log-probability of every target token, [prompt][label][token], labels behind their prompt in one row."""
        branches = [target[:-1] for target in self.targets]  # a label's last token is only ever predicted
        filled = [branch for branch in branches if branch]
        rows = [[*prompt, *(token for branch in filled for token in branch)] for prompt in prompts]
        ids = pad_right(rows, self.pad_id, model.device)
        extra = {} if len(filled) <= 1 else _branch_attention(prompts, branches, ids, model.dtype)
        where: list[tuple[int, int]] = []  # (row, position) whose logits are wanted
        for row, prompt in enumerate(prompts):
            offset = len(prompt)
            for branch in branches:
                where += [(row, len(prompt) - 1), *((row, offset + i) for i in range(len(branch)))]
                offset += len(branch)
        return self._gather(model, ids, where, len(prompts), **extra)

    def _apart(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> list[list[list[float]]]:
        """The same with one row for each (prompt, label)."""
        rows = [[*prompt, *target[:-1]] for prompt in prompts for target in self.targets]
        ids = pad_right(rows, self.pad_id, model.device)
        k = len(self.targets)
        where = [
            (row * k + label, len(prompt) - 1 + i)
            for row, prompt in enumerate(prompts)
            for label, target in enumerate(self.targets)
            for i in range(len(target))
        ]
        return self._gather(model, ids, where, len(prompts))

    def _gather(
        self, model: PreTrainedModel, ids: Tensor, where: list[tuple[int, int]], n: int, **extra: Tensor
    ) -> list[list[list[float]]]:
        """Log-probabilities of all targets of n prompts. where: (row, position) before every target token, in order."""
        # Labels share the position before their first token: project every distinct position once.
        distinct = {position: i for i, position in enumerate(dict.fromkeys(where))}
        rows, columns = (torch.tensor(x, device=ids.device) for x in zip(*distinct, strict=True))
        states = states_at(model, ids, rows, columns, **extra)
        normalisers = answer_logits(model, states).logsumexp(-1)
        index = torch.tensor([distinct[position] for position in where], device=ids.device)
        tokens = torch.tensor([token for target in self.targets for token in target] * n, device=ids.device)
        picked = (token_logits(model, states[index], tokens) - normalisers[index]).tolist()
        values = iter(picked)
        return [[[next(values) for _ in target] for target in self.targets] for _ in range(n)]


def _any_begins_another(label_ids: Sequence[Sequence[int]]) -> bool:
    return any(list(a) == list(b[: len(a)]) for i, a in enumerate(label_ids) for j, b in enumerate(label_ids) if i != j)


def _flat(scores: list[list[list[float]]]) -> list[float]:
    return [value for row in scores for label in row for value in label]


def _attends_everywhere(model: PreTrainedModel, width: int) -> bool:
    """Whether every layer is plain full attention over a row of `width` tokens."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    return kinds <= {"full_attention", "sliding_attention"} and (window is None or window >= width)


def _branch_attention(
    prompts: Sequence[Sequence[int]], branches: Sequence[Sequence[int]], ids: Tensor, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Attention mask (rows, 1, width, width), additive, and positions (rows, width) for labels side by side."""
    rows, width = ids.shape
    allowed = torch.tril(torch.ones(width, width, dtype=torch.bool)).repeat(rows, 1, 1)
    positions = torch.arange(width).repeat(rows, 1)
    for row, prompt in enumerate(prompts):
        offset = len(prompt)
        for branch in branches:
            end = offset + len(branch)
            allowed[row, offset:end, len(prompt) : offset] = False
            positions[row, offset:end] = torch.arange(len(prompt), len(prompt) + len(branch))
            offset = end
    mask = torch.zeros(rows, 1, width, width, dtype=dtype)
    mask.masked_fill_(~allowed[:, None], torch.finfo(dtype).min)
    return {"attention_mask": mask.to(ids.device), "position_ids": positions.to(ids.device)}
