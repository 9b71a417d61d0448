"""Natural frequencies add up and claim no more than was counted."""

from copy import deepcopy

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clinfit.evaluation.claims.natural_frequencies import rounded
from clinfit.evaluation.system_results import SystemResult
from clinfit.report.sections.answers.per_hundred import frequencies, per_hundred, prevalence_table

from .conftest import ReportInputs


@given(st.lists(st.integers(0, 5000), min_size=6, max_size=6).filter(any), st.sampled_from([100, 1000]))
def test_rounded_counts_sum_to_the_base(counts: list[int], base: int) -> None:
    table = np.array(counts).reshape(2, 3)[::-1][:, [1, 0, 2]]
    whole = rounded(table, base)
    assert whole.sum() == base
    assert (np.abs(whole - table / table.sum() * base) < 1 + 1e-9).all()


def made(cases: dict[str, ReportInputs], counts: list[list[int]]) -> SystemResult:
    (task,) = cases["binary"].results["tasks"].values()
    system = deepcopy(task["systems"][1])
    system["sections"]["confusion"]["counts"] = counts
    return system


def test_sentence(cases: dict[str, ReportInputs]) -> None:
    system = made(cases, [[46, 5, 0], [2, 47, 0]])
    assert frequencies(system, "malignant").sentence == (
        f"Of 100 records like these, 49 are truly malignant. {system['name']} flags 52, of whom 47 are truly malignant "
        "and 5 are not; it misses 2."
    )


def test_unparsed_answers_and_small_counts_are_told(cases: dict[str, ReportInputs]) -> None:
    found = frequencies(made(cases, [[700, 50, 49], [1, 180, 20]]), "malignant")
    assert "it misses fewer than 1." in found.sentence
    assert "Of 7 the answer cannot be read, 2 of them truly malignant." in found.sentence
    assert found.table.columns[-1] == "unparsed"


def test_rare_events_are_told_of_a_thousand(cases: dict[str, ReportInputs]) -> None:
    assert frequencies(made(cases, [[970, 20, 0], [2, 8, 0]]), "malignant").sentence.startswith("Of 1\u202f000 records")


def test_only_for_two_labels_with_both_in_the_test_set(cases: dict[str, ReportInputs]) -> None:
    for name in ("one class", "three labels"):
        (task,) = cases[name].results["tasks"].values()
        assert per_hundred(task) == {} and prevalence_table(task, 0.95) is None


def test_the_best_system_is_told_first(cases: dict[str, ReportInputs]) -> None:
    (task,) = cases["binary"].results["tasks"].values()
    told = list(per_hundred(task))
    assert told[: len(task["ranking"])] == task["ranking"]
    assert set(told) == {system["name"] for system in task["systems"]}
    assert told != [system["name"] for system in task["systems"]], "the study's order is another"


def test_predictive_values_at_other_prevalences_have_intervals(cases: dict[str, ReportInputs]) -> None:
    (task,) = cases["binary"].results["tasks"].values()
    table = prevalence_table(task, 0.95)
    assert table is not None
    for _, cells in table.rows:
        assert all("[" in cell.text for cell in cells if not cell.empty)
    assert any("[" in cell.interval for _, cells in table.rows for cell in cells)
