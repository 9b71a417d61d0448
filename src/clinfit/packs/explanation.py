"""What an explanation of one record says (found by packs/explain.py or packs/gradient.py), as data and in words."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from clinfit.data.declared import cut
from clinfit.data.records import Value

Method = Literal["occlusion", "gradient"]
#: What is removed of a text at once.
Unit = Literal["sentences", "words"]

#: Effects that are shown on a terminal.
SHOWN = 15

UNVERIFIED = "unverified: written after the decision, and need not be what decided; check it against the record"
MEANING = (
    "This explains the model, not the disease: how its probability changes when one thing is taken away and the rest "
    "stays. It says nothing of causes, and inputs that say the same hide each other."
)


@dataclass(frozen=True)
class Effect:
    """One thing of the record. effect: P(record) - P(without it); by gradient, its share of it (packs/gradient.py).

    start, end: characters of a span of the text as it is read; None for a value. value: what stands there. instead:
    what was put in its place, None for a span. probability: P(without it), None by gradient, which takes nothing away.
    """

    input: str
    start: int | None
    end: int | None
    value: Value
    instead: Value
    probability: float | None
    effect: float


@dataclass(frozen=True)
class Faithfulness:
    """Whether what is named first moves the model more than the rest (packs/faithfulness.py). taken: things of one
    direction that are taken away together. raise_it: whether they raise the probability. named: how far it goes back
    without those with the largest effects. drawn: without others instead, the mean of `draws` ways to draw them.
    further: than in how many of these the named ones move it."""

    taken: int
    raise_it: bool
    named: float
    drawn: float
    further: int
    draws: int

    @property
    def in_order(self) -> bool:
        return self.named > self.drawn

    def line(self, label: str) -> str:
        what, goes = ("raise", "falls") if self.raise_it else ("lower", "rises")
        return (
            f"check: without the {self.taken} that {what} it most P({label}) {goes} by {self.named:.4f}, without "
            f"{self.taken} others by {self.drawn:.4f} (mean of {self.draws} draws; further than {self.further} of them)"
        ) + ("" if self.in_order else ": do not read the order of these effects")


@dataclass(frozen=True)
class Explanation:
    """Why a record got its answer. label: whose probability is explained. effects: the largest first.

    left_out: inputs that were not tried, and why. notes, pack, engine: as of the answer. method: how it was found.
    meaning: what this is. rationale: what the model wrote when it was asked why, unverified (packs/rationale.py).
    faithfulness: None where there are too few effects to draw from.
    """

    task: str
    id: str
    label: str
    probability: float
    decision: str
    status: str
    effects: tuple[Effect, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...]
    pack: str
    engine: str
    method: Method = "occlusion"
    meaning: str = MEANING
    rationale: str | None = None
    faithfulness: Faithfulness | None = None

    def as_dict(self, *, show_record: bool = True) -> dict[str, Any]:
        """Ready for JSON. show_record: with values and texts of the record, and what may quote
        them: notes and rationale."""
        content = asdict(self)
        if not show_record:
            del content["notes"], content["rationale"]
            for effect in content["effects"]:
                del effect["value"]
        return content

    def lines(self, *, show_record: bool = True) -> list[str]:
        """For a terminal."""
        shown = self.effects[:SHOWN]
        rows = [("input", "value", "instead", f"P({self.label})", "effect")]
        rows += [_row(effect, show_record) for effect in shown]
        if self.method == "gradient":
            rows[0] = ("input", "value", "", "", "effect")
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines = [
            f"record {self.id}: P({self.label}) = {self.probability:.4f}, decision: {self.decision or 'none'}"
            + (", for a person to decide" if self.status == "refer" else ""),
            *table,
        ]
        if len(self.effects) > len(shown):
            lines.append(f"and {len(self.effects) - len(shown)} smaller ones")
        if self.faithfulness is not None:
            lines.append(self.faithfulness.line(self.label))
        reasons: dict[str, list[str]] = {}
        for name, why in self.left_out.items():
            reasons.setdefault(why, []).append(name)
        lines += [f"not tried: {', '.join(names)} ({why})" for why, names in reasons.items()]
        lines += [f"note: {note}" for note in self.notes if show_record]
        if self.rationale is not None and show_record:
            lines.append(f"rationale ({UNVERIFIED}): {self.rationale or '(none was written)'}")
        return [*lines, self.meaning]


# ---------------------------------------------------------------- words


def _row(effect: Effect, show_record: bool) -> tuple[str, str, str, str, str]:
    span = effect.start is not None
    place = f"{effect.input} {effect.start}-{effect.end}" if span else effect.input
    value = _shown(effect.value) if show_record else "not shown"
    direction = "raises it" if effect.effect > 0 else "lowers it" if effect.effect < 0 else "no change"
    if effect.probability is None:
        return place, value, "", "", f"{effect.effect:+.4f} {direction}"
    instead = "removed" if span else _shown(effect.instead)
    return place, value, instead, f"{effect.probability:.4f}", f"{effect.effect:+.4f} {direction}"


def _shown(value: Value) -> str:
    if value is None:
        return "missing"
    text = " ".join(value.split()) if isinstance(value, str) else f"{value:g}"
    return cut(text)
