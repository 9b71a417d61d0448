"""Writes docs/reference.md and the schemas in schema/ from the code they describe.

    python scripts/make_reference.py

tests/test_reference.py and tests/report/test_export.py fail while one of them differs from what this script would
write.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.main import get_command
from typer.testing import CliRunner

from clinfit.cli import app
from clinfit.cli_serve import options
from clinfit.evaluation.schema import metrics_schema
from clinfit.packs import content as pack_content
from clinfit.report.export import report_metrics_schema
from clinfit.serve.settings import Settings, variable
from clinfit.study.schema import Study, json_schema
from clinfit.study.section import Section

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference.md"
SCHEMA = ROOT / "schema" / "study.schema.json"
EXPORT_SCHEMA = ROOT / "schema" / "report_metrics.schema.json"
PACK_SCHEMA = ROOT / "schema" / "pack.schema.json"
RESULTS_SCHEMA = ROOT / "schema" / "metrics.schema.json"

HEAD = """\
# Reference

Made from the code by `python scripts/make_reference.py`; edit the code, not this page.

## Study file

A study is one YAML file. Keys that are not listed here are errors; `clinfit check STUDY` names all errors at once,
with their lines. Only `true` and `false` are booleans (YAML 1.2): labels such as Yes and No need no quotes. Blocks can
be shared by anchors and merge keys (`<<: *defaults`): a block's own keys win, and of a list of blocks the first;
top-level keys that begin with `x-` may hold such blocks, and are ignored. A model may name a ready block (`use: NAME`,
[model blocks](models.md)), which fills in what is left out. Editors check and complete study files with
`schema/study.schema.json`, which `clinfit schema` prints as well.
"""

SERVICE = """\
## Settings of the service

`clinfit serve` and `clinfit worker` read these variables of the environment; what stands on the command line wins. An
empty variable is as none. One that begins with `CLINFIT_SERVE_` and is not listed here is an error: a limit that was
misspelt would not hold. Where there are several values (`CLINFIT_SERVE_ALLOW_HOST`) white space stands between them.
"""

PLAIN_TYPES = {Any: "any value", str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
BOUNDS = {Gt: ("gt", ">"), Ge: ("ge", "≥"), Lt: ("lt", "<"), Le: ("le", "≤")}


def reference() -> str:
    """The text of docs/reference.md."""
    sections = [_section(kind, path) for kind, path in _sections().items()]
    return "\n".join([HEAD, *sections, *_commands(), *_service_settings()]).rstrip() + "\n"


def schema() -> str:
    """The text of schema/study.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def export_schema() -> str:
    """The text of schema/report_metrics.schema.json."""
    return json.dumps(report_metrics_schema(), indent=2, ensure_ascii=False) + "\n"


def pack_schema() -> str:
    """The text of schema/pack.schema.json."""
    return json.dumps(pack_content.json_schema(), indent=2, ensure_ascii=False) + "\n"


def results_schema() -> str:
    """The text of schema/metrics.schema.json."""
    return json.dumps(metrics_schema(), indent=2, ensure_ascii=False) + "\n"


# ---------------------------------------------------------------- study file


def _sections() -> dict[type[Section], str]:
    """Every section class and where it stands in the file, in reading order; the families before what they share."""
    found: dict[type[Section], str] = {}

    def visit(kind: type[Section], path: str) -> None:
        for name, field in _keys(kind):
            inner = [
                (section, f"{path}.{name}{suffix}".removeprefix("."))
                for section, suffix in _inner_sections(field.annotation)
                if section not in found
            ]
            found.update(inner)
            for section, place in inner:
                visit(section, place)

    found[Study] = ""
    visit(Study, "")
    return found


def _keys(kind: type[Section]) -> list[tuple[str, FieldInfo]]:
    """The keys of a section, name and family first; `folder` is set by loading and is no key."""
    keys = [(name, field) for name, field in kind.model_fields.items() if not field.exclude]
    return sorted(keys, key=lambda key: {"name": 0, "family": 1}.get(key[0], 2))


