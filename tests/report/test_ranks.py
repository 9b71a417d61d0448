"""A rank sweep: the report says whether a smaller rank is inferior, by the paired interval and the declared margin."""

from html import unescape

import pandas as pd
import pytest

from clinfit.evaluation.evaluate import evaluate
from clinfit.evaluation.results import Results
from clinfit.report.build import render
from clinfit.report.inputs import ReportInputs
from clinfit.study.models import Baseline, Causal
from clinfit.study.schema import Study
from clinfit.study.train import Lora
from predicted import predictions_of, task_of

#: Model -> rank, and how much it knows: the smallest knows nothing.
RANKS = {"small": (4, 0.0), "middle": (16, 2.5), "large": (64, 2.5)}


@pytest.fixture(scope="module")
def made() -> tuple[Study, Results]:
    pairs = [["middle", "large"], ["small", "middle"]]
    study = Study(
        name="ranks",
        tasks={"asked": task_of("classification", primary="accuracy", margin=0.1, compare=pairs)},
        models=[
            Baseline(name="always", family="baseline", kind="majority"),
            *(
                Causal(name=name, family="causal", base="clinfit/tiny", lora=Lora(rank=rank, alpha=2 * rank))
                for name, (rank, _) in RANKS.items()
            ),
        ],
        evaluation={"bootstrap": 200},  # type: ignore[arg-type]
    )
    systems = [(name, stage, knows if stage else 0.0) for name, (_, knows) in RANKS.items() for stage in (0, 1)]
    return study, evaluate(study, pd.concat([predictions_of("asked", study.tasks["asked"], 400, systems=systems)]))


def test_the_report_says_where_rank_is_no_limit_and_where_that_is_not_shown(made: tuple[Study, Results]) -> None:
    study, results = made
    declared = [found for found in results["tasks"]["asked"]["comparisons"] if found["kind"] == "declared"]
    enough, few = (found["non_inferiority"] for found in declared)
    assert enough is not None and few is not None and enough["shown"] and not few["shown"]
    page = unescape(render(ReportInputs(results, study)))
    for found in declared:
        assert found["non_inferiority"] is not None and found["non_inferiority"]["sentence"] in page
        assert found["rows"][0]["sentence"] in page
    assert "is not inferior to large" in enough["sentence"] and "by more than 10 points" in enough["sentence"]
    assert declared[1]["rows"][0]["direction"] == "worse"
