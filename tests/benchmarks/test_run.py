import sys
from pathlib import Path

import pytest
from run import PRECISIONS, Row, expected_seconds, measure, plan, rows


def _row(name: str, *command: str) -> Row:
    return Row(name, command, Path(sys.executable))


def test_every_round_holds_every_row_once_in_another_order():
    everything = list(rows(Path("work"), Path("python"), Path("other-python"), PRECISIONS))
    names = [row.name for row in everything]
    assert len(set(names)) == len(names)
    order = plan(everything, 3, [])
    rounds = [[row.name for row, number in order if number == n] for n in range(3)]
    assert all(sorted(found) == sorted(names) for found in rounds)
    assert rounds[0] != rounds[1] != rounds[2]


def test_finished_measurements_are_skipped_and_failed_ones_are_not():
    a, b = _row("a"), _row("b")
    records = [{"job": "machine"}, {"job": "a", "round": 0}, {"job": "b", "round": 0, "error": "killed"}]
    assert plan([a, b], 1, records) == [(b, 0)]


def test_last_measurement_is_the_estimate():
    records = [{"job": "a", "round": 0, "process_seconds": 5.0}, {"job": "a", "round": 1, "process_seconds": 7.0}]
    assert expected_seconds("a", records) == 7.0
    assert expected_seconds("b", records) == 25


def test_without_its_python_llama_factory_is_left_out():
    assert not any("llama_factory" in row.name for row in rows(Path("work"), Path("python"), None, PRECISIONS))


def test_bf16_is_left_out_where_it_is_not_asked_for():
    names = [row.name for row in rows(Path("work"), Path("python"), None, ["fp32"])]
    assert "train/wide/fp32/clinfit" in names and not any("bf16" in name for name in names)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_measure_joins_the_script_result_and_the_process_figures(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text("import json, sys\nopen(sys.argv[-1], 'w').write(json.dumps({'seconds': 1.5}))\n")
    record = measure(_row("a", str(script)), tmp_path)
    assert record["seconds"] == 1.5
    assert record["process_peak_mb"] > 1
    assert "error" not in record


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_measure_reports_a_failing_script_with_its_last_words(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit('out of luck')\n")
    error = measure(_row("a", str(script)), tmp_path)["error"]
    assert "exit status 1" in error
    assert "out of luck" in error
