"""The loss of records by MLX, with gradients for the adapter that torch's optimizer trains."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import mlx.core as mx
import numpy as np
import torch
from peft import PeftModel
from torch import Tensor, nn

from clinfit.models.mlx.network import Network, Ready, as_mlx, as_torch, factors_of
from clinfit.prompts.batches import pad_right
from clinfit.prompts.encode import Encoded
from clinfit.training.losses import StepLoss


class MlxAnswerLoss(nn.Module):
    """forward(indices) -> (rows,) negative log-likelihood of those records' answers, ends of turn included, as of
    training/answer_loss.py, without gradients; these come with `share`.

    Every answer stands in a row of its own behind its prompt and question. adapted: None for the base alone.
    """

    def __init__(self, ready: Ready, adapted: PeftModel | None, encoded: Sequence[Encoded], pad_id: int) -> None:
        super().__init__()
        self.ready, self.adapted, self.encoded, self.pad_id = ready, adapted, encoded, pad_id

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """The adapter stays with the processor, wherever torch would train: MLX has the rest."""
        return self

    def forward(self, indices: list[int]) -> Tensor:
        return as_torch(self._losses(self.ready(), indices))

    def share(self, indices: list[int], weights: Tensor, step: StepLoss) -> Tensor:
        """The micro-batch's share of the step's loss, with gradients.

        MLX adds up the records' losses by their slopes in the share. Of a plain loss these are weight over divisor,
        whatever the losses are; focal loss must know the losses first, which takes a pass of its own.
        """
        assert self.adapted is not None
        network, parameters, weights = self.ready(), factors_of(self.adapted), weights.cpu()
        factors = [as_mlx(parameter) for parameter in parameters]
        seed = int(torch.randint(2**31, ()))  # the loop seeds torch's generator for every step

        def losses(factors: list[mx.array]) -> mx.array:
            mx.random.seed(seed)  # dropout
            network.use(factors, training=self.training)
            return self._losses(network, indices)

        def weighted(factors: list[mx.array]) -> tuple[mx.array, mx.array]:
            found = losses(factors)
            return (found * slopes).sum(), found

        known = as_torch(losses(factors)) if step.gamma else torch.zeros(len(indices))
        slopes = as_mlx(_slopes(known, weights, step))
        (_, found), gradients = mx.value_and_grad(weighted)(factors)
        mx.eval(found, gradients)
        network.use(factors)
        return _Known.apply(step.share(as_torch(found), weights), gradients, *parameters)  # type: ignore[return-value]

    def _losses(self, network: Network, indices: list[int]) -> mx.array:
        """(rows,) mean over each record's answers."""
        batch = [self.encoded[i] for i in indices]
        asked = [
            (r, item.prompt_ids + part.context, part.answer) for r, item in enumerate(batch) for part in item.trained
        ]
        ids = mx.array(pad_right([[*before, *answer[:-1]] for _, before, answer in asked], self.pad_id).numpy())
        # The hidden state at position i predicts the token at i + 1.
        of_token = np.concatenate([np.full(len(answer), k) for k, (_, _, answer) in enumerate(asked)])
        columns = np.concatenate([len(before) - 1 + np.arange(len(answer)) for _, before, answer in asked])
        targets = mx.array([token for _, _, answer in asked for token in answer])
        logits = network.logits(network.states(ids)[mx.array(of_token), mx.array(columns)])
        at_targets = mx.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
        of_record = np.array([r for r, _, _ in asked])
        answers = np.bincount(of_record, minlength=len(batch))
        of_tokens = (mx.logsumexp(logits, axis=-1) - at_targets) / mx.array(answers[of_record[of_token]])
        return mx.zeros(len(batch)).at[mx.array(of_record[of_token])].add(of_tokens)


class _Known(torch.autograd.Function):
    """A value whose gradients are known: forward(value, gradients, *parameters) -> value."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[mx.array], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.detach().clone()

    @staticmethod
    def backward(ctx: Any, *outer: Any) -> tuple[Tensor | None, ...]:
        return None, None, *(as_torch(gradient) * outer[0] for gradient in ctx.gradients)


def _slopes(losses: Tensor, weights: Tensor, step: StepLoss) -> Tensor:
    """(rows,) by how much the share grows with each record's loss."""
    losses = losses.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(step.share(losses, weights), losses)
    return slopes
