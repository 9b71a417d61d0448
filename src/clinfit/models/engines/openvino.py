"""OpenVINO: its own kernels, in bf16 where the processor multiplies bf16, else in fp32."""

from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from clinfit.machine import cpu_has_bf16
from clinfit.models.engines.base import Engine, OneByOne

FILE = "model.xml"


def read(folder: Path, threads: int) -> Engine:
    """Compiled for the processor.

    The format is named rather than left to OpenVINO, which would choose bf16 without saying so. Threads are not bound
    to cores: on a machine that does other work as well they would wait for theirs.
    """
    precision = "bf16" if cpu_has_bf16() else "f32"
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})  # the file is gone once it is read
    request = core.compile_model(core.read_model(folder / FILE), "CPU", settings).create_infer_request()

    def compute(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        return request.infer([ids, mask])[0]

    return OneByOne(f"openvino {'bf16' if precision == 'bf16' else 'fp32'}", compute)
