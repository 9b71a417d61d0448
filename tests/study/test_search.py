"""`search:` of a model block: what it may hold, and the block with a point filled in."""

from pathlib import Path

import pytest

from clinfit.errors import ClinfitError
from clinfit.study.load import load_study, study_yaml
from clinfit.study.models import Causal, Classical
from clinfit.study.quick import QUICK, quickened
from clinfit.study.schema import Study, study_hash
from clinfit.study.search import searchable, size_of, space_of, with_point

HEAD = """\
name: s
tasks: {t: {labels: [No, Yes], data: {path: a.csv, inputs: {x: x}, label: y}}}
models:
"""
FOREST = "name: m, family: classical, kind: random-forest"
TINY = "name: m, family: causal, base: clinfit/tiny"


def loaded(folder: Path, model: str, search: str, head: str = HEAD, tail: str = "") -> Study:
    path = folder / "study.yaml"
    path.write_text(f"{head}  - {{{model}, search: {{{search}}}}}\n{tail}", encoding="utf-8")
    return load_study(path)


def refused(folder: Path, model: str, search: str, head: str = HEAD, tail: str = "") -> str:
    with pytest.raises(ClinfitError) as caught:
        loaded(folder, model, search, head, tail)
    return caught.value.found


@pytest.mark.parametrize(
    ("model", "search", "told"),
    [
        (FOREST, "trials: 3, over: {tree: [1, 2, 3]}", "tree is no setting of m; did you mean trees?"),
        (TINY, "trials: 3, over: {learning_rate: [1, 2, 3]}", "did you mean train.learning_rate?"),
        (TINY, "trials: 3, over: {base: [a, b, c]}", "base is no setting that is found by trying"),
        (TINY, "trials: 3, over: {train.max_length: [64, 128, 256]}", "train.max_length is no setting that is found"),
        (
            TINY,
            "trials: 2, by: loss, over: {train.loss_per: [record, token]}",
            "losses under different values cannot be compared; use by: primary, or leave it out",
        ),
        (FOREST, "trials: 3, over: {c_grid: {low: 1, high: 2}}", "models of kind random-forest do not use c_grid"),
        (FOREST, "trials: 3, over: {trees: {low: 0, high: 9}}", "trees must be at least 1, and is the number 0"),
        (FOREST, "trials: 3, over: {trees: {low: 1, high: 2.5}}", "trees must be a whole number"),
        (FOREST, "trials: 3, over: {trees: [1, 2, many]}", "trees must be a whole number, and is 'many'"),
        (TINY, "trials: 3, over: {train.schedule: {low: 1, high: 2}}", "must be one of linear, cosine, constant"),
        (TINY, "trials: 3, over: {class_weights: [none, balancd, {No: 2}]}", "did you mean balanced?"),
        (TINY, "trials: 2, over: {class_weights: [none, {Nope: 2}]}", "Nope is not a label of t; did you mean No?"),
        (TINY, "trials: 3, over: {train.warmup: {low: 0.5, high: 0.1}}", "low must be below high"),
        (TINY, "trials: 3, over: {train.warmup: {low: 0, high: 0.1, log: true}}", "log: true needs low above 0"),
        (FOREST, "trials: 3, over: {trees: [5]}", "trees needs two values or more, each once"),
        (FOREST, "trials: 3, over: {trees: [5, 5, 6]}", "trees needs two values or more, each once"),
        (FOREST, "trials: 7, over: {trees: {low: 1, high: 3}, oversample: [true, false]}", "6 trials try them all"),
        (FOREST, "trials: 3, over: {}", "search.over needs at least 1 entry"),
        (FOREST, "trials: 1, over: {trees: [5, 6]}", "search.trials must be at least 2"),
        (FOREST, "trial: 3, over: {trees: [5, 6]}", "trial is not a key of models[0].search; did you mean trials?"),
        (
            "name: m, family: classical, kind: lasso",
            "trials: 2, over: {words: [true, false]}",
            "words is no setting that",
        ),
        (FOREST, "trials: 2, over: {refit: [true, false]}", "refit is no setting that is found by trying"),
        (TINY, "trials: 2, over: {train.processes: [1, 2]}", "train.processes is no setting that is found by trying"),
        (
            "name: m, family: encoder, base: clinfit/minilm, method: full",
            "trials: 2, over: {lora.rank: [4, 8]}",
            "`method: full` trains all weights and no adapter, so lora.rank means nothing",
        ),
        (TINY + ", method: prompt", "trials: 2, over: {train.epochs: [1, 2]}", "so there is nothing to search"),
        ("name: m, family: baseline, kind: majority", "trials: 2, over: {seeds: [1, 2]}", "search is not a key of"),
    ],
)
def test_what_cannot_be_searched_is_told_with_its_line(tmp_path: Path, model: str, search: str, told: str) -> None:
    found = refused(tmp_path, model, search)
    assert told in found
    assert "study.yaml:4: models[0]" in found or "study.yaml:4: trial" in found or "study.yaml:4: search" in found


