"""OpenVINO: its own kernels, in bf16 where the processor multiplies bf16, else in fp32."""

import warnings

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from clinfit.machine import cpu_has_bf16
from clinfit.models.engines.base import Engine, HeadOutputs, OneByOne


def make(model: PreTrainedModel) -> Engine:
    """Traced in memory, and compiled for the processor with torch's number of threads.

    The format is named rather than left to OpenVINO, which would choose bf16 without saying so. Threads are not bound
    to cores: on a machine that does other work as well they would wait for theirs.
    """
    precision = "bf16" if cpu_has_bf16() else "f32"
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.Core().compile_model(_traced(model), "CPU", settings).create_infer_request()

    def compute(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        return request.infer([ids, mask])[0]

    return OneByOne(f"openvino {'bf16' if precision == 'bf16' else 'fp32'}", compute)


def _traced(model: PreTrainedModel) -> openvino.Model:
    ids = torch.ones((1, 16), dtype=torch.int64)
    anything = openvino.PartialShape([-1, -1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, on branches of Python
        return openvino.convert_model(
            HeadOutputs(model),
            example_input=(ids, torch.ones_like(ids)),
            input=[("input_ids", anything, openvino.Type.i64), ("attention_mask", anything, openvino.Type.i64)],
        )
