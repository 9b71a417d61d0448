"""`clinfit import model_configs.json STUDY [--data FILE]`: the models of a list of MLX fine-tunings as a study.

    {"models": [{"name": "small", "model_id": "owner/name", "output_dir": "./small", "lora_rank": 8, "lora_alpha": 16,
                 "learning_rate": 1e-4, "num_iters": 600, "batch_size": 4}]}

Every field becomes a setting of the study, or is named as an error; all errors come together, and nothing is written
then. The rest of the study is that of `clinfit init`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clinfit.errors import ClinfitError, nearest
from clinfit.runs.starter import OWN_NAMES, as_name, write_starter
from clinfit.study.blocks import BLOCKS
from clinfit.study.load import flow_yaml
from clinfit.study.section import Name

#: What a file looks like.
SHAPE = '{"models": [{"name": ..., "model_id": ..., "num_iters": ...}]}'
#: Ends of names of weights that MLX has quantized.
QUANTIZED = re.compile(r"-(?:[2-8]-?bit|mxfp[48]|q[2-8]|qat)(?:-.*)?$", re.I)


class Listed(BaseModel):
    """One model of the file. num_iters: optimizer steps."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())

    name: Name
    model_id: str = Field(min_length=1)
    output_dir: str | None = None
    lora_rank: int = Field(default=16, ge=1)
    lora_alpha: float = Field(default=32, gt=0)
    learning_rate: float = Field(default=2e-4, gt=0)
    num_iters: int = Field(ge=1)
    batch_size: int = Field(default=16, ge=1)


@dataclass(frozen=True)
class Imported:
    """What was written, and where each model's own `output_dir` is to be found now."""

    study: Path
    moved: list[str]


def import_models(file: Path, study: Path, data: Path | None, family: Literal["mlx", "causal"]) -> Imported:
    """Write a starter study with the models of the file. Raises ClinfitError where a field cannot be honoured."""
    models = read_models(file)
    write_starter(study, data, [line for model in models for line in _lines(model, family)])
    name = as_name(study.stem)
    return Imported(
        study,
        [
            f"{model.name}: instead of {model.output_dir}, runs/{name}/latest/models/{model.name}-seed42"
            for model in models
            if model.output_dir
        ],
    )


def read_models(file: Path) -> list[Listed]:
    """The models of the file; raises ClinfitError with every field that is wrong."""
    if not file.is_file():
        raise ClinfitError(f"{file} does not exist", expected="a file such as model_configs.json")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ClinfitError(f"{file} is no JSON: {error}", expected=SHAPE) from error
    listed = content.get("models") if isinstance(content, Mapping) else None
    if not isinstance(listed, list) or not listed:
        raise ClinfitError(f"{file} lists no models", expected=SHAPE)
    found, problems = [], [f"{key} is no field of the file" for key in content if key != "models"]
    for position, block in enumerate(listed):
        problems += [f"models[{position}].{text}" for text in _twice(block, listed[:position])]
        try:
            model = Listed.model_validate(block)
        except ValidationError as error:
            problems += [f"models[{position}]{text}" for text in _told(error)]
            continue
        problems += [f"models[{position}].{text}" for text in _refused(model)]
        found.append(model)
    if problems:
        raise ClinfitError(
            f"{file} cannot be imported: " + "; ".join(problems),
            expected=f"for each model {', '.join(Listed.model_fields)}",
            fix="correct these fields; nothing was written",
        )
    return found


def _told(error: ValidationError) -> Iterator[str]:
    for details in error.errors():
        place = "".join(f".{step}" for step in details["loc"])
        if details["type"] == "extra_forbidden":
            close = nearest(str(details["loc"][-1]), Listed.model_fields)
            yield f"{place} is no field of a model" + (f", did you mean {close}?" if close else "")
        elif details["type"] == "missing":
            yield f"{place} is missing"
        elif details["type"] == "model_type":
            block = details["input"]
            shown = "a list" if isinstance(block, list) else json.dumps(block)
            yield f" must be an object with these fields, and is {shown}"
        else:
            yield f"{place}: {details['msg'][:1].lower()}{details['msg'][1:]}, and is {json.dumps(details['input'])}"


def _twice(block: Any, before: Sequence[Any]) -> Iterator[str]:
    """Asked of blocks as they stand there, so that another fault in one of them does not hide it. Names are those of
    folders, which differ in more than case."""
    names = [str(other.get("name")).casefold() for other in (block, *before) if isinstance(other, Mapping)]
    if isinstance(block, Mapping) and "name" in block and names[0] in names[1:]:
        yield f"name: {block['name']} stands there twice"


def _refused(model: Listed) -> Iterator[str]:
    """What no study can hold."""
    if model.name in OWN_NAMES:
        yield f"name: {model.name} is a model that the study has by itself; call this one otherwise"
    if QUANTIZED.search(model.model_id):
        whole = QUANTIZED.sub("", model.model_id.rpartition("/")[2]).casefold()
        known = next((block.base for block in BLOCKS.values() if block.base.casefold().endswith(f"/{whole}")), None)
        advice = known or "the id of the weights that it was made from"
        yield f"model_id: {model.model_id} holds quantized weights, which are not trained on; write {advice}"


def _lines(model: Listed, family: str) -> Iterator[str]:
    """The model's block. The schedule ends after `num_iters` steps whatever records the study has later: an epoch has a
    step at least, so that as many epochs as steps never end it earlier."""
    train = {
        "epochs": model.num_iters,
        "max_steps": model.num_iters,
        "learning_rate": model.learning_rate,
        "batch_size": model.batch_size,
    }
    yield f"  - name: {flow_yaml(model.name)}"
    yield f"    family: {family}"
    yield f"    base: {flow_yaml(model.model_id)}"
    yield f"    lora: {flow_yaml({'rank': model.lora_rank, 'alpha': model.lora_alpha})}"
    yield f"    train: {flow_yaml(train)}  # max_steps is num_iters; as many epochs never end before it"
