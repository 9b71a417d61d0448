"""JSON Schema of metrics.json, from the types in results.py and system_results.py."""

from typing import Any

from pydantic import TypeAdapter

from clinfit.evaluation.results import FORMAT, Results


def metrics_schema() -> dict[str, Any]:
    """Closed: a key that is not described is an error."""
    schema = TypeAdapter(Results).json_schema()
    for described in (schema, *schema["$defs"].values()):
        described["additionalProperties"] = False
    schema["properties"]["format"] = {"const": FORMAT}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "clinfit metrics"}
