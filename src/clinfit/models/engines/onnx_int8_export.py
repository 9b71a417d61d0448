"""A model as ONNX with 8-bit weights, scaled by output channel, and activations that are quantized as they come."""

from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import PreTrainedModel

from clinfit.models.engines import onnx_export
from clinfit.models.engines.onnx import FP32, INT8


def write(model: PreTrainedModel, folder: Path) -> None:
    """Write `int8.onnx`."""
    onnx_export.write(model, folder)
    with onnx_export.quiet():
        # Weights take 7 of 8 bits: processors without VNNI add pairs of products in 16 bits, which would overflow.
        quantize_dynamic(folder / FP32, folder / INT8, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    (folder / FP32).unlink()
