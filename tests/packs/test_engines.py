"""Another engine answers for a pack only where somebody asked, its answers are near enough, and it is faster."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from rich.console import Console

import clinfit
from clinfit.data.records import Record
from clinfit.errors import ClinfitError
from clinfit.evaluation.decisions.recalibration import Recalibration
from clinfit.evaluation.decisions.referral_rule import Referral
from clinfit.files import hash_folder
from clinfit.models.base import Lesson, Workspace
from clinfit.models.encoder import EncoderModel
from clinfit.models.engines import base
from clinfit.models.engines.base import Engine, Kind
from clinfit.packs import lean
from clinfit.packs.decide import decide
from clinfit.packs.engines import use_engine
from clinfit.packs.lean import check_again, lean_pack
from clinfit.packs.nearness import said_of_made_up_records
from clinfit.packs.read import Pack, load_pack
from clinfit.packs.write import write_packs
from clinfit.scoring.beginnings import Beginning
from clinfit.study.stages import Stage
from three_tasks import TASKS, described, records, results_of, study_of, train
from two_layer import bert_base, llama_base

TRAIN = {"epochs": 0.5, "learning_rate": 1e-2, "batch_size": 8, "max_length": 200, "precision": "fp32"}
CAUSAL = {"name": "causal", "family": "causal", "base": str(llama_base()), "lora": {"rank": 2}, "train": TRAIN}
TORCH = "torch, one record at a time"


@dataclass
class Fake:
    """An engine that says what torch says, but for `off`, which its first logit is off: by a number, or a function of
    the ids."""

    reference: Engine
    name: str = "fake"
    off: float | Callable[[list[int]], float] = 0.0

    def logits(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        found = self.reference.logits(rows)
        found[:, 0] += [self.off(row) if callable(self.off) else self.off for row in rows]
        return found


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

    written: dict[Path, Any] = {}

    class FakeKind(Kind):
        def write(self, model: Any, folder: Path) -> None:
            if isinstance(wanted[self.extra], Exception):
                raise wanted[self.extra]
            written[folder] = model

        def read(self, folder: Path, threads: int) -> Engine:
            from clinfit.models.encoder import TorchEngine

            return Fake(TorchEngine(written[folder], 5), f"fake {self.extra}", wanted[self.extra])

    class Kinds(dict[str, Kind]):
        def items(self) -> Any:
            return [(name, FakeKind("", "", (), name)) for name in wanted]

        def __getitem__(self, name: str) -> Kind:
            return FakeKind("", "", (), name)

    monkeypatch.setattr(base, "KINDS", Kinds())
    return wanted  # type: ignore[return-value]


def said(pack: Pack) -> list[Any]:
    return [pack.answer(name, [replace(one, target=None) for one in records(name, 5)]) for name in pack.tasks]


def test_torch_answers_where_nobody_asked(pack: Pack, fakes: dict[str, Any]) -> None:
    fakes["openvino"] = 0.0
    before = said(pack)
    assert use_engine(pack, "torch").lines == [] and pack.engine == TORCH
    assert said(pack) == before


def test_a_named_engine_answers_and_is_named(pack: Pack, fakes: dict[str, Any]) -> None:
    fakes["openvino"] = 1e-5
    (line,) = use_engine(pack, "openvino").lines
    assert "engine fake openvino" in line and line.endswith("decisions flipped: 0 (allowed 0); it answers")
    assert "(allowed 0.0001)" in line, "what the pack declares"
    assert {answer.engine for answers in said(pack) for answer in answers} == {"fake openvino"}


@pytest.mark.parametrize("wanted", ["auto", "openvino"])
def test_an_engine_that_says_something_else_is_refused(pack: Pack, fakes: dict[str, Any], wanted: Any) -> None:
    """As one whose weights are spoiled does; torch's answers are as before."""
    fakes["openvino"] = 0.3
    before = said(pack)
    if wanted == "auto":
        lines = use_engine(pack, wanted).lines
        assert lines[0].endswith("refused") and lines[-1] == f"engine {TORCH}: it answers"
    else:
        with pytest.raises(ClinfitError, match="refused") as told:
            use_engine(pack, wanted, 1.0)
        assert "at most 0.01" in told.value.expected, "nobody may allow more"
    assert pack.engine == TORCH and said(pack) == before


