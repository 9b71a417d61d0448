"""Whether what an explanation names first moves the model more than what it names later.

Comprehensiveness (DeYoung et al., "ERASER: a benchmark to evaluate rationalized NLP models", ACL 2020, section 4): how
far the probability moves when what is named first is taken away, here beside how far it moves when as many others are.
Effects of single things need not add up, and those by gradient come from no removal at all, so that this is asked of
every record that is explained. What is taken away together has one direction, and changes are counted in it: a raising
and a lowering part would hide each other.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from clinfit.data.records import Record, Value
from clinfit.packs.answer import Answer
from clinfit.packs.explanation import Effect, Faithfulness

Ask = Callable[[Sequence[Record]], Sequence[Answer]]

#: Things that are taken away together, and the fewest effects of which others are drawn.
TAKEN, FEWEST = 2, 5
#: Most ways to draw others; each costs an answer.
DRAWS = 8


def faithfulness(
    ask: Ask, answer: Answer, record: Record, label: str, effects: Sequence[Effect]
) -> Faithfulness | None:
    """answer: to the record as it is. effects: the largest first. The same record gives the same draws, always."""
    if len(effects) < FEWEST:
        return None
    direction = 1 if effects[0].effect >= 0 else -1
    named = [effect for effect in effects if direction * effect.effect >= 0][:TAKEN]
    others = list(combinations([effect for effect in effects if effect not in named], len(named)))
    drawn = others if len(others) <= DRAWS else random.Random(0).sample(others, DRAWS)
    answers = ask([without(record, some) for some in (named, *drawn)])
    moved = [direction * (answer.probabilities[label] - other.probabilities[label]) for other in answers]
    further = sum(moved[0] > other for other in moved[1:])
    return Faithfulness(len(named), direction > 0, moved[0], float(np.mean(moved[1:])), further, len(drawn))


def without(record: Record, effects: Sequence[Effect]) -> Record:
    """The record with spans removed and other values replaced by what is put in their places."""
    inputs: dict[str, Value] = dict(record.inputs)
    for effect in sorted(effects, key=lambda effect: -(effect.start or 0)):  # places before it stay where they are
        if effect.start is None or effect.end is None:
            inputs[effect.input] = effect.instead
        else:
            text = str(inputs[effect.input])
            inputs[effect.input] = text[: effect.start] + text[effect.end :].lstrip()
    return replace(record, inputs=inputs)
