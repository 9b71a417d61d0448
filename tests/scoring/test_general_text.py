"""The probe of general text: a plain forward's perplexity, and what training does to it."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from clinfit.models.base import Workspace
from clinfit.models.bases.pretrained import find_base, load_causal, load_tokenizer
from clinfit.models.families import create_model
from clinfit.scoring.general_text import general_text, negative_log_likelihood, passages
from two_layer import llama_base
from two_tasks import ONE, SPECS, TASKS, lesson


def test_it_is_that_of_a_plain_forward() -> None:
    name = str(llama_base())
    tokenizer, model = load_tokenizer(name), load_causal(find_base(name), "fp32", torch.device("cpu"))
    nats, tokens = 0.0, 0
    with torch.no_grad():
        for passage in passages():
            ids = torch.tensor([tokenizer(passage)["input_ids"]])
            nats += float(model(ids, labels=ids).loss) * (ids.shape[1] - 1)
            tokens += ids.shape[1] - 1
    found = general_text(tokenizer, partial(negative_log_likelihood, model))
    assert found.tokens.sum() == tokens and found.perplexity == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    assert found.bytes.sum() == sum(len(passage.encode()) for passage in passages())
    assert found.bits_per_byte == pytest.approx(nats / found.bytes.sum() / math.log(2), rel=1e-4)


def test_a_long_text_is_read_in_parts_of_its_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(llama_base())
    tokenizer, model = load_tokenizer(name), load_causal(find_base(name), "fp32", torch.device("cpu"))
    ids = tokenizer(passages()[0])["input_ids"]
    whole = negative_log_likelihood(model, ids)
    monkeypatch.setattr("clinfit.scoring.general_text.ROWS", 3)
    assert negative_log_likelihood(model, ids) == pytest.approx(whole, rel=1e-5)


def test_passages_are_many_and_none_is_twice_there() -> None:
    assert len(passages()) == len(set(passages())) == 16
    assert not any(word in " ".join(passages()).casefold() for word in ("patient", "disease", "hospital"))


def test_a_fit_tells_what_became_of_it(tmp_path: Path) -> None:
    model: Any = create_model(SPECS["causal"], TASKS, 3)
    told = model.fit(lesson({ONE: 1.0}), Workspace(tmp_path)).details["general_text"]
    loaded = model.opened()
    assert told["perplexity"] == pytest.approx(general_text(loaded.tokenizer, loaded.nats_of).perplexity, rel=1e-6)
    with loaded.adapted.disable_adapter():
        base = general_text(loaded.tokenizer, loaded.nats_of).perplexity
    assert told["base_perplexity"] == pytest.approx(base, rel=1e-6) and told["perplexity"] != told["base_perplexity"]
