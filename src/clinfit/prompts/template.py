"""A record as text: the user message of a prompt, or the plain document that an encoder reads.

A prompt is a Jinja2 template in a sandbox. It may use every declared input by name, and besides:

    {{ labels }}   the answers to choose from: "A, B or C"; generation and extraction have none
    {{ record }}   all inputs, one "- Title: value unit" a line; of multiple-choice tasks those that are no options
    {{ options }}  multiple-choice: the options, one "A. text" a line
    {{ label }}    multilabel: the label that is asked about
    {{ fields }}   extraction: the fields, one `- "name": what may stand there (description)` a line

`{{ task }}`, the task's name, is set in the prompt itself when a study is loaded (study/load.py).

A missing value reads `unknown`; a number is written in its shortest form, with its unit.

A multilabel record is asked once for each label. What stands before `{{ label }}` is read once and serves all labels;
the rest is the question, which is put behind it for each label by itself. A prompt without `{{ label }}` gets
DEFAULT_QUESTION behind it. So the inputs should come first.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from clinfit.data.fields import told
from clinfit.data.records import Value
from clinfit.data.values import whole_characters
from clinfit.errors import ClinfitError
from clinfit.study.checks import PROMPT_NAMES
from clinfit.study.data import InputColumn
from clinfit.study.tasks import Extraction, MultipleChoice, Task, Writing

MISSING = "unknown"
#: The prompts of tasks that bring none: the question, then every input. Of multilabel tasks without the question.
DEFAULT_PROMPTS = {
    "classification": "Classify the following record. Answer with exactly one of: {{ labels }}.\n\n{{ record }}",
    "multilabel": "Read the following record.\n\n{{ record }}",
    "multiple-choice": "Answer the following question with {answer}.\n\n{{ record }}\n\n{{ options }}",
    "generation": "Read the following record and answer in a few sentences, with nothing that it does not say."
    "\n\n{{ record }}",
    "extraction": "Read the following record. Answer with one JSON object and nothing else, with these fields:\n\n"
    "{{ fields }}\n\n{{ record }}",
}
#: What a multiple-choice task is answered with where the prompt is the default.
CHOICES = {
    "letters": "exactly one of: {{ labels }}",
    "texts": "the text of exactly one option",
    "texts-normalised": "the text of exactly one option",
}
#: How each label of a multilabel task is asked about.
DEFAULT_QUESTION = "\n\nDoes this label apply to it: {{ label }}? Answer with exactly one of: no or yes."
#: The answers to it, the negative one first.
NO_YES = ("no", "yes")
#: Stands for the label while a message is divided. Wherever else it may occur, nothing but the division suffers.
_LABEL = "CLINFITLABEL"

_environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False)


def value_text(value: Value, column: InputColumn) -> str:
    """One value as a prompt shows it: trimmed text, `17.99 mm`, or `unknown`."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return MISSING
    if isinstance(value, str):
        return whole_characters(value.strip())
    number = repr(int(value)) if float(value).is_integer() else repr(float(value))
    return f"{number} {column.unit}" if column.unit else number


def input_title(name: str, column: InputColumn) -> str:
    """The name under which prompts and reports show an input."""
    return column.title or name.replace("_", " ")


def listed(labels: list[str]) -> str:
    """`A, B or C`."""
    return " or ".join([", ".join(labels[:-1]), labels[-1]]) if len(labels) > 1 else labels[0]


def record_lines(task: Task, inputs: Mapping[str, Value]) -> str:
    """All inputs that are no options, one line each: `- Title: value unit`."""
    options = task.options if isinstance(task, MultipleChoice) else []
    return "\n".join(
        f"- {input_title(name, column)}: {value_text(inputs.get(name), column)}"
        for name, column in task.data.columns.items()
        if name not in options
    )


def field_lines(task: Extraction) -> str:
    """The fields of an extraction, one line each: `- "dose": a number, or null (in mg)`."""
    return "\n".join(
        f"- {json.dumps(name)}: {told(field)}" + (f" ({field.description})" if field.description else "")
        for name, field in task.declared.items()
    )


