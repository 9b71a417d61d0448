"""A model as OpenVINO's own format, traced, with its weights as they are."""

import warnings
from pathlib import Path

import openvino
import torch
from transformers import PreTrainedModel

from clinfit.models.engines.openvino import FILE
from clinfit.models.engines.traced import HeadOutputs


def write(model: PreTrainedModel, folder: Path) -> None:
    """Write `model.xml` and `model.bin`."""
    ids = torch.ones((1, 16), dtype=torch.int64)
    anything = openvino.PartialShape([-1, -1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, on branches of Python
        traced = openvino.convert_model(
            HeadOutputs(model),
            example_input=(ids, torch.ones_like(ids)),
            input=[("input_ids", anything, openvino.Type.i64), ("attention_mask", anything, openvino.Type.i64)],
        )
    openvino.save_model(traced, folder / FILE, compress_to_fp16=False)
