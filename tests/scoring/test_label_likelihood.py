"""Answer probabilities against the plain way of computing them: one full forward for each (prompt, label)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from clinfit.errors import ClinfitError
from clinfit.prompts.forms import Branch
from clinfit.scoring.answer_logits import answer_logits, check_answer_logits, states_at
from clinfit.scoring.label_likelihood import AnswerScores, BranchScorer, _log_probabilities
from clinfit.scoring.rows import apart, together
from clinfit.study.models import Lora
from clinfit.training.adapters import add_adapter

PROMPTS = [[0, 3, 40, 50, 60, 1, 4], [0, 3, 41, 4], [0, 3, 42, 43, 44, 45, 46, 47, 48, 49, 1, 4]]
LABELS = [[70], [71, 72, 73], [71, 74], [75, 76]]


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()


@torch.no_grad()
def plain(model: PreTrainedModel, prompt: Sequence[int], answer: Sequence[int]) -> float:
    logits = model(torch.tensor([[*prompt, *answer]])).logits[0].float().log_softmax(-1)
    return sum(logits[len(prompt) - 1 + i, token].item() for i, token in enumerate(answer))


def branch(answers: Sequence[Sequence[int]], context: Sequence[int] = ()) -> Branch:
    return Branch(list(context), [list(answer) for answer in answers], [1])


def score(model: PreTrainedModel, labels: Sequence[Sequence[int]], with_end: bool = False) -> AnswerScores:
    """Scores of all prompts against one set of labels."""
    (scores,) = BranchScorer(model, 5).score(PROMPTS, [[branch(labels)]] * len(PROMPTS), with_end)
    return scores


@pytest.mark.parametrize("labels", [LABELS, LABELS[:2], [*LABELS[:1], [72]], LABELS[1:3]])
@pytest.mark.parametrize("with_end", [False, True])
def test_scores_equal_a_plain_forward(model: PreTrainedModel, labels: list[list[int]], with_end: bool) -> None:
    scores = score(model, labels, with_end)
    for row, prompt in enumerate(PROMPTS):
        for k, label in enumerate(labels):
            assert scores.log_likelihood[row, k] == pytest.approx(plain(model, prompt, label), abs=1e-4)
            if with_end:
                assert scores.written[row, k] == pytest.approx(plain(model, prompt, [*label, 1]), abs=1e-4)
            else:
                assert scores.end[row, k] == 0


#: Two questions behind a prompt, each with answers of one and of two tokens, and a set of answers without a question.
TREE = [branch([[30], [31, 32]], [60, 61, 62]), branch([[30], [31, 32]], [63, 64]), branch(LABELS)]


@pytest.mark.parametrize("with_end", [False, True])
def test_each_question_sees_the_prompt_and_itself_only(model: PreTrainedModel, with_end: bool) -> None:
    found = BranchScorer(model, 5).score(PROMPTS, [TREE] * len(PROMPTS), with_end)
    for asked, scores in zip(TREE, found, strict=True):
        for row, prompt in enumerate(PROMPTS):
            for k, answer in enumerate(asked.answers):
                alone = plain(model, [*prompt, *asked.context], [*answer, *([1] if with_end else [])])
                assert scores.written[row, k] == pytest.approx(alone, abs=1e-4)


def test_records_may_be_asked_different_questions(model: PreTrainedModel) -> None:
    """Branches of one batch have as many answers, and may differ in everything else."""
    other = [branch([[33, 34], [35]], [70]), branch([[36], [37]], [71, 72]), branch(LABELS[::-1])]
    together = BranchScorer(model, 5).score(PROMPTS[:2], [TREE, other])
    for row, asked in enumerate([TREE, other]):
        alone = BranchScorer(model, 5).score([PROMPTS[row]], [asked])
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a.total[row], b.total[0], atol=1e-4)


@pytest.mark.parametrize("branches", [[branch(LABELS)], TREE])
def test_rows_of_their_own_give_the_same_scores(model: PreTrainedModel, branches: list[Branch]) -> None:
    behind = [[(own.context, own.answers) for own in branches]] * len(PROMPTS)
    with torch.inference_mode():
        side_by_side, alone = (_log_probabilities(model, way(model, PROMPTS, behind, 5)) for way in (together, apart))
    np.testing.assert_allclose(side_by_side, alone, atol=1e-4)


def test_an_architecture_that_cannot_share_a_row_is_scored_in_rows_of_their_own(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = BranchScorer(model, 5).score(PROMPTS, [TREE] * len(PROMPTS))
    monkeypatch.setattr(model.config, "sliding_window", 4, raising=False)
    assert not BranchScorer(model, 5).shares_rows(PROMPTS, [[(own.context, own.answers) for own in TREE]])
    for a, b in zip(BranchScorer(model, 5).score(PROMPTS, [TREE] * len(PROMPTS)), expected, strict=True):
        np.testing.assert_allclose(a.total, b.total, atol=1e-4)


#: Longer than the window of a layer, and longer than the positions of a base, once the answers stand behind it.
WIDE = [0, *range(3, 62), 4]
LOCAL: dict[str, dict[str, Any]] = {
    "gpt_neo": {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 62},
    "gpt_neo, short": {"num_layers": 2, "num_heads": 4, "attention_types": [[["global"], 2]], "window_size": 256},
    "gpt_bigcode": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "mistral": {"sliding_window": 62},
}


@pytest.mark.parametrize("name", LOCAL)
def test_rows_wider_than_a_window_or_the_positions_are_divided(name: str) -> None:
    model = architecture(name.split(",")[0], {"max_position_embeddings": 64, **LOCAL[name]})
    for weight in model.parameters():  # some draw theirs so small that nothing would show
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    (scores,) = BranchScorer(model, 5).score([WIDE], [[branch(LABELS)]])
    expected = [plain(model, WIDE, label) for label in LABELS]
    np.testing.assert_allclose(scores.log_likelihood[0], expected, atol=1e-3)


@pytest.mark.parametrize(("name", "settings"), [("bloom", {}), ("falcon", {"alibi": True}), ("mpt", {})])
def test_positions_that_cannot_be_told_get_rows_of_their_own(name: str, settings: dict[str, Any]) -> None:
    """ALiBi counts distances itself."""
    sizes = {"n_layer": 2, "n_head": 4, "d_model": 32, "n_layers": 2, "n_heads": 4, "num_key_value_heads": None}
    model = architecture(name, {**sizes, **settings})
    scores = score(model, LABELS)
    for row, prompt in enumerate(PROMPTS):
        expected = [plain(model, prompt, label) for label in LABELS]
        np.testing.assert_allclose(scores.log_likelihood[row], expected, atol=1e-3)


def test_probabilities_are_a_distribution_and_the_mass_a_probability(model: PreTrainedModel) -> None:
    scores = score(model, LABELS)
    np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1)
    assert (scores.mass > 0).all() and (scores.mass <= 1).all()
    assert (scores.probabilities.argmax(1) == scores.log_likelihood.argmax(1)).all()


def test_a_label_that_begins_another_is_told_apart_by_its_end(model: PreTrainedModel) -> None:
    scores = score(model, [[70], [70, 71]])
    assert (scores.end < 0).all() and (scores.mass <= 1).all()


def test_answers_of_the_same_tokens_are_equally_likely(model: PreTrainedModel) -> None:
    scores = score(model, [[70, 71], [70, 71], [72]])
    np.testing.assert_allclose(scores.probabilities[:, 0], scores.probabilities[:, 1], rtol=1e-5)
    assert (scores.mass <= 1).all()


def test_batch_and_order_do_not_change_an_answer(model: PreTrainedModel) -> None:
    scorer, branches = BranchScorer(model, 5), [[branch(LABELS)]] * len(PROMPTS)
    alone = np.vstack([scorer.score([prompt], branches[:1])[0].log_likelihood for prompt in PROMPTS])
    shuffled = scorer.score(PROMPTS[::-1], branches)[0].log_likelihood[::-1]
    np.testing.assert_allclose(shuffled, alone, atol=1e-4)


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
    "hyperclovax": {"logits_scaling": 4.0, "head_dim": 8},
    "recurrent_gemma": {"logits_soft_cap": 2.0, "num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 4},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
}


def architecture(name: str, settings: dict[str, Any] | None = None) -> PreTrainedModel:
    settings = ARCHITECTURES[name] if settings is None else settings
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
            **settings,
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
def test_each_architecture_scores_labels_and_questions_as_a_plain_forward_does(name: str) -> None:
    model = architecture(name)
    scores = score(model, LABELS)
    for row, prompt in enumerate(PROMPTS):
        expected = [plain(model, prompt, label) for label in LABELS]
        np.testing.assert_allclose(scores.log_likelihood[row], expected, atol=2e-4)
    question = BranchScorer(model, 5).score(PROMPTS, [TREE] * len(PROMPTS))[1]
    for row, prompt in enumerate(PROMPTS):
        expected = [plain(model, [*prompt, *TREE[1].context], answer) for answer in TREE[1].answers]
        np.testing.assert_allclose(question.log_likelihood[row], expected, atol=2e-4)


@pytest.mark.parametrize("options", [{}, {"rslora": True}, {"dora": True}], ids=str)
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_an_adapter_of_the_head_is_part_of_every_score(name: str, options: dict[str, Any]) -> None:
    model = architecture(name)
    lora = Lora(rank=4, alpha=8, targets=["lm_head"], **options)
    adapted = add_adapter(model, lora, 0, task_type="CAUSAL_LM", base_name="base")
    for weight in adapted.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.5)
    adapted.eval()
    scores = score(model, LABELS)
    for row, prompt in enumerate(PROMPTS):
        expected = [plain(model, prompt, label) for label in LABELS]
        np.testing.assert_allclose(scores.log_likelihood[row], expected, atol=2e-4)


def test_an_unknown_treatment_of_logits_stops(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.config, "logits_scaling", 7.0, raising=False)
    with pytest.raises(ClinfitError, match="post-processes"):
        check_answer_logits(model, PROMPTS[0])


def test_a_cap_that_small_logits_do_not_show_stops(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an architecture would have it that names its cap in a way that we do not know."""
    plain_forward = type(model).forward

    def capped(self: Any, *inputs: Any, **named: Any) -> Any:
        output = plain_forward(self, *inputs, **named)
        output.logits = torch.tanh(output.logits / 30) * 30
        return output

    for weight in (model.get_output_embeddings().weight,):
        monkeypatch.setattr(weight, "data", weight.data * 0.1)
    check_answer_logits(model, PROMPTS[0])
    monkeypatch.setattr(type(model), "forward", capped)
    with pytest.raises(ClinfitError, match="post-processes"):
        check_answer_logits(model, PROMPTS[0])


def test_a_head_whose_rows_are_not_its_logits_stops(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinfit.scoring.answer_logits._head_rows", lambda head, tokens: 1.1 * head.weight[tokens])
    with pytest.raises(ClinfitError, match="post-processes"):
        check_answer_logits(model, PROMPTS[0])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("modernbert-decoder", {"pad_token_id": 5, "bos_token_id": 0, "cls_token_id": 0, "sep_token_id": 1}),
        ("llama4_text", {"head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1, "intermediate_size_mlp": 48}),
    ],
)
def test_another_way_to_the_logits_stops(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ClinfitError, match="does not know"):
        check_answer_logits(architecture(name, settings), PROMPTS[0])