def option_texts(task: MultipleChoice, inputs: Mapping[str, Value]) -> list[str]:
    """The options' texts, in order."""
    columns = task.data.columns
    return [value_text(inputs.get(name), columns[name]) for name in task.options]


def prompt_source(task: Task) -> str:
    """The template of the task's user message, its own or its kind's."""
    source = task.prompt or DEFAULT_PROMPTS[task.kind]
    if isinstance(task, MultipleChoice) and not task.prompt:
        return source.replace("{answer}", CHOICES[task.answer])
    if task.kind == "multilabel" and "label" not in _names(source):
        return source + DEFAULT_QUESTION
    return source


def user_message(task: Task, inputs: Mapping[str, Value]) -> str:
    """The user message for one record, of a task that is asked once a record.

    Raises ClinfitError when the template cannot be rendered (an undeclared name, a syntax error).
    """
    return _rendered(task, inputs)


@dataclass(frozen=True)
class DividedMessage:
    """A message that is asked for each label: what all share, and for each label what follows."""

    shared: str
    questions: list[str]


def divided_message(task: Task, inputs: Mapping[str, Value]) -> DividedMessage:
    """The user message of a multilabel record.

    Raises ClinfitError when the template cannot be rendered, or when what stands before `{{ label }}` depends on it.
    """
    shared = _rendered(task, inputs, label=_LABEL).partition(_LABEL)[0].rstrip()
    messages = [_rendered(task, inputs, label=label) for label in task.labels]
    if not all(message.startswith(shared) for message in messages):
        raise ClinfitError(
            "what the prompt shows before {{ label }} differs from label to label",
            expected="a prompt whose beginning is the same for all labels, since it is read once for all of them",
            fix="use {{ label }} only behind the inputs",
        )
    return DividedMessage(shared, [message[len(shared) :] for message in messages])


def _rendered(task: Task, inputs: Mapping[str, Value], **names: str) -> str:
    source = prompt_source(task)
    used = _names(source)
    if task.labels:
        names["labels"] = listed(task.labels)
    if "record" in used:
        names["record"] = record_lines(task, inputs)
    if "fields" in used and isinstance(task, Extraction):
        names["fields"] = field_lines(task)
    if "options" in used and isinstance(task, MultipleChoice):
        texts = option_texts(task, inputs)
        names["options"] = "\n".join(f"{letter}. {text}" for letter, text in zip(task.labels, texts, strict=True))
    names |= {name: value_text(inputs.get(name), column) for name, column in task.data.columns.items() if name in used}
    try:
        return _template(source).render(names).strip()
    except (TemplateError, TypeError, ValueError) as error:  # the message may hold a record's value, so it stays out
        known = [*task.data.columns, *PROMPT_NAMES[task.kind]]
        raise ClinfitError(
            f"the prompt cannot be rendered ({type(error).__name__}); every value in it is text",
            expected=f"a Jinja2 template over {', '.join(known)}",
            fix="correct the prompt file; `clinfit check STUDY` shows the first record rendered",
        ) from None


def source_text(task: Writing, inputs: Mapping[str, Value]) -> str:
    """What a written text must rest on, with the names of the inputs that are no text: `age: 54 years`."""
    lines = []
    for name in task.sources:
        column, value = task.data.columns[name], inputs.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        text = value_text(value, column)
        lines.append(text if column.type == "text" else f"{input_title(name, column)}: {text}")
    return "\n".join(lines)


def document(task: Task, inputs: Mapping[str, Value]) -> str:
    """What an encoder reads: text inputs as they are, other inputs as `Title: value unit` lines."""
    lines = []
    for name, column in task.data.columns.items():
        text = value_text(inputs.get(name), column)
        lines.append(text if column.type == "text" else f"{input_title(name, column)}: {text}")
    return "\n".join(lines)


@lru_cache(maxsize=64)
def _template(source: str) -> Template:
    return _environment.from_string(source)


@lru_cache(maxsize=64)
def _names(source: str) -> frozenset[str]:
    """The names that a template uses; none for one that cannot be parsed, which rendering reports."""
    try:
        return frozenset(meta.find_undeclared_variables(_environment.parse(source)))
    except TemplateError:
        return frozenset()
