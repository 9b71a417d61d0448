"""Reading and writing the study file: YAML with line numbers, and all errors of a file at once.

Scalars follow YAML 1.2's core schema, as editors and JSON Schema do: only true and false are booleans, so labels such
as Yes and No stay text; 3e-4 is a number; 010 and 2024-01-31 stay text.
"""

import json
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from jinja2 import TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import TypeAdapter, ValidationError

from clinfit.errors import ClinfitError, nearest
from clinfit.study.blocks import BLOCKS, filled
from clinfit.study.checks import cross_checks
from clinfit.study.evaluation import Evaluation
from clinfit.study.messages import Place, Problem, did_you_mean, problems_in, shown
from clinfit.study.models import ModelSpec
from clinfit.study.parts import Parts
from clinfit.study.schema import Stage, Study
from clinfit.study.tasks import Task

T = TypeVar("T")

#: Keys of the study that begin so hold what other places repeat (`x-defaults: &defaults`), and mean nothing themselves.
IGNORED = "x-"
MERGE = "tag:yaml.org,2002:merge"

DATA_SUFFIXES = {".csv", ".tsv", ".xlsx", ".xls", ".parquet", ".jsonl", ".ndjson"}


def load_study(path: Path | str) -> Study:
    """The study in a YAML file, with prompt files replaced by their text.

    Raises ClinfitError that lists everything that is wrong with the file, with lines.
    """
    path = Path(path)
    if path.suffix.lower() in DATA_SUFFIXES:
        raise ClinfitError(
            f"{path} is named as a data file",
            expected="a study file (.yaml), which says what is asked of the data",
            fix=f"clinfit init {path.with_suffix('.yaml')} --data {path}",
        )
    text = _text_of(path, what="study file")
    data, root, problems = _parsed(text, path)
    data = {key: value for key, value in data.items() if not str(key).startswith(IGNORED)}
    data = _with_blocks(data, problems)
    data = _with_base_folders(_with_prompt_texts(data, path.parent, problems), path.parent)
    study = None
    try:
        study = Study.model_validate(data)
    except ValidationError as error:
        problems += problems_in(error, data)
    problems += cross_checks(_valid_parts(data))
    if problems or study is None:
        raise _all_errors(path, problems, root)
    return study.model_copy(update={"folder": path.parent.resolve()})


def _all_errors(path: Path, problems: list[Problem], root: yaml.Node) -> ClinfitError:
    """One error for all problems, in the order of the file."""
    placed = sorted((problem.line or _line(root, problem.place), problem.text) for problem in problems)
    lines = [f"  {number}. {path}:{line}: {text}" for number, (line, text) in enumerate(placed, start=1)]
    count = "1 error" if len(placed) == 1 else f"{len(placed)} errors"
    return ClinfitError(
        "\n".join([f"{path} has {count}", *lines]), fix=f"correct the file, then type: clinfit check {path}"
    )


def _valid_parts(data: Mapping[str, Any]) -> Parts:
    """The sections that are valid by themselves, as `cross_checks` takes them."""
    tasks = data.get("tasks")
    named = {str(name): raw for name, raw in tasks.items()} if isinstance(tasks, Mapping) else {}
    models, stages = (raw if isinstance(raw := data.get(key), list) else [] for key in ("models", "stages"))
    return Parts(
        tasks={name: task for name, raw in named.items() if (task := _valid(_TASK, raw)) is not None},
        models={k: model for k, raw in enumerate(models) if (model := _valid(_MODEL, raw)) is not None},
        stages={k: stage for k, raw in enumerate(stages) if (stage := _valid(_STAGE, raw)) is not None},
        evaluation=_valid(_EVALUATION, data.get("evaluation", {})),
        task_names=list(named),
        model_names=[str(raw.get("name")) if isinstance(raw, Mapping) else "" for raw in models],
    )


_TASK, _MODEL = TypeAdapter[Task](Task), TypeAdapter[ModelSpec](ModelSpec)
_STAGE, _EVALUATION = TypeAdapter(Stage), TypeAdapter(Evaluation)


def _valid(kind: TypeAdapter[T], raw: Any) -> T | None:
    """`raw` as a section of that kind, None when it is not one."""
    try:
        return kind.validate_python(raw)
    except ValidationError:
        return None


# ---------------------------------------------------------------- files


