"""Prompts with branches behind them as rows of one batch.

One pass over a prompt serves all that may stand behind it: every branch sees the prompt and itself, every answer of a
branch sees the branch's question and itself, and nothing sees its neighbours. Each stands at the positions it would
have if it stood there alone.

    prompt | question 1 | no | yes | question 2 | no | yes        one row, `together`

Where an architecture cannot take a custom attention mask (sliding windows shorter than the row, recurrent layers), each
stands in a row of its own (`apart`): the same numbers at a higher cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from clinfit.prompts.batches import pad_right

#: What configurations call the number of tokens that a layer looks at, or the size of the pieces it reads.
WINDOWS = (
    "sliding_window",
    "window_size",
    "attention_window_size",
    "attention_chunk_size",
    "local_attention",
    "index_topk",
    "indexer_budget",
    "index_topk_blocks",  # of blocks, which have several tokens each
)

#: Behind a prompt: what is read only, and the token sequences that are predicted behind it.
Behind = tuple[Sequence[int], Sequence[Sequence[int]]]


@dataclass(frozen=True)
class Rows:
    """A batch, and where in it which token is predicted.

    ids: (rows, width). rows, columns: the distinct positions whose logits are wanted. index: for each predicted token,
    in the order prompt, branch, answer, token: which of these positions stands before it. tokens: these tokens.
    extra: attention mask (rows, 1, width, width), additive, and positions (rows, width), where branches stand side by
    side; behind a beginning that is known (scoring/beginnings.py) its memory, and mask and positions from there on.
    """

    ids: Tensor
    rows: Tensor
    columns: Tensor
    index: Tensor
    tokens: Tensor
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Row:
    """A row in the making. owner: of each token the number of its segment, 0 for the prompt. sees: of each token the
    segment that it sees beside the prompt and its own. positions: those that it would have if it stood there alone."""

    ids: list[int]
    owner: list[int]
    sees: list[int]
    positions: list[int]

    @classmethod
    def of(cls, prompt: Sequence[int]) -> "_Row":
        zeros = [0] * len(prompt)
        return cls(list(prompt), list(zeros), list(zeros), list(range(len(prompt))))

    def add(self, tokens: Sequence[int], first: int, question: int = 0) -> int:
        """Append a segment whose first token has the position `first`, and which sees a question; its number."""
        number = self.owner[-1] + 1
        self.ids += tokens
        self.owner += [number] * len(tokens)
        self.sees += [question] * len(tokens)
        self.positions += range(first, first + len(tokens))
        return number


def together(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], branches: Sequence[Sequence[Behind]], pad_id: int
) -> Rows:
    """One row a prompt. An answer's last token is only ever predicted, so it is not in the row."""
    rows = [_Row.of(prompt) for prompt in prompts]
    where: list[tuple[int, int]] = []
    for number, (row, prompt, behind) in enumerate(zip(rows, prompts, branches, strict=True)):
        for context, answers in behind:
            question = row.add(context, len(prompt)) if context else 0
            last = len(row.ids) - 1 if context else len(prompt) - 1
            for answer in answers:
                where += [(number, last), *((number, len(row.ids) + i) for i in range(len(answer) - 1))]
                if len(answer) > 1:
                    row.add(answer[:-1], len(prompt) + len(context), question)
    ids = pad_right([row.ids for row in rows], pad_id, model.device)
    alone = all(row.owner[-1] <= 1 for row in rows)  # a row that is one text needs no mask
    return _with_targets(ids, where, branches, {} if alone else _attention(rows, ids.device, model.dtype))


def apart(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], branches: Sequence[Sequence[Behind]], pad_id: int
) -> Rows:
    """A row for each answer; behind a question, answers of one token share its row."""
    rows: list[list[int]] = []
    where: list[tuple[int, int]] = []
    for prompt, behind in zip(prompts, branches, strict=True):
        for context, answers in behind:
            known: dict[tuple[int, ...], int] = {}
            for answer in answers:
                row = [*prompt, *context, *answer[:-1]]
                number = known.setdefault(tuple(answer[:-1]), len(rows)) if context else len(rows)
                if number == len(rows):
                    rows.append(row)
                where += [(number, len(prompt) + len(context) - 1 + i) for i in range(len(answer))]
    return _with_targets(pad_right(rows, pad_id, model.device), where, branches, {})


def _with_targets(
    ids: Tensor, where: list[tuple[int, int]], branches: Sequence[Sequence[Behind]], extra: dict[str, Tensor]
) -> Rows:
    # Answers share the position before their first token: every distinct position is looked at once.
    distinct = {position: i for i, position in enumerate(dict.fromkeys(where))}
    rows, columns = (torch.tensor(x, device=ids.device) for x in zip(*distinct, strict=True))
    index = torch.tensor([distinct[position] for position in where], device=ids.device)
    tokens = [token for behind in branches for _, answers in behind for answer in answers for token in answer]
    return Rows(ids, rows, columns, index, torch.tensor(tokens, device=ids.device), extra)


def _attention(rows: Sequence[_Row], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """Attention mask and positions for segments side by side."""
    owner, sees, positions = (
        pad_right(values, 0, device)
        for values in ([r.owner for r in rows], [r.sees for r in rows], [r.positions for r in rows])
    )
    width = owner.shape[1]
    seen = owner[:, None, :]  # by the token of the second dimension
    allowed = (seen == 0) | (seen == owner[:, :, None]) | (seen == sees[:, :, None])
    allowed &= torch.tril(torch.ones(width, width, dtype=torch.bool, device=device))
    mask = torch.zeros(len(rows), 1, width, width, dtype=dtype, device=device)
    mask.masked_fill_(~allowed[:, None], torch.finfo(dtype).min)
    return {"attention_mask": mask, "position_ids": positions}


def attends_everywhere(model: PreTrainedModel, width: int) -> bool:
    """Whether every layer is plain full attention over a row of `width` tokens, by positions that can be told to it."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    limits = windows_of(config) + _mask_sizes(model)
    full = kinds <= {"full_attention", "sliding_attention"} and not getattr(config, "alibi", False)
    return full and all(limit >= width for limit in limits)


def windows_of(config: PretrainedConfig) -> list[int]:
    """Tokens that layers look back on, of each kind of layer that a configuration limits."""
    windows = [getattr(config, name, None) for name in WINDOWS]
    return [window for window in windows if isinstance(window, int)]


def _mask_sizes(model: PreTrainedModel) -> list[int]:
    """Tokens that masks which a model carries itself are made for; GPT-Neo's hide what its local layers do not see."""
    square = (buffer for buffer in model.buffers() if buffer.dtype in (torch.bool, torch.uint8) and buffer.dim() > 1)
    return [buffer.shape[-1] for buffer in square if buffer.shape[-1] == buffer.shape[-2]]
