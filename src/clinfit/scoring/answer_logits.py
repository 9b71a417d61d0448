"""The head only where the answer is: in training, validation and scoring, by one function.

For answers of a few tokens behind prompts of hundreds, most of the language-model head's work goes into positions that
nobody looks at. Here the decoder runs without its head, the hidden states at the wanted positions are gathered into one
contiguous matrix, and only those are projected. What the last layer does to each position by itself, behind its
attention, is done there only as well: no later layer reads the rest.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from clinfit.errors import ClinfitError

#: Logits that show every cap: those of large models are about 30.
LARGE = 100.0

#: Children of an MLP that treats every position by itself; experts and routers bring others.
DENSE = frozenset({"gate_proj", "up_proj", "gate_up_proj", "down_proj", "act_fn", "activation_fn", "dropout"})


def answer_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Next-token logits, fp32, for gathered hidden states.

    model: a causal language model of Transformers (with LoRA layers injected or not). hidden: (n, d) final hidden
    states as the decoder returns them. Returns (n, vocabulary), scaled and capped as the architecture's own forward
    does (tests compare architecture by architecture; `check_answer_logits` compares at load).
    """
    head: Any = model.get_output_embeddings()
    return _scaled(model, head(hidden))


def token_logits(model: PreTrainedModel, hidden: Tensor, tokens: Tensor) -> Tensor:
    """(n,) logits of one token for each hidden state, computed in fp32 whatever the working precision.

    bf16 logits of a usual size differ in steps of about 0.1, so that many records would tie. The few weights that a
    label needs are cast instead of the whole head.
    """
    head: Any = model.get_output_embeddings()
    with torch.autocast(hidden.device.type, enabled=False):
        logits = (hidden.float() * _head_rows(head, tokens)).sum(-1)
        if getattr(head, "bias", None) is not None:
            logits = logits + head.bias[tokens].float()
    return _scaled(model, logits)


def _head_rows(head: Any, tokens: Tensor) -> Tensor:
    """(n, d) the head's rows for these tokens in fp32, with what an adapter of the head adds (`lora.targets` may name
    it); PEFT's `weight` is that of the base alone."""
    rows: Tensor = head.weight[tokens].float()
    adapters = [] if not isinstance(head, LoraLayer) or head.disable_adapters or head.merged else head.active_adapters
    up: Any
    down: Any
    magnitude: Any
    for name in adapters:
        up, down = head.lora_B[name], head.lora_A[name]
        rows = rows + head.scaling[name] * (up.weight[tokens].float() @ down.weight.float())
        if name in head.lora_variant:  # DoRA: a magnitude for each row (Liu et al., 2024)
            magnitude = head.lora_magnitude_vector[name]
            rows = magnitude.weight[tokens, None].float() * F.normalize(rows, dim=1)
    return rows


def _scaled(model: PreTrainedModel, logits: Tensor) -> Tensor:
    """Raw logits of the head as the architecture's own forward scales and caps them, fp32."""
    config: Any = model.config.get_text_config()
    if (scale := getattr(config, "logit_scale", None)) is not None:  # Cohere
        logits = logits * scale
    if (scaling := getattr(config, "logits_scaling", None)) is not None:  # Granite divides
        logits = logits * scaling if config.model_type == "hyperclovax" else logits / scaling
    logits = logits.float()
    caps = (
        getattr(config, name, None) for name in ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
    )
    for cap in caps:  # Gemma 2 and later; RecurrentGemma; xLSTM
        if cap is not None:
            logits = torch.tanh(logits / cap) * cap
    return logits


def products_are_rounded(model: PreTrainedModel) -> bool:
    """Whether products are computed in a format of 16 bits, so that two ways of computing one number differ visibly."""
    return model.dtype != torch.float32 or torch.is_autocast_enabled(model.device.type)


def states_at(model: PreTrainedModel, input_ids: Tensor, rows: Tensor, columns: Tensor, **inputs: Any) -> Tensor:
    """(n, d) final hidden states of the decoder at n positions, without the head.

    input_ids: (batch, width). rows, columns: (n,) the positions, no two of them equal.
    """
    with ExitStack() as stack:
        for module in _behind_last_attention(model):
            stack.enter_context(_only_at(module, rows, columns))
        hidden = model.get_decoder()(input_ids=input_ids, **{"use_cache": False} | inputs).last_hidden_state
    return hidden[rows, columns]