def recalibrated(pack: Pack, by: Recalibration) -> Pack:
    return replace(pack, tasks={"cancer": replace(pack.tasks["cancer"], recalibration=by)})


@pytest.mark.parametrize("intercept", [9.0, 20.0])
def test_a_change_counts_as_much_where_the_model_is_sure(pack: Pack, fakes: dict[str, Any], intercept: float) -> None:
    """There the probabilities of made-up records hardly move, and those of other records would."""
    fakes["openvino"] = 0.2
    surely = Recalibration("intercept", {"intercepts": [intercept, 0.0], "floor": [1e-12]})
    with pytest.raises(ClinfitError, match="refused") as told:
        use_engine(recalibrated(pack, surely), "openvino", 0.01)
    ((change, possible),) = re.findall(r"by ([0-9.e-]+) at most.* 0.5 would by ([0-9.e-]+)", told.value.found)
    assert float(change) < 1e-3 and float(possible) == pytest.approx(np.tanh(0.2 / 4), rel=0.05)


def test_a_recalibration_neither_hides_a_change_nor_makes_one(pack: Pack, fakes: dict[str, Any]) -> None:
    """Steps are flat between their knots, and where they begin at 0 the least change has no end of log-odds."""
    flat = Recalibration("isotonic", {"label": [1.0], "x": [0.0, 1.0], "y": [0.7, 0.7]})
    fakes["openvino"] = 0.3
    with pytest.raises(ClinfitError, match="refused"):
        use_engine(recalibrated(pack, flat), "openvino", 0.01)
    own = np.array(pack.probes.references["cancer"])[:, 1].min()
    from_zero = Recalibration("isotonic", {"label": [1.0], "x": [0.0, own, 1.0], "y": [0.0, 0.0, 1.0]})
    fakes["openvino"] = 1e-5
    assert use_engine(recalibrated(pack, from_zero), "openvino", 0.01).engine == "openvino"


@pytest.mark.parametrize("what", ["long", "prose"])
def test_more_than_the_probes_is_asked(pack: Pack, fakes: dict[str, Any], what: str) -> None:
    """Rounding adds up over a row, and numbers of 8 bits suit some words less."""
    model = pack.model
    assert isinstance(model, EncoderModel)
    tokenizer, texts = model.parts()[0].tokenizer, [record.inputs["text"] for record in pack.probes.records["cancer"]]
    probes = {tuple(tokenizer(str(text))["input_ids"]) for text in texts}

    def is_wrong(row: list[int]) -> bool:
        long = len(row) == TRAIN["max_length"]
        return long if what == "long" else not long and tuple(row) not in probes

    fakes["openvino"] = lambda row: 0.3 * is_wrong(row)
    with pytest.raises(ClinfitError, match="refused"):
        use_engine(pack, "openvino", 0.01)


def test_whom_a_record_is_referred_to_is_a_decision(pack: Pack, fakes: dict[str, Any]) -> None:
    served = pack.tasks["cancer"]
    own = float(np.array(pack.probes.references["cancer"])[0, 1])
    undecided = Referral("confidence", 0.5, {"cut": [own]})  # the least change moves a probe below it
    near = replace(served, referral=undecided, thresholds={"": replace(served.thresholds[""], value=0.0)})
    strict = replace(pack, tasks={"cancer": near})
    assert decide(near, np.array([[0.2, 0.8]])).decided == decide(near, np.array([[0.8, 0.2]])).decided
    fakes["openvino"] = 1e-3
    with pytest.raises(ClinfitError, match=r"decisions flipped: [1-9]"):
        use_engine(strict, "openvino", 0.01)


def test_what_would_allow_it_is_told_where_anything_would(pack: Pack, fakes: dict[str, Any]) -> None:
    for off, told in ((0.01, "--engine-change 0.003"), (0.3, "")):
        fakes["openvino"] = off
        with pytest.raises(ClinfitError, match="refused") as error:
            use_engine(pack, "openvino")
        assert error.value.fix == "serve with --engine torch" + (f", or allow this with {told}" if told else "")
    fakes["openvino"] = 0.01
    assert use_engine(pack, "openvino", 0.003).engine == "openvino"


