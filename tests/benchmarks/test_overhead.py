"""The ways that benchmarks/overhead.py compares do the same work, and are counted with all that they start."""

from pathlib import Path

import overhead
import pytest

from clinfit.runs import execute


def test_medians_are_told_beside_the_plain_loop(capsys: pytest.CaptureFixture[str]) -> None:
    rounds = [
        {"plain": 100.0, "inline": 102.0, "processes": 110.0},
        {"plain": 200.0, "inline": 202.0, "processes": 206},
    ]
    overhead.report(40, rounds)
    told = capsys.readouterr().out
    assert told.startswith("40 steps a language model, n = 2") and "inline        152.0 s     +2.0 s    1.015" in told


@pytest.mark.slow
@pytest.mark.parametrize("way", ["plain", "inline"])
def test_each_way_does_the_study(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process of its own does, in this one, which has imported what it needs; raises where a model fails."""
    monkeypatch.setattr(execute, "conclude", execute.conclude)  # which a way replaces, here not for good
    overhead.WORK[way](overhead.write_study(tmp_path / "study", 1, 40, 1))


@pytest.mark.slow
def test_a_way_is_counted_with_all_that_it_starts(tmp_path: Path) -> None:
    """By worker processes, which the other ways have none of."""
    study = overhead.write_study(tmp_path / "study", 1, 40, 1)
    assert overhead.processor_seconds("processes", study) > 1
