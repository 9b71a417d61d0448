"""Blocks that several places share: `<<: *defaults` as in YAML 1.1, with errors at the lines that hold them."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinfit.errors import ClinfitError
from clinfit.study.load import load_study, study_yaml
from clinfit.study.models import Causal
from clinfit.study.schema import Study, study_hash

STUDY = """\
name: shared
x-training: &training {epochs: 5, learning_rate: 1e-3}
x-small: &small
  batch_size: 4
  epochs: 9
tasks:
  cancer:
    labels: [No, Yes]
    data: {path: a.csv, inputs: {text: text}}
models:
  - &tiny
    name: tiny
    family: causal
    base: clinfit/tiny
    train: *training
  - <<: *tiny
    name: quick
    train: {<<: *training, epochs: 1}
  - <<: *tiny
    name: both
    train:
      max_length: 99
      <<: [*training, *small]
"""


def loaded(folder: Path, text: str) -> Study:
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    return load_study(folder / "study.yaml")


def errors_of(folder: Path, text: str) -> str:
    with pytest.raises(ClinfitError) as caught:
        loaded(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


def test_own_keys_win_and_the_first_block_of_a_list(tmp_path: Path) -> None:
    study = loaded(tmp_path, STUDY)
    assert [model.name for model in study.models] == ["tiny", "quick", "both"]
    trains = [model.train for model in study.models if isinstance(model, Causal)]
    assert [(train.epochs, train.learning_rate, train.batch_size, train.max_length) for train in trains] == [
        (5, 1e-3, 16, 1024),
        (1, 1e-3, 16, 1024),
        (5, 1e-3, 4, 99),
    ]


def test_the_resolved_study_and_its_hash_know_nothing_of_it(tmp_path: Path) -> None:
    study = loaded(tmp_path, STUDY)
    resolved = study_yaml(study)
    assert "<<" not in resolved and "x-" not in resolved
    again = loaded(tmp_path, resolved)
    assert again == study and study_hash(again) == study_hash(study)


def test_an_error_in_a_shared_block_is_told_at_its_line_wherever_it_is_used(tmp_path: Path) -> None:
    message = errors_of(tmp_path, STUDY.replace("learning_rate", "learning_rat"))
    assert "study.yaml:2: learning_rat is not a key of models[0].train; did you mean learning_rate?" in message
    assert "study.yaml:2: learning_rat is not a key of models[2].train; did you mean learning_rate?" in message
    message = errors_of(tmp_path, STUDY.replace("batch_size: 4", "batch_size: four"))
    assert "study.yaml:4: models[2].train.batch_size must be a whole number" in message
    assert "has 1 error" in message


def test_an_error_in_a_key_of_the_blocks_own_is_told_at_its_own_line(tmp_path: Path) -> None:
    message = errors_of(tmp_path, STUDY.replace("*training, epochs: 1", "*training, epochs: 0"))
    assert "study.yaml:18: models[1].train.epochs must be above 0" in message
    message = errors_of(tmp_path, STUDY.replace("name: both", "nme: both"))
    assert "study.yaml:20: nme is not a key of models[2]; did you mean name?" in message
    assert "study.yaml:12: models[2].name: an earlier model is called 'tiny' too" in message


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("max_length: 99", "max_length: 99\n      max_length: 98", 23, "max_length stands twice in models[2].train"),
        (
            "<<: [*training, *small]",
            "<<: *training\n      <<: *small",
            24,
            "one << takes several blocks: <<: [*one, *o",
        ),
        ("<<: [*training, *small]", "<<: 5", 23, "models[2].train: << brings in the keys of other blocks"),
        ("<<: [*training, *small]", "<<: [*training, small]", 23, "models[2].train: << brings in the keys of other"),
        ("<<: [*training, *small]", "<<:", 23, "models[2].train: << brings in the keys of other blocks"),
        ("<<: [*training, *small]", "'<<': 5", 23, "<< is not a key of models[2].train"),
        ("x-small", "y-small", 3, "y-small is not a key of the study"),
    ],
)
def test_what_is_wrong_with_a_merge_is_one_of_the_errors(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    found = errors_of(tmp_path, STUDY.replace(old, new) + "evaluation: {primry: auroc}\n")
    assert f"study.yaml:{line}: " in found and message in found
    assert "primry is not a key" in found
    assert "has 2 errors" in found


def test_a_block_that_is_nowhere(tmp_path: Path) -> None:
    message = errors_of(tmp_path, STUDY.replace("[*training, *small]", "*trainig"))
    assert "study.yaml:23:11: *trainig stands for a block that is not in the file" in message
    assert "`&trainig` behind a key further up" in message


def test_a_block_that_brings_in_itself_ends(tmp_path: Path) -> None:
    text = STUDY.replace("  batch_size: 4\n", "  batch_size: 4\n  <<: *small\n")
    assert loaded(tmp_path, text) == loaded(tmp_path, STUDY)


keys = st.sampled_from(["epochs", "batch_size", "max_length", "warmup", "weight_decay"])
blocks = st.lists(st.dictionaries(keys, st.just(0), max_size=4), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(blocks=blocks, own=st.dictionaries(keys, st.just(0), max_size=3))
def test_merging_is_that_of_yaml_1_1(tmp_path: Path, blocks: list[dict[str, int]], own: dict[str, int]) -> None:
    """PyYAML's own loader is the judge; every value is another, so that it shows where it comes from."""
    values = iter(range(16, 200))
    numbered = [
        {key: next(values) / 1000 if key in ("warmup", "weight_decay") else next(values) for key in block}
        for block in [*blocks, own]
    ]
    shared = "".join(f"x-{at}: &b{at} {block}\n" for at, block in enumerate(numbered[:-1])).replace("'", "")
    inner = ", ".join(f"{key}: {value}" for key, value in numbered[-1].items())
    names = ", ".join(f"*b{at}" for at in range(len(blocks)))
    train = f"{{{inner}{', ' if inner else ''}<<: [{names}]}}"
    wanted = yaml.safe_load(f"{shared}train: {train}\n")["train"]
    text = STUDY.replace("name: shared\n", f"name: shared\n{shared}").replace("train: *training", f"train: {train}")
    model = loaded(tmp_path, text).models[0]
    assert isinstance(model, Causal)
    assert model.train.model_dump(include=set(wanted)) == wanted
