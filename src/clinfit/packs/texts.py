"""What a pack says of a text that it wrote: numbers that its record does not hold, and the object that it is."""

from decimal import Decimal

from clinfit.data.fields import FAULTS, Extracted, read_object
from clinfit.data.records import Record, Target
from clinfit.evaluation.metrics.text.numbers import Quantity, quantities, unsupported
from clinfit.models.base import Outputs, TextOutputs
from clinfit.prompts.template import source_text
from clinfit.study.tasks import Extraction, Task, Writing

#: As many digits of a number are shown.
_LONGEST = 30


def shown_number(quantity: Quantity) -> str:
    """A number as a reader knows it; a date by its parts."""
    if quantity.date is not None:
        return quantity.date.shown
    if abs(quantity.written) < 10**15:
        return f"{float(quantity.written):.15g}"
    digits = f"{Decimal(int(quantity.written)):f}"
    return digits if len(digits) <= _LONGEST else f"{digits[:_LONGEST]}... ({len(digits.lstrip('-'))} digits)"


def notes_on_pieces(outputs: Outputs, i: int) -> list[str]:
    """A note where record i was read in pieces."""
    if (
        not isinstance(outputs, TextOutputs)
        or outputs.pieces is None
        or outputs.rounds is None
        or not outputs.pieces[i]
    ):
        return []
    rounds = f"{outputs.rounds[i]} round{'' if outputs.rounds[i] == 1 else 's'}"
    cut = 0 if outputs.cut_pieces is None else outputs.cut_pieces[i]
    told = f"; the texts to {cut} of them were cut off" if cut else ""
    return [f"record: longer than the model reads, and read in {outputs.pieces[i]} pieces, {rounds}{told}"]


def object_of(task: Task, text: Target) -> Extracted | None:
    """What a text says of the declared fields; None of tasks that declare none."""
    return read_object(str(text), task.declared) if isinstance(task, Extraction) else None


def notes_on_text(task: Task, record: Record, text: Target, found: Extracted | None) -> list[str]:
    """A note for each fault of a text that is no object of the fields (`found`); else one where it holds numbers that
    the record does not, a proxy by rules. Nothing of tasks with labels."""
    if not isinstance(task, Writing):
        return []
    if found is not None and found.faults:
        return [f"text: {FAULTS[fault]}" for fault in found.faults]
    missing = unsupported(quantities(str(text)), quantities(source_text(task, record.inputs)))
    if not missing:
        return []
    numbers = ", ".join(sorted(map(shown_number, missing)))
    return [f"text: numbers that the record does not hold: {numbers}"]
