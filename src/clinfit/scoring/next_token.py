"""The next token behind hidden states: the most probable one, or one that is drawn."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from clinfit.scoring.answer_logits import answer_logits, token_logits
from clinfit.study.tasks import Sampling

#: Tokens that are compared in fp32: bf16 logits differ in steps of about 0.1, so that the first few would often tie.
CANDIDATES = 16


def most_probable(model: PreTrainedModel, hidden: Tensor) -> list[int]:
    """The next token after each of (n, d) hidden states; of equals the one with the lowest id."""
    logits = answer_logits(model, hidden)
    best = logits.topk(min(CANDIDATES, logits.shape[1]), dim=-1).indices.sort(dim=-1).values
    exact = token_logits(model, hidden.repeat_interleave(best.shape[1], dim=0), best.flatten())
    return best.gather(1, exact.view(best.shape).argmax(dim=-1, keepdim=True))[:, 0].tolist()


def drawn(model: PreTrainedModel, hidden: Tensor, sampling: Sampling, draws: Sequence[torch.Generator]) -> list[int]:
    """A token after each of the first len(draws) of (n, d) hidden states, by one uniform number from each generator."""
    return drawn_from(answer_logits(model, hidden)[: len(draws)], sampling, draws)


def drawn_from(logits: Tensor, sampling: Sampling, draws: Sequence[torch.Generator]) -> list[int]:
    """A token from each row of (n, vocabulary) logits, by one uniform number from each generator."""
    probabilities = (logits.double() / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        probabilities = _nucleus(probabilities, sampling.top_p)
    up_to = probabilities.cumsum(-1)
    uniform = torch.tensor([[torch.rand((), generator=draw, dtype=torch.float64)] for draw in draws])
    tokens = torch.searchsorted(up_to, uniform.to(up_to.device) * up_to[:, -1:], right=True)
    return tokens.clamp(max=up_to.shape[1] - 1)[:, 0].tolist()


def _nucleus(probabilities: Tensor, share: float) -> Tensor:
    """(n, vocabulary) probabilities, 0 for all but the most probable that together reach `share`. Few are sorted, more
    where those do not reach it."""
    looked_at = 256
    while True:
        best = probabilities.topk(min(looked_at, probabilities.shape[1]), dim=-1)
        up_to = best.values.cumsum(-1)
        if looked_at >= probabilities.shape[1] or bool((up_to[:, -1] >= share).all()):
            break
        looked_at *= 8
    kept = best.values.masked_fill(up_to - best.values >= share, 0)
    return torch.zeros_like(probabilities).scatter(1, best.indices, kept)
