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
from clinfit.models.bases import longest_input
from clinfit.models.causal import CausalModel, Loaded, autocast
from clinfit.prompts.encode import Encoded, Renderer
from clinfit.prompts.template import DEFAULT_PROMPT
from clinfit.scoring.answers import answer_logits, states_at
from clinfit.scoring.generate import greedy_answer, stop_tokens
from clinfit.scoring.label_likelihood import LabelScorer, LabelScores
from clinfit.scoring.parse import Parsed, parse_answer
from clinfit.study import Task

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
    prompt = task.prompt or DEFAULT_PROMPT
    ways = [Way("as trained", task)]
    if task.system:
        ways.append(Way("without system text", task.model_copy(update={"system": None})))
    ways.append(Way("answer first", task.model_copy(update={"prompt": prompt + ANSWER_FIRST})))
    if tokenizer.chat_template:
        ways.append(Way("without chat template", task, chat=False))
    return ways


def diagnose(model: CausalModel, records: Sequence[Record], limit: int) -> list[Diagnosis]:
    """Ask for each record in every way. limit: most tokens of a written answer."""
    loaded = model.opened()
    return [_try(loaded, way, records, limit) for way in ways_of_asking(model.task, loaded.renderer.tokenizer)]


def _try(loaded: Loaded, way: Way, records: Sequence[Record], limit: int) -> Diagnosis:
    trained = loaded.renderer
    tokenizer = trained.tokenizer
    if not way.chat:
        tokenizer = deepcopy(tokenizer)
        tokenizer.chat_template = None
    try:
        renderer = Renderer(way.task, tokenizer, max_length=trained.max_length, shorten=trained.shorten)
        empty = {shown: renderer.encode(record) for shown, record in without_content(way.task).items()}
        encoded = renderer.encode_all(records)
    except ClinfitError as error:
        return Diagnosis(way.name, ("", ""), [], [], error.found)
    leans = []
    for shown, item in empty.items():
        scores = _scores(loaded, renderer, item)
        leans.append(Lean(shown, _by_label(way.task, scores), float(scores.label_mass[0])))
    replies = [_reply(loaded, renderer, item, limit) for item in encoded]
    return Diagnosis(way.name, renderer.markup, leans, replies)


def without_content(task: Task) -> dict[str, Record]:
    """Records that say nothing: every input missing, and N/A in the place of every text and category."""
    columns = task.data.columns
    contents = {
        "all inputs missing": dict.fromkeys(columns),
        "N/A as every text": {name: None if column.type == "number" else "N/A" for name, column in columns.items()},
    }
    return {shown: Record("", "", inputs, None) for shown, inputs in contents.items()}


def _scores(loaded: Loaded, renderer: Renderer, item: Encoded) -> LabelScores:
    scorer = LabelScorer(renderer.label_ids, renderer.end_ids, renderer.tokenizer.pad_token_id)
    with autocast(loaded):
        return scorer.score(loaded.base, [item.prompt_ids])


def _by_label(task: Task, scores: LabelScores) -> dict[str, float]:
    return dict(zip(task.labels, scores.probabilities[0].tolist(), strict=True))


def _reply(loaded: Loaded, renderer: Renderer, item: Encoded, limit: int) -> Reply:
    task, tokenizer = renderer.task, renderer.tokenizer
    scores = _scores(loaded, renderer, item)
    if longest := longest_input(loaded.base.config, tokenizer):
        limit = min(limit, longest - len(item.prompt_ids))
    with autocast(loaded):
        written = greedy_answer(loaded.base, item.prompt_ids, stop_tokens(loaded.base, renderer.end_ids), limit)
    text = tokenizer.decode(written, skip_special_tokens=True)
    return Reply(
        id=item.id,
        probabilities=_by_label(task, scores),
        label_mass=float(scores.label_mass[0]),
        prompt_tokens=len(item.prompt_ids),
        next_tokens=_next_tokens(loaded, renderer, item),
        text=text,
        tokens=len(written),
        cut_off=len(written) == limit,
        parsed=parse_answer(text, task.labels),
    )


@torch.inference_mode()
def _next_tokens(loaded: Loaded, renderer: Renderer, item: Encoded) -> list[Token]:
    """The most probable tokens behind the prompt."""
    ids = torch.tensor([item.prompt_ids], device=loaded.base.device)
    with autocast(loaded):
        first, last = torch.zeros(1, dtype=torch.long), torch.tensor([ids.shape[1] - 1])
        hidden = states_at(loaded.base, ids, first.to(ids.device), last.to(ids.device))
        best = answer_logits(loaded.base, hidden)[0].softmax(-1).topk(TOP)
    tokens = []
    for probability, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        begun = [label for label, ids in zip(renderer.task.labels, renderer.label_ids, strict=True) if ids[0] == token]
        tokens.append(Token(renderer.tokenizer.decode([token]), probability, begun))
    return tokens
