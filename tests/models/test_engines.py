"""One contract over all engines beside torch (see clinfit.models.engines.base): near to the reference, row by row."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clinfit.errors import ClinfitError
from clinfit.models.base import Workspace
from clinfit.models.encoder import EncoderModel, LoadedEncoder
from clinfit.models.engines.base import KINDS, Engine, Kind
from clinfit.scoring.probabilities import softmax
from clinfit.study.models import Encoder, Lora, Train
from kinds import dataset
from lessons import TASK, lesson
from two_layer import bert_base

TEXT = dataset("text", TASK)
#: What the reference says before an engine is made of it, by the engine's name and the method.
before: dict[tuple[str, str], NDArray[np.float32]] = {}
ROWS = [[0, *range(10, 10 + n), 1] for n in (3, 40, 7, 40, 1, 120)]


@cache
def part(method: str = "lora") -> LoadedEncoder:
    train = Train(epochs=0.5, learning_rate=3e-2, batch_size=10, max_length=200, precision="fp32")
    spec = Encoder.model_validate(
        {
            "name": "m",
            "family": "encoder",
            "base": str(bert_base()),
            "method": method,
            "lora": Lora(rank=2),
            "train": train,
        }
    )
    model = EncoderModel(spec, {TASK: TEXT.task}, 1)
    model.fit(lesson(TEXT.part("train")), Workspace(Path(tempfile.mkdtemp(prefix="clinfit-engines-"))))
    (found,) = model.parts()
    return found


@cache
def engine(name: str, method: str = "lora") -> Engine:
    for package in KINDS[name].needs:
        pytest.importorskip(package, reason=f"the extra {KINDS[name].extra} is not installed")
    before[name, method] = part(method).engine.logits(ROWS[:1])
    return _made(name, method)


def _made(name: str, method: str) -> Engine:
    with tempfile.TemporaryDirectory(prefix="clinfit-engines-") as folder:
        KINDS[name].write(part(method).merged(), Path(folder) / "engine")
        return KINDS[name].read(Path(folder) / "engine", 1)


def probabilities(of: Engine, rows: list[list[int]]) -> NDArray[np.float64]:
    return softmax(of.logits(rows).astype(np.float64))


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("name", KINDS)
def test_an_engine_says_nearly_what_torch_says(name: str, method: str) -> None:
    reference = np.concatenate([probabilities(part(method).engine, [row]) for row in ROWS])
    found = probabilities(engine(name, method), ROWS)
    exact = any(format in engine(name, method).name for format in ("fp32", "f32"))
    assert exact or name != "onnx"
    far = 1e-5 if exact else 0.03  # 16 wide: little averages out
    assert found.shape == reference.shape and np.abs(found - reference).max() < far
    assert np.ptp(reference[:, 0]) > 0.02, "rows of which all say the same would show nothing"


@pytest.mark.parametrize("name", KINDS)
def test_a_row_does_not_depend_on_its_neighbours(name: str) -> None:
    together = engine(name).logits(ROWS)
    np.testing.assert_array_equal(together, np.concatenate([engine(name).logits([row]) for row in ROWS]))
    np.testing.assert_array_equal(together[::-1], engine(name).logits(ROWS[::-1]))
    np.testing.assert_array_equal(together, engine(name).logits(ROWS))


@pytest.mark.parametrize("name", KINDS)
def test_the_reference_stays_as_it_was(name: str) -> None:
    made = engine(name)
    np.testing.assert_array_equal(part().engine.logits(ROWS[:1]), before[name, "lora"])
    assert part().engine.name == "torch, one record at a time" != made.name


def test_a_package_that_is_absent_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClinfitError, match="no_such_package is not installed") as told:
        Kind("x", "y", ("no_such_package",), "openvino").write(part().merged(), tmp_path / "engine")
    assert "clinfit[openvino]" in told.value.fix
