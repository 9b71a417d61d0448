"""Free answers: the same as Transformers writes greedily, the same with and without memory, ended where they should."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.causal import CausalModel
from clinfit.scoring.answers import answer_logits, states_at
from clinfit.scoring.generate import greedy_answer, stop_tokens
from clinfit.study import Causal, Lora, Task, Train

PROMPTS = [[0, 7, 19, 33], [0, *range(50, 90)], [0, 120]]


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_base).eval()


def model(task: Task, base: Path, **train: Any) -> CausalModel:
    settings = Train(**{"max_length": 256, "precision": "fp32", "epochs": 1} | train)
    return CausalModel(Causal(name="m", family="causal", base=str(base), lora=Lora(rank=2), train=settings), task, 7)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_same_as_transformers_generates(base: Any, prompt: list[int]) -> None:
    ids = torch.tensor([prompt])
    theirs = base.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20)[0].tolist()
    ours = greedy_answer(base, prompt, stop_tokens(base, [1]), 20)
    assert len(set(ours)) > 1  # random weights, but not one token for ever
    assert prompt + ours == [token for token in theirs if token != 1]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_memory_changes_nothing(base: Any, prompt: list[int]) -> None:
    written: list[int] = []
    with torch.inference_mode():
        for _ in range(20):
            ids = torch.tensor([[*prompt, *written]])
            hidden = states_at(base, ids, torch.tensor([0]), torch.tensor([ids.shape[1] - 1]))
            written.append(int(answer_logits(base, hidden)[0].argmax()))
    assert greedy_answer(base, prompt, (), 20) == written


def test_it_stops_before_the_end_of_turn_and_at_the_limit(base: Any) -> None:
    free = greedy_answer(base, PROMPTS[0], (), 12)
    assert len(free) == 12
    at = next(i for i, token in enumerate(free) if free.index(token) == i and i > 1)
    assert greedy_answer(base, PROMPTS[0], {free[at]}, 12) == free[:at]
    assert greedy_answer(base, PROMPTS[0], (), 5) == free[:5]


def test_the_base_names_its_own_ends_too(base: Any) -> None:
    assert stop_tokens(base, [3]) == {1, 3}


def test_texts_hold_no_chat_markup_and_do_not_depend_on_their_neighbours(
    text_task: Task, text_records: list[Record], tiny_base: Path
) -> None:
    made = model(text_task, tiny_base)
    texts, tokens = made.generate(text_records[:6], 8)
    assert tokens.max() <= 8 and len(texts) == 6
    assert not any("<|" in text for text in texts)
    alone = [made.generate([record], 8)[0][0] for record in text_records[:6]]
    assert texts == alone


def test_an_answer_that_would_not_fit_is_refused_with_the_length_that_does(
    text_task: Task, text_records: list[Record], tiny_base: Path
) -> None:
    made = model(text_task, tiny_base, max_length=508)
    with pytest.raises(ClinfitError, match="free answer") as error:
        made.generate(text_records[:1], 8)
    assert "max_length: 504" in "\n".join(error.value.lines())


def test_shortened_texts_are_counted(text_task: Task, text_records: list[Record], tiny_base: Path) -> None:
    whole, cut = (model(text_task, tiny_base, max_length=n).predict(text_records[:8]) for n in (500, 110))
    assert whole.dropped_tokens is not None and not whole.dropped_tokens.any()
    assert cut.dropped_tokens is not None and cut.dropped_tokens.any()
    assert cut.prompt_tokens is not None and cut.prompt_tokens.max() <= 110
