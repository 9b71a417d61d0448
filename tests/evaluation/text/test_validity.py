"""Every metric moves with the fault that it names, and those of facts and form do not move with others."""

import os
from pathlib import Path

import pytest

from clinfit.evaluation.metrics.text.definitions import METRICS
from text_faults import FACTS, FAULTS, NARROW, Fault, Moved, Sample, dialogues, moved, notes

#: How far a metric may move with a fault that it does not name, when every item has that fault.
QUIET = 0.1


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return notes()


def assert_named_metrics_move(found: Moved, fault: Fault) -> None:
    for name, way in FAULTS[fault].items():
        steps = [way * value for value in found.means[name] if value is not None]
        assert len(steps) == 4, f"{name} is undefined"
        assert steps == sorted(steps) and steps[-1] > steps[0], f"{name}: {found.means[name]}"


def test_every_metric_is_named_by_a_fault() -> None:
    assert {name for named in FAULTS.values() for name in named} == set(METRICS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_metric_moves_with_the_fault_that_it_names(fault: Fault, samples: list[Sample]) -> None:
    found = moved(fault, samples)
    assert found.n >= 8
    assert_named_metrics_move(found, fault)
    if fault in NARROW:
        others = {name: found.change(name) for name in FACTS if name not in FAULTS[fault]}
        assert {name: change for name, change in others.items() if change and abs(change) > QUIET} == {}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_it_moves_on_real_notes_too(fault: Fault) -> None:
    data = Path(os.environ.get("CLINFIT_DATA", "nowhere"))
    if not (data / "mts_dialog").is_dir():
        pytest.skip("needs MTS-Dialog in the folder that CLINFIT_DATA names")
    assert_named_metrics_move(moved(fault, dialogues(data, 60)), fault)
