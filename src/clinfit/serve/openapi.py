"""What the service says of itself at /openapi.json, and what of it errors may repeat."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from clinfit.serve.models import Models
from clinfit.serve.schemas import ClassifyRequest, JobRequest, ProblemOut, RecordIn, TextRequest, WriteRequest
from clinfit.serve.schemas_openai import (
    ChatRequest,
    CompletionRequest,
    ResponseFormat,
    StreamOptions,
    TextPart,
    UserMessage,
)

METHODS = ("get", "put", "post", "delete", "patch")


def described(app: FastAPI, *, keyed: bool) -> dict[str, Any]:
    """OpenAPI of an application: FastAPI's, with the schemas that only responses of our own name, and without its own
    shape of errors. keyed: whether an API key is needed where a route asks for one."""
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = schema["components"]["schemas"]
    for model in (ProblemOut, JobRequest):
        own = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= own.pop("$defs", {})
        schemas[model.__name__] = own
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    if not keyed:
        for operation in operations(schema):
            operation.pop("security", None)
    return schema


def operations(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """What can be done at all addresses."""
    return [path[method] for path in schema["paths"].values() for method in METHODS if method in path]


def known_names(models: Models) -> frozenset[str]:
    """Names of fields, and of the inputs of what is served, which errors may repeat."""
    own = (ClassifyRequest, WriteRequest, RecordIn, JobRequest, TextRequest)
    of_openai = (ChatRequest, UserMessage, TextPart, CompletionRequest, StreamOptions, ResponseFormat)
    inputs = (model.task.data.columns for model in models.all())
    return frozenset[str]().union(*(body.model_fields for body in (*own, *of_openai)), *inputs)
