"""ONNX Runtime: 8-bit weights, scaled by output channel, and activations that are quantized as they come."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from clinfit.models.engines.base import Engine, OneByOne

FILE = "int8.onnx"


def read(folder: Path, threads: int) -> Engine:
    """Held in memory."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession((folder / FILE).read_bytes(), options, providers=["CPUExecutionProvider"])

    def compute(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        (found,) = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        return np.asarray(found)

    return OneByOne("onnxruntime int8", compute)
