"""What the driver of a cluster decides by itself; no cluster is needed. The cluster itself: test_ray.py."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml

from clinfit.files import write_json
from clinfit.runs.cluster import demands as demanded
from clinfit.runs.cluster import executor, shipping
from clinfit.runs.cluster.demands import Demand
from clinfit.runs.cluster.parcels import pack, unpack
from clinfit.runs.inputs import prepare
from clinfit.runs.steps.environment import describe_environment
from clinfit.runs.steps.place import Place, as_brought, brought_data
from clinfit.runs.steps.plan import Step
from clinfit.runs.steps.written import WrittenTexts, remove_written
from clinfit.study.load import load_study
from executed import MAJORITY, RULES, causal
from two_layer import llama_base

StudyMaker = Callable[..., Path]


def work_of(study: Path) -> tuple[Place, list[Step]]:
    prepared = prepare(load_study(study), "apart", None, fresh=True)
    return Place(prepared.study, prepared.data, prepared.folder, describe_environment(neural=False)), prepared.steps


def node(cpus: int, gpus: int = 0, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus, "memory": 10**12}}


def test_a_worker_asks_for_no_more_than_a_node_has_that_is_otherwise_large_enough(
    make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest node says nothing of a model that asks for a GPU, which it has not."""
    place, steps = work_of(make_study(models=[MAJORITY, causal("small")]))
    keys = {step.worker for step in steps} - {"classical"}
    monkeypatch.setattr(demanded, "memory_demands", lambda place, steps: dict.fromkeys(keys, 10**9))
    monkeypatch.setattr(demanded, "thread_settings", lambda environment: {"OMP_NUM_THREADS": "32"})
    found = demanded.demands(place, steps, [node(64), node(8, gpus=1), node(128, gpus=1, alive=False)])
    assert found["classical"] == Demand(32, 0, 0)
    assert [demand for key, demand in found.items() if key != "classical"] == [Demand(8, 1, 10**9)]


def test_a_base_has_one_place_for_all_workers(make_study: StudyMaker, tmp_path: Path) -> None:
    """Its parcel is put into the object store once, with the place in it, whoever brings other bases beside it."""
    other = shutil.copytree(llama_base(), tmp_path / "other")
    place, steps = work_of(make_study(models=[causal("a"), causal("b", base=str(other))]))
    alone = [shipping.bases_of(place, [step for step in steps if step.run == f"{name}-seed42"]) for name in "ab"]
    assert shipping.bases_of(place, steps) == alone[0] | alone[1]
    assert len({base["folder"] for found in alone for base in found.values()}) == 2


def test_a_worker_that_never_comes_up_fails_its_steps_and_not_the_run(
    make_study: StudyMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "study_parcel", lambda place: b"")
    place, steps = work_of(make_study(**RULES))
    ray = MagicMock()
    ray.nodes.return_value = [node(2)]
    work = executor._Work(ray, steps, place, MagicMock(), 1)
    while work._fill():
        (seat,) = work._seats
        work._broken(seat, OSError())
    assert set(work.failures) == {step.id for step in steps}


def test_folds_are_sent_as_what_differs(make_study: StudyMaker) -> None:
    study = make_study(models=[MAJORITY])
    content = yaml.safe_load(study.read_text())
    content["tasks"]["cancer"]["data"]["split"] = {"folds": 3, "repeats": 2}
    study.write_text(yaml.safe_dump(content))
    place, _ = work_of(study)
    ((name, data),) = place.data.items()
    sent = as_brought(data)
    assert all(set(row) <= {"split"} for *_, rows in sent["folds"] for row in rows)
    write_json(Path("brought") / f"{name}.json", sent)
    found = brought_data(Path("brought"), name, place.study.tasks[name])
    assert found.folds == data.folds and found.fingerprint == data.fingerprint
    assert found.undivided == data.undivided and {record.split for record in found.undivided} == {"train", "validation"}


def test_a_folder_of_before_1980_is_packed(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "weights").write_bytes(b"w")
    os.utime(tmp_path / "base" / "weights", (1, 1))
    unpack(pack({"base": tmp_path / "base"}), tmp_path / "there")
    assert (tmp_path / "there" / "base" / "weights").read_bytes() == b"w"


def test_texts_that_were_kept_go_whoever_wrote_the_table(tmp_path: Path) -> None:
    """A step may begin here and end elsewhere; its texts may quote records."""
    for table in ("a.parquet", "b.parquet"):
        (tmp_path / f".{Path(table).stem}.written-0123").mkdir()
    remove_written(tmp_path / "a.parquet")
    assert [path.name for path in tmp_path.iterdir()] == [".b.written-0123"]
    WrittenTexts(tmp_path / "b.parquet", "4" * 64)
    assert not list(tmp_path.iterdir())
