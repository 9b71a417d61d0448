"""ONNX Runtime: its own kernels, in fp32 or with 8-bit weights, as the model was written."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from clinfit.models.engines.base import Engine, OneByOne

FP32, INT8 = "fp32.onnx", "int8.onnx"


def read(folder: Path, threads: int) -> Engine:
    """Held in memory."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    (written,) = folder.glob("*.onnx")
    session = onnxruntime.InferenceSession(written.read_bytes(), options, providers=["CPUExecutionProvider"])

    def compute(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        (found,) = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        return np.asarray(found)

    return OneByOne(f"onnxruntime {written.stem}", compute)
