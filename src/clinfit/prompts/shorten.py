"""A prompt that is too long loses text of its record: never the instruction, the options or the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.prompts.forms import Branch, Form, Inputs
from clinfit.study.tasks import MultipleChoice, Task

Where = Literal["middle", "end"]
#: Stands where text was left out: between two ends, or alone. Nothing at all would read as a missing value.
CUT = "..."


def size_of(prompt_ids: Sequence[int], branches: Sequence[Branch]) -> int:
    """Tokens of the prompt and the longest of its branches."""
    return len(prompt_ids) + max(branch.longest for branch in branches)


@dataclass(frozen=True)
class Shortened:
    """A record that fits: what is left of its inputs, and the prompt with its branches."""

    inputs: Inputs
    prompt_ids: list[int]
    branches: list[Branch]


def shortened(form: Form, record: Record, size: int, max_length: int, where: Where) -> Shortened:
    """The record with text taken out of the longest text input, then the next, until it fits.

    size: tokens of the whole. Raises ClinfitError when it does not fit even without any document text.
    """
    inputs = dict(record.inputs)
    for name in longest_first(form.task, inputs):
        text = str(inputs.get(name) or "")
        dropped = 0
        while text.strip() and inputs[name] != CUT:
            dropped += size - max_length  # from the whole text each time, so that every round takes more
            inputs[name] = without(form.chat.tokenizer, text, dropped, where) or CUT
            ((prompt, branches),) = form.ask([inputs])
            (ids,) = form.chat.ids([prompt])
            size = size_of(ids, branches)
            if size <= max_length:
                return Shortened(inputs, ids, branches)
    options = " (options are never shortened)" if isinstance(form.task, MultipleChoice) else ""
    raise ClinfitError(
        f"record {record.id} takes {size} tokens without its document text{options}, answer included; {max_length} fit",
        expected=f"an instruction shorter than max_length ({max_length})",
        fix="raise train.max_length, or shorten the prompt",
    )


def longest_first(task: Task, inputs: Inputs) -> list[str]:
    """The inputs whose text may be taken out, the longest first."""
    options = task.options if isinstance(task, MultipleChoice) else []
    names = [name for name, column in task.data.columns.items() if column.type == "text" and name not in options]
    return sorted(names, key=lambda name: -len(str(inputs.get(name) or "")))


def without(tokenizer: Any, text: str, tokens: int, where: Where) -> str:
    """`text` less at least `tokens` tokens, taken from the middle or the end; '' where hardly any would be left."""
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    keep = len(spans) - tokens - (3 if where == "middle" else 1)
    if keep < 2:
        return ""
    if where == "end":
        return text[: spans[keep - 1][1]].rstrip()
    first = (keep + 1) // 2
    return text[: spans[first - 1][1]].rstrip() + f" {CUT} " + text[spans[len(spans) - keep // 2][0] :].lstrip()