def _text_of(path: Path, *, what: str) -> str:
    """The text of a file; raises ClinfitError when there is none to read."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ClinfitError(
            f"the {what} {path} is not UTF-8 text (byte {error.start})", fix="save the file with encoding UTF-8"
        ) from error
    except IsADirectoryError:
        raise ClinfitError(f"{path} is a folder", expected=f"a {what}") from None
    except OSError as error:
        raise ClinfitError(f"the {what} {path} cannot be read ({error.strerror})", fix=_instead(path)) from error


def _instead(path: Path) -> str:
    """Advice when a file is missing: the file beside it that is spelt most like it."""
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder}"
    close = nearest(path.name, sorted(file.name for file in folder.iterdir()))
    return f"did you mean {folder / close}?" if close else f"check the name; the folder is {folder.resolve()}"


def _with_prompt_texts(data: dict[str, Any], folder: Path, problems: list[Problem]) -> dict[str, Any]:
    """The study with names of prompt files replaced by their text; files that cannot be read become problems."""
    tasks = data.get("tasks")
    if not isinstance(tasks, dict):
        return data
    return data | {"tasks": {name: _with_prompt_text(name, task, folder, problems) for name, task in tasks.items()}}


def _with_prompt_text(name: str, task: Any, folder: Path, problems: list[Problem]) -> Any:
    prompt = task.get("prompt") if isinstance(task, dict) else None
    if not isinstance(prompt, str):
        return task
    if "{{" in prompt or "\n" in prompt:
        return task | {"prompt": _named(prompt, name, task)}
    place = ("tasks", name, "prompt")
    try:
        return task | {"prompt": _named(_text_of(folder / prompt, what="prompt file"), name, task)}
    except ClinfitError as error:
        problems.append(Problem(place, f"{shown(place)}: {error.found}; {error.fix or error.expected}"))
        return {key: value for key, value in task.items() if key != "prompt"}


def _named(prompt: str, name: str, task: Mapping[str, Any]) -> str:
    """A prompt that knows the task's name as `task` where it uses it, so that several tasks can share a file that tells
    which of them is asked. It is done here, as a task does not know its name; an input that is called so stays one."""
    data = task.get("data")
    inputs = data.get("inputs") if isinstance(data, Mapping) else None
    if isinstance(inputs, Mapping) and "task" in inputs:
        return prompt
    try:
        used = meta.find_undeclared_variables(ImmutableSandboxedEnvironment().parse(prompt))
    except TemplateSyntaxError:
        return prompt  # checks.py says what is wrong
    return f"{{% set task = {json.dumps(str(name), ensure_ascii=False)} %}}{prompt}" if "task" in used else prompt


def _with_blocks(data: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """The study with `use: NAME` of its models replaced by the block of that name; unknown names become problems."""
    models = data.get("models")
    if not isinstance(models, list):
        return data
    return data | {"models": [_with_block(at, model, problems) for at, model in enumerate(models)]}


def _with_block(at: int, model: Any, problems: list[Problem]) -> Any:
    if not isinstance(model, dict) or "use" not in model:
        return model
    name = model["use"]
    if not isinstance(name, str) or name not in BLOCKS:
        place = ("models", at, "use")
        hint = did_you_mean(str(name), BLOCKS, what="blocks")
        problems.append(Problem(place, f"{shown(place)}: {name} is no model block; {hint} (clinfit models list)"))
        name = nearest(str(name), BLOCKS) or next(iter(BLOCKS))  # so that nothing else is missed in its place
    return filled(model, name)


def _with_base_folders(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The study with bases that are folders beside it named in full, so that they are found from anywhere."""
    models = data.get("models")
    if not isinstance(models, list):
        return data
    return data | {"models": [_with_base_folder(model, folder) for model in models]}


def _with_base_folder(model: Any, folder: Path) -> Any:
    base = model.get("base") if isinstance(model, dict) else None
    if not isinstance(base, str) or base.startswith("clinfit/") or not (folder / base).is_dir():
        return model
    return model | {"base": str((folder / base).resolve())}


# ---------------------------------------------------------------- YAML

