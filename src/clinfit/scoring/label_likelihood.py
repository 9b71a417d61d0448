"""Log-likelihood of each answer that may follow a prompt.

An answer's log-likelihood is the sum of its tokens' log-probabilities; none is favoured for being short beyond what the
model itself says. One pass over the prompt serves all answers (scoring/rows.py).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from clinfit.prompts.forms import Branch
from clinfit.scoring.answer_logits import answer_logits, products_are_rounded, states_at, token_logits
from clinfit.scoring.beginnings import Beginnings
from clinfit.scoring.probabilities import softmax
from clinfit.scoring.rows import Behind, Rows, apart, attends_everywhere, together


@dataclass(frozen=True)
class AnswerScores:
    """n prompts by K answers of one branch each. log_likelihood: of the answer's tokens. end: of the end of turn behind
    them; 0 where it was not asked for. overlapping: (n,) whether one answer begins another, so that the end belongs to
    what is said."""

    log_likelihood: NDArray[np.float64]
    end: NDArray[np.float64]
    overlapping: NDArray[np.bool_]

    @property
    def written(self) -> NDArray[np.float64]:
        """(n, K) log-likelihood of the answers as they are trained, end of turn included where it was asked for."""
        return self.log_likelihood + self.end

    @property
    def total(self) -> NDArray[np.float64]:
        """(n, K) log-likelihood of the answers as events that exclude each other."""
        return self.log_likelihood + np.where(self.overlapping[:, None], self.end, 0)

    @property
    def mass(self) -> NDArray[np.float64]:
        """(n,) total probability of all answers. At most 1, because no answer's tokens begin another's (else the end of
        turn is counted in); two answers of the same tokens would be counted twice, and are cut off there."""
        return np.exp(self.total).sum(axis=1).clip(0, 1)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(n, K) probabilities given that the answer is one of these; rows sum to 1."""
        return softmax(self.total)


class BranchScorer:
    """Scores prompts against the branches that may stand behind them, with one model. beginnings: that are kept."""

    def __init__(self, model: PreTrainedModel, pad_id: int) -> None:
        self.model, self.pad_id = model, pad_id
        self.beginnings: Beginnings | None = None
        self._shares: bool | None = None

    @torch.inference_mode()
    def score(
        self, prompts: Sequence[Sequence[int]], branches: Sequence[Sequence[Branch]], with_end: bool = False
    ) -> list[AnswerScores]:
        """Scores for the prompts of one batch, in their order, branch by branch.

        branches: of each prompt; all prompts have as many branches, and as many answers in each. with_end: score
        the end of turn behind every answer, for the loss; it is always scored, and part of what is said, in branches of
        which one answer begins another ("cancer", "cancer free"), since otherwise the two events would overlap.
        """
        behind = [[_behind(branch, with_end) for branch in own] for own in branches]
        values = iter(self.log_probabilities(prompts, behind))
        sums = [
            [_sums(branch, targets, values) for branch, (_, targets) in zip(own, parts, strict=True)]
            for own, parts in zip(branches, behind, strict=True)
        ]
        by_branch = [np.array(scores) for scores in zip(*sums, strict=True)]
        overlapping = [np.array([branch.overlapping for branch in own]) for own in zip(*branches, strict=True)]
        return [
            AnswerScores(scores[:, :, 0], scores[:, :, 1], overlap)
            for scores, overlap in zip(by_branch, overlapping, strict=True)
        ]

    def log_probabilities(self, prompts: Sequence[Sequence[int]], behind: Sequence[Sequence[Behind]]) -> list[float]:
        """Of every token that is predicted behind the prompts: prompt by prompt, branch by branch, answer by answer."""
        way = together if self.shares_rows(prompts, behind) else apart
        rows = way(self.model, prompts, behind, self.pad_id)
        if self.beginnings is not None:
            rows = self.beginnings.behind(rows)
        return _log_probabilities(self.model, rows).tolist()

    def totals(self, prompt: Sequence[int], branches: Sequence[Branch]) -> Callable[[], list[Tensor]]:
        """What computes `AnswerScores.total` (K,) of each branch behind one prompt, so that it can be differentiated,
        and as often as it is called."""
        behind = [_behind(branch, False) for branch in branches]
        with torch.inference_mode():
            way = together if self.shares_rows([prompt], [behind]) else apart
        rows = way(self.model, [prompt], [behind], self.pad_id)

        def totals() -> list[Tensor]:
            values = iter(_log_probabilities(self.model, rows))
            return [torch.stack([_sum_of(values, len(target)) for target in targets]) for _, targets in behind]

        return totals

    def shares_rows(self, prompts: Sequence[Sequence[int]], branches: Sequence[Sequence[Behind]]) -> bool:
        """Whether branches may stand side by side: full attention over the row, and, tried once on a few tokens, the
        same scores as in rows of their own (positions or masks may be built in ways that no configuration tells)."""
        width = max(map(len, prompts)) + max(_tokens(behind) for behind in branches)
        if not attends_everywhere(self.model, width):
            return False
        if self._shares is None:
            few = branches[0] if len(branches[0]) == 1 else [branches[0][0], branches[0][-1]]
            self._shares = self._tried([*few[0][1][0], *few[-1][1][-1]], few)
        return self._shares

    def _tried(self, prompt: Sequence[int], branches: Sequence[Behind]) -> bool:
        alone, rounded = apart(self.model, [prompt], [branches], self.pad_id), products_are_rounded(self.model)
        expected = _log_probabilities(self.model, alone).tolist()
        try:
            found = _log_probabilities(self.model, together(self.model, [prompt], [branches], self.pad_id)).tolist()
        except (TypeError, ValueError, RuntimeError, IndexError, AssertionError):  # no positions, or no such mask
            return False
        return bool(np.allclose(found, expected, atol=0.05 if rounded else 1e-3, rtol=0.02 if rounded else 1e-3))


def _behind(branch: Branch, with_end: bool) -> Behind:
    end = branch.end if with_end or branch.overlapping else []
    return branch.context, [[*answer, *end] for answer in branch.answers]


def _log_probabilities(model: PreTrainedModel, rows: Rows) -> Tensor:
    """(n,) log-probability of every predicted token, in order."""
    states = states_at(model, rows.ids, rows.rows, rows.columns, **rows.extra)
    normalisers = answer_logits(model, states).logsumexp(-1)
    return token_logits(model, states[rows.index], rows.tokens) - normalisers[rows.index]


def _sum_of(values: Iterator[Tensor], n: int) -> Tensor:
    """The sum of the next n values."""
    return torch.stack([next(values) for _ in range(n)]).sum()


def _sums(branch: Branch, targets: Sequence[Sequence[int]], values: Iterator[float]) -> list[tuple[float, float]]:
    """Of each answer of a branch: the log-likelihood of its tokens, and of the end behind them."""
    sums = []
    for answer, target in zip(branch.answers, targets, strict=True):
        own = [next(values) for _ in target]
        sums.append((sum(own[: len(answer)]), sum(own[len(answer) :])))
    return sums


def _tokens(behind: Sequence[Behind]) -> int:
    return sum(len(context) + sum(map(len, answers)) for context, answers in behind)
