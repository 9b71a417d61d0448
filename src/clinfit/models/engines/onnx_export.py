"""A model as ONNX, with its weights as they are."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import torch
from transformers import PreTrainedModel

from clinfit.models.engines.onnx import FP32
from clinfit.models.engines.traced import HeadOutputs


def write(model: PreTrainedModel, folder: Path) -> None:
    """Write `fp32.onnx`."""
    model.set_attn_implementation("eager")
    ids = torch.ones((2, 16), dtype=torch.int64)
    shape = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with quiet():
        torch.onnx.export(
            HeadOutputs(model),
            (ids, torch.ones_like(ids)),
            folder / FP32,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes={"input_ids": shape, "attention_mask": shape},
            external_data=False,
            verbose=False,
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Exporter and quantizer tell users what only their own callers can do."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
