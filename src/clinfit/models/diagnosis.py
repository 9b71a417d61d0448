"""How a causal model answers under several ways of asking, and which label it leans to when it is shown nothing.

Each way of asking is a renderer of its own. For every record: probability of each label, label mass, the answer that it
writes by itself and what the strict parser makes of it, and whether the most probable next tokens begin a label. For a
record without content the label probabilities show the prior that prompt and chat markup bring along ("Calibrate Before
Use", Zhao et al., 2021).
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.answering import said
from clinfit.models.bases.pretrained import longest_input
from clinfit.models.causal import CausalModel, LoadedCausal
from clinfit.prompts.encode import Encoded, Renderer
from clinfit.prompts.template import prompt_source
from clinfit.scoring.answer_logits import answer_logits, states_at
from clinfit.scoring.generate import Request, stop_tokens
from clinfit.scoring.parse import Parsed, parse_answer
from clinfit.study.tasks import Task

#: Appended to the prompt where the label is asked for before any explanation.
ANSWER_FIRST = "\n\nWrite the answer first, before any explanation: {{ labels }}."
#: Next tokens that are looked at.
TOP = 5


@dataclass(frozen=True)
class Way:
    """One way of asking. chat: with the tokenizer's chat template; without it as plain text."""

    name: str
    task: Task
    chat: bool = True


@dataclass(frozen=True)
class Token:
    """One of the most probable next tokens. labels: those whose first token it is, none for any other token."""

    text: str
    probability: float
    labels: list[str]


@dataclass(frozen=True)
class Reply:
    """What a model makes of one record. probabilities: by label. text: what it wrote, which may quote the record.

    tokens: of the text. cut_off: whether it reached the limit before it ended. next_tokens: the most probable ones.
    """

    id: str
    probabilities: dict[str, float]
    label_mass: float
    prompt_tokens: int
    next_tokens: list[Token]
    text: str
    tokens: int
    cut_off: bool
    parsed: Parsed


@dataclass(frozen=True)
class Lean:
    """Label probabilities for a record without content."""

    shown: str
    probabilities: dict[str, float]
    label_mass: float


@dataclass(frozen=True)
class Diagnosis:
    """One way of asking. markup: what stands before and after the user message.

    problem: why it cannot be tried, '' when it can.
    """

    way: str
    markup: tuple[str, str]
    leans: list[Lean]
    replies: list[Reply]
    problem: str = ""


def ways_of_asking(task: Task, tokenizer: Any) -> list[Way]:
    """As trained first, then one change at a time; what the task or tokenizer does not have cannot be left out."""
    prompt = prompt_source(task)
    ways = [Way("as trained", task)]
    if task.system:
        ways.append(Way("without system text", task.model_copy(update={"system": None})))
    ways.append(Way("answer first", task.model_copy(update={"prompt": prompt + ANSWER_FIRST})))
    if tokenizer.chat_template:
        ways.append(Way("without chat template", task, chat=False))
    return ways


def diagnose(model: CausalModel, task: str, records: Sequence[Record], limit: int) -> list[Diagnosis]:
    """Ask for each record in every way. limit: most tokens of a written answer."""
    loaded, asked = model.opened(task), model.tasks[task]
    if asked.kind == "multilabel":
        raise ClinfitError(
            f"task {task} asks a question for each label; only tasks with one answer a record are diagnosed",
            fix="name another task",
        )
    trained = loaded.renderers[task]
    return [_try(loaded, trained, way, records, limit) for way in ways_of_asking(asked, loaded.tokenizer)]


def _try(loaded: LoadedCausal, trained: Renderer, way: Way, records: Sequence[Record], limit: int) -> Diagnosis:
    tokenizer = loaded.tokenizer
    if not way.chat:
        tokenizer = deepcopy(tokenizer)
        tokenizer.chat_template = None
    try:
        renderer = Renderer(way.task, tokenizer, max_length=trained.max_length, shorten=trained.shorten)
        empty = without_content(way.task)
        empty_encoded = renderer.encode_all(list(empty.values()))
        encoded = renderer.encode_all(records)
    except ClinfitError as error:
        return Diagnosis(way.name, ("", ""), [], [], error.found)
    leans = []
    for (shown, record), item in zip(empty.items(), empty_encoded, strict=True):
        probabilities, mass = _probabilities(loaded, renderer, record, item)
        leans.append(Lean(shown, probabilities, mass))
    replies = [_reply(loaded, renderer, record, item, limit) for record, item in zip(records, encoded, strict=True)]
    return Diagnosis(way.name, renderer.markup, leans, replies)


def without_content(task: Task) -> dict[str, Record]:
    """Records that say nothing: every input missing, and N/A in the place of every text and category."""
    columns = task.data.columns
    contents = {
        "all inputs missing": dict.fromkeys(columns),
        "N/A as every text": {name: None if column.type == "number" else "N/A" for name, column in columns.items()},
    }
    return {shown: Record("", "", inputs, None) for shown, inputs in contents.items()}


def _probabilities(
    loaded: LoadedCausal, renderer: Renderer, record: Record, item: Encoded
) -> tuple[dict[str, float], float]:
    """Probability of each label, and label mass."""
    found = said(renderer.task, [record], loaded.scores([item]))
    assert found.label_mass is not None
    by_label = dict(zip(renderer.task.labels, found.probabilities[0].tolist(), strict=True))
    return by_label, float(found.label_mass[0])


def _reply(loaded: LoadedCausal, renderer: Renderer, record: Record, item: Encoded, limit: int) -> Reply:
    task, tokenizer, model = renderer.task, renderer.tokenizer, loaded.model
    probabilities, mass = _probabilities(loaded, renderer, record, item)
    if longest := longest_input(model.config, tokenizer):
        limit = min(limit, longest - len(item.prompt_ids))
    with loaded.autocast():
        (found,) = loaded.generator.write([Request(item.prompt_ids, limit)], stop_tokens(model, renderer.end_ids))
    text = tokenizer.decode(found.ids, skip_special_tokens=True)
    return Reply(
        id=item.id,
        probabilities=probabilities,
        label_mass=mass,
        prompt_tokens=len(item.prompt_ids),
        next_tokens=_next_tokens(loaded, renderer, item),
        text=text,
        tokens=len(found.ids),
        cut_off=not found.ended,
        parsed=parse_answer(text, task.labels),
    )


@torch.inference_mode()
def _next_tokens(loaded: LoadedCausal, renderer: Renderer, item: Encoded) -> list[Token]:
    """The most probable tokens behind the prompt."""
    ids = torch.tensor([item.prompt_ids], device=loaded.model.device)
    with loaded.autocast():
        first, last = torch.zeros(1, dtype=torch.long), torch.tensor([ids.shape[1] - 1])
        hidden = states_at(loaded.model, ids, first.to(ids.device), last.to(ids.device))
        best = answer_logits(loaded.model, hidden)[0].softmax(-1).topk(TOP)
    tokens = []
    for probability, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        begun = [label for label, ids in renderer.answers.items() if ids[0] == token]
        tokens.append(Token(renderer.tokenizer.decode([token]), probability, begun))
    return tokens
