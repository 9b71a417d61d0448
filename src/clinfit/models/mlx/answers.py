"""Log-likelihoods of answers and written texts by MLX: a prompt is read once, and every answer stands behind its
memory."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import mlx.core as mx
import torch
from mlx_lm.models.cache import trim_prompt_cache

from clinfit.models.mlx.network import Network, Ready, as_torch
from clinfit.scoring.generate import Generator, Open
from clinfit.scoring.label_likelihood import BranchScorer
from clinfit.scoring.next_token import CANDIDATES, drawn_from
from clinfit.scoring.rows import Behind
from clinfit.study.tasks import Sampling


class MlxScorer(BranchScorer):
    """Scores prompts one at a time."""

    def __init__(self, ready: Ready) -> None:
        self._ready = ready

    def log_probabilities(self, prompts: Sequence[Sequence[int]], behind: Sequence[Sequence[Behind]]) -> list[float]:
        network = self._ready()
        found: list[float] = []
        for prompt, branches in zip(prompts, behind, strict=True):
            states, tokens = _behind_one(network, prompt, branches)
            found += cast(list[float], token_log_probabilities(network, states, mx.array(tokens)).tolist())
        return found

    def shares_rows(self, prompts: Sequence[Sequence[int]], branches: Sequence[Sequence[Behind]]) -> bool:
        """Never: MLX's models build their own masks."""
        return False


def token_log_probabilities(network: Network, states: mx.array, tokens: mx.array) -> mx.array:
    """(n,) log-probability of a token behind each of (n, d) states."""
    return network.token_logits(states, tokens) - mx.logsumexp(network.logits(states), axis=-1)


def nats_of(network: Network, text: Sequence[int]) -> float:
    """Negative log-likelihood of every token of a text but the first, given those before it."""
    states = network.states(mx.array([list(text[:-1])]))[0]
    logits, targets = network.logits(states), mx.array(list(text[1:]))
    likelihood = mx.take_along_axis(logits, targets[:, None], axis=-1)[:, 0] - mx.logsumexp(logits, axis=-1)
    return -cast(float, likelihood.sum().item())


def _behind_one(network: Network, prompt: Sequence[int], branches: Sequence[Behind]) -> tuple[mx.array, list[int]]:
    """(n, d) the state before each predicted token, in order, and these tokens."""
    memory = network.memory()
    last = network.states(mx.array([list(prompt)]), memory)[0, -1:]
    states, tokens = [], []
    for context, answers in branches:
        first = network.states(mx.array([list(context)]), memory)[0, -1:] if context else last
        for answer in answers:
            states.append(first)
            if len(answer) > 1:
                states.append(network.states(mx.array([list(answer[:-1])]), memory)[0])
                trim_prompt_cache(memory, len(answer) - 1)
            tokens += answer
        if context:
            trim_prompt_cache(memory, len(context))
    return mx.concatenate(states), tokens


class MlxGenerator(Generator):
    """Continues prompts one at a time, each with a memory of its own."""

    def __init__(self, ready: Ready) -> None:
        self._network = ready

    def goes_together(self, width: int) -> bool:
        return False

    def states_alone(self, prompt: Sequence[int], written: Sequence[int]) -> Iterator[Any]:
        network = self._network()
        memory, unread = network.memory(), list(prompt)
        while True:
            yield network.states(mx.array([unread]), memory)[0, -1:]
            unread = [written[-1]]

    def next_tokens(self, hidden: Any, sampling: Sampling | None, open_: Sequence[Open]) -> list[int]:
        network = self._network()
        logits = network.logits(hidden)
        if sampling is not None:
            return drawn_from(as_torch(logits), sampling, [one.draw for one in open_])
        best = torch.topk(as_torch(logits)[0], min(CANDIDATES, logits.shape[1])).indices.sort().values.tolist()
        exact = network.token_logits(mx.repeat(hidden, len(best), axis=0), mx.array(best))
        return [best[cast(int, mx.argmax(exact).item())]]
