"""Texts that a causal model writes by itself, many at a time.

Each prompt is read alone, without padding and mask; then all go on together, one token a pass, each in a row of its own
(scoring/slots.py). A row whose text has ended makes room for the next prompt. Prompts of like length go together, the
longest first. What a prompt becomes depends on its neighbours in the last digits at most: its row stands at its own
positions, and products add up each row alike, whatever stands beside it (docs/decisions.md).

Architectures that do not keep plain keys and values of all tokens (sliding windows shorter than the text, recurrent
layers, compressed memory), or whose rows do not say together what they say alone, write one prompt at a time.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from clinfit.scoring.answer_logits import answer_logits, products_are_rounded, states_at
from clinfit.scoring.beginnings import Beginnings
from clinfit.scoring.next_token import drawn, most_probable
from clinfit.scoring.rows import attends_everywhere
from clinfit.scoring.slots import Slots, bytes_a_token, fits
from clinfit.study.tasks import Sampling

#: The most prompts that go on together, and the memory of their keys and values.
MOST_ROWS, MOST_BYTES = 64, 2**31


@dataclass(frozen=True)
class Request:
    """A prompt to continue. limit: most new tokens. seed: of its own draws, where tokens are drawn."""

    ids: Sequence[int]
    limit: int
    seed: int = 0

    @property
    def width(self) -> int:
        """Tokens that are kept in memory at most; the last one is never read."""
        return len(self.ids) + max(0, self.limit - 1)


@dataclass
class Continuation:
    """What was written behind a prompt, without the stop token that ended it. ended: whether there was one. seconds:
    of reading the prompt, and its share of the passes that it took part in."""

    ids: list[int] = field(default_factory=list)
    ended: bool = False
    seconds: float = 0.0


@dataclass
class Open:
    """A continuation that goes on. index: of its request. draw: what its draws come from."""

    index: int
    request: Request
    draw: torch.Generator
    found: Continuation = field(default_factory=Continuation)

    def take(self, token: int, stops: Collection[int]) -> bool:
        """Take in one more token; whether there is nothing more to come."""
        if token in stops:
            self.found.ended = True
        else:
            self.found.ids.append(token)
        return self.found.ended or len(self.found.ids) >= self.request.limit


Done = Callable[[int, Continuation], None]
#: Called with the number of a request and the tokens so far; whether anybody wants more of them.
Watched = Callable[[int, Sequence[int]], bool]


def wanted(index: int, ids: Sequence[int]) -> bool:
    """Continuations that nobody watches are wanted to their end."""
    return True


#: Takes in one more token; whether nothing more is to come.
Take = Callable[[Open, int], bool]


def stop_tokens(model: PreTrainedModel, end_ids: Sequence[int]) -> set[int]:
    """The tokens at which an answer ends: the end of turn that was trained, and what the base itself calls an end."""
    settings = getattr(model, "generation_config", None) or model.config
    own = settings.eos_token_id
    return {*end_ids, *(own if isinstance(own, list) else [] if own is None else [own])}


def record_seed(seed: int, record: str) -> int:
    """A seed for one record's draws, which neither its batch nor its place changes."""
    return int.from_bytes(hashlib.sha256(f"{seed} {record}".encode()).digest()[:8]) >> 1


