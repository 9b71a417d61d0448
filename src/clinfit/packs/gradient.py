"""Why a model gave a record its answer, by its gradient: what it looked at in the texts.

Integrated gradients of the model's probability over the embeddings of the texts' tokens (scoring/gradients.py), added
up over the same spans that occlusion removes (packs/explain.py). Nothing is taken away and no variant is asked, so that
spans that say the same share an effect that removal of one of them would not show. The effects of all spans sum to the
probability less that of the record with `...` in the place of its texts, but for the error of the rule.

The probability is the model's own, before the evaluation's recalibration. Only encoders and causal models have a
gradient, and only texts are followed: other values stay as they are.
"""

from typing import TypeGuard

import numpy as np

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import Answerer, Attribution, Differentiable
from clinfit.packs.answer import Answer
from clinfit.packs.decide import Served
from clinfit.packs.explain import label_of, spans
from clinfit.packs.explanation import Effect, Explanation, Unit
from clinfit.packs.faithfulness import Ask, faithfulness
from clinfit.predictions import answer_text
from clinfit.study.tasks import MultipleChoice

#: Families whose probabilities can be followed back to what they read.
FAMILIES = ("causal", "encoder")
#: Points on the way from no text to the text; each costs about three answers.
STEPS = 24

MEANING = (
    "This explains the model, not the disease: what it looked at, as the share of each part of the text in its "
    "probability (integrated gradients). It says nothing of causes."
)


def has_gradient(model: Answerer) -> TypeGuard[Differentiable]:
    """Whether the model's probabilities can be followed back to its texts."""
    return model.spec.family in FAMILIES and isinstance(model, Differentiable)


def explain_by_gradient(
    model: Answerer,
    ask: Ask,
    answer: Answer,
    served: Served,
    record: Record,
    label: str | None = None,
    unit: Unit | None = None,
) -> Explanation:
    """Why this record gets its answer, by the model's gradient.

    answer: the pack's, to this record. The rest as of `explain`. Raises ClinfitError for models and engines without
    gradients and for an unknown label.
    """
    if not has_gradient(model):
        raise ClinfitError(
            f"this {model.spec.family} model, answered by {answer.engine}, has no gradient to follow to its texts",
            expected="an encoder or a causal model that torch answers",
            fix="explain it by occlusion",
        )
    task = served.task
    label = label_of(task, answer, label)
    found = model.attribute(answer.task, record, label, STEPS)
    effects = [effect for name in task.text_inputs for effect in _effects(record, name, found, unit)]
    effects.sort(key=lambda effect: -abs(effect.effect))
    return Explanation(
        task=answer.task,
        id=record.id,
        label=label,
        probability=found.probability,
        decision=answer_text(answer.decision) or "",
        status=answer.status,
        effects=tuple(effects),
        left_out=_left_out(served, record, answer, found),
        notes=answer.notes,
        pack=answer.pack,
        engine=answer.engine,
        method="gradient",
        meaning=MEANING,
        faithfulness=faithfulness(ask, answer, record, label, effects),
    )


def _effects(record: Record, name: str, found: Attribution, unit: Unit | None) -> list[Effect]:
    """The effects of one text's spans, as far as the model read them."""
    text = record.inputs[name]
    own = [k for k, place in enumerate(found.places) if place.input == name]
    if not isinstance(text, str) or not own:
        return []
    begins = np.array([found.places[k].start for k in own])
    effects = []
    for start, end in spans(text, unit):
        inside = (begins >= start) & (begins < end)
        if inside.any():
            share = float(found.effects[np.array(own)[inside]].sum())
            effects.append(Effect(name, start, end, text[start:end], None, None, share))
    return effects


def _left_out(served: Served, record: Record, answer: Answer, found: Attribution) -> dict[str, str]:
    options = served.task.options if isinstance(served.task, MultipleChoice) else []
    placed = {place.input for place in found.places}
    left_out = {}
    for name, column in served.task.data.columns.items():
        if name in options:
            left_out[name] = "an option is an answer, not a part of the question"
        elif column.type != "text":
            left_out[name] = "a value is explained by occlusion, and not by gradient"
        elif not record.inputs[name]:
            left_out[name] = "missing"
        elif name not in placed:
            left_out[name] = "the prompt does not show it as it is"
    if answer.dropped_tokens:
        left_out["what was cut"] = f"{answer.dropped_tokens} tokens are more than the model reads"
    return left_out
