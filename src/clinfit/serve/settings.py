"""What a service allows and keeps. All limits stand here, and each is read from the environment: `CLINFIT_SERVE_` and
its name in capitals. What is also an option of the command line is read by it, and wins there. A file may set all of
them, and the options, for what neither of the two says.

docs/reference.md has the table, made of this file by scripts/make_reference.py.
"""

import json
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clinfit.errors import ClinfitError, nearest
from clinfit.models.engines import LARGEST_CHANGE, Wanted

PREFIX = "CLINFIT_SERVE_"
LINES = "a line `name: value` for each setting (YAML, or JSON)"
#: Of a value that JSON does not know.
NO_JSON = "it is neither text, number, yes or no, nor a list of these"

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


class FileSettings(Settings):
    """What a file may set: the options of `clinfit serve` by their names, and every limit."""

    model_config = ConfigDict(strict=True)

    host: str | None = None
    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    allow_host: list[str] | None = None
    keys: Path | None = None
    jobs: Path | None = None
    redis: str | None = None
    redis_password_file: Path | None = None
    worker: bool | None = None
    engine: Wanted | None = None
    engine_change: Annotated[float, Field(ge=0, le=LARGEST_CHANGE)] | None = None


def variable(name: str) -> str:
    """Where a setting stands in the environment."""
    return PREFIX + name.upper()


def read_settings(
    environment: Mapping[str, str], options: Collection[str], file: Mapping[str, Any] | None = None, **given: Any
) -> Settings:
    """The settings of a process.

    given: by the command line, which wins. options: variables that the command line reads itself. file: what
    `read_file` says, for what is set nowhere else. Raises ClinfitError for a value that cannot be, and for a variable
    that is none: a limit that was misspelt would not hold.
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
    of_file = {name: value for name, value in (file or {}).items() if name in Settings.model_fields}
    told = {setting: environment[name] for name, setting in names.items() if environment.get(name)}
    try:
        return Settings.model_validate({**of_file, **told, **given})
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = str(fault["loc"][0])
        raise ClinfitError(
            f"{variable(name)} cannot be: {fault['msg']}", expected=Settings.model_fields[name].description or ""
        ) from None


def read_file(file: Path) -> dict[str, Any]:
    """What a file sets, by the names of `FileSettings`; paths in it are from its own folder.

    Raises ClinfitError without any value of it: one may be an address with a password.
    """
    return {str(name): _setting(file, str(name), value) for name, value in _content(file).items()}


def _setting(file: Path, name: str, content: Any) -> Any:
    """The value of one setting. Raises ClinfitError."""
    if name not in FileSettings.model_fields:
        near = nearest(name, FileSettings.model_fields)
        raise ClinfitError(
            f"{file}: {name} is no setting of the service",
            expected=f"some of {', '.join(FileSettings.model_fields)}",
            fix=f"did you mean {near}?" if near else "take it out",
        )
    words = FileSettings.model_fields[name].description or f"what --{name.replace('_', '-')} takes"
    try:
        value = getattr(FileSettings.model_validate_json(json.dumps({name: content}, default=_as_json)), name)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        why = fault["msg"] if fault["loc"] else NO_JSON
        raise ClinfitError(f"{file}: {name} cannot be: {why}", expected=words) from None
    except (TypeError, ValueError, RecursionError):  # of json.dumps
        raise ClinfitError(f"{file}: {name} cannot be: {NO_JSON}", expected=words) from None
    return _path(file, name, value) if isinstance(value, Path) else value


def _as_json(value: Any) -> str:
    """A date that was typed for a text. Raises TypeError for what else YAML knows and JSON does not."""
    if isinstance(value, date):
        return str(value)
    raise TypeError


def _path(file: Path, name: str, path: Path) -> Path:
    """A path from the file's own folder. Raises ClinfitError for one that leads to no file."""
    if path == Path():
        raise ClinfitError(f"{file}: {name} is an empty path", expected="the path of a file", fix="take it out")
    try:
        return file.parent / path.expanduser()
    except RuntimeError:
        raise ClinfitError(
            f"{file}: {name} begins with the home folder (~) of a user who has none here",
            expected="the path of a file",
            fix="write the folder's whole path",
        ) from None


def _content(file: Path) -> dict[Any, Any]:
    """The block of settings in a file. Raises ClinfitError where there is none, or a name twice."""
    try:
        text = file.read_text(encoding="utf-8")
        root, content = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except UnicodeDecodeError:
        raise ClinfitError(f"{file} is not text in UTF-8", fix="save it with encoding UTF-8") from None
    except OSError as error:
        raise ClinfitError(f"{file} cannot be read: {error.strerror}", fix="correct --settings") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else str(file)
        raise ClinfitError(f"{place}: this is no valid YAML", expected=LINES, fix="correct the line") from None
    except RecursionError:
        raise ClinfitError(f"{file} is nested too deep", expected=LINES) from None
    if not isinstance(content, dict) or not isinstance(root, yaml.MappingNode):
        raise ClinfitError(f"{file} holds no block of settings", expected=LINES)
    names = [key.value for key, _ in root.value]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ClinfitError(f"{file}: {twice} stands twice", expected="one value a setting", fix="take one of them out")
    return content
