"""A model as ONNX with 8-bit weights."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import PreTrainedModel

from clinfit.models.engines.onnx import FILE
from clinfit.models.engines.traced import HeadOutputs


def write(model: PreTrainedModel, folder: Path) -> None:
    """Write `int8.onnx`."""
    plain = folder / "plain.onnx"
    with _quiet():
        _export(model, plain)
        # Weights take 7 of 8 bits: processors without VNNI add pairs of products in 16 bits, which would overflow.
        quantize_dynamic(plain, folder / FILE, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    plain.unlink()


def _export(model: PreTrainedModel, path: Path) -> None:
    model.set_attn_implementation("eager")
    ids = torch.ones((2, 16), dtype=torch.int64)
    shape = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        HeadOutputs(model),
        (ids, torch.ones_like(ids)),
        path,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes={"input_ids": shape, "attention_mask": shape},
        external_data=False,
        verbose=False,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Both tools tell users what only their own callers can do."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
