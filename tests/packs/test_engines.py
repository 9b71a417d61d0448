"""Another engine answers for a pack only where somebody asked, its answers are near enough, and it is faster."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clinfit.errors import ClinfitError
from clinfit.models.engines import base
from clinfit.models.engines.base import Engine, Kind
from clinfit.packs.engines import use_engine
from clinfit.packs.read import Pack, load_pack
from clinfit.packs.write import write_packs
from three_tasks import TASKS, described, records, results_of, study_of, train
from two_layer import bert_base

TRAIN = {"epochs": 0.5, "learning_rate": 1e-2, "batch_size": 8, "max_length": 200, "precision": "fp32"}
TORCH = "torch, one record at a time"


@dataclass
class Fake:
    """An engine that says what torch says, but for `off`. asked: how often."""

    reference: Engine
    name: str = "fake"
    off: float = 0.0
    asked: int = field(default=0)

    def logits(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        self.asked += 1
        found = self.reference.logits(rows)
        return found + np.array([self.off, *[0.0] * (found.shape[1] - 1)], dtype=np.float32)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packs of an encoder with two tasks, and of a rule."""
    two = {name: TASKS[name] for name in ("cancer", "organs")}
    models: list[dict[str, Any]] = [
        {"name": "small", "family": "encoder", "base": str(bert_base()), "lora": {"rank": 2}, "train": TRAIN},
        {"name": "rule", "family": "baseline", "kind": "majority"},
    ]
    study = study_of(*models, tasks=two)
    trained, _ = train(study, tmp_path_factory.mktemp("engines"))
    return write_packs(trained, study, results_of(study), described(study))


@pytest.fixture
def pack(written: dict[str, Path]) -> Pack:
    return load_pack(written["small-seed42"])


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Stands in for the engines that may be installed: name -> how far its first logit is off, or what it raises."""
    wanted: dict[str, Any] = {}

    def maker(name: str) -> Any:
        def make(model: Any) -> Engine:
            from clinfit.models.encoder import TorchEngine

            if isinstance(wanted[name], Exception):
                raise wanted[name]
            return Fake(TorchEngine(model, 5), f"fake {name}", wanted[name])

        return make

    class FakeKind(Kind):
        def maker(self) -> Any:
            return maker(self.extra)

    class Kinds(dict[str, Kind]):
        def items(self) -> Any:
            return [(name, FakeKind(("", ""), (), name)) for name in wanted]

        def __getitem__(self, name: str) -> Kind:
            return FakeKind(("", ""), (), name)

    monkeypatch.setattr(base, "KINDS", Kinds())
    return wanted  # type: ignore[return-value]


def said(pack: Pack) -> list[Any]:
    return [pack.answer(name, [replace(one, target=None) for one in records(name, 5)]) for name in pack.tasks]


def test_torch_answers_where_nobody_asked(pack: Pack, fakes: dict[str, Any]) -> None:
    fakes["openvino"] = 0.0
    before = said(pack)
    assert use_engine(pack, "torch") == [] and pack.engine == TORCH
    assert said(pack) == before


def test_a_named_engine_answers_and_is_named(pack: Pack, fakes: dict[str, Any]) -> None:
    fakes["openvino"] = 1e-5
    (line,) = use_engine(pack, "openvino")
    assert "engine fake openvino" in line and line.endswith("decisions flipped: 0; it answers")
    assert "(allowed 0.0001)" in line, "what the pack declares"
    assert {answer.engine for answers in said(pack) for answer in answers} == {"fake openvino"}


@pytest.mark.parametrize("wanted", ["auto", "openvino"])
def test_an_engine_that_says_something_else_is_refused(pack: Pack, fakes: dict[str, Any], wanted: Any) -> None:
    """As one whose weights are spoiled does; torch's answers are as before."""
    fakes["openvino"] = 0.3
    before = said(pack)
    if wanted == "auto":
        lines = use_engine(pack, wanted)
        assert lines[0].endswith("refused") and lines[-1] == f"engine {TORCH}: it answers"
    else:
        with pytest.raises(ClinfitError, match="refused") as told:
            use_engine(pack, wanted, 1.0)
        assert "at most 0.01" in told.value.expected, "nobody may allow more"
    assert pack.engine == TORCH and said(pack) == before


def test_a_flipped_decision_refuses_however_small_the_change(pack: Pack, fakes: dict[str, Any]) -> None:
    """The probes' own answers stand on the threshold, so that the least change decides the other way."""
    fakes["openvino"] = 1e-3
    probability = pack.probes.references["cancer"][0][1]
    assert isinstance(probability, float)
    served = pack.tasks["cancer"]
    choice = replace(served.thresholds[""], value=float(probability))
    moved = replace(pack, tasks={**pack.tasks, "cancer": replace(served, thresholds={"": choice})})
    with pytest.raises(ClinfitError, match=r"decisions flipped: [1-9]"):
        use_engine(moved, "openvino", 0.01)


def test_the_fastest_that_passes_is_taken(
    written: dict[str, Path], pack: Pack, fakes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes |= {"openvino": 1e-5, "onnx": 2e-5, "spoiled": 0.5, "unknown": ValueError("of the record")}
    seconds = {"fake openvino": 0.2, "fake onnx": 0.1, "fake spoiled": 0.01, TORCH: 1.0}
    monkeypatch.setattr(
        "clinfit.packs.engines._seconds", lambda pack, ways: [seconds[engines[0].name] for engines in ways]
    )
    lines = use_engine(pack, "auto", 0.01)
    assert [line.rpartition("; ")[2] for line in lines] == ["not used", "not used", "it answers", "refused"]
    assert "it cannot compute this model (ValueError)" in lines[0] and "of the record" not in "".join(lines)
    assert "10.0 times as fast as torch" in lines[2] and pack.engine == "fake onnx"
    seconds |= {"fake openvino": 2.0, "fake onnx": 2.0}
    fresh = load_pack(written["small-seed42"])
    assert use_engine(fresh, "auto", 0.01)[-1] == f"engine {TORCH}: it answers" and fresh.engine == TORCH


def test_a_named_engine_that_cannot_compute_a_model_is_an_error(pack: Pack, fakes: dict[str, Any]) -> None:
    fakes["onnx"] = RuntimeError("no such operator")
    with pytest.raises(ClinfitError, match="cannot compute this model"):
        use_engine(pack, "onnx")
    assert pack.engine == TORCH


def test_a_named_engine_that_is_not_installed_says_what_installs_it(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Kind(("clinfit.models.engines.onnx", "make"), ("no_such_package",), "onnx")
    monkeypatch.setattr(base, "KINDS", {"onnx": absent})
    with pytest.raises(ClinfitError) as error:
        use_engine(pack, "onnx")
    assert "no_such_package is not installed" in error.value.found and "clinfit[onnx]" in error.value.fix
    assert pack.engine == TORCH


def test_other_families_stay_as_they_are(written: dict[str, Path], fakes: dict[str, Any]) -> None:
    rule = load_pack(written["rule-seed42"])
    assert use_engine(rule, "auto") == ["engine rules: it answers, since other engines are for encoders"]


def test_nothing_installed_is_told(pack: Pack, fakes: dict[str, Any]) -> None:
    (line,) = use_engine(pack, "auto")
    assert "no other is installed" in line


def test_a_real_engine_answers_a_real_pack(pack: Pack) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    (line,) = use_engine(pack, "openvino", 0.01)
    assert line.endswith("it answers") and pack.engine.startswith("openvino")
    assert {answer.engine for answers in said(pack) for answer in answers} == {pack.engine}
