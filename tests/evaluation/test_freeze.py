"""What a freeze says, by when it was made and what changed since."""

import itertools

import pytest

from clinfit.evaluation.analyses.freeze import WORDS, Freeze, Scoring, declaration, declaration_hash, freeze_result

DATA = {"outcome": "ab" * 32}


def freeze(stated, time, *, opened=False):
    return Freeze(declaration_hash(stated), time, opened, stated)


def scoring(time, declared="d", answers="a"):
    return Scoring(time, declared, answers, None)


@pytest.fixture
def stated(make_study):
    return lambda data=DATA, **evaluation: declaration(make_study(**evaluation), data)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"primary": "auroc"}, "primary"),
        ({"threshold": {"rule": "youden"}}, "threshold"),
        ({"calibration": "platt"}, "calibration"),
        ({"refer": {"rule": "confidence", "value": 0.9}}, "refer"),
        ({"subgroups": ["sex"]}, "subgroups"),
        ({"site": "hospital"}, "subgroups"),
        ({"margin": 0.02}, "margin"),
        ({"confidence": 0.9}, "confidence"),
        ({"baseline": "forest"}, "baseline"),
        ({"compare": [["tiny", "forest"]]}, "compare"),
        ({"data": {"outcome": "cd" * 32}}, "data"),
    ],
)
def test_what_changed_is_named(stated, change, key):
    before, after = stated(), stated(**change)
    assert declaration_hash(before) != declaration_hash(after)
    result = freeze_result(after, [freeze(before, "2026-01-01")], [scoring("2026-01-02")])
    assert (result["state"], result["changed"]) == ("changed", [key])
    assert WORDS[key] in result["sentence"]


def test_what_decides_nothing_may_change(stated):
    assert declaration_hash(stated()) == declaration_hash(stated(bootstrap=500, floors={"accuracy": 0.8}))


def test_a_setting_that_a_later_version_brings_along_changes_no_freeze(stated):
    """A freeze of before knows nothing of it, nor does its hash."""
    now = stated(threshold={"rule": "youden"})
    before = {name: value for name, value in now.items() if name != "margin"}
    before["threshold"] = {"rule": "youden", "value": None}
    assert "weights" in now["threshold"] and declaration_hash(before) == declaration_hash(now)
    result = freeze_result(now, [freeze(before, "2026-01-01")], [scoring("2026-01-02")])
    assert (result["state"], result["changed"]) == ("frozen", [])
    other = {**before, "threshold": {"rule": "fixed", "value": 0.3}}
    assert freeze_result(now, [freeze(other, "2026-01-01")], [scoring("2026-01-02")])["changed"] == ["threshold"]


def test_what_no_version_knows_any_more_is_a_change(stated):
    odd = {**stated(), "threshold": {"rule": "by-the-moon"}}
    result = freeze_result(stated(), [freeze(odd, "2026-01-01")], [scoring("2026-01-02")])
    assert result["state"] == "changed" and "threshold" in result["changed"]


def test_frozen_late_and_not_frozen(stated):
    now, other = stated(), stated(primary="auroc")
    scored = [scoring("2026-01-05")]
    early, late = freeze(now, "2026-01-01"), freeze(now, "2026-01-09")
    assert freeze_result(now, [early], scored)["state"] == "frozen"
    assert freeze_result(now, [late], scored)["state"] == "late"
    assert freeze_result(now, [freeze(now, "2026-01-01", opened=True)], scored)["state"] == "late"
    assert freeze_result(now, [], scored)["state"] == "not-frozen"
    changed_late = freeze_result(now, [freeze(other, "2026-01-09")], scored)
    assert (changed_late["state"], changed_late["changed"]) == ("late", ["primary"])
    assert "after the test split had been opened" in changed_late["sentence"]


def test_the_last_freeze_in_time_is_in_force_in_any_order(stated):
    now, other = stated(), stated(primary="auroc")
    freezes = [freeze(other, "2026-01-01"), freeze(now, "2026-01-02"), freeze(other, "2026-01-09")]
    results = [freeze_result(now, list(order), [scoring("2026-01-05")]) for order in itertools.permutations(freezes)]
    assert {result["state"] for result in results} == {"frozen"}
    assert {result["frozen_at"] for result in results} == {"2026-01-02"}


def test_a_late_freeze_does_not_hide_that_the_early_one_was_left(stated):
    early, late = freeze(stated(primary="auroc"), "2026-01-01"), freeze(stated(), "2026-01-09")
    assert freeze_result(stated(), [early, late], [scoring("2026-01-05")])["state"] == "changed"


def test_scoring_the_same_again_is_no_further_look(stated):
    again = [scoring("2026-01-05"), scoring("2026-01-06"), scoring("2026-01-07", answers="b")]
    result = freeze_result(stated(), [], again)
    assert (result["scored"], result["first_scored_at"]) == (2, "2026-01-05")
    assert "scored 2 times" in result["sentence"]
    assert "scored once" in freeze_result(stated(), [], again[:2])["sentence"]