_SCALARS = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "tag:yaml.org,2002:int": (r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    "tag:yaml.org,2002:float": (
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    MERGE: (r"<<", ["<"]),
}


class _Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2."""


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 or 1.2 would take for something else than text, so that any reader reads the same."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Loader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _first) in _SCALARS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    rare_breaks = any(mark in text for mark in "\r\x85\u2028\u2029")  # YAML would read them as line ends
    style = '"' if rare_breaks else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def study_yaml(study: Study) -> str:
    """The resolved study (every default filled in, prompts as text) as YAML that loads to an equal study."""
    return dump_yaml(study.model_dump())


def dump_yaml(content: dict[str, Any]) -> str:
    """Plain data as YAML, keys in their order, text of several lines as a block."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def flow_yaml(value: Any) -> str:
    """A value on one line: `[a, b]`, `{column: age, type: number}`, or quoted text where it needs quotes."""
    flow = {"default_flow_style": True, "sort_keys": False, "allow_unicode": True, "width": 10**9}
    return yaml.dump([value], Dumper=_Dumper, **flow).strip()[1:-1]


def _parsed(text: str, path: Path) -> tuple[dict[str, Any], yaml.Node, list[Problem]]:
    """The data of a YAML file, its nodes (which know their lines), and keys that stand twice.

    `<<` brings in the keys of other blocks (YAML 1.1): a block's own keys win, then those of the first block named. The
    nodes hold the merged keys as well, in front of the block's own. Raises ClinfitError when the file is no mapping.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        problems = [] if root is None else _key_problems(loader, root)  # before `<<` blocks are merged
        data = None if root is None else loader.construct_document(root)
    except yaml.YAMLError as error:
        raise _not_yaml(error, path) from error
    if root is None or not isinstance(data, dict):
        raise ClinfitError(
            f"{path} is empty" if data is None else f"{path} holds no keys",
            expected="a study: a YAML file with the keys name, tasks and models",
            fix="type: clinfit init my-study.yaml",
        )
    return data, root, problems


def _not_yaml(error: yaml.YAMLError, path: Path) -> ClinfitError:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "not readable as YAML"
    if alias := re.fullmatch(r"found undefined alias '(.*)'", reason):
        return ClinfitError(
            f"{where}: *{alias[1]} stands for a block that is not in the file",
            expected=f"`&{alias[1]}` behind a key further up, in front of the block that *{alias[1]} repeats",
        )
    return ClinfitError(
        f"{where}: this is no valid YAML ({reason})",
        expected="`key: value` lines, indented with spaces; text with a colon, # or quotes in it needs quotes",
        fix="correct that line or the one above it",
    )


def _key_problems(loader: _Loader, root: yaml.Node) -> list[Problem]:
    """Keys that stand twice in one block (1 and true are one key), of which YAML would silently keep the last; and `<<`
    with anything but blocks of keys, which is then taken out."""
    problems: list[Problem] = []
    visited: set[int] = set()  # an alias leads to a node again

    def visit(node: yaml.Node, place: Place) -> None:
        if id(node) in visited:
            return
        visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for position, item in enumerate(node.value):
                visit(item, (*place, position))
        elif isinstance(node, yaml.MappingNode):
            first_lines: dict[Hashable, int] = {}
            for key, value in list(node.value):
                if isinstance(key, yaml.ScalarNode):
                    check_key(key, place, first_lines)
                    if key.tag == MERGE and not _are_blocks(value):
                        node.value.remove((key, value))
                        text = f"{shown(place)}: << brings in the keys of other blocks, and needs one or a list of them"
                        problems.append(Problem(place, f"{text}: <<: *defaults", key.start_mark.line + 1))
                    visit(value, place if key.tag == MERGE else (*place, key.value))

    def check_key(key: yaml.ScalarNode, place: Place, first_lines: dict[Hashable, int]) -> None:
        name, line = "<<" if key.tag == MERGE else loader.construct_object(key), key.start_mark.line + 1
        if name in first_lines:
            text = f"{key.value} stands twice in {shown(place)}; first in line {first_lines[name]}"
            text += "; one << takes several blocks: <<: [*one, *other]" if key.tag == MERGE else ""
            problems.append(Problem(place, text, line))
        first_lines.setdefault(name, line)

    visit(root, ())
    return problems


def _are_blocks(node: yaml.Node) -> bool:
    """Whether a node is a block of keys, or a list of such blocks."""
    parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return all(isinstance(part, yaml.MappingNode) for part in parts)


def _line(root: yaml.Node, place: Place) -> int:
    """Line (from 1) of a place in the file; the line of its nearest block when the place itself is not there."""
    node, line = root, root.start_mark.line + 1
    for step in place:
        if isinstance(node, yaml.MappingNode):
            same = [(key, value) for key, value in node.value if str(key.value).casefold() == str(step).casefold()]
            if not same:
                break
            key, node = same[-1]  # the last of a repeated key, the block's own rather than a merged one
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line
