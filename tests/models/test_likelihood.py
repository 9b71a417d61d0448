"""How likely a causal model finds the reference answers, against a plain forward by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clinfit.errors import ClinfitError
from clinfit.models.causal import CausalModel
from clinfit.scoring.likelihood import Likelihood
from clinfit.study.models import Causal, Lora, Train
from kinds import dataset
from lessons import TASK
from two_layer import llama_base

TRAIN = Train(max_length=300, precision="fp32", batch_tokens=300)
SPEC = Causal(name="m", family="causal", base=str(llama_base()), lora=Lora(rank=2), train=TRAIN)
#: By data set, the texts of a record's reference answers.
TEXTS = {
    "text": lambda task, record: [record.target],
    "several": lambda task, record: ["yes" if label in record.target else "no" for label in task.labels],
    "options": lambda task, record: [record.target],
    "texts": lambda task, record: [record.target],
}


@torch.no_grad()
def by_hand(model: CausalModel, data: str) -> Likelihood:
    """One plain forward for each answer; every token behind the prompt counts, the end of turn too."""
    loaded, found = model.opened(), dataset(data, TASK)
    rows = []
    for record in found.part("test"):
        item, nats, tokens = loaded.renderers[TASK].encode(record), 0.0, 0
        for part in item.trained:
            before = [*item.prompt_ids, *part.context]
            assert part.answer[-1:] == loaded.renderers[TASK].end_ids
            logits = loaded.model(torch.tensor([[*before, *part.answer]])).logits[0].double().log_softmax(-1)
            nats -= sum(float(logits[len(before) - 1 + i, token]) for i, token in enumerate(part.answer))
            tokens += len(part.answer)
        rows.append((nats, tokens, sum(len(text.encode()) for text in TEXTS[data](found.task, record))))
    nats, tokens, sizes = map(np.array, zip(*rows, strict=True))
    return Likelihood(nats, tokens, sizes)


@pytest.mark.parametrize("data", TEXTS)
def test_it_is_that_of_a_plain_forward(data: str) -> None:
    found = dataset(data, TASK)
    model, records = CausalModel(SPEC, {TASK: found.task}, 1), found.part("test")
    said, expected = model.likelihood(TASK, records), by_hand(model, data)
    np.testing.assert_allclose(said.nats, expected.nats, atol=1e-3)
    assert said.tokens.tolist() == expected.tokens.tolist() and said.bytes.tolist() == expected.bytes.tolist()
    assert said.perplexity == pytest.approx(np.exp(expected.nats.sum() / expected.tokens.sum()), rel=1e-4)
    bits = expected.nats.sum() / np.log(2) / expected.bytes.sum()
    assert said.bits_per_byte == pytest.approx(bits, rel=1e-4)
    backwards = model.likelihood(TASK, records[::-1], batch_tokens=50)
    assert np.array_equal(backwards.nats[::-1], said.nats)


def test_a_uniform_model_has_the_vocabulary_as_perplexity() -> None:
    tokens = np.array([1, 9])
    outputs = Likelihood(np.log(50) * tokens, tokens, 2 * tokens)
    assert outputs.perplexity == pytest.approx(50) and outputs.bits_per_byte == pytest.approx(np.log2(50) / 2)


def test_records_without_an_answer_are_counted() -> None:
    found = dataset("text", TASK)
    records = [replace(record, target=None) for record in found.part("test")[:2]] + found.part("test")[2:3]
    with pytest.raises(ClinfitError, match="2 of 3 records"):
        CausalModel(SPEC, {TASK: found.task}, 1).likelihood(TASK, records)


def test_a_reference_longer_than_the_base_reads_is_refused() -> None:
    found = dataset("texts", TASK)
    model, (first, *rest) = CausalModel(SPEC, {TASK: found.task}, 1), found.part("test")
    with pytest.raises(ClinfitError, match="tokens, are more than base"):
        model.likelihood(TASK, [*rest, replace(first, target="Blood pressure fell. " * 200)])
