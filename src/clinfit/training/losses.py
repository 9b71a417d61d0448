"""Losses of records, and the one place where a loss is divided."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def answer_losses(logits: Tensor, targets: Tensor, rows: Tensor, n_rows: int) -> Tensor:
    """(n_rows,) negative log-likelihood of each record's answer, in nats.

    logits: (m, vocabulary) at the m answer positions of a batch. targets: (m,) the tokens there. rows: (m,) which
    record each position belongs to. Summing over a record's tokens gives the likelihood of the whole answer, so that a
    label of four tokens and one of a single token weigh alike in the decision between them.
    """
    token_losses = F.cross_entropy(logits, targets, reduction="none")
    return torch.zeros(n_rows, dtype=token_losses.dtype, device=logits.device).index_add(0, rows, token_losses)


def focal(losses: Tensor, gamma: float) -> Tensor:
    """Focal loss (Lin et al., 2017): (1 - p)^gamma times the loss, with p = exp(-loss); gamma 0 leaves it as it is."""
    if gamma == 0:
        return losses
    tiny = torch.finfo(losses.dtype).tiny  # a power below 1 has no finite slope at 0
    return (-torch.expm1(-losses)).clamp(min=tiny) ** gamma * losses


@dataclass(frozen=True)
class StepLoss:
    """Turns the losses of a micro-batch into its share of one optimizer step's loss.

    The step's loss is the sum of weighted record losses over all its micro-batches and processes, divided once by
    `divisor`: the number of records in the step, or of their answer tokens. Weights do not enter the divisor: a
    weight of 2 is worth two records.
    """

    divisor: float
    gamma: float = 0.0

    def share(self, losses: Tensor, weights: Tensor) -> Tensor:
        """The micro-batch's contribution (scalar), from (rows,) losses and (rows,) weights."""
        return (focal(losses, self.gamma) * weights).sum() / self.divisor


#: (module, record indices, (rows,) weights, the step's loss) -> the micro-batch's share of it.
Share = Callable[[nn.Module, list[int], Tensor, StepLoss], Tensor]


def share_of_losses(module: nn.Module, indices: list[int], weights: Tensor, step: StepLoss) -> Tensor:
    """The share of records whose (rows,) losses the module's forward returns."""
    losses = module(indices)
    with torch.autocast(losses.device.type, enabled=False):
        return step.share(losses.float(), weights)


def step_divisor(per: Literal["record", "token"], answer_tokens: Sequence[float]) -> float:
    """What the step's summed loss is divided by; `answer_tokens` holds one count a record of the step."""
    return float(len(answer_tokens) if per == "record" else sum(answer_tokens))