def _behind_last_attention(model: PreTrainedModel) -> list[nn.Module]:
    """The products of the last layer that treat every position by itself: attention's output and the dense MLP.

    None where layers are built otherwise, or are computed a second time in the backward pass, when the positions are
    no longer known.
    """
    layers = getattr(model.get_decoder(), "layers", None)
    if not layers or (model.training and getattr(layers[-1], "gradient_checkpointing", False)):
        return []
    output = getattr(getattr(layers[-1], "self_attn", None), "o_proj", None)
    mlp = getattr(layers[-1], "mlp", None)
    if not isinstance(output, nn.Module) or not isinstance(mlp, nn.Module):
        return []
    dense = {name for name, _ in mlp.named_children()} <= DENSE
    return [output, mlp] if dense else []  # a router may weigh positions against each other, as Doge's does


@contextmanager
def _only_at(module: nn.Module, rows: Tensor, columns: Tensor) -> Iterator[None]:
    """The module gets (1, n, d) inputs at n positions of (batch, width, d), and gives zeros elsewhere.

    In this thread only: a model may answer and generate in others meanwhile, and hooks belong to all.
    """
    shape: list[torch.Size] = []
    thread = threading.get_ident()

    def gather(_: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor | None:
        if threading.get_ident() != thread:
            return None
        shape.append(inputs[0].shape)
        return inputs[0][rows, columns].unsqueeze(0)

    def scatter(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if threading.get_ident() != thread:
            return None
        everywhere = output.new_zeros(*shape.pop()[:2], output.shape[-1])
        return everywhere.index_put((rows, columns), output[0])

    before, after = module.register_forward_pre_hook(gather, prepend=True), module.register_forward_hook(scatter)
    try:
        yield
    finally:
        before.remove()
        after.remove()


@torch.no_grad()
def check_answer_logits(model: PreTrainedModel, token_ids: list[int]) -> None:
    """Stop where an architecture treats its logits in a way that `answer_logits` does not know, or mixes positions
    behind the attention of its last layer, or reads both ways.

    Every comparison is made twice, as it is and with logits of LARGE, since a cap hardly touches small ones.
    token_ids: any few tokens. Raises ClinfitError.
    """
    ids = torch.tensor([token_ids], device=model.device)
    own = model(input_ids=ids, use_cache=False).logits[0].float()
    if not torch.isfinite(own).all():
        raise ClinfitError(
            "the base's own logits are not finite numbers in this precision", fix="set train.precision: fp32"
        )
    if len(token_ids) > 1:
        before = model(input_ids=ids[:, :-1], use_cache=False).logits[0].float()
        if not _near(before, own[:-1], model):
            raise ClinfitError(
                f"{type(model).__name__} reads both ways: what it says of a token changes with the tokens behind it",
                fix="choose a base of another architecture (docs/architectures.md)",
            )
    head: Any = model.get_output_embeddings()
    try:
        alike = _alike(model, ids, own)
        factor = LARGE / float(own.abs().max())
        with _multiplied(head, factor):
            alike = alike and _alike(model, ids, model(input_ids=ids, use_cache=False).logits[0].float(), factor)
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise _unknown(model) from error
    if not alike:
        raise _unknown(model)


def _alike(model: PreTrainedModel, ids: Tensor, own: Tensor, factor: float = 1.0) -> bool:
    """Whether all of ours that is made of logits is what the architecture's own forward says. own: (width, vocabulary).
    factor: what the head's output is multiplied by."""
    columns = torch.arange(ids.shape[1], device=ids.device)
    states = states_at(model, ids, torch.zeros_like(columns), columns)
    last = states_at(model, ids, torch.zeros_like(columns[-1:]), columns[-1:])
    alike = _near(answer_logits(model, torch.cat([states, last])), torch.cat([own, own[-1:]]), model)
    if factor == 1.0:
        alike &= _near(token_logits(model, states, ids[0]), own.gather(1, ids[0, :, None])[:, 0], model)
    return alike


def _near(found: Tensor, expected: Tensor, model: PreTrainedModel) -> bool:
    """Whether logits are the same but for rounding."""
    tolerance = 0.02 if products_are_rounded(model) else 1e-3
    return torch.allclose(found, expected, atol=tolerance * float(expected.abs().max()), rtol=tolerance)


@contextmanager
def _multiplied(module: nn.Module, factor: float) -> Iterator[None]:
    """The module's output times `factor`."""

    def multiply(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output * factor

    handle = module.register_forward_hook(multiply)
    try:
        yield
    finally:
        handle.remove()


def _unknown(model: PreTrainedModel) -> ClinfitError:
    return ClinfitError(
        f"{type(model).__name__} makes or post-processes its logits in a way that clinfit does not know",
        fix="choose a base of another architecture (docs/architectures.md)",
    )
