"""What can be known of a neural model before any weight is read: that its base is at hand, of a kind and architecture
that works, has the layers that the adapter names, reads texts as long as asked for, and can be asked its tasks."""

from collections.abc import Mapping, Sequence

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PretrainedConfig

from clinfit.data.records import Record
from clinfit.models.bases.architectures import check_architecture
from clinfit.models.bases.long_rope import short_length
from clinfit.models.bases.pretrained import (
    check_causal,
    check_length,
    check_rows,
    find_base,
    load_config,
    load_tokenizer,
    longest_input,
)
from clinfit.models.mlx.support import check_supported
from clinfit.prompts.encode import Renderer
from clinfit.study.models import LanguageModel, Mlx, Neural
from clinfit.study.tasks import Task, Writing
from clinfit.training.adaptable import check_targets

#: Tokens that may stand behind a reference: its end of turn, which differs by template.
END = 32


def check_base(spec: Neural, tasks: Mapping[str, Task], records: Mapping[str, Sequence[Record]]) -> None:
    """Raise ClinfitError when training this model for these tasks is bound to fail. records: of each task."""
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
        for name, task in tasks.items():
            renderer = Renderer(task, tokenizer, max_length=spec.train.max_length, shorten=spec.train.shorten)
            _check_references(spec, config, renderer, records[name])


def _check_references(spec: Neural, config: PretrainedConfig, renderer: Renderer, records: Sequence[Record]) -> None:
    """Raise ClinfitError when a reference text, which is never cut, makes a row longer than the base reads.

    A token is a byte at least and a prompt keeps to `max_length`, so that few records or none have to be encoded. A
    prompt's examples are left out: with them a row may still be too long, which is told before any text is written.
    """
    limits = [limit for limit in (longest_input(config, renderer.tokenizer), short_length(config)) if limit]
    if not limits or not isinstance(renderer.task, Writing):
        return
    room = min(limits) - spec.train.max_length - END
    read = [one for one in records if one.target is not None and not (spec.prompting and one.split == "train")]
    long = [one for one in read if len(str(one.target).encode()) > room]
    items = renderer.encode_all(long)
    longest = max((len(item.ids) for item in items), default=0)
    behind = max((len(item.ids) - len(item.prompt_ids) for item in items), default=0)
    check_rows(spec, config, renderer.tokenizer, longest, behind)
