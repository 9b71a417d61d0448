"""A beginning that is kept changes what is computed, and not what is said: scores and texts as of whole prompts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from clinfit.prompts.forms import Branch
from clinfit.scoring.beginnings import FEWEST, Beginnings
from clinfit.scoring.generate import Generator, Request
from clinfit.scoring.label_likelihood import BranchScorer

BEGINNING = [0, 3, *range(40, 60)]
PROMPTS = [[*BEGINNING, 70, 71, 72, 4], [*BEGINNING[:12], 80, 81, 4], [*BEGINNING, 4]]
#: One branch of labels of several tokens; questions, each with its answers.
LABELS = [Branch([], [[70], [71, 72, 73], [71, 74]], [1])]
QUESTIONS = [Branch([60, 61], [[30], [31, 32]], [1]), Branch([62], [[30], [31, 32]], [1])]
SMALL: dict[str, Any] = {
    "vocab_size": 200,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 5,
}


@pytest.fixture(scope="module", params=["llama", "qwen3", "gemma2", "gpt2"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(request.param, **SMALL)).eval()


@pytest.fixture(scope="module")
def llama() -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SMALL)).eval()


def totals(model: PreTrainedModel, prompts: Sequence[list[int]], branches: list[Branch], kept: Any) -> np.ndarray:
    scorer = BranchScorer(model, 5)
    scorer.beginnings = None if kept is None else Beginnings.read(model, kept)
    return np.stack([scores.total for scores in scorer.score(prompts, [branches] * len(prompts))])


def tokens_read(model: PreTrainedModel) -> tuple[list[int], Any]:
    """What counts the tokens of every pass; and what ends that."""
    counts: list[int] = []
    embeddings: Any = model.get_input_embeddings()
    return counts, embeddings.register_forward_hook(lambda _, inputs, __: counts.append(inputs[0].numel()))


@pytest.mark.parametrize("branches", [LABELS, QUESTIONS], ids=["labels", "questions"])
@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS], ids=["one", "several"])
def test_scores_are_those_of_whole_prompts(
    model: PreTrainedModel, branches: list[Branch], prompts: list[list[int]]
) -> None:
    expected = totals(model, prompts, branches, None)
    np.testing.assert_allclose(totals(model, prompts, branches, [BEGINNING]), expected, atol=1e-4)


def test_texts_are_those_of_whole_prompts(model: PreTrainedModel) -> None:
    requests = [Request(prompt, 12) for prompt in PROMPTS]
    for together in (True, False):
        generator = Generator(model, together)
        expected = [one.ids for one in generator.write(requests, ())]
        generator.beginnings = Beginnings.read(model, [BEGINNING])
        counts, counting = tokens_read(model)
        assert [one.ids for one in generator.write(requests, ())] == expected
        counting.remove()
        assert max(counts) <= 16, "no prompt is read whole"


def test_only_what_follows_is_read(llama: PreTrainedModel) -> None:
    scorer = BranchScorer(llama, 5)
    scorer.beginnings = Beginnings.read(llama, [BEGINNING])
    scorer.score(PROMPTS[:1], [LABELS])  # tries once whether branches may share a row
    counts, counting = tokens_read(llama)
    scorer.score(PROMPTS[:1], [LABELS])
    counting.remove()
    behind = sum(len(answer) - 1 for answer in LABELS[0].answers)
    assert counts == [len(PROMPTS[0]) - len(BEGINNING) + behind]


@settings(max_examples=40, deadline=None)
@given(shared=st.integers(0, len(BEGINNING)), rest=st.lists(st.integers(6, 39), min_size=1, max_size=8))
def test_a_prompt_may_part_anywhere(llama: PreTrainedModel, shared: int, rest: list[int]) -> None:
    prompt = [*BEGINNING[:shared], *rest]
    expected = totals(llama, [prompt], LABELS, None)
    found = totals(llama, [prompt], LABELS, [BEGINNING, [9, *BEGINNING]])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    if shared < FEWEST:
        assert (found == expected).all(), "read whole, as without"


def test_the_longest_that_it_has_is_taken(llama: PreTrainedModel) -> None:
    kept = Beginnings.read(llama, [BEGINNING[:10], BEGINNING, BEGINNING[:4]])
    assert [len(one.ids) for one in kept.found] == [10, len(BEGINNING)], "a short one is not kept"
    best = kept.best([PROMPTS[0]], 99, 30)
    assert best is not None and best[1] == len(BEGINNING)
    assert kept.best([PROMPTS[2]], len(PROMPTS[2]) - 1, 30) is not None
    assert kept.best([PROMPTS[0], [0, 3, 99]], 99, 30) is None, "one that has little of it"


def test_windows_and_other_memories_keep_nothing() -> None:
    torch.manual_seed(0)
    mistral = AutoModelForCausalLM.from_config(AutoConfig.for_model("mistral", **SMALL, sliding_window=16)).eval()
    assert Beginnings.read(mistral, [BEGINNING]).found == []
    short = Beginnings.read(mistral, [BEGINNING[:12]])
    assert short.best([PROMPTS[0]], 20, 40) is None, "the row is wider than the window"
    expected = totals(mistral, PROMPTS, LABELS, None)
    assert (totals(mistral, PROMPTS, LABELS, [BEGINNING[:12]]) == expected).all()


def test_what_is_kept_is_not_changed_by_what_is_asked(llama: PreTrainedModel) -> None:
    scorer = BranchScorer(llama, 5)
    scorer.beginnings = Beginnings.read(llama, [BEGINNING])
    first = [scores.total for scores in scorer.score(PROMPTS[:1], [QUESTIONS])]
    scorer.score(PROMPTS, [QUESTIONS] * len(PROMPTS))
    again = [scores.total for scores in scorer.score(PROMPTS[:1], [QUESTIONS])]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
