"""Label probabilities against the plain way of computing them: one full forward for each (prompt, label)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from clinfit.errors import ClinfitError
from clinfit.scoring.answers import answer_logits, check_answer_logits, states_at
from clinfit.scoring.label_likelihood import LabelScorer

PROMPTS = [[0, 3, 40, 50, 60, 1, 4], [0, 3, 41, 4], [0, 3, 42, 43, 44, 45, 46, 47, 48, 49, 1, 4]]
LABELS = [[70], [71, 72, 73], [71, 74], [75, 76]]


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()


@torch.no_grad()
def plain(model: PreTrainedModel, prompt: Sequence[int], answer: Sequence[int]) -> float:
    logits = model(torch.tensor([[*prompt, *answer]])).logits[0].float().log_softmax(-1)
    return sum(logits[len(prompt) - 1 + i, token].item() for i, token in enumerate(answer))


@pytest.mark.parametrize("labels", [LABELS, LABELS[:2], [*LABELS[:1], [72]], LABELS[1:3]])
@pytest.mark.parametrize("with_end", [False, True])
def test_scores_equal_a_plain_forward(model: PreTrainedModel, labels: list[list[int]], with_end: bool) -> None:
    scores = LabelScorer(labels, [1], pad_id=5, with_end=with_end).score(model, PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        for k, label in enumerate(labels):
            assert scores.log_likelihood[row, k] == pytest.approx(plain(model, prompt, label), abs=1e-4)
            if scores.end is not None:
                total = scores.log_likelihood[row, k] + scores.end[row, k]
                assert total == pytest.approx(plain(model, prompt, [*label, 1]), abs=1e-4)


def test_rows_of_their_own_give_the_same_scores(model: PreTrainedModel) -> None:
    scorer = LabelScorer(LABELS, [1], pad_id=5, with_end=True)
    with torch.inference_mode():
        together = scorer._together(model, PROMPTS)
        apart = scorer._apart(model, PROMPTS)
    for a, b in zip(together, apart, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, atol=1e-4)


def test_probabilities_are_a_distribution_and_the_mass_a_probability(model: PreTrainedModel) -> None:
    scores = LabelScorer(LABELS, [1], pad_id=5).score(model, PROMPTS)
    np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1)
    assert (scores.label_mass > 0).all() and (scores.label_mass <= 1).all()
    assert (scores.probabilities.argmax(1) == scores.log_likelihood.argmax(1)).all()


def test_a_label_that_begins_another_is_told_apart_by_its_end(model: PreTrainedModel) -> None:
    scores = LabelScorer([[70], [70, 71]], [1], pad_id=5).score(model, PROMPTS)
    assert scores.end is not None
    assert (scores.label_mass <= 1).all()


def test_batch_and_order_do_not_change_an_answer(model: PreTrainedModel) -> None:
    scorer = LabelScorer(LABELS, [1], pad_id=5)
    alone = np.vstack([scorer.score(model, [prompt]).log_likelihood for prompt in PROMPTS])
    np.testing.assert_allclose(scorer.score(model, PROMPTS[::-1]).log_likelihood[::-1], alone, atol=1e-4)


# Each architecture with the knobs by which its own forward scales or caps logits, away from their defaults.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 4},
    "phi3": {"pad_token_id": 0},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "gemma2": {"final_logit_softcapping": 2.0, "head_dim": 8, "sliding_window": 4},
    "gemma3_text": {"final_logit_softcapping": 2.0, "head_dim": 8, "sliding_window": 4},
    "cohere": {"logit_scale": 0.25},
    "granite": {"logits_scaling": 4.0},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
}


def architecture(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        name,
        vocab_size=100,
        **{
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "initializer_range": 0.5,
            **ARCHITECTURES[name],
        },
    )
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_architecture_scales_and_caps_as_its_own_forward_does(name: str) -> None:
    model = architecture(name)
    ids = torch.tensor([PROMPTS[2], PROMPTS[2][::-1]])
    rows, columns = torch.tensor([0, 1, 1, 0]), torch.tensor([11, 4, 5, 2])
    ours = answer_logits(model, states_at(model, ids, rows, columns))
    own = model(ids).logits[rows, columns].float()
    torch.testing.assert_close(ours, own)
    gradients = [
        torch.autograd.grad(x.square().sum(), list(model.parameters()), allow_unused=True) for x in (ours, own)
    ]
    for mine, plain_one in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, plain_one, atol=1e-4, rtol=1e-3)
    check_answer_logits(model, PROMPTS[2])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_architecture_scores_labels_as_a_plain_forward_does(name: str) -> None:
    model = architecture(name)
    scores = LabelScorer(LABELS, [1], pad_id=5).score(model, PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        expected = [plain(model, prompt, label) for label in LABELS]
        np.testing.assert_allclose(scores.log_likelihood[row], expected, atol=2e-4)


def test_an_unknown_treatment_of_logits_stops(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.config, "logits_scaling", 7.0, raising=False)
    with pytest.raises(ClinfitError, match="post-processes"):
        check_answer_logits(model, PROMPTS[0])
