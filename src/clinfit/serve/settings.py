"""What a service allows and keeps. All limits stand here, and each is read from the environment: `CLINFIT_SERVE_` and
its name in capitals. What is also an option of the command line is read by it, and wins there.

docs/reference.md has the table, made of this file by scripts/make_reference.py.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clinfit.errors import ClinfitError, nearest

PREFIX = "CLINFIT_SERVE_"

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """Numbers of one process; rates and what waits in memory are counted in each by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    body_bytes: Count = Field(default=1 << 20, description="bytes of a request")
    table_bytes: Count = Field(default=32 << 20, description="bytes of a job that is sent, a table or JSON")
    body_seconds: Positive = Field(default=30.0, description="seconds that a request may take to come whole, else 408")
    items: Count = Field(default=64, description="records of a request that is answered at once")
    job_items: Count = Field(default=50_000, description="records of a job")
    characters: Count = Field(default=100_000, description="characters of one text")
    explained: Count = Field(default=4, description="records of a request that may be explained")
    seconds: Positive = Field(default=60.0, description="seconds that a request may wait for its answers, else 504")
    waiting: Count = Field(default=256, description="records of requests that may wait")
    queued: Count = Field(default=200_000, description="records of jobs that are not done")
    queued_by_owner: Count = Field(default=100_000, description="the same, of one key")
    per_minute: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = Field(
        default=None, description="records a minute and key; without it there is no limit"
    )
    burst: Count = Field(default=256, description="records of `per_minute` that may come at once")
    chunk: Count = Field(default=32, description="records of a job that a worker takes at a time")
    lease: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        default=30.0, description="seconds after which a silent worker's chunk of a job goes to another"
    )
    tries: Count = Field(default=5, description="how often a record is begun before it is given up")
    back_off: Positive = Field(
        default=1.0, description="seconds before the first retry; each further one waits twice as long"
    )
    keep_days: Positive = Field(
        default=7.0, description="days that results are kept once a job has ended, and unfinished jobs at all"
    )
    drain: Positive = Field(default=20.0, description="seconds that what is under way has when the process is stopped")
    audit: Path | None = Field(default=None, description="file that every request is noted in, without its text")


def variable(name: str) -> str:
    """Where a setting stands in the environment."""
    return PREFIX + name.upper()


def read_settings(environment: Mapping[str, str], options: Collection[str], **given: Any) -> Settings:
    """The settings of a process.

    given: by the command line, which wins. options: variables that the command line reads itself. Raises ClinfitError
    for a value that cannot be, and for a variable that is none: a limit that was misspelt would not hold.
    """
    names = {variable(name): name for name in Settings.model_fields}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in names and name not in options:
            near = nearest(name, [*names, *options])
            raise ClinfitError(
                f"{name} is no setting of the service",
                expected="a variable that docs/reference.md lists",
                fix=f"did you mean {near}?" if near else f"unset {name}",
            )
    told = {setting: environment[name] for name, setting in names.items() if environment.get(name)}
    try:
        return Settings.model_validate({**told, **given})
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = str(fault["loc"][0])
        raise ClinfitError(
            f"{variable(name)} cannot be: {fault['msg']}", expected=Settings.model_fields[name].description or ""
        ) from None
