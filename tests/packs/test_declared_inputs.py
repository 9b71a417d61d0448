"""From a study that declares what its inputs may hold to the report and the answers of its pack."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

import clinfit
from clinfit.errors import ClinfitError
from small_study import records


def test_what_cannot_be_is_counted_in_the_report_and_noted_by_the_pack(make_study: Callable[..., Path]) -> None:
    path = make_study(models=[{"name": "lasso", "family": "classical", "kind": "lasso", "c_grid": [1.0]}])
    table = records()
    table["pain"] = [["none", "mild", "severe"][k % 3] for k in range(len(table))]
    table.loc[:4, "age"] = 999
    table.to_csv(path.with_name("data.csv"), index=False)
    study = yaml.safe_load(path.read_text())
    inputs = study["tasks"]["cancer"]["data"]["inputs"]
    inputs["age"]["range"] = [18, 110]
    inputs["pain"] = {"column": "pain", "type": "category", "categories": ["none", "mild", "severe"]}
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    result = clinfit.run(path)
    assert result.ok and result.report is not None
    assert "changed by cleaning: age outside 18 to 110, read as missing" in result.report.read_text()
    pack = clinfit.load_pack(result.packs["lasso-seed42"])
    new = pd.DataFrame({"text": "tumour seen", "age": [500, None, 60], "pain": ["SEVERE", "severe", "worse"]})
    answers = pack.predict(new)
    assert list(answers["notes"]) == [
        "age: 500 is impossible (18 to 110) and is read as missing; "
        "pain: 'SEVERE' is none of none, mild, severe and is read as 'severe'",
        "",
        "pain: 'worse' is none of none, mild, severe and is read as missing",
    ]
    assert answers["p_yes"][0] == answers["p_yes"][1]
    with pytest.raises(ClinfitError, match=r"pain \(2 x\), age \(1 x\)"):
        pack.predict(new, strict=True)
