"""A file that is answered on a cluster of several nodes of this machine. In processes of one machine: test_batch.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from clinfit.cli import app
from executed import MAJORITY, causal, run
from ray_nodes import killed_once_named, needs_ray
from spoiled import spoil_answers

StudyMaker = Callable[..., Path]

TFIDF = {"name": "tfidf", "family": "classical", "kind": "tfidf-logistic", "c_grid": [1.0]}


def predicted(pack: Path, source: Path, output: Path, *words: str) -> str:
    given = ["predict", str(pack), "--input", str(source), "--output", str(output), *words]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


@needs_ray
@pytest.mark.slow
def test_a_file_is_answered_on_a_cluster_as_here_and_a_node_that_dies_costs_its_shard(
    cluster: Any, make_study: StudyMaker, site: Path, tmp_path: Path
) -> None:
    """A pack that stands on a base of this machine alone, which travels with it."""
    study, held = make_study(models=[MAJORITY, causal("small")]), tmp_path / "held"
    result, _ = run(study, None, out="apart/packed")
    pack, source = result.packs["small-seed42"], next(study.parent.glob("*.csv"))
    predicted(pack, source, tmp_path / "here.csv")
    shards = ("--executor", "ray://auto", "--shard-size", "10")
    said = predicted(pack, source, tmp_path / "there.csv", *shards, "--self-test")
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    rows = pd.read_csv(tmp_path / "here.csv", dtype=str)
    assert f"wrote {len(rows)} answers" in said and len(rows) > 20
    third = cluster.add_node(num_cpus=1)
    wait = f"held = Path({str(held)!r})\n        if not held.exists():\n"
    wait += "            held.write_text(os.environ['RAY_RAYLET_PID'])\n            time.sleep(600)"
    spoil_answers(site, str(rows["id"].iloc[12]), wait)

    with killed_once_named(cluster, held):
        said = predicted(pack, source, tmp_path / "killed.csv", *shards)
    spoil_answers(site, "", "")
    assert "a worker is gone (its node, or its process there, is lost); records 11 to 20 are asked again" in said
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert third is not None and not list(tmp_path.glob(".killed*"))


@needs_ray
@pytest.mark.slow
def test_a_file_is_answered_through_a_client_server(cluster: Any, make_study: StudyMaker, tmp_path: Path) -> None:
    study = make_study(models=[TFIDF])
    result, _ = run(study, None, out="apart/client-pack")
    pack, source = result.packs["tfidf-seed42"], next(study.parent.glob("*.csv"))
    predicted(pack, source, tmp_path / "here.csv")
    predicted(pack, source, tmp_path / "there.csv", "--executor", f"ray://{cluster.client}", "--shard-size", "50")
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
