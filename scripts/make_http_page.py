"""Writes docs/http.md from what the service says of itself at /openapi.json.

    python scripts/make_http_page.py

Needs the extra `serve`. tests/serve/test_http_page.py fails while the page differs from what this script would write.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clinfit.serve.app import routed
from clinfit.serve.openapi import METHODS, described
from clinfit.serve.problems import PROBLEMS

PAGE = Path(__file__).parents[1] / "docs" / "http.md"

HEAD = """\
# HTTP

Made from what the service says at `/openapi.json` by `python scripts/make_http_page.py`; edit `src/clinfit/serve/`, not
this page. What it is for, and how to start it: [serving](serving.md).

A service with API keys (`--keys`) asks for one in the header `Authorization: Bearer KEY`, with the scope that stands at
each address; without keys it listens to its own machine only, and asks for none.
"""
#: Statuses whose problems any address may answer with.
EVERYWHERE = ("400", "401", "403", "408", "413", "422", "500", "503")

Schema = dict[str, Any]


def page() -> str:
    """The text of docs/http.md."""
    found = described(routed(), keyed=True)
    return "\n".join([HEAD, *_addresses(found), *_schemas(found), *_problems()]).rstrip() + "\n"


def _addresses(found: Schema) -> Iterator[str]:
    tag = ""
    for path, methods in found["paths"].items():
        for method in (name for name in METHODS if name in methods):
            operation = methods[method]
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                yield f"## {tag.capitalize()}\n"
            yield from _operation(f"{method.upper()} {path}", operation)


def _operation(name: str, operation: Schema) -> Iterator[str]:
    yield f"### `{name}`\n"
    scopes = [scope for entry in operation.get("security", []) for scope in entry["key"]]
    needs = f" Needs a key with the scope `{scopes[0]}`." if scopes else " Needs no key."
    yield f"{operation['summary']}.{needs}\n"
    if text := " ".join(operation.get("description", "").split()):
        yield f"{text}\n"
    if parameters := operation.get("parameters", []):
        yield "| parameter | in | type | meaning |\n|---|---|---|---|"
        for one in parameters:
            words = one.get("description", "") + _default(one["schema"])
            yield f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} | {_cell(words)} |"
        yield ""
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Takes `{media}`: {_type(content['schema'])}\n"
    for status, response in operation["responses"].items():
        if "application/problem+json" in response.get("content", {}):
            if status not in EVERYWHERE:
                yield f"- {status}: {response['description']}"
        else:
            forms = [
                f"`{media}`" + (f" {_type(content['schema'])}" if content.get("schema") else "")
                for media, content in response.get("content", {}).items()
            ]
            words = "" if response["description"] == "Successful Response" else f", {response['description']}"
            yield f"- {status}{words}{': ' if forms else ''}{', '.join(forms)}"
    yield ""


def _schemas(found: Schema) -> Iterator[str]:
    yield "## What goes in and comes out\n"
    for name, schema in sorted(found["components"]["schemas"].items()):
        yield f"### {name}\n"
        if text := " ".join(schema.get("description", "").split()):
            yield f"{text}\n"
        yield "| field | type | meaning |\n|---|---|---|"
        for field, own in schema["properties"].items():
            mark = " (needed)" if field in schema.get("required", []) else ""
            words = own.get("description", "") + _default(own)
            yield f"| `{field}`{mark} | {_type(own)} | {_cell(words)} |"
        yield ""
        for example in schema.get("examples", []):
            yield f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```\n"


def _problems() -> Iterator[str]:
    statuses = ", ".join(EVERYWHERE)
    yield "## Problems\n"
    yield (
        "What is refused is a problem document (RFC 9457, `application/problem+json`): [ProblemOut](#problemout) with "
        f"one of these codes. Any address may answer with {statuses}, and those that stand at it.\n"
    )
    yield "| code | status | title |\n|---|---|---|"
    for code, (status, title) in PROBLEMS.items():
        yield f"| `{code}` | {status} | {title} |"


def _type(schema: Schema) -> str:
    """A schema in words, others by a link."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return str(kind)


def _default(schema: Schema) -> str:
    value = schema.get("default")
    return "" if value is None or "const" in schema else f" (default `{json.dumps(value)}`)"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(PAGE.parents[1])}")
