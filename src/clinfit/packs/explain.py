"""Why a pack's model gave a record its answer: what its probability becomes when one thing of the record is taken away.

Numbers and categories: the value is replaced by what is typical of training (`seen`: the median, the commonest
category). Texts: a span is removed (erasure; Li, Monroe and Jurafsky, 2016). One thing at a time, everything else as it
is, each variant asked as a record of its own through `Pack.answer`, so the numbers are those that the pack serves.

An effect is P(record) - P(variant): positive where what stands there raises the probability. Effects do not sum to
anything, two inputs that say the same hide each other, and a variant may be a record that no patient could be. They
explain the model and not the disease. Whether spans with large effects matter to the model more than others
(comprehensiveness; DeYoung et al., 2020) is what tests/packs/test_explain.py asks.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from clinfit.data.clean import SPACELESS
from clinfit.data.declared import cut
from clinfit.data.records import Record, Value
from clinfit.data.seen import Seen
from clinfit.errors import ClinfitError, nearest
from clinfit.packs.answer import Answer
from clinfit.packs.decide import Served
from clinfit.predictions import answer_text
from clinfit.study.tasks import MultipleChoice, Task

Unit = Literal["sentences", "words"]
Method = Literal["occlusion", "gradient"]
Ask = Callable[[Sequence[Record]], Sequence[Answer]]

#: More spans than this of one text are joined with their neighbours: each costs an answer of the model.
MOST_SPANS = 50
#: Words that are removed together at least: a single one seldom changes an answer.
WINDOW = 3
#: From this many sentences on, sentences are removed, else words.
SENTENCES = 4
#: Effects that are shown on a terminal.
SHOWN = 15

WORD = re.compile(rf"{SPACELESS.pattern}|(?:(?!{SPACELESS.pattern})\S)+")
SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*\s+|\n+|[。！？]")

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
class Explanation:
    """Why a record got its answer. label: whose probability is explained. effects: the largest first.

    left_out: inputs that were not tried, and why. notes, pack, engine: as of the answer. method: how it was found.
    meaning: what this is. rationale: what the model wrote when it was asked why, unverified (packs/rationale.py).
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
        reasons: dict[str, list[str]] = {}
        for name, why in self.left_out.items():
            reasons.setdefault(why, []).append(name)
        lines += [f"not tried: {', '.join(names)} ({why})" for why, names in reasons.items()]
        lines += [f"note: {note}" for note in self.notes if show_record]
        if self.rationale is not None and show_record:
            lines.append(f"rationale ({UNVERIFIED}): {self.rationale or '(none was written)'}")
        return [*lines, self.meaning]


def explain(
    ask: Ask, answer: Answer, served: Served, record: Record, label: str | None = None, unit: Unit | None = None
) -> Explanation:
    """Why this record gets its answer.

    ask: the pack's answers to records of the task. answer: that to this record. record: as `Pack.records` gives it.
    label: whose probability; default: the positive label, or where there is none the most probable one. unit: what is
    removed of texts; default: sentences where there are several, else words. Raises ClinfitError for an unknown label.
    """
    variants, left_out = _variants(served.task, record, served.seen, unit)
    others = ask([variant for _, variant in variants]) if variants else []
    label = label_of(served.task, answer, label)
    probability = answer.probabilities[label]
    effects = [
        replace(what, probability=other.probabilities[label], effect=probability - other.probabilities[label])
        for (what, _), other in zip(variants, others, strict=True)
    ]
    if answer.dropped_tokens:
        left_out["end of the text"] = f"{answer.dropped_tokens} tokens are more than the model reads"
    return Explanation(
        task=answer.task,
        id=record.id,
        label=label,
        probability=probability,
        decision=answer_text(answer.decision) or "",
        status=answer.status,
        effects=tuple(sorted(effects, key=lambda effect: -abs(effect.effect))),
        left_out=left_out,
        notes=answer.notes,
        pack=answer.pack,
        engine=answer.engine,
    )


def label_of(task: Task, answer: Answer, label: str | None) -> str:
    """Whose probability is explained; raises ClinfitError for an unknown one."""
    if label is None:
        likeliest = max(answer.probabilities, key=lambda name: answer.probabilities[name])
        decided = str(answer.decision) if answer.decision in answer.probabilities else likeliest
        return task.positive_label or decided
    if label not in task.labels:
        near = nearest(label, task.labels)
        raise ClinfitError(
            f"there is no label {label!r}",
            expected=f"one of {', '.join(task.labels)}",
            fix=f"did you mean {near}?" if near else "",
        )
    return label


# ---------------------------------------------------------------- variants of the record


def _variants(
    task: Task, record: Record, seen: Seen, unit: Unit | None
) -> tuple[list[tuple[Effect, Record]], dict[str, str]]:
    """What is taken away, each with the record without it; and the inputs that cannot be tried."""
    options = task.options if isinstance(task, MultipleChoice) else []
    variants: list[tuple[Effect, Record]] = []
    left_out: dict[str, str] = {}
    for name, column in task.data.columns.items():
        value = record.inputs[name]
        if name in options:
            left_out[name] = "an option is an answer, not a part of the question"
        elif column.type == "text" and isinstance(value, str):
            variants += [_without(record, name, value, span) for span in spans(value, unit)]
        elif column.type == "text":
            left_out[name] = "missing"
        elif name not in seen:
            left_out[name] = "what is typical of it may not be told, as too few training records share a value"
        elif value == seen[name].typical:
            left_out[name] = "typical already"
        else:
            typical = seen[name].typical
            variants.append((Effect(name, None, None, value, typical, 0.0, 0.0), _with(record, name, typical)))
    return variants, left_out


def _with(record: Record, name: str, value: Value) -> Record:
    inputs: Mapping[str, Value] = record.inputs | {name: value}
    return replace(record, inputs=dict(inputs))


def _without(record: Record, name: str, text: str, span: tuple[int, int]) -> tuple[Effect, Record]:
    start, end = span
    effect = Effect(name, start, end, text[start:end], None, 0.0, 0.0)
    return effect, _with(record, name, text[:start] + text[end:].lstrip())


def spans(text: str, unit: Unit | None = None) -> list[tuple[int, int]]:
    """Start and end of the parts of a text that are removed, in order: they hold every word once."""
    sentences = list(_sentences(text))
    if unit == "sentences" or (unit is None and len(sentences) >= SENTENCES):
        return _joined(sentences, 1)
    return _joined([found.span() for found in WORD.finditer(text)], WINDOW)


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for end in [*(found.end() for found in SENTENCE_END.finditer(text)), len(text)]:
        if part := text[start:end].strip():
            begin = text.index(part, start)
            yield begin, begin + len(part)
        start = end


def _joined(parts: Sequence[tuple[int, int]], together: int) -> list[tuple[int, int]]:
    """Parts joined by at least so many, and to MOST_SPANS at most."""
    size = max(together, -(-len(parts) // MOST_SPANS))
    return [(parts[at][0], parts[min(at + size, len(parts)) - 1][1]) for at in range(0, len(parts), size)]


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
