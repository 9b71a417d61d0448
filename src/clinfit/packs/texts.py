"""What is noted of a text that a pack wrote: numbers that its record does not hold."""

from clinfit.data.records import Record, Target
from clinfit.evaluation.metrics.text.numbers import Quantity, quantities, unsupported
from clinfit.prompts.template import source_text
from clinfit.study.tasks import Generation, Task


def _shown(quantity: Quantity) -> str:
    """A number as a reader knows it; a date by its parts."""
    if quantity.unit.startswith("date"):
        return quantity.unit.removeprefix("date").strip()
    return f"{float(quantity.written):.15g}"


def notes_on_text(task: Task, record: Record, text: Target) -> list[str]:
    """A note where the text holds numbers that the record does not; nothing of tasks with labels. A proxy by rules."""
    if not isinstance(task, Generation):
        return []
    missing = unsupported(quantities(str(text)), quantities(source_text(task, record.inputs)))
    if not missing:
        return []
    numbers = ", ".join(sorted(map(_shown, missing)))
    return [f"text: numbers that the record does not hold: {numbers}"]
