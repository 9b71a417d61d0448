"""Why a pack's model gave a record its answer: what its probability becomes when one thing of the record is taken away.

Numbers and categories: the value is replaced by what is typical of training (`seen`: the median, the commonest
category). Texts: a span is removed (erasure; Li, Monroe and Jurafsky, 2016). One thing at a time, everything else as it
is, each variant asked as a record of its own through `Pack.answer`, so the numbers are those that the pack serves.

An effect is P(record) - P(variant): positive where what stands there raises the probability. Effects do not sum to
anything, two inputs that say the same hide each other, and a variant may be a record that no patient could be. They
explain the model and not the disease.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from clinfit.data.clean import SPACELESS
from clinfit.data.records import Record
from clinfit.data.seen import Seen
from clinfit.errors import ClinfitError, nearest
from clinfit.packs.answer import Answer
from clinfit.packs.decide import Served
from clinfit.packs.explanation import Effect, Explanation, Unit
from clinfit.packs.faithfulness import Ask, faithfulness, without
from clinfit.predictions import answer_text
from clinfit.study.tasks import MultipleChoice, Task

#: More spans than this of one text are joined with their neighbours: each costs an answer of the model.
MOST_SPANS = 50
#: Words that are removed together at least: a single one seldom changes an answer.
WINDOW = 3
#: From this many sentences on, sentences are removed, else words.
SENTENCES = 4
WORD = re.compile(rf"{SPACELESS.pattern}|(?:(?!{SPACELESS.pattern})\S)+")
SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*\s+|\n+|[。！？]")


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
    effects.sort(key=lambda effect: -abs(effect.effect))
    if answer.dropped_tokens:
        left_out["end of the text"] = f"{answer.dropped_tokens} tokens are more than the model reads"
    return Explanation(
        task=answer.task,
        id=record.id,
        label=label,
        probability=probability,
        decision=answer_text(answer.decision) or "",
        status=answer.status,
        effects=tuple(effects),
        left_out=left_out,
        notes=answer.notes,
        pack=answer.pack,
        engine=answer.engine,
        faithfulness=faithfulness(ask, answer, record, label, effects),
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
            effect = Effect(name, None, None, value, typical, 0.0, 0.0)
            variants.append((effect, without(record, [effect])))
    return variants, left_out


def _without(record: Record, name: str, text: str, span: tuple[int, int]) -> tuple[Effect, Record]:
    start, end = span
    effect = Effect(name, start, end, text[start:end], None, 0.0, 0.0)
    return effect, without(record, [effect])


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
