"""Free answers: nothing leaves a denominator, intervals are Wilson's or by group, and warnings come when due."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from clinfit.evaluation.analyses import language as analyses_language
from clinfit.evaluation.analyses.generated import check_generated, generated_result
from clinfit.evaluation.analyses.language import language_facts
from clinfit.evaluation.evaluate import evaluate
from clinfit.study.models import Causal
from clinfit.study.schema import Study

LABELS = ["No", "Yes"]
PATIENT = "Mrs Jane Doe is unwell"
#: Items of `with_free` that lost text: number, tokens lost, tokens read.
CUT = [(38, 9, 38), (37, 5, 37), (39, 5, 39)]


def table(
    gold: list[str], likely: list[str], raw: list[str | None], tokens: list[int] | None = None, **columns: Any
) -> pd.DataFrame:
    n = len(gold)
    content = {
        "id": [f"i{k:03d}" for k in range(n)],
        "group": [f"i{k:03d}" for k in range(n)],
        "gold": gold,
        "predicted": likely,
        "status": "ok",
        "raw": pd.Series(raw, dtype=object),
        "output_tokens": pd.array(tokens or [1] * n, dtype="Int64"),
    }
    return pd.DataFrame(content | columns)


def test_unread_answers_stay_in_every_denominator() -> None:
    rows = table(
        ["No", "No", "Yes", "Yes", "Yes"],
        ["No", "Yes", "Yes", "No", "Yes"],
        ["No", "no.", "maybe", None, "Answer: Yes"],
        [1, 2, 8, 0, 3],
    )
    found = generated_result(rows, LABELS, 8, 200, 0.95)
    assert found is not None
    assert (found["parsed"]["events"], found["parsed"]["n"]) == (3, 5)
    assert (found["accuracy"]["events"], found["accuracy"]["n"]) == (3, 5)
    assert (found["agreement"]["events"], found["agreement"]["n"]) == (2, 5)
    by_label = {label: (metric["events"], metric["n"]) for label, metric in found["parsed_by_label"].items()}
    assert by_label == {"No": (2, 2), "Yes": (1, 3)}
    assert found["reasons"] == {"no label": 1, "no answer": 1}
    assert found["cut_off"] == 1 and found["n"] == 5
    low, high = binomtest(3, 5).proportion_ci(method="wilson")
    assert (found["parsed"]["low"], found["parsed"]["high"]) == pytest.approx((low, high))


def test_a_model_that_wrote_nothing_has_no_free_answers() -> None:
    assert generated_result(table(["No"], ["No"], [None]), LABELS, 8, 200, 0.95) is None
    assert generated_result(table([], [], []), LABELS, 8, 200, 0.95) is None


def test_a_label_without_items_is_undefined_not_0() -> None:
    found = generated_result(table(["No", "No"], ["No", "No"], ["No", "Yes"]), LABELS, 8, 200, 0.95)
    assert found is not None
    absent = found["parsed_by_label"]["Yes"]
    assert (absent["value"], absent["status"]) == (None, "undefined") and absent["reason"]


def test_grouped_items_get_a_wider_interval_by_group() -> None:
    """Ten patients with ten notes each, all of one patient read or none: 10 observations, not 100."""
    groups = [f"p{k // 10}" for k in range(100)]
    raw = ["Yes" if k // 10 % 2 else "unclear" for k in range(100)]
    rows = table(["Yes"] * 100, ["Yes"] * 100, list(raw), group=groups)
    found = generated_result(rows, LABELS, 8, 200, 0.95)
    assert found is not None
    parsed = found["parsed"]
    low, high = binomtest(50, 100).proportion_ci(method="wilson")
    assert parsed["low"] is not None and parsed["high"] is not None and "by group" in str(parsed["method"])
    assert parsed["high"] - parsed["low"] > 2 * (high - low)


answers = st.lists(st.sampled_from(["Yes", "No", "no label here", "", None]), min_size=1, max_size=30)


@settings(max_examples=30)
@given(answers, st.randoms(use_true_random=False))
def test_shares_are_consistent_and_the_order_of_rows_does_not_matter(raw: list[str | None], random: Any) -> None:
    n = len(raw)
    rows = table([random.choice(LABELS) for _ in range(n)], [random.choice(LABELS) for _ in range(n)], raw)
    found = generated_result(rows, LABELS, 8, 200, 0.95)
    if all(text is None for text in raw):
        assert found is None
        return
    assert found is not None
    assert sum(found["reasons"].values()) == n - (found["parsed"]["events"] or 0)
    assert sum(metric["n"] for metric in found["parsed_by_label"].values()) == n
    assert max(found["accuracy"]["events"] or 0, found["agreement"]["events"] or 0) <= (found["parsed"]["events"] or 0)
    again = generated_result(rows.sample(frac=1, random_state=1), LABELS, 8, 200, 0.95)
    assert again == found
    json.dumps(found, allow_nan=False)


def result(read: int, alike: int, n: int = 100) -> Any:
    """Free answers of n items of which `read` name a label and `alike` the most probable one."""
    raw = ["Yes"] * alike + ["No"] * (read - alike) + [PATIENT] * (n - read)
    return generated_result(table(["Yes"] * n, ["Yes"] * n, list(raw)), LABELS, 8, 200, 0.95)


@pytest.mark.parametrize(
    ("read", "alike", "codes"),
    [
        (100, 100, []),
        (99, 99, []),
        (98, 98, ["free-answers-unread"]),
        (100, 95, []),
        (100, 94, ["free-answers-differ"]),
        (90, 90, ["free-answers-unread", "free-answers-differ"]),
    ],
)
def test_warnings_come_below_99_and_95_per_cent(read: int, alike: int, codes: list[str]) -> None:
    found = check_generated("tiny", True, result(read, alike))
    assert [finding.code for finding in found] == codes
    assert {finding.level for finding in found} <= {"warn"}
    assert PATIENT not in str(found)


def test_before_training_they_are_for_information() -> None:
    assert {finding.level for finding in check_generated("tiny (before)", False, result(0, 0))} == {"info"}


# ---------------------------------------------------------------- in metrics.json


@pytest.fixture(scope="module")
def with_free(make_study: Callable[..., Study], rows: Callable[..., pd.DataFrame]) -> tuple[Study, pd.DataFrame]:
    """40 items, a causal model that writes at both stages and leaves four answers unread after training."""
    study = make_study()
    tiny = next(spec for spec in study.models if isinstance(spec, Causal))
    models = [spec if spec is not tiny else tiny.model_copy(update={"generate": 8}) for spec in study.models]
    gold = ["No", "Yes"] * 20
    tables = [rows("always", gold, ["No"] * 40), rows("forest", gold, gold)]
    for stage in (0, 1):
        raw = ["No", "Yes"] * 18 + [PATIENT if stage else "No"] * 4
        written = rows("tiny", gold, gold, stage=stage).assign(
            raw=raw,
            output_tokens=pd.array([1] * 36 + [8] * 4, dtype="Int64"),
            prompt_tokens=pd.array(range(40), dtype="Int64"),
            label_mass=np.linspace(0, 1, 40),
            dropped_tokens=pd.array([0] * 37 + [5, 9, 5], dtype="Int64"),
        )
        tables.append(written)
    return study.model_copy(update={"models": models}), pd.concat(tables, ignore_index=True)


def test_every_language_model_has_its_part_and_no_other(with_free: tuple[Study, pd.DataFrame]) -> None:
    study, predictions = with_free
    task = evaluate(study, predictions)["tasks"]["outcome"]
    systems = {system["name"]: system for system in task["systems"]}
    assert (
        systems["forest"]["sections"].get("language") is None and systems["forest"]["sections"].get("generated") is None
    )
    after, before = systems["tiny (after)"], systems["tiny (before)"]
    assert after["sections"].get("generated") is not None and before["sections"].get("generated") is not None
    assert (
        after["sections"]["generated"]["parsed"]["events"] == 36
        and before["sections"]["generated"]["parsed"]["events"] == 40
    )
    assert after["sections"]["generated"]["cut_off"] == 4
    assert after["sections"]["language"] == {
        "n": 40,
        "prompt_tokens": [0, 9.75, 19.5, 29.25, 39],
        "label_mass": pytest.approx([0, 0.25, 0.5, 0.75, 1]),
        "shortened": 3,
        "cut": [{"id": f"test-{k:05d}", "dropped_tokens": lost, "prompt_tokens": read} for k, lost, read in CUT],
        "pieces": None,
    }
    codes = {finding["code"]: finding["level"] for finding in task["findings"] if finding["system"] == "tiny (after)"}
    assert codes["free-answers-unread"] == codes["free-answers-differ"] == "warn"


def test_patient_text_stays_in_the_predictions(with_free: tuple[Study, pd.DataFrame]) -> None:
    assert PATIENT not in json.dumps(evaluate(*with_free))


def test_the_likelihood_is_what_everything_else_is_computed_from(with_free: tuple[Study, pd.DataFrame]) -> None:
    study, predictions = with_free
    silent = study.model_copy(
        update={"models": [s.model_copy(update={"generate": 0}) if s.name == "tiny" else s for s in study.models]}
    )
    one, other = (evaluate(s, predictions)["tasks"]["outcome"]["systems"] for s in (study, silent))
    assert all(system["sections"].get("generated") is None for system in other)
    assert [system["metrics"] for system in one] == [system["metrics"] for system in other]


def test_tables_of_older_versions_do_not_know_what_was_shortened() -> None:
    rows = table(["No"], ["No"], [None], prompt_tokens=[3], label_mass=[np.nan])
    unknown = dict.fromkeys(("label_mass", "shortened", "pieces"))
    assert language_facts(rows) == {"n": 1, "prompt_tokens": [3] * 5, "cut": [], **unknown}


def test_the_items_that_lost_most_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table(["No"] * 4, ["No"] * 4, [None] * 4, prompt_tokens=[3, 4, 5, 6], dropped_tokens=[0, 9, 1, 9])
    monkeypatch.setattr(analyses_language, "MOST_CUT", 2)
    found = language_facts(rows)
    assert [item["dropped_tokens"] for item in found["cut"]] == [9, 9] and found["shortened"] == 3
    assert [item["id"] for item in found["cut"]] == sorted([rows["id"].iloc[1], rows["id"].iloc[3]])