class Generator:
    """Continues prompts with one model. together: whether they may go on together; None: where that changes nothing.
    beginnings: that are kept."""

    def __init__(self, model: PreTrainedModel, together: bool | None = None) -> None:
        self.model, self._together = model, together
        self.beginnings: Beginnings | None = None
        self._decoder: Any = model.get_decoder()
        self._parameters = signature(self._decoder.forward).parameters

    @torch.inference_mode()
    def write(
        self,
        requests: Sequence[Request],
        stops: Collection[int],
        sampling: Sampling | None = None,
        done: Done = lambda index, found: None,
        watched: Watched = wanted,
    ) -> list[Continuation]:
        """Continuations of the requests, in their order, greedy unless `sampling` says otherwise.

        done: called with the number of a request and what was written, as soon as it is. watched: asked after each
        token; a continuation that is not wanted any more ends there, and changes nothing of the others.
        """
        found: dict[int, Continuation] = {}

        def finish(one: Open) -> None:
            found[one.index] = one.found
            done(one.index, one.found)

        openings = [Open(i, each, torch.Generator().manual_seed(each.seed)) for i, each in enumerate(requests)]
        for one in openings:
            if one.request.limit <= 0:
                finish(one)
        openings = sorted((one for one in openings if one.request.limit > 0), key=lambda one: -one.request.width)
        together = [one for one in openings if self.goes_together(one.request.width)]

        def take(one: Open, token: int) -> bool:
            return one.take(token, stops) or not watched(one.index, one.found.ids)

        for group in _alike(together):
            self._write_together(group, take, sampling, finish)
        for one in openings:
            if one.index not in found:
                self._write_alone(one, take, sampling)
                finish(one)
        return [found[i] for i in range(len(requests))]

    def goes_together(self, width: int) -> bool:
        """Whether prompts of up to `width` tokens, answers included, may go on together: full attention over all of
        them, and, tried once on a few tokens, the same as one at a time."""
        if not attends_everywhere(self.model, width):
            return False
        if self._together is None:
            self._together = self._tried()
        return self._together

    # ------------------------------------------------------------ one at a time

    def _write_alone(self, one: Open, take: Take, sampling: Sampling | None) -> None:
        started = time.perf_counter()
        for hidden in self.states_alone(one.request.ids, one.found.ids):
            (token,) = self.next_tokens(hidden, sampling, [one])
            if take(one, token):
                break
        one.found.seconds = time.perf_counter() - started

    def states_alone(self, prompt: Sequence[int], written: Sequence[int]) -> Iterator[Any]:
        """(1, d) the hidden state behind the prompt, and behind each token that was written meanwhile."""
        known, memory = self._begun(prompt)
        unread = list(prompt[known:])
        remembers = "past_key_values" in self._parameters  # others, such as Mamba, read it all again
        while True:
            read = len(prompt) + len(written)
            # Some architectures (Bamba) would count a token behind their memory as the first one.
            positions = torch.arange(read - len(unread), read, device=self.model.device)[None]
            inputs = {"position_ids": positions, "past_key_values": memory}
            output = self._decoder(
                input_ids=torch.tensor([unread], device=self.model.device),
                use_cache=remembers,
                **{name: value for name, value in inputs.items() if name in self._parameters},
            )
            yield output.last_hidden_state[0, -1:]
            memory = output.get("past_key_values")
            unread = [written[-1]] if memory is not None else [*prompt, *written]

    # ------------------------------------------------------------ together

    def _write_together(
        self, group: Sequence[Open], take: Take, sampling: Sampling | None, finish: Callable[[Open], None]
    ) -> None:
        """group: the longest first."""
        waiting, open_, slots, most = deque(group), list[Open](), None, 1
        while waiting or open_:
            while waiting and len(open_) < most:
                one, started = waiting.popleft(), time.perf_counter()
                memory, hidden = self._read(one.request.ids)
                (token,) = self.next_tokens(hidden, sampling, [one])
                ended = take(one, token)
                one.found.seconds += time.perf_counter() - started
                if ended:
                    finish(one)
                    continue
                if slots is None:
                    width = group[0].request.width
                    room = MOST_BYTES // (width * bytes_a_token(memory))
                    most = min(MOST_ROWS, len(group), max(1, room))
                    slots = Slots(memory, most, width)
                slots.add(memory)
                open_.append(one)
            if slots is None or not open_:
                continue
            started = time.perf_counter()
            hidden = self._step(slots, [one.found.ids[-1] for one in open_])
            tokens = self.next_tokens(hidden, sampling, open_)
            share = (time.perf_counter() - started) / len(open_)
            ended_rows = []
            for row, (one, token) in enumerate(zip(open_, tokens, strict=True)):
                one.found.seconds += share
                if take(one, token):
                    finish(one)
                    ended_rows.append(row)
            for row in reversed(ended_rows):
                slots.remove(row)
                open_[row] = open_[-1]
                open_.pop()

    def _read(self, prompt: Sequence[int]) -> tuple[DynamicCache, Tensor]:
        """The memory of a prompt, and (1, d) the hidden state behind it."""
        known, memory = self._begun(prompt)
        memory, device = DynamicCache() if memory is None else memory, self.model.device
        ids, row, last = (
            torch.tensor(x, device=device) for x in ([list(prompt[known:])], [0], [len(prompt) - known - 1])
        )
        where = {"position_ids": torch.arange(known, len(prompt), device=device)[None]} if known else {}
        return memory, states_at(self.model, ids, row, last, past_key_values=memory, use_cache=True, **where)

    def _begun(self, prompt: Sequence[int]) -> tuple[int, DynamicCache | None]:
        """How many tokens of a prompt are known already, and their memory."""
        found = self.beginnings.best([prompt], len(prompt) - 1, len(prompt)) if self.beginnings else None
        if found is None:
            return 0, None
        beginning, length = found
        return length, beginning.memory(length, 1)

    def _step(self, slots: Slots, tokens: Sequence[int]) -> Tensor:
        """(rows, d) hidden states behind one more token of each row in use; what lies behind these means nothing."""
        return self._decoder(**slots.next_tokens(tokens, self.model.dtype, self.model.device)).last_hidden_state[:, 0]

    def next_tokens(self, hidden: Any, sampling: Sampling | None, open_: Sequence[Open]) -> list[int]:
        """The token behind the state of each continuation."""
        if sampling is None:
            return most_probable(self.model, hidden)[: len(open_)]
        return drawn(self.model, hidden, sampling, [one.draw for one in open_])

    @torch.inference_mode()
    def _tried(self) -> bool:
        """Whether three rows of a few tokens say together what each says alone, twice."""
        if not {"past_key_values", "position_ids", "attention_mask"} <= self._parameters.keys():
            return False
        embeddings: Any = self.model.get_input_embeddings()
        size = int(embeddings.weight.shape[0])
        texts = [[(3 + 7 * k * k + i) % size for i in range(4 + 3 * k)] for k in range(3)]
        try:
            memories = [self._read(text[:-2])[0] for text in texts]
            if not all(map(fits, memories)):
                return False
            slots = Slots(memories[0], len(texts), max(map(len, texts)))
            for memory in memories:
                slots.add(memory)
            steps = [self._step(slots, [text[at] for text in texts])[: len(texts)] for at in (-2, -1)]
            found = answer_logits(self.model, torch.cat(steps))
        except (TypeError, ValueError, RuntimeError, IndexError, AssertionError, AttributeError):  # another memory
            return False
        alone = [text[:end] for end in (-1, None) for text in texts]
        expected = answer_logits(self.model, torch.cat([self._state_of(text) for text in alone]))
        tolerance = 0.02 if products_are_rounded(self.model) else 1e-3
        return torch.allclose(found, expected, atol=tolerance * float(expected.abs().max()), rtol=tolerance)

    def _state_of(self, text: Sequence[int]) -> Tensor:
        """(1, d) the hidden state behind a text that is read whole."""
        return self._decoder(
            input_ids=torch.tensor([list(text)], device=self.model.device), use_cache=False
        ).last_hidden_state[0, -1:]


def _alike(longest_first: Sequence[Open]) -> list[list[Open]]:
    """Groups in which none is less than half as wide as the widest."""
    groups: list[list[Open]] = []
    for one in longest_first:
        if not groups or 2 * one.request.width < groups[-1][0].request.width:
            groups.append([])
        groups[-1].append(one)
    return groups
