"""Causal language models that MLX computes (contract: models/base.py).

Prompts, batches, the loop with its optimizer and checkpoints, what is made of likelihoods and texts, and the files are
those of family `causal`. MLX computes losses with their gradients, hidden states and logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from peft import PeftModel
from torch import Tensor, nn

from clinfit.errors import ClinfitError
from clinfit.models.bases.architectures import check_architecture
from clinfit.models.bases.pretrained import Base, check_length, load_config, load_tokenizer
from clinfit.models.causal import CausalModel, LoadedCausal
from clinfit.models.mlx.answers import MlxGenerator, MlxScorer, nats_of
from clinfit.models.mlx.loss import MlxAnswerLoss
from clinfit.models.mlx.network import (
    Network,
    Weights,
    adapter_layers,
    as_mlx,
    factors_of,
    load_skeleton,
    load_weights,
)
from clinfit.models.mlx.support import check_supported
from clinfit.models.neural import Retained
from clinfit.models.saved import Pretrained
from clinfit.prompts.encode import Encoded
from clinfit.study.models import Mlx, Neural
from clinfit.training.losses import StepLoss
from clinfit.training.precision import default_device, precision_of, resolve_precision


@dataclass(kw_only=True)
class LoadedMlx(LoadedCausal):
    """A causal base in MLX. model, adapted: its skeleton in torch, which holds the adapter's weights and no others."""

    weights: Weights
    network: Network = field(init=False)

    def __post_init__(self) -> None:
        self.network = Network(self.weights)
        self.scorer, self.generator = MlxScorer(self.ready), MlxGenerator(self.ready)
        self._wrapped: PeftModel | None = None
        self._held: list[int] | None = None

    def autocast(self) -> torch.autocast:
        """Nothing for torch to do: MLX computes in the precision of the weights."""
        return torch.autocast("cpu", enabled=False)

    def writing(self) -> torch.autocast:
        """The same: there is nothing in the skeleton to hold otherwise."""
        return self.autocast()

    def nats_of(self, text: list[int]) -> float:
        return nats_of(self.ready(), text)

    def ready(self) -> Network:
        """The network as it answers now: with the adapter's newest values, or without it where it is switched off."""
        if self.adapted is None:
            return self.network
        if self._wrapped is not self.adapted:
            self.network.wrap(self.adapted)
            self._wrapped, self._held = self.adapted, None
        if any(layer.disable_adapters for _, layer in adapter_layers(self.adapted)):
            self.network.use([])
            self._held = None
            return self.network
        factors = factors_of(self.adapted)
        versions = [factor._version for factor in factors]  # torch counts every change in place
        if versions != self._held:
            self.network.use([as_mlx(factor) for factor in factors])
            self._held = versions
        return self.network


class MlxModel(CausalModel):
    """A causal language model with an adapter, computed by MLX."""

    spec_type: ClassVar[type[Neural]] = Mlx

    @property
    def engine(self) -> str:
        return "MLX, one record at a time"

    def share(self, module: nn.Module, indices: list[int], weights: Tensor, step: StepLoss) -> Tensor:
        """Raises ClinfitError where several processes train one model: their gradients would not be added up."""
        if not isinstance(module, MlxAnswerLoss):
            raise ClinfitError("family mlx trains a model in one process", fix="start the run without a launcher")
        return module.share(indices, weights, step)

    def _open(self, base: Base, pretrained: Pretrained | None, tokenizer_folder: Path | None) -> LoadedMlx:
        spec, config = self.spec, load_config(base)
        check_architecture(spec, config)
        check_supported(spec, config)
        device = default_device()
        precision = resolve_precision(pretrained.precision, device) if pretrained else precision_of(spec, device)
        tokenizer = load_tokenizer(spec.base, base.revision, tokenizer_folder)
        renderers = self._renderers(tokenizer)
        check_length(spec, config, tokenizer, spec.generate)
        weights = self._bases.others(("mlx", base, precision), lambda: load_weights(base, config, precision))
        loaded = LoadedMlx(load_skeleton(base, config), tokenizer, precision, weights=weights, renderers=renderers)
        first = next(iter(renderers.values()))
        loaded.network.check(next(iter(first.answers.values()), []) + first.end_ids)
        return loaded

    def _answer_loss(self, loaded: LoadedCausal, items: Sequence[Encoded], retained: Retained) -> nn.Module:
        assert isinstance(loaded, LoadedMlx)
        return MlxAnswerLoss(loaded.ready, loaded.adapted, items, loaded.tokenizer.pad_token_id)