def test_an_engine_that_says_no_number_is_named(pack: Pack, fakes: dict[str, Any]) -> None:
    fakes["openvino"] = float("nan")
    with pytest.raises(ClinfitError, match="engine openvino: it says what is no answer") as error:
        use_engine(pack, "openvino")
    assert error.value.fix == "serve with --engine torch" and pack.engine == TORCH


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
        "clinfit.packs.engines._seconds", lambda pack, ways: [(use(), seconds[pack.engine])[1] for use in ways]
    )
    lines = use_engine(pack, "auto", 0.01).lines
    assert [line.rpartition("; ")[2] for line in lines] == ["not used", "not used", "it answers", "refused"]
    assert "it cannot compute this model (ValueError)" in lines[0] and "of the record" not in "".join(lines)
    assert "10.0 times as fast as torch" in lines[2] and pack.engine == "fake onnx"
    seconds |= {"fake openvino": 2.0, "fake onnx": 2.0}
    fresh = load_pack(written["small-seed42"])
    assert use_engine(fresh, "auto", 0.01).lines[-1] == f"engine {TORCH}: it answers" and fresh.engine == TORCH


def test_a_named_engine_that_cannot_compute_a_model_is_an_error(pack: Pack, fakes: dict[str, Any]) -> None:
    fakes["onnx"] = RuntimeError("no such operator")
    with pytest.raises(ClinfitError, match="cannot compute this model"):
        use_engine(pack, "onnx")
    assert pack.engine == TORCH


