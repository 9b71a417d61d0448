"""The study file: all errors at once, with lines and nearest names; one identity whatever the formatting."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jinja2 import Template

from clinfit.errors import ClinfitError
from clinfit.study.load import load_study, study_yaml
from clinfit.study.models import Causal
from clinfit.study.schema import Study, study_hash

ROOT = Path(__file__).parents[2]

STUDY = """\
name: abstracts
tasks:
  cancer:
    labels: [No, Yes]
    data:
      path: abstracts.csv
      inputs: {title: title, abstract: abstract}
      label: {column: label, map: {0: No, 1: Yes}}
    prompt: "Cancer? {{ title }} {{ abstract }}"
models:
  - {name: majority, family: baseline, kind: majority}
  - name: tiny
    family: causal
    base: clinfit/tiny
    train: {learning_rate: 3e-3}
"""


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str, name: str = "study.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def errors_of(path: Path) -> str:
    with pytest.raises(ClinfitError) as caught:
        load_study(path)
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert old in STUDY
    return STUDY.replace(old, new)


# ---------------------------------------------------------------- loading


def test_a_study_loads_with_its_defaults_and_folder(write) -> None:
    path = write(STUDY)
    study = load_study(path)
    tiny = study.models[1]
    assert isinstance(tiny, Causal)
    assert tiny.train.learning_rate == 0.003
    assert tiny.train.batch_size == 16
    assert study.tasks["cancer"].positive_label == "Yes"
    assert study.folder == path.parent.resolve()


def test_yes_no_on_and_leading_zeros_are_text_as_in_yaml_1_2(write) -> None:
    study = load_study(write(changed("[No, Yes]", "[No, Yes, on, 010, 2024-01-31]")))
    assert study.tasks["cancer"].labels == ["No", "Yes", "on", "010", "2024-01-31"]


def test_label_map_keys_keep_their_types(write) -> None:
    study = load_study(write(changed("{0: No, 1: Yes}", "{0: No, 'b': Yes, 2.5: Yes}")))
    mapped = study.tasks["cancer"].data.label_column.map
    assert mapped is not None
    assert [(type(key), key) for key in mapped] == [(int, 0), (str, "b"), (float, 2.5)]


def test_a_prompt_file_is_replaced_by_its_text(write, tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    write("About cancer?\n{{ record }}\n", "prompts/cancer.md")
    study = load_study(write(changed('"Cancer? {{ title }} {{ abstract }}"', "prompts/cancer.md")))
    assert study.tasks["cancer"].prompt == "About cancer?\n{{ record }}\n"


def test_a_base_beside_the_study_is_named_in_full(write, tmp_path: Path) -> None:
    (tmp_path / "bases" / "ours").mkdir(parents=True)
    model = load_study(write(changed("base: clinfit/tiny", "base: bases/ours"))).models[1]
    assert isinstance(model, Causal)
    assert model.base == str(tmp_path / "bases" / "ours")


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "studies").glob("*.yaml")))
def test_the_studies_that_come_with_the_project_load(name: str) -> None:
    study = load_study(ROOT / "studies" / f"{name}.yaml")
    assert study.name == name
    assert all(task.prompt for task in study.tasks.values()), "a prompt file is there, and is not empty"
    assert "baseline" in {model.family for model in study.models}, "what costs nothing stands beside the models"
    assert {"clinfit/tiny", "clinfit/minilm"} & {getattr(model, "base", None) for model in study.models}


def test_quickstart_shows_language_models_every_input() -> None:
    task = load_study(ROOT / "studies" / "quickstart.yaml").tasks["diagnosis"]
    assert len(task.data.columns) == 30
    assert all(f"{{{{ {name} }}}}" in (task.prompt or "") for name in task.data.columns)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_library_takes_is_refused(write, seed: int) -> None:
    split = changed("label: {column", f"split: {{seed: {seed}}}\n      label: {{column")
    for text, place in ((f"{STUDY}seeds: [{seed}]\n", "seeds[0]"), (split, "tasks.cancer.data.split.seed")):
        assert f"{place} must be at {'least 0' if seed < 0 else 'most 4'}" in errors_of(write(text))


def test_several_misspelt_keys_come_as_one_error_with_lines_and_nearest_names(write) -> None:
    text = STUDY.replace("learning_rate", "learning_rat").replace("path:", "pth:").replace("labels:", "lables:")
    path = write(text + "evaluation: {primry: auroc}\n")
    message = errors_of(path)
    assert f"{path} has 4 errors" in message
    assert f"1. {path}:4: lables is not a key of tasks.cancer; did you mean labels?" in message
    assert f"{path}:6: pth is not a key of tasks.cancer.data; did you mean path?" in message
    assert f"{path}:15: learning_rat is not a key of models[1].train; did you mean learning_rate?" in message
    assert f"4. {path}:16: primry is not a key of evaluation; did you mean primary?" in message


def test_a_seed_stands_there_once(write) -> None:
    for text, place in (
        (f"{STUDY}seeds: [3, 1, 3]\n", "seeds"),
        (changed("base: clinfit/tiny", "base: clinfit/tiny\n    seeds: [3, 1, 3]"), "models[1].seeds"),
    ):
        message = errors_of(write(text))
        assert place in message and "3 stands there more than once" in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("kind: lasso, trees: 50", "`trees` goes with kind: random-forest, and the kind is lasso"),
        ("kind: random-forest, c_grid: [1.0]", "`c_grid` goes with kind: lasso or tfidf-logistic"),
        ("kind: random-forest, words: true", "`words` goes with kind: lasso or tfidf-logistic"),
        ("kind: gradient-boosting, trees: 50", "`trees` goes with kind: random-forest"),
        ("kind: random-forest, learning_rate: 0.2", "`learning_rate` goes with kind: gradient-boosting"),
    ],
)
def test_a_setting_that_its_kind_does_not_use_is_refused(write, settings: str, message: str) -> None:
    text = changed("{name: majority, family: baseline, kind: majority}", f"{{name: c, family: classical, {settings}}}")
    assert message in errors_of(write(text))


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("[No, Yes]", "[No, Yes, 3]", 4, "labels[2] must be text, and is the number 3; put it in quotes"),
        ("[No, Yes]", "[No]", 4, "labels needs at least 2 entries, and has 1"),
        ("[No, Yes]", "[No, No]", 3, "labels must differ"),
        ("{learning_rate: 3e-3}", "{epochs: many}", 15, "models[1].train.epochs must be a number, and is 'many'"),
        ("{learning_rate: 3e-3}", "{epochs: 0}", 15, "models[1].train.epochs must be above 0, and is the number 0"),
        ("{learning_rate: 3e-3}", "{epochs: .inf}", 15, "must be a finite number"),
        ("{learning_rate: 3e-3}", "{batch_size: true}", 15, "must be a whole number, and is true"),
        ("{learning_rate: 3e-3}", "{schedule: cosin}", 15, "one of linear, cosine, constant; did you mean cosine?"),
        ("{learning_rate: 3e-3}", "", 15, "models[1].train must be a block of keys, and is empty"),
        ("family: causal", "family: casual", 12, "models[1].family: 'casual' is not a family; did you mean causal?"),
        ("family: causal", "family: gpt", 12, "families: baseline, classical, encoder, causal"),
        ("family: causal", "", 12, "models[1] lacks the key family"),
        (
            "base: clinfit/tiny",
            "learning_rate: 1",
            14,
            "learning_rate is not a key of models[1]; did you mean train.lea",
        ),
        (
            "learning_rate: 3e-3",
            "class_weights: balanced",
            15,
            "class_weights is not a key of models[1].train; did you mean models[1].class_weights, one level up?",
        ),
        (
            "title: title,",
            "title: {column: title, split: x},",
            7,
            "split is not a key of tasks.cancer.data.inputs.title",
        ),
        ("base: clinfit/tiny", "name2: x", 12, "models[1] lacks the key base"),
        ("base: clinfit/tiny", "folder: x", 14, "folder is not a key of models[1]"),
        ("name: abstracts", "folder: x", 1, "folder is not a key of the study"),
        ("name: abstracts", "name: ../x", 1, "must start with a letter or digit"),
        ("title: title,", "title: 5,", 7, "inputs.title must be text, and is the number 5"),
        ("title: title,", "title: {colum: title},", 7, "colum is not a key of tasks.cancer.data.inputs.title"),
        ("title: title,", "title: label,", 7, "inputs.title reads the label column"),
        ("title: title,", "record: title,", 7, "has a meaning of its own in prompts"),
        ("title: title,", "title: {column: title, unit: mm},", 7, "a unit goes with type: number"),
        ("title: title,", "title: {column: title, range: [0, 1]},", 7, "a range goes with type: number"),
        ("title: title,", "title: {column: title, type: number, range: [3, 2]},", 7, "begins at 3 and ends at 2"),
        ("title: title,", "title: {column: title, type: number, range: [3]},", 7, "inputs.title.range"),
        ("title: title,", "title: {column: title, categories: [a, b]},", 7, "categories go with type: category"),
        ("title: title,", "title: {column: title, type: category, categories: [1, '1']},", 7, "stands there twice"),
        ("{title: title, abstract: abstract}", "{}", 5, "declares no inputs"),
        ("1: Yes", "1: Yse", 3, "label map names ['Yse']"),
        ("{{ title }}", "{{ titel }}", 9, "`{{ titel }}` is not an input; did you mean title?"),
        ("{{ title }} {{ abstract }}", "{{ labels }}", 9, "the prompt shows no input"),
        ("{{ title }}", "{{ title", 9, "line 1 of the prompt is no valid template"),
        ("{{ title }}", "{{ title }}{% include 'x' %}", 9, "may not include"),
        ("kind: majority", "kind: keyword", 11, "keyword needs at least one pattern"),
        ("kind: majority", "kind: keyword, patterns: ['(']", 11, "patterns[0]: '(' is no regular expression"),
        ("name: tiny", "name: majority", 12, "an earlier model is called 'majority' too"),
    ],
)
def test_each_error_names_the_place_and_what_is_wrong(write, old: str, new: str, line: int, message: str) -> None:
    path = write(changed(old, new))
    found = errors_of(path)
    assert message in found
    assert any(f"{path}:{line}: " in text and message in text for text in found.splitlines())


TASKS = {
    "classification": "labels: [No, Yes]",
    "multilabel": "kind: multilabel, labels: [No, Yes]",
    "multiple-choice": "kind: multiple-choice, options: [title, abstract]",
}


def with_task(own: str, data: str = "path: a.csv, inputs: {title: title, abstract: abstract}") -> str:
    """The study with a task of one line."""
    return (
        STUDY[: STUDY.index("  cancer:")] + f"  cancer: {{{own}, data: {{{data}}}}}\n" + STUDY[STUDY.index("models:") :]
    )


@pytest.mark.parametrize(("kind", "own"), TASKS.items(), ids=TASKS)
def test_a_task_of_each_kind_loads_and_tells_misspelt_keys(write, kind: str, own: str) -> None:
    assert load_study(write(with_task(own))).tasks["cancer"].kind == kind
    misspelt = with_task(own + ", promt: x, evaluation: {primry: accuracy}", "pth: a.csv, inputs: {title: title}")
    message = errors_of(write(misspelt))
    assert "promt is not a key of tasks.cancer; did you mean prompt?" in message
    assert "primry is not a key of tasks.cancer.evaluation; did you mean primary?" in message
    assert "pth is not a key of tasks.cancer.data; did you mean path?" in message


@pytest.mark.parametrize(
    ("own", "data", "message"),
    [
        (
            "kind: multilable, labels: [a, b]",
            "",
            "tasks.cancer.kind: 'multilable' is not a kind; did you mean multilabel?",
        ),
        ("kind: ner, labels: [a, b]", "", "is not a kind; kinds: classification, multilabel, multiple-choice"),
        (
            "kind: , labels: [a, b]",
            "",
            "tasks.cancer.kind is empty, and must be one of classification, multilabel, mul",
        ),
        ("kind: [1], labels: [a, b]", "", "tasks.cancer.kind is a list, and must be one of classification"),
        ("kind: multilabel, lables: [a, b]", "", "lables is not a key of tasks.cancer; did you mean labels?"),
        ("kind: multilabel, labels: [a, 'b|c']", "", "may not hold |"),
        (
            "kind: multilabel, labels: [a, b], positive: a",
            "",
            "positive is not a key of tasks.cancer; known keys: data",
        ),
        ("kind: multiple-choice, options: [a]", "", "tasks.cancer.options needs at least 2 entries, and has 1"),
        ("kind: multiple-choice, options: [a, b]", "", "options name ['a', 'b'], which are not among the inputs"),
        (
            "kind: multiple-choice, options: [t, u], answer: leters",
            "",
            "answer is 'leters', and must be one of letters, te",
        ),
        ("labels: [a, b]", "label: {colum: x}", "colum is not a key of tasks.cancer.data.label; did you mean column?"),
        (
            "labels: [a, b]",
            "label: {column: x, sep: x}",
            "sep is not a key of tasks.cancer.data.label; known keys: colu",
        ),
        ("labels: [a, b]", "label: 5", "tasks.cancer.data.label must be text, and is the number 5"),
        ("labels: [a, b]", "label: [x]", "tasks.cancer.data.label must be a block of keys, and is a list"),
        ("labels: [a, b]", "label: {}", "tasks.cancer.data.label lacks the key column"),
        ("labels: [a, b]", "label: {columns: {a: x, b: y}}", "one column a label is for tasks of kind multilabel"),
        ("kind: multilabel, labels: [a, b]", "label: {colums: {a: x, b: y}}", "did you mean columns?"),
        (
            "kind: multilabel, labels: [a, b]",
            "label: {columns: {a: 1, b: y}}",
            "label.columns.a must be text, and is the",
        ),
        ("kind: multilabel, labels: [a, b]", "label: {columns: {a: x}}", "differing: ['b']"),
        (
            "kind: multilabel, labels: [a, b]",
            "label: {column: x, separator: ''}",
            "separator needs at least 1 character, and is ''",
        ),
        ("kind: multilabel, labels: [a, b]", "label: {column: x, map: {1: c}}", "label map names ['c']"),
        ("kind: multilabel, labels: [a, b], evaluation: {primary: auroc}", "", "and must be one of macro_f1, micro_f1"),
        (
            "kind: multilabel, labels: [a, b], evaluation: {threshold: {rul: f1}}",
            "",
            "rul is not a key of tasks.cancer.e",
        ),
        (
            "labels: [a, b], evaluation: {refer: {rul: confidence, rule: conformal, value: 0.9}}",
            "",
            "rul is not a key of tasks.cancer.evaluation.refer",
        ),
    ],
)
def test_errors_in_a_task_of_any_kind_name_the_place_and_what_is_wrong(
    write, own: str, data: str, message: str
) -> None:
    block = "path: a.csv, inputs: {t: t, u: u}" + (f", {data}" if data else "")
    found = errors_of(write(with_task(own, block)))
    assert message in found
    assert "has 1 error" in found


@pytest.mark.parametrize("block", ["5", "", "[a]", "text"])
def test_a_task_that_is_no_block_of_keys_says_so(write, block: str) -> None:
    text = STUDY[: STUDY.index("  cancer:")] + f"  cancer: {block}\n" + STUDY[STUDY.index("models:") :]
    assert "tasks.cancer must be a block of keys, and is" in errors_of(write(text))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("evaluation: {baseline: majorty}", "majorty is not a model; did you mean majority?"),
        ("evaluation: {floors: {auorc: 0.9}}", "auorc is not a metric of classification tasks; did you mean auroc?"),
        ("evaluation: {threshold: {rule: fixed}}", "threshold rule 'fixed' needs `value`"),
        ("stages: [{train: {cancr: 1.0}}]", "cancr is not a task; did you mean cancer?"),
        ("seeds: []", "seeds needs at least 1 entry"),
        ("name: again", "name stands twice in the study; first in line 1"),
    ],
)
def test_what_spans_sections_is_checked(write, extra: str, message: str) -> None:
    assert message in errors_of(write(STUDY + extra + "\n"))


def test_class_weights_name_labels_and_are_positive(write) -> None:
    weighted = "base: clinfit/tiny\n    class_weights: {Yse: 2, No: 0}"
    message = errors_of(write(changed("base: clinfit/tiny", weighted)))
    assert "models[1].class_weights.No must be above 0" in message
    message = errors_of(write(changed("base: clinfit/tiny", weighted.replace(", No: 0", ""))))
    assert "Yse is not a label of cancer; did you mean Yes?" in message


def test_models_that_need_two_labels_or_text_say_so(write) -> None:
    three = changed("[No, Yes]", "[No, Yes, Maybe]").replace("kind: majority", "kind: always-positive")
    assert "always-positive needs a task with two labels, and this one has 3" in errors_of(write(three))
    threshold = changed("[No, Yes]", "[No, Yes, Maybe]") + "evaluation: {threshold: {rule: youden}, primary: f1}\n"
    message = errors_of(write(threshold))
    assert "youden needs a task with two labels" in message
    assert "f1 needs a task with two labels" in message
    numbers = changed("{title: title, abstract: abstract}", "{title: {column: t, type: number}}")
    numbers = numbers.replace(" {{ abstract }}", "").replace(
        "baseline, kind: majority", "classical, kind: tfidf-logistic"
    )
    assert "tfidf-logistic needs an input of type text" in errors_of(write(numbers))


def test_errors_of_one_model_do_not_hide_those_of_another(write) -> None:
    text = changed("kind: majority", "kind: keyword, patterns: ['(']").replace("learning_rate", "learning_rat")
    message = errors_of(write(text + "stages: [{train: {cancr: 1}}]\n"))
    assert "no regular expression" in message
    assert "learning_rat is not" in message
    assert "cancr is not a task" in message


def test_1_and_true_are_one_key(write) -> None:
    assert "true stands twice in tasks.cancer.data.label.map" in errors_of(write(changed("1: Yes", "1: Yes, true: No")))


def test_a_prompt_that_several_tasks_share_names_the_task(write, tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    write("Task: {{ task }}\n{{ record }}\n", "prompts/cancer.md")
    spelt = ("{{task}}", "{{- task -}}", "{{ task | lower }}", "{% if task == 'cancer' %}cancer{% endif %}")
    for prompt in ("prompts/cancer.md", *(f'"Task: {one}\\n{{{{ record }}}}\\n"' for one in spelt)):
        study = load_study(write(changed('"Cancer? {{ title }} {{ abstract }}"', prompt)))
        prompt = study.tasks["cancer"].prompt
        assert prompt is not None
        said = Template(prompt).render(record="R")
        assert " ".join(said.replace(":", ": ").split()).removesuffix("R").strip() == "Task: cancer", prompt
    again = load_study(write(study_yaml(study)))
    assert again.tasks["cancer"].prompt == study.tasks["cancer"].prompt, "as a run keeps it"


def test_a_system_message_is_no_template(write) -> None:
    prompt = 'prompt: "Cancer? {{ title }} {{ abstract }}"'
    message = errors_of(write(changed(prompt, f'system: "Task {{{{ task }}}} is asked"\n    {prompt}')))
    assert "tasks.cancer.system: `{{` is not filled in here" in message


def test_an_input_that_is_called_task_is_shown_by_that_name(write) -> None:
    text = changed("title: title,", "task: title,").replace("{{ title }}", "{{ task }}")
    assert load_study(write(text)).tasks["cancer"].prompt == "Cancer? {{ task }} {{ abstract }}"


def test_a_missing_prompt_file_is_one_of_the_errors(write, tmp_path: Path) -> None:
    write("{{ record }}", "cancer.md")
    path = write(changed('"Cancer? {{ title }} {{ abstract }}"', "cancr.md").replace("learning_rate", "learning_rat"))
    message = errors_of(path)
    assert f"did you mean {tmp_path / 'cancer.md'}?" in message
    assert "learning_rat is not" in message


def test_a_missing_study_names_the_nearest_file(write, tmp_path: Path) -> None:
    write(STUDY, "abstracts.yaml")
    assert f"did you mean {tmp_path / 'abstracts.yaml'}?" in errors_of(tmp_path / "abstract.yaml")
    assert "there is no folder" in errors_of(tmp_path / "nowhere" / "study.yaml")
    assert "is a folder" in errors_of(tmp_path)


@pytest.mark.parametrize(
    "text", ["name: [a\nb: c\n", "a:\n\t- b\n", "a: b: c\n", "{[a]: b}\n", "a: !!python/tuple []\n"]
)
def test_what_is_no_yaml_is_told_with_line_and_column(write, text: str) -> None:
    path = write(text)
    message = errors_of(path)
    assert "no valid YAML" in message
    assert message.startswith(f"{path}:")
    assert "Traceback" not in message


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "5\n"])
def test_a_file_without_keys_is_refused(write, text: str) -> None:
    assert "name, tasks and models" in errors_of(write(text))


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes("name: Prüfung".encode("latin-1"))
    assert "is not UTF-8" in errors_of(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)


def _places(value: object, place: tuple = ()):
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from _places(child, (*place, key))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), wild=json_values)
def test_whatever_stands_anywhere_the_outcome_is_a_study_or_one_clear_error(tmp_path: Path, data, wild) -> None:
    study = yaml.safe_load(STUDY.replace("[No, Yes]", "['No', 'Yes']").replace("0: No, 1: Yes", "0: 'No', 1: 'Yes'"))
    place = data.draw(st.sampled_from(list(_places(study))[1:]))
    target = study
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = wild
    path = tmp_path / "wild.yaml"
    path.write_text(yaml.safe_dump(study, allow_unicode=True), encoding="utf-8")
    try:
        assert isinstance(load_study(path), Study)
    except ClinfitError as error:
        assert "  1. " in str(error) or "YAML" in str(error)


# ---------------------------------------------------------------- writing, identity, schema


def test_the_resolved_study_loads_back_to_an_equal_one(write) -> None:
    for text in (STUDY, (ROOT / "studies" / "cancer-abstracts.yaml").read_text().replace("prompt: prompts", "#")):
        study = load_study(write(text))
        assert load_study(write(study_yaml(study), "resolved.yaml")) == study


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=40))
@example(text="a\x85b\nc\u2028\r\n d \n")
def test_any_text_survives_the_resolved_study(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    study = load_study(tmp_path / "study.yaml").model_copy(update={"description": text})
    (tmp_path / "resolved.yaml").write_text(study_yaml(study), encoding="utf-8")
    assert load_study(tmp_path / "resolved.yaml").description == text


@pytest.mark.parametrize("text", ["No", "on", "1e-3", "0x1F", "010", "1_000", "12:30", "null", "~", "2024-01-31", ".5"])
def test_text_that_looks_like_something_else_is_quoted_for_any_yaml_reader(write, text: str) -> None:
    study = load_study(write(STUDY)).model_copy(update={"description": text})
    resolved = study_yaml(study)
    assert yaml.safe_load(resolved)["description"] == text
    assert load_study(write(resolved)).description == text


def test_the_hash_ignores_formatting_key_order_defaults_and_folder(write, tmp_path: Path) -> None:
    reference = study_hash(load_study(write(STUDY)))
    content = yaml.safe_load(STUDY.replace("No", "'No'").replace("Yes", "'Yes'"))
    content["evaluation"] = {"confidence": 0.95, "bootstrap": 2000}
    content["models"][1]["train"] = {"epochs": 3, "learning_rate": 0.003}
    content["tasks"]["cancer"]["data"]["label"]["map"] = {1: "Yes", 0: "No"}
    (tmp_path / "elsewhere").mkdir()
    reordered = dict(reversed(content.items()))
    other = write(yaml.safe_dump(reordered, sort_keys=False), "elsewhere/other.yaml")
    assert study_hash(load_study(other)) == reference
    assert len(reference) == 64


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("3e-3", "2e-3"),
        ("Cancer?", "Cancer!"),
        ("[No, Yes]", "[Yes, No]"),
        ("{title: title, abstract: abstract}", "{abstract: abstract, title: title}"),
        ("{0: No, 1: Yes}", "{0: Yes, 1: No}"),
    ],
)
def test_the_hash_changes_with_the_meaning(write, old: str, new: str) -> None:
    assert study_hash(load_study(write(STUDY))) != study_hash(load_study(write(changed(old, new))))
