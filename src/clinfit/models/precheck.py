"""What can be known of a neural model before any weight is read: that its base is at hand, of the right kind, and has
the layers that the adapter names."""

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from clinfit.models.bases import check_causal, find_base, load_config
from clinfit.study import Causal, Encoder
from clinfit.training.adapters import check_targets


def check_base(spec: Causal | Encoder) -> None:
    """Raise ClinfitError when training this model is bound to fail."""
    base = find_base(spec.base, spec.revision)
    config = load_config(base)
    factory = AutoModelForCausalLM if spec.family == "causal" else AutoModelForSequenceClassification
    if spec.family == "causal":
        check_causal(base, config)
    if spec.family == "causal" or spec.method == "lora":
        with torch.device("meta"):
            check_targets(factory.from_config(config), spec.lora)
