"""Beginnings that prompts share, read once: system text, instruction and whatever else stands before a record's text.

Keys and values of each are kept, and a prompt is read from where it parts with the beginning that it has most of. They
belong to the weights as these are: a model that is trained on has to be asked without. The passes are other ones than
over a whole prompt, so that numbers differ from its by rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from clinfit.prompts.places import alike
from clinfit.scoring.answer_logits import states_at
from clinfit.scoring.rows import Rows, attends_everywhere
from clinfit.scoring.slots import fits

#: Tokens that a beginning has at least: fewer are read as fast as they are copied.
FEWEST = 8


@dataclass(frozen=True)
class Beginning:
    """ids: of its tokens. kept: keys and values (1, heads, tokens, size of a head), layer by layer."""

    ids: list[int]
    kept: list[tuple[Tensor, Tensor]]

    def memory(self, length: int, rows: int) -> DynamicCache:
        """Of its first tokens, in so many rows."""
        memory = DynamicCache()
        for layer, tensors in enumerate(self.kept):
            keys, values = (part[:, :, :length].expand(rows, -1, -1, -1) for part in tensors)
            memory.update(keys, values, layer)
        return memory


class Beginnings:
    """The beginnings that are kept for one model."""

    def __init__(self, model: PreTrainedModel, found: Sequence[Beginning]) -> None:
        self.model, self.found = model, found

    @classmethod
    @torch.inference_mode()
    def read(cls, model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> Self:
        """Read in the precision of the block. Short ones are not kept, nor any of an architecture whose memory is more
        than keys and values of every token."""
        found = []
        for ids in texts:
            if len(ids) < FEWEST or not attends_everywhere(model, len(ids)):
                continue
            memory = DynamicCache()
            row, last = (torch.tensor([at], device=model.device) for at in (0, len(ids) - 1))
            whole = torch.tensor([list(ids)], device=model.device)
            states_at(model, whole, row, last, past_key_values=memory, use_cache=True)
            if fits(memory):
                layers: list[Any] = memory.layers
                found.append(Beginning(list(ids), [(layer.keys, layer.values) for layer in layers]))
        return cls(model, found)

    def best(self, texts: Sequence[Sequence[int]], most: int, width: int) -> tuple[Beginning, int] | None:
        """The beginning of which all texts have most, and how many of its tokens, `most` at most; None where they have
        too few. width: tokens of the longest text, with all that will follow."""
        if not self.found or not attends_everywhere(self.model, width):
            return None
        shared = [min(most, *(alike(one.ids, text) for text in texts)) for one in self.found]
        at = max(range(len(shared)), key=shared.__getitem__)
        return (self.found[at], shared[at]) if shared[at] >= FEWEST else None

    def behind(self, rows: Rows) -> Rows:
        """The rows from where they part with a beginning; as they are where they have none."""
        n, width = rows.ids.shape
        # The first token that is predicted needs the state of the one before it, which must be read.
        known = self.best(rows.ids.tolist(), int(rows.columns.min()), width)
        if known is None:
            return rows
        beginning, length = known
        extra = {"past_key_values": beginning.memory(length, n), "use_cache": True}
        extra["position_ids"] = rows.extra["position_ids"][:, length:] if rows.extra else self._positions(length, width)
        if rows.extra:
            extra["attention_mask"] = rows.extra["attention_mask"][:, :, length:]
        return replace(rows, ids=rows.ids[:, length:], columns=rows.columns - length, extra=extra)

    def _positions(self, begin: int, end: int) -> Tensor:
        return torch.arange(begin, end, device=self.model.device)[None]
