"""The memory of prompts that are continued together: keys and values of each in a row of its own.

Rows are filled from the left, so that each token stands in its row where it would stand alone, whatever its neighbours
are; a mask hides what lies behind its last. A row is written in place: nothing is copied when one more token comes.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer

#: Rows and columns come in multiples of these. Products over 8 rows and more add up every row in the same order on the
#: processors that were measured, those over fewer do not; sums over columns are kept in 32 parts, or fewer.
ROWS, COLUMNS = 8, 32


def rounded(number: int, unit: int) -> int:
    """The next multiple of `unit`."""
    return -(-number // unit) * unit


class Slots(Cache):
    """Keys and values of up to `capacity` rows of up to `width` tokens, the first `len(lengths)` of them in use.

    lengths: tokens that each row in use holds.
    """

    def __init__(self, like: DynamicCache, capacity: int, width: int) -> None:
        """like: the memory of one prompt, which tells the shapes."""
        kept = _kept(like)
        self.lengths: list[int] = []
        self._plan = _Plan()
        self._unit = ROWS if kept[0][0].device.type == "cpu" else 1  # elsewhere it would help nobody
        shape = rounded(capacity, self._unit), rounded(width, COLUMNS)
        layers: list[Any] = [_Layer(*tensors, *shape, self._plan) for tensors in kept]
        super().__init__(layers=layers)

    def add(self, memory: DynamicCache) -> None:
        """Copy the memory of a prompt into a new row."""
        row, length = len(self.lengths), memory.get_seq_length()
        for mine, other in zip(_kept(self), _kept(memory), strict=True):
            for rows, new in zip(mine, other, strict=True):
                rows[row, :, :length] = new[0]
        self.lengths.append(length)

    def remove(self, row: int) -> None:
        """Free a row: the last one takes its place."""
        last = len(self.lengths) - 1
        length = self.lengths[row] = self.lengths[last]
        if row != last:
            for rows in chain(*_kept(self)):
                rows[row, :, :length] = rows[last, :, :length]
        self.lengths.pop()

    def next_tokens(self, tokens: Sequence[int], dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
        """Inputs of a pass that reads one more token in every row in use, and on a processor something in the rows that
        fill these up to a multiple of ROWS."""
        spare = rounded(len(tokens), self._unit) - len(tokens)
        at = torch.tensor([*self.lengths, *[0] * spare], device=device)
        width = rounded(max(self.lengths) + 1, COLUMNS)
        hidden = torch.arange(width, device=device) > at[:, None]
        mask = torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, torch.finfo(dtype).min)
        self._plan.at, self._plan.width = at, width
        self.lengths = [length + 1 for length in self.lengths]
        return {
            "input_ids": torch.tensor([*tokens, *[0] * spare], device=device)[:, None],
            "position_ids": at[:, None],
            "attention_mask": mask[:, None, None],
            "past_key_values": self,
            "use_cache": True,
        }


class _Plan:
    """Of the pass that goes on: (rows,) where each row's token is put, and how many columns are looked at."""

    at: Tensor
    width: int


class _Layer(CacheLayerMixin):
    """One layer's keys and values, (rows, heads, columns, size of a head)."""

    def __init__(self, keys: Tensor, values: Tensor, rows: int, columns: int, plan: _Plan) -> None:
        """keys, values: of one prompt, which tell the shapes."""
        super().__init__()
        self._plan = plan
        self.keys, self.values = (
            like.new_zeros(rows, like.shape[1], columns, like.shape[3]) for like in (keys, values)
        )
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: it is made whole."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        assert self.keys is not None and self.values is not None
        n, at, width = len(key_states), self._plan.at, self._plan.width
        rows = torch.arange(n, device=at.device)
        self.keys[rows, :, at], self.values[rows, :, at] = key_states[:, :, 0], value_states[:, :, 0]
        return self.keys[:n, :, :width], self.values[:n, :, :width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._plan.width, 0

    def get_seq_length(self) -> int:
        return self._plan.width - 1

    def get_max_length(self) -> int:
        return -1


def fits(memory: object) -> bool:
    """Whether a prompt's memory is plain keys and values of every token, in every layer."""
    return type(memory) is DynamicCache and all(
        type(layer) is DynamicLayer and layer.keys is not None and layer.keys.dim() == 4 for layer in memory.layers
    )


def bytes_a_token(memory: DynamicCache) -> int:
    """Memory of one token of one row."""
    return sum(kept[0, :, 0].numel() * kept.element_size() for kept in chain(*_kept(memory)))


def _kept(memory: Cache) -> list[tuple[Tensor, Tensor]]:
    """Keys and values, layer by layer."""
    layers: list[Any] = memory.layers
    return [(layer.keys, layer.values) for layer in layers]
