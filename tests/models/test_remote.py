"""Remote models: each way of scoring against our own, what is bounded, and servers that fail in every known manner."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from clinfit.errors import ClinfitError
from clinfit.models.base import LabelOutputs, Workspace
from clinfit.models.families import create_model, load_model
from clinfit.models.remote.asking import found_way, neutral
from clinfit.models.remote.egress import allow_egress, check_egress
from clinfit.models.remote.model import RemoteModel
from clinfit.models.remote.server import Refused, Server
from clinfit.models.remote.tree import weighed
from clinfit.predictions import Source, predictions_table
from clinfit.study.models import Causal, Train
from clinfit.study.remote import Price, Remote, Requests
from kinds import dataset
from lessons import TASK, lesson
from remote_server import MODEL, Fault, Offers, RemoteServer, refused, serving
from two_layer import llama_base

SECRET = "sk-very-secret"


def spec(server: RemoteServer, **more: Any) -> Remote:
    asked: dict[str, Any] = {"name": "m", "family": "remote", "url": server.url, "model": MODEL, "top": 400}
    return Remote(**asked | {"requests": Requests(retries=2)} | more)


def fitted(server: RemoteServer, folder: Path, data: str = "text", **more: Any) -> RemoteModel:
    model = create_model(spec(server, **more), {TASK: dataset(data, TASK).task}, 3)
    assert isinstance(model, RemoteModel)
    model.fit(lesson(dataset(data, TASK).part("train")), Workspace(folder))
    return model


def own(folder: Path, data: str = "text", **more: Any) -> Any:
    """The same base, asked by our own engine."""
    train = Train(max_length=500, precision="fp32")
    asked = Causal(name="m", family="causal", base=str(llama_base()), method="prompt", train=train, **more)
    model = create_model(asked, {TASK: dataset(data, TASK).task}, 3)
    model.fit(lesson(dataset(data, TASK).part("train")), Workspace(folder))
    return model


def test_set(data: str = "text") -> list[Any]:
    return dataset(data, TASK).part("test")


test_set.__test__ = False  # type: ignore[attr-defined]


# ---------------------------------------------------------------- the ladder


@pytest.mark.parametrize(
    ("offers", "prompts", "rung", "continued"),
    [
        (Offers(continued="flagged"), "chat", "prompt-logprobs", "flagged"),
        (Offers(), "plain", "prompt-logprobs", None),
        (Offers(), "chat", "top-logprobs", "as-is"),
        (Offers(prompt_logprobs=False, continued="flagged"), "chat", "top-logprobs", "flagged"),
        (Offers(prompt_logprobs=False, continued=None), "chat", "top-logprobs", None),
        (Offers(prompt_logprobs=False), "plain", "top-logprobs", None),
        (Offers(top=0, prompt_logprobs=False), "chat", "generation", None),
        (Offers(top=0, prompt_logprobs=False), "plain", "generation", None),
    ],
)
def test_the_best_way_that_a_server_offers_is_found(offers: Offers, prompts: Any, rung: str, continued: Any) -> None:
    with serving(offers) as server:
        way = found_way(Server(spec(server, prompts=prompts)))
        assert (way.rung, way.continued, way.served, way.listed) == (rung, continued, MODEL, [MODEL])


def test_less_than_the_study_asks_for_is_an_error() -> None:
    with serving(Offers(top=0, prompt_logprobs=False)) as server:
        with pytest.raises(ClinfitError, match="does not offer what `labels: top-logprobs` needs"):
            found_way(Server(spec(server, labels="top-logprobs")))


@pytest.mark.parametrize("data", ["text", "three", "several", "options"])
def test_whole_labels_are_as_likely_as_our_own_engine_says(data: str, tmp_path: Path) -> None:
    """The same weights in the same precision: nothing but the way there differs."""
    with serving(Offers(continued="flagged")) as server:
        found = fitted(server, tmp_path / "remote", data).predict(TASK, test_set(data))
    expected = own(tmp_path / "own", data).predict(TASK, test_set(data))
    assert found.rung == "prompt-logprobs" and found.bounded is not None and not found.bounded.any()
    if data != "three":  # of "no finding", "non-tumour" none begins another either, so all are compared alike
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=2e-4)
    if data == "text":
        np.testing.assert_allclose(found.label_mass, expected.label_mass, rtol=0.02)


@pytest.mark.parametrize("data", ["text", "three", "several", "options"])
def test_tokens_among_the_next_ones_say_the_same(data: str, tmp_path: Path) -> None:
    """All tokens are told, so that nothing is bounded; other spellings of a label add a little to it."""
    with serving(Offers(prompt_logprobs=False)) as server:
        found = fitted(server, tmp_path / "remote", data).predict(TASK, test_set(data))
    expected = own(tmp_path / "own", data).predict(TASK, test_set(data))
    assert found.rung == "top-logprobs" and found.bounded is not None
    print(data, np.abs(found.probabilities - expected.probabilities).max(), found.bounded.mean())
