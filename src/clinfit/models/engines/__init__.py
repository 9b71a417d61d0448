"""What computes a model's answers: torch, the reference, or a faster way made of the same weights."""

from typing import Literal

#: What may be asked for: the reference, the fastest that passes, or one by its name: of an encoder an engine, of a
#: causal model torch with what all prompts begin with kept (scoring/beginnings.py).
Wanted = Literal["torch", "auto", "openvino", "onnx", "onnx-int8", "prefix-cache"]
#: The largest change of a probability near 0.5 that another engine is allowed, whatever a pack declares.
LARGEST_CHANGE = 0.01