def _inner_sections(annotation: Any) -> Iterator[tuple[type[Section], str]]:
    """Section classes inside an annotation, with [] for lists and .<name> for maps."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation, ""
    elif origin in (list, dict):
        step = "[]" if origin is list else ".<name>"
        for inner, suffix in _inner_sections(get_args(annotation)[-1]):
            yield inner, step + suffix
    elif origin is Annotated:
        yield from _inner_sections(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for option in get_args(annotation):
            yield from _inner_sections(option)


def _section(kind: type[Section], path: str) -> str:
    title = f"`{path}`" if path else "Top level"
    if "family" in kind.model_fields:
        title += f", family `{get_args(kind.model_fields['family'].annotation)[0]}`"
    rows = [
        f"| `{name}` | {_cell(_type(field))} | {_cell(_default(field))} | {_cell(field.description or '')} |"
        for name, field in _keys(kind)
    ]
    head = ["| key | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"### {title}", "", kind.__doc__ or "", "", *head, *rows, ""])


def _cell(text: str) -> str:
    """Text for a table cell: bars escaped, and < outside of `code`, where it would start a tag."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if code % 2 else part.replace("<", "&lt;") for code, part in enumerate(parts))


def _type(field: FieldInfo) -> str:
    bounds = " and ".join(filter(None, map(_bound, field.metadata)))
    return f"{_named(field.annotation)} {bounds}".strip()


def _named(annotation: Any) -> str:
    """An annotation in words."""
    origin, options = get_origin(annotation), get_args(annotation)
    if annotation in PLAIN_TYPES:
        return PLAIN_TYPES[annotation]
    if origin is Literal:
        return ", ".join(f"`{option}`" for option in options)
    if origin is list:
        return f"list of {_named(options[0])}"
    if origin is dict:
        return f"{_named(options[0])} → {_named(options[1])}"
    if origin is Annotated:
        bounds = " and ".join(filter(None, map(_bound, options[1:])))
        return f"{_named(options[0])} {bounds}".strip()
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_named(option) for option in options if option is not NoneType))
    return "block"


def _bound(limit: Any) -> str:
    if isinstance(limit, MinLen):
        return f"(at least {limit.min_length})"
    if isinstance(limit, FieldInfo):
        return " and ".join(filter(None, map(_bound, limit.metadata)))
    name, sign = BOUNDS.get(type(limit), ("", ""))
    return f"{sign} {getattr(limit, name):g}" if name else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined or value in ([], {}, ""):
        return "none"
    if isinstance(value, Section):
        return "its defaults"
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


# ---------------------------------------------------------------- command line


def _commands() -> list[str]:
    """The help of every verb of the command line."""
    runner = CliRunner(env={"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"})
    parts = ["## Command line", ""]
    for verb in _verbs(get_command(app)):
        text = runner.invoke(app, [*verb.split(), "--help"]).output.strip("\n")
        parts += [f"### `clinfit {verb}`", "", "```text", *(line.rstrip() for line in text.splitlines()), "```", ""]
    return parts


def _service_settings() -> list[str]:
    """Every variable of the environment that the service reads: options of its commands, then its limits."""
    limits = {variable(name): field for name, field in Settings.model_fields.items()}
    rows = [
        (name, option.opts[0], _option_default(option.default), option.help)
        for name, option in options().items()
        if name not in limits
    ]
    also = options()
    for name, field in limits.items():
        words = f"{field.description} ({_type(field)})"
        rows.append((name, also[name].opts[0] if name in also else "", _default(field), words))
    return [
        SERVICE,
        "| variable | option | default | meaning |",
        "|---|---|---|---|",
        *(
            f"| `{name}` | {option and f'`{option}`'} | {default} | {_cell(words)} |"
            for name, option, default, words in rows
        ),
        "",
    ]


def _option_default(value: Any) -> str:
    return "none" if value is None else f"`{json.dumps(value) if isinstance(value, bool) else value}`"


def _verbs(command: Any) -> list[str]:
    """Names of the commands, and `data get` for one of a group."""
    return [
        " ".join([verb, *below])
        for verb, group in getattr(command, "commands", {}).items()
        for below in [[], *([name] for name in _verbs(group))]
    ]


if __name__ == "__main__":
    pages = {
        REFERENCE: reference(),
        SCHEMA: schema(),
        EXPORT_SCHEMA: export_schema(),
        RESULTS_SCHEMA: results_schema(),
        PACK_SCHEMA: pack_schema(),
    }
    for path, text in pages.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
