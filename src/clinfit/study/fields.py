"""The fields that a task of kind `extraction` asks for."""

from typing import Literal, Self

from pydantic import Field, model_validator

from clinfit.study.section import Section

FieldType = Literal["string", "number", "integer", "boolean", "list"]


class ExtractedField(Section):
    """One field: the type of its value, and whether there must be one."""

    type: FieldType = Field(
        default="string", description="string, number, integer, boolean, or list: any number of strings"
    )
    values: list[str] | None = Field(
        default=None, min_length=1, description="the only strings that may stand there; of type string or list"
    )
    required: bool = Field(
        default=True, description="whether every record has a value; of a field that is not required it may be null"
    )
    description: str | None = Field(default=None, description="what is meant, as `{{ fields }}` tells it in the prompt")

    @model_validator(mode="after")
    def _listed(self) -> Self:
        if self.values is not None and self.type not in ("string", "list"):
            raise ValueError(f"`values` goes with type string or list, and the type is {self.type}")
        if self.values is not None and len(set(self.values)) < len(self.values):
            raise ValueError("values must differ from each other")
        return self
