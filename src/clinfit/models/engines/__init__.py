"""What computes the outputs of an encoder: torch, the reference, or a faster engine made of the same weights."""

from typing import Literal

#: What may be asked for: the reference, the fastest that passes, or one by its name.
Wanted = Literal["torch", "auto", "openvino", "onnx"]
#: The largest change of a probability that an engine beside the reference is allowed, whatever a pack declares.
LARGEST_CHANGE = 0.01