def test_a_named_engine_that_is_not_installed_says_what_installs_it(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Kind("clinfit.models.engines.onnx_export", "", ("no_such_package",), "onnx")
    monkeypatch.setattr(base, "KINDS", {"onnx": absent})
    monkeypatch.setattr("clinfit.packs.engines.said_of_made_up_records", lambda pack: pytest.fail("not worth asking"))
    with pytest.raises(ClinfitError) as error:
        use_engine(pack, "onnx")
    assert "no_such_package is not installed" in error.value.found and "clinfit[onnx]" in error.value.fix
    assert pack.engine == TORCH


def test_other_families_stay_as_they_are(written: dict[str, Path], fakes: dict[str, Any]) -> None:
    rule = load_pack(written["rule-seed42"])
    said = "engine rules: it answers, since other engines are for encoders and causal models"
    assert use_engine(rule, "auto").lines == [said]


def test_what_is_for_another_family_changes_nothing(pack: Pack, causal: Pack) -> None:
    (line,) = use_engine(pack, "prefix-cache").lines
    assert line == f"engine {TORCH}: it answers, since a prefix cache is for causal models"
    (line,) = use_engine(causal, "openvino").lines
    assert line == f"engine {TORCH}: it answers, since openvino is for encoders" and causal.engine == TORCH


# ---------------------------------------------------------------- a prefix cache


@pytest.fixture(scope="module")
def causal_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a causal model that answers tasks of three kinds."""
    study = study_of(CAUSAL)
    trained, _ = train(study, tmp_path_factory.mktemp("causal"))
    (folder,) = write_packs(trained, study, results_of(study), described(study)).values()
    return folder


@pytest.fixture
def causal(causal_folder: Path) -> Pack:
    return load_pack(causal_folder)


def test_a_prefix_cache_says_what_torch_says_and_is_named(causal: Pack) -> None:
    before = said(causal)
    (line,) = use_engine(causal, "prefix-cache").lines
    assert line.startswith(f"engine {TORCH}, with a prefix cache: ") and line.endswith("it answers")
    after = said(causal)
    assert {answer.engine for answers in after for answer in answers} == {f"{TORCH}, with a prefix cache"}
    for one, other in zip(before, after, strict=True):
        for a, b in zip(one, other, strict=True):
            assert b.decision == a.decision and b.probabilities == pytest.approx(a.probabilities, abs=1e-5)
    assert said(causal) == after, "asked again, the same to the bit"


def test_auto_takes_it_where_it_is_faster(causal: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    for faster, outcome in ((0.5, "not used"), (2.0, "it answers")):
        monkeypatch.setattr("clinfit.packs.engines._seconds", lambda pack, ways, faster=faster: [1.0, faster])
        assert use_engine(causal, "auto").lines[0].endswith(outcome)
        assert causal.engine.endswith("with a prefix cache") == (faster > 1)


def test_one_that_says_something_else_is_refused(causal: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of a model whose weights are others by now."""
    memory = Beginning.memory

    def spoiled(self: Beginning, length: int, rows: int) -> Any:
        found: Any = memory(self, length, rows)
        for layer in found.layers:
            layer.values = layer.values + 3.0
        return found

    before = said(causal)
    monkeypatch.setattr(Beginning, "memory", spoiled)
    with pytest.raises(ClinfitError, match="refused"):
        use_engine(causal, "prefix-cache")
    assert use_engine(causal, "auto").lines[-1] == f"engine {TORCH}: it answers"
    assert causal.engine == TORCH and said(causal) == before


def test_prompts_that_begin_with_the_record_have_nothing_to_keep(causal: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinfit.scoring.beginnings.FEWEST", 10_000)
    with pytest.raises(ClinfitError, match="nothing to keep"):
        use_engine(causal, "prefix-cache")
    assert "nothing to keep" in use_engine(causal, "auto").lines[0] and causal.engine == TORCH


def test_auto_leaves_out_what_is_asked_for_by_name(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would cost every start an export; here that would fail, since there is no such writer."""
    monkeypatch.setattr(base, "KINDS", {"onnx-int8": Kind("no.writer", "", (), "onnx", named_only=True)})
    (line,) = use_engine(pack, "auto").lines
    assert line.startswith(f"engine {TORCH}: it answers")
    with pytest.raises(ClinfitError, match="cannot compute this model"):
        use_engine(pack, "onnx-int8")


def test_nothing_installed_is_told(pack: Pack, fakes: dict[str, Any]) -> None:
    (line,) = use_engine(pack, "auto").lines
    assert "no other is installed" in line


def test_a_real_engine_answers_a_real_pack(pack: Pack) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    (line,) = use_engine(pack, "openvino", 0.01).lines
    assert line.endswith("it answers") and pack.engine.startswith("openvino")
    assert {answer.engine for answers in said(pack) for answer in answers} == {pack.engine}


# ---------------------------------------------------------------- without torch

ASK = """
import json, sys
from pathlib import Path
from clinfit.packs.lean import lean_pack
from three_tasks import records
from dataclasses import replace

found = lean_pack(Path(sys.argv[1]), "openvino", 0.01)
pack = found.pack
answers = {name: pack.answer(name, [replace(one, target=None) for one in records(name, 5)]) for name in pack.tasks}
told = {name: [list(answer.probabilities.values()) for answer in each] for name, each in answers.items()}
print(json.dumps([told, pack.engine, found.tested, found.lines, "torch" in sys.modules]))
"""


def asked_apart(folder: Path) -> list[Any]:
    """What a process of its own says, which another process tried the engine for."""
    command = [sys.executable, "-c", ASK, str(folder)]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_an_engine_that_answers_otherwise_where_it_is_read_is_refused(pack: Pack) -> None:
    torch = {name: np.array(said) for name, said in said_of_made_up_records(pack).items()}
    check_again(pack, {name: said.tolist() for name, said in torch.items()}, None)
    moved = {name: np.clip(said + 1e-3, 0, 1).tolist() for name, said in torch.items()}
    with pytest.raises(ClinfitError, match="answers otherwise here than when it was tried") as error:
        check_again(pack, moved, None)
    assert "at most 0.0001" in error.value.expected


def test_where_an_engine_answers_otherwise_auto_lets_torch_answer(
    written: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    run = subprocess.run

    def chosen(command: list[str], **options: Any) -> Any:  # whatever is the fastest here
        return run(["openvino" if word == "auto" else word for word in command], **options)

    def turned(pack: Pack) -> dict[str, Any]:
        return {name: 1 - np.array(each) for name, each in said_of_made_up_records(pack).items()}

    monkeypatch.setattr(lean.subprocess, "run", chosen)
    found = lean_pack(written["small-seed42"], "auto", 0.01)
    assert found.pack is not None and found.lines[-1].endswith("it answers")
    monkeypatch.setattr(lean, "said_of_made_up_records", turned)
    found = lean_pack(written["small-seed42"], "auto", 0.01)
    assert found.pack is None and "answers otherwise here" in found.lines[-1]
    assert found.lines[-1].endswith("torch answers")
    with pytest.raises(ClinfitError, match="answers otherwise here"):
        lean_pack(written["small-seed42"], "openvino", 0.01)


def test_another_engine_answers_without_torch(written: dict[str, Path], pack: Pack) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    told, engine, tested, lines, torch = asked_apart(written["small-seed42"])
    assert not torch and engine.startswith("openvino") and len(tested) == len(pack.tasks) and "it answers" in lines[-1]
    use_engine(pack, "openvino", 0.01)
    for (name, answers), expected in zip(told.items(), said(pack), strict=True):
        assert name in pack.tasks
        own = [list(answer.probabilities.values()) for answer in expected]
        np.testing.assert_allclose(answers, own, atol=1e-6)


def test_adapters_of_their_own_are_read_without_torch(tmp_path: Path) -> None:
    """A task that an earlier stage taught is answered with that stage's adapter."""
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    spec = {"name": "apart", "family": "encoder", "base": str(bert_base()), "lora": {"rank": 2}, "train": TRAIN}
    study = study_of(spec, tasks={name: TASKS[name] for name in ("cancer", "organs")})
    (trained,), models = train(study, tmp_path)
    stage = Stage.model_validate({"train": {"organs": 1}, "adapter": "new"})
    again = Lesson(records("organs"), [], {"organs": 1.0}, trained.model, stage)
    models["apart"].fit(again, Workspace(tmp_path / "again"))
    models["apart"].save(tmp_path / "both")
    later = replace(trained, model=tmp_path / "both", sha256=hash_folder(tmp_path / "both"))
    folder = write_packs([later], study, results_of(study), described(study))["apart-seed42"]
    told, _, _, _, torch = asked_apart(folder)
    reference = load_pack(folder)
    assert not torch and len(reference.model.parts()) == 2  # type: ignore[attr-defined]
    for answers, expected in zip(told.values(), said(reference), strict=True):
        np.testing.assert_allclose(answers, [list(one.probabilities.values()) for one in expected], atol=0.01)


def test_what_cannot_be_tried_is_an_error_and_torch_is_none(
    written: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ClinfitError, match="ended with 1"):
        lean_pack(written["small-seed42"], "auto", None)
    monkeypatch.undo()
    with pytest.raises(ClinfitError, match="refused") as told:
        lean_pack(written["small-seed42"], "onnx", 1e-12)
    assert "at most 1e-12" in told.value.expected


TEXTS = """
name: short
tasks:
  short:
    kind: generation
    max_new_tokens: 8
    data: {path: data.csv, id: id, inputs: {note: note}, label: summary}
models:
  - {name: writer, family: causal, base: BASE, lora: {rank: 2},
      train: {epochs: 1, batch_size: 8, max_length: 120, precision: fp32}}
evaluation: {bootstrap: 100}
"""


@pytest.mark.slow
def test_a_pack_that_writes_writes_the_same_texts_with_a_prefix_cache(tmp_path: Path) -> None:
    rows = [[at, f"Patient {at} was seen with {'fever' if at % 2 else 'a cough'}.", "Fever." if at % 2 else "Cough."]
            for at in range(60)]  # fmt: skip
    pd.DataFrame(rows, columns=["id", "note", "summary"]).to_csv(tmp_path / "data.csv", index=False)
    (tmp_path / "study.yaml").write_text(TEXTS.replace("BASE", str(llama_base())))
    result = clinfit.run(tmp_path / "study.yaml", out=tmp_path / "run", console=Console(quiet=True))
    writer = load_pack(result.packs["writer-seed42"])
    asked = [Record(f"r{k}", f"r{k}", {"note": f"Seen on day {k} with a rash."}) for k in range(4)]
    before = [answer.decision for answer in writer.answer("short", asked)]
    (line,) = use_engine(writer, "prefix-cache").lines
    assert line.endswith("get another text: 0 (allowed 0); it answers") and writer.engine.endswith(
        "with a prefix cache"
    )
    assert [answer.decision for answer in writer.answer("short", asked)] == before