def test_values_that_are_one_number_are_refused(tmp_path: Path) -> None:
    assert "each once" in refused(tmp_path, TINY, "trials: 2, over: {train.epochs: [1, 1.0]}")


def test_what_the_stage_sets_itself_is_not_searched(tmp_path: Path) -> None:
    stages = "stages: [{train: {t: 1}, settings: {epochs: 2}}]\n"
    found = refused(tmp_path, TINY, "trials: 2, over: {train.epochs: [1, 2]}", tail=stages)
    assert "trains with its own settings.epochs" in found


def test_several_stages_are_refused(tmp_path: Path) -> None:
    stages = "stages: [{train: {t: 1}}, {train: {t: 1}}]\n"
    assert "this model has several stages" in refused(tmp_path, FOREST, "trials: 2, over: {trees: [5, 6]}", tail=stages)


def test_several_tasks_have_no_common_primary(tmp_path: Path) -> None:
    task = "labels: [No, Yes], data: {path: a.csv, inputs: {x: x}, label: y}"
    head = f"name: s\ntasks: {{t: {{{task}}}, u: {{{task}}}}}\nmodels:\n"
    over = "trials: 2, over: {train.epochs: [1, 2]}"
    assert "have no common scale; use by: loss" in refused(tmp_path, TINY, over, head)
    loaded(tmp_path, TINY, f"{over}, by: loss", head)
    rest = "  - {name: n, family: baseline, kind: majority}\n"
    loaded(tmp_path, f"{TINY}, tasks: [t]", over, head, rest)


def test_texts_are_searched_by_loss(tmp_path: Path) -> None:
    task = "kind: generation, max_new_tokens: 8, data: {path: a.csv, inputs: {x: x}, label: y}"
    head = f"name: s\ntasks: {{t: {{{task}}}}}\nmodels:\n"
    over = "trials: 2, over: {train.epochs: [1, 2]}"
    assert "so use by: loss" in refused(tmp_path, TINY, over, head)
    loaded(tmp_path, TINY, f"{over}, by: loss", head)


def test_a_point_is_filled_in(tmp_path: Path) -> None:
    (model,) = loaded(
        tmp_path, TINY, "trials: 4, over: {train.learning_rate: {low: 1e-4, high: 1e-2, log: true}}"
    ).models
    assert isinstance(model, Causal)
    filled = with_point(model, {"train.learning_rate": 0.005, "lora.rank": 4, "class_weights": {"No": 2.0}})
    assert (filled.train.learning_rate, filled.lora.rank, filled.class_weights) == (0.005, 4, {"No": 2.0})
    assert filled.search == model.search
    assert filled.train.epochs == model.train.epochs


def test_the_space_knows_whole_numbers_and_lists(tmp_path: Path) -> None:
    search = "trials: 4, over: {c_grid: {low: 0.1, high: 10, log: true}, class_weights: [none, balanced]}"
    (lasso,) = loaded(tmp_path, "name: m, family: classical, kind: lasso", search).models
    assert isinstance(lasso, Classical)
    c, weights = space_of(lasso, lasso.search.over if lasso.search else {})
    assert (c.listed, c.whole, c.size, weights.size) == (True, False, None, 2)
    assert not c.holds([0.1, 1.0])
    assert c.holds([1.0])
    (forest,) = loaded(tmp_path, FOREST, "trials: 4, over: {trees: {low: 1, high: 3}, max_depth: [null, 2]}").models
    assert isinstance(forest, Classical)
    assert forest.search is not None
    assert size_of(space_of(forest, forest.search.over)) == 6


def test_searchable_settings_are_those_of_training(tmp_path: Path) -> None:
    (tiny,) = loaded(tmp_path, TINY, "trials: 2, over: {train.epochs: [1, 2]}").models
    names = searchable(tiny)
    assert {"train.learning_rate", "lora.rank", "class_weights", "focal_gamma", "sampling"} <= set(names)
    assert not {"name", "base", "search", "train.precision", "train.batch_tokens", "importance"} & set(names)


def test_a_search_survives_the_resolved_study(tmp_path: Path) -> None:
    study = loaded(tmp_path, FOREST, "trials: 3, over: {trees: {low: 1, high: 9}, class_weights: [none, {No: 2}]}")
    (tmp_path / "again.yaml").write_text(study_yaml(study))
    assert study_hash(load_study(tmp_path / "again.yaml")) == study_hash(study)


def test_a_quick_run_has_two_trials_and_says_so(tmp_path: Path) -> None:
    (model,) = quickened(loaded(tmp_path, FOREST, "trials: 9, over: {trees: {low: 1, high: 9}}")).models
    assert model.searched is not None
    assert model.searched.trials == 2
    assert "2 trials of a search" in QUICK
