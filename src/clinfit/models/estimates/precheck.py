"""What can be known of a neural model before any weight is read: that its base is at hand, of a kind and architecture
that works, has the layers that the adapter names, reads texts as long as asked for, and can be asked its tasks."""

from collections.abc import Mapping

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from clinfit.models.bases.architectures import check_architecture
from clinfit.models.bases.pretrained import check_causal, check_length, find_base, load_config, load_tokenizer
from clinfit.models.mlx.support import check_supported
from clinfit.prompts.encode import Renderer
from clinfit.study.models import LanguageModel, Mlx, Neural
from clinfit.study.tasks import Task
from clinfit.training.adaptable import check_targets


def check_base(spec: Neural, tasks: Mapping[str, Task]) -> None:
    """Raise ClinfitError when training this model for these tasks is bound to fail."""
    base = find_base(spec.base, spec.revision)
    config = load_config(base)
    if spec.prompted:
        check_causal(base, config)
    check_architecture(spec, config)
    if isinstance(spec, Mlx):
        check_supported(spec, config)
    if not spec.trains_all and not spec.prompting:
        factory = AutoModelForCausalLM if spec.prompted else AutoModelForSequenceClassification
        with torch.device("meta"):
            check_targets(factory.from_config(config), spec.lora)
    tokenizer = load_tokenizer(spec.base, base.revision)
    check_length(spec, config, tokenizer, spec.generate if isinstance(spec, LanguageModel) else 0)
    if spec.prompted:
        for task in tasks.values():
            Renderer(task, tokenizer, max_length=spec.train.max_length, shorten=spec.train.shorten)
