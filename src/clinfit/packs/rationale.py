"""What a model writes when it is asked why it answered: words to be checked, not an explanation.

The record stands in the conversation as it was asked, behind it the pack's decision as the model's own answer, then the
question. Nothing binds what a model writes then to what decided: models give plausible reasons for answers that
something else decided (Turpin et al., 2023, "Language Models Don't Always Say What They Think"). So it is shown as
unverified, enters no figure, and is left out wherever the record's text is.
"""

from dataclasses import replace

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import Answerer, Reasoning
from clinfit.packs.answer import Answer
from clinfit.packs.decide import Served
from clinfit.study.tasks import Multilabel

QUESTION = "Why? Give the reason in one or two sentences, from the text above alone."


def rationale_of(model: Answerer, answer: Answer, served: Served, record: Record, limit: int) -> str:
    """What the model writes, in `limit` tokens at most, when it is asked why.

    answer: the pack's, to this record; where it decides nothing, its most probable label is asked about. Raises
    ClinfitError for models and engines that write no text, and for tasks with several answers a record.
    """
    if not isinstance(model, Reasoning):
        raise ClinfitError(
            f"this {model.spec.family} model, answered by {answer.engine}, cannot write a rationale",
            expected="a causal model that torch answers",
            fix="explain it by occlusion alone",
        )
    if isinstance(served.task, Multilabel):
        raise ClinfitError(
            f"task {answer.task} has an answer for each label, which no single rationale is about",
            expected="a task with one answer a record",
        )
    decided = answer.decision if isinstance(answer.decision, str) else answer.predicted
    try:
        return model.reason(answer.task, replace(record, target=decided), QUESTION, limit).text
    except ClinfitError as error:
        raise ClinfitError(f"no rationale: {error.found}", fix="fewer tokens for the rationale") from error
