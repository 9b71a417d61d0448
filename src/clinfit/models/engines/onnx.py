"""ONNX Runtime: 8-bit weights, scaled by output channel, and activations that are quantized as they come."""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import PreTrainedModel

from clinfit.models.engines.base import Engine, HeadOutputs, OneByOne


def make(model: PreTrainedModel) -> Engine:
    """Exported and quantized in a temporary folder, then held in memory; with torch's number of threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory(prefix="clinfit-onnx-") as folder:
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        with _quiet():
            _export(model, plain)
            quantize_dynamic(plain, small, weight_type=QuantType.QInt8, per_channel=True)
        session = onnxruntime.InferenceSession(small.read_bytes(), options, providers=["CPUExecutionProvider"])

    def compute(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        (found,) = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        return np.asarray(found)

    return OneByOne("onnxruntime int8", compute)


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
