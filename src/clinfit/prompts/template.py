"""A record as text: the user message of a prompt, or the plain document that an encoder reads.

A prompt is a Jinja2 template in a sandbox. It may use every declared input by name, and besides:
`{{ labels }}` ("A, B or C") and `{{ record }}` (all inputs, one "- Title: value unit" a line).
A missing value reads `unknown`; a number is written in its shortest form, with its unit.
"""

from collections.abc import Mapping
from functools import lru_cache

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from clinfit.data.records import Value
from clinfit.errors import ClinfitError
from clinfit.study import InputColumn, Task
from clinfit.study_checks import PROMPT_NAMES

MISSING = "unknown"
#: The prompt of a task that brings none: the question, then every input.
DEFAULT_PROMPT = "Classify the following record. Answer with exactly one of: {{ labels }}.\n\n{{ record }}"

_environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False)


def value_text(value: Value, column: InputColumn) -> str:
    """One value as a prompt shows it: trimmed text, `17.99 mm`, or `unknown`."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return MISSING
    if isinstance(value, str):
        return value.strip()
    number = repr(int(value)) if float(value).is_integer() else repr(float(value))
    return f"{number} {column.unit}" if column.unit else number


def input_title(name: str, column: InputColumn) -> str:
    """The name under which prompts and reports show an input."""
    return column.title or name.replace("_", " ")


def listed(labels: list[str]) -> str:
    """`A, B or C`."""
    return " or ".join([", ".join(labels[:-1]), labels[-1]]) if len(labels) > 1 else labels[0]


def record_lines(task: Task, inputs: Mapping[str, Value]) -> str:
    """All inputs, one line each: `- Title: value unit`."""
    return "\n".join(
        f"- {input_title(name, column)}: {value_text(inputs.get(name), column)}"
        for name, column in task.data.columns.items()
    )


def user_message(task: Task, inputs: Mapping[str, Value]) -> str:
    """The user message for one record.

    Raises ClinfitError when the template cannot be rendered (an undeclared name, a syntax error).
    """
    names: dict[str, str] = {name: value_text(inputs.get(name), column) for name, column in task.data.columns.items()}
    try:
        return (
            _template(task.prompt or DEFAULT_PROMPT)
            .render({"labels": listed(task.labels), "record": record_lines(task, inputs), **names})
            .strip()
        )
    except (TemplateError, TypeError, ValueError) as error:  # the message may hold a record's value, so it stays out
        raise ClinfitError(
            f"the prompt cannot be rendered ({type(error).__name__}); every value in it is text",
            expected=f"a Jinja2 template over {', '.join([*task.data.columns, *PROMPT_NAMES])}",
            fix="correct the prompt file; `clinfit check STUDY` shows the first record rendered",
        ) from None


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
