"""Remote models on a real server: mlx_lm's, which writes tokens as they stand in the vocabulary and in no order, beside
our own engine with the same weights."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.models.base import Workspace
from clinfit.models.families import create_model
from clinfit.models.remote.asking import Usage
from clinfit.models.remote.model import RemoteModel
from clinfit.study.data import Data
from clinfit.study.models import Causal, Train
from clinfit.study.remote import Remote
from clinfit.study.tasks import Classification, Generation, Task
from lessons import TASK, lesson

pytest.importorskip("mlx_lm")
pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "src" / "clinfit" / "models" / "bases" / "tiny"
DATA = Data(path="unused.csv", inputs={"text": "text"})
QUESTION: Task = Classification(
    labels=["yes", "no"], data=DATA, prompt="{{ text }}\n\nIs this about an animal? Answer yes or no."
)
TEXTS = ["A dog runs over the grass.", "The bank opened at nine.", "Two cats sleep.", "She bought a red car."]
RECORDS = [Record(f"r{k}", f"r{k}", {"text": text}, split="test", task=TASK) for k, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The address of mlx_lm's server with clinfit/tiny."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlx_lm", "server", "--model", str(FOLDER), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server is not ready after two minutes")


def asked(url: str, task: Task, folder: Path, **more: Any) -> RemoteModel:
    content: dict[str, Any] = {"name": "m", "family": "remote", "url": url, "model": "default_model", "top": 10}
    spec = Remote.model_validate(content | more)
    model = create_model(spec, {TASK: task}, 1)
    assert isinstance(model, RemoteModel)
    model.fit(lesson([]), Workspace(folder))
    return model


def test_label_probabilities_are_near_those_of_our_own_engine(served: str, tmp_path: Path) -> None:
    """The server computes in bf16, and tells ten tokens: of each label the first."""
    model = asked(served, QUESTION, tmp_path / "remote")
    found = model.predict(TASK, RECORDS)
    spec = Causal(name="m", family="causal", base="clinfit/tiny", method="prompt", train=Train(precision="fp32"))
    own = create_model(spec, {TASK: QUESTION}, 1)
    own.fit(lesson([]), Workspace(tmp_path / "own"))
    expected = own.predict(TASK, RECORDS)
    assert found.rung == "top-logprobs" and model._way.pieces == "byte-level"
    assert np.isfinite(found.probabilities).all() and found.bounded is not None
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=0.05)


def test_plain_prompts_are_followed_token_by_token(served: str, tmp_path: Path) -> None:
    """Behind a plain text the server goes on from any beginning; the number of tokens is asked for as it wants."""
    task = Classification(labels=["based", "used"], data=DATA, prompt="{{ text }} The method is")
    model = asked(served, task, tmp_path, prompts="plain")
    assert (model._way.rung, model._way.counted, model._way.pieces) == ("top-logprobs", False, "byte-level")
    tops = model._ready().next_tokens([{"role": "user", "content": "The answer is"}], "", usage := Usage(), None)
    assert 1 < len(tops) <= 10 and usage.requests == 1
    assert all("\u0120" not in token.decode() for token, _ in tops) and sum(share for _, share in tops) < 1.001


def test_texts_and_written_labels(served: str, tmp_path: Path) -> None:
    task = Generation(kind="generation", data=DATA, max_new_tokens=8, prompt="Repeat: {{ text }}")
    found = asked(served, task, tmp_path / "texts").generate(TASK, RECORDS[:2], 8)
    assert all(found.texts) and (found.tokens <= 8).all()
    read = asked(served, QUESTION, tmp_path / "labels", labels="generation").predict(TASK, RECORDS)
    assert read.rung == "generation" and set(read.read) == set(range(len(TEXTS)))


def test_more_tokens_than_it_tells_are_an_error_that_says_so(served: str, tmp_path: Path) -> None:
    with pytest.raises(ClinfitError, match="refuses `top: 20`"):
        asked(served, QUESTION, tmp_path, top=20)
