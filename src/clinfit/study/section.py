"""What every section of the study file is built from."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
#: What every library takes as a seed.
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


def _each_once(seeds: list[int]) -> list[int]:
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        raise ValueError(f"{', '.join(map(str, twice))} stands there more than once; a seed is one training")
    return seeds


Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_each_once)]
#: Names become folders and files of a run.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Section(BaseModel):
    """A part of the study file; unknown keys are refused, and so is text where a number belongs."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=True,  # so that a default and the same value written out are equal, down to int and float
        protected_namespaces=(),
    )
