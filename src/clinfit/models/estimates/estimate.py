"""How much memory and time a neural model will take, before any weight is loaded.

All formulas of `clinfit check` stand here. N is the number of parameters, P those in matrix products (every linear
layer but the language-model head, which only sees answers), b bytes per number in the working precision (fp32: 4).

memory      weights      N b; encoders 4 N      (4-bit: 0.5625 bytes per number in linear layers: NF4 and its scales)
            training     16 bytes per trained parameter: fp32 value, gradient and AdamW's two moments
            activations  2 b x (sum of the linear layers' output widths) per token of a micro-batch: each output is kept
                         as it is, and once more rotated, normalised or activated; with gradient checkpointing
                         one layer's share, and each layer's input
            logits       12 bytes x vocabulary per answer position: fp32 logits, their log-softmax, the gradient
            program      Python, PyTorch and Transformers themselves
time        2 P operations per token forward, 2 P more backward for the activations' gradients, and 2 P more for the
            weights' gradients where all weights are trained (Kaplan et al., 2020, with the share that LoRA saves),
            divided by the rate of a matrix product of this model's size on this machine, measured here, and by the
            share of that rate which whole steps reach. Attention's own products are left out: they are below a tenth
            for texts shorter than four times the hidden size. A token that is written takes 2 (P + hidden x vocabulary)
            operations, at a smaller share: few rows stand behind each product.
"""

import math
import time
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PretrainedConfig
from transformers.pytorch_utils import Conv1D

from clinfit.models.estimates.memory import weight_bytes
from clinfit.study.models import Lora, Neural
from clinfit.training.adaptable import not_adaptable
from clinfit.training.precision import DTYPES, Precision

BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2, "fp16": 2}
TRAINED_BYTES = 16
LOGIT_BYTES = 12
#: Resident memory of a process that imported PyTorch, Transformers and PEFT, on Linux.
PROGRAM_BYTES = 600e6
#: Share of the matrix-product rate that whole steps reach (attention, norms, adapters, the optimizer), as measured in
#: processor time for clinfit/tiny and minilm; larger models reach more.
STEP_EFFICIENCY: dict[Precision, float] = {"fp32": 0.5, "bf16": 0.16, "fp16": 0.16}


#: The same of writing, as measured in processor time with the Generator's own batches for clinfit/tiny.
WRITING_EFFICIENCY: dict[Precision, float] = {"fp32": 0.14, "bf16": 0.035, "fp16": 0.035}


@dataclass(frozen=True)
class Work:
    """What a model will read and write: tokens of each training record, tokens of all records scored, answer tokens a
    record, tokens of all texts written."""

    train_lengths: list[int]
    scored_tokens: int
    answer_tokens: int
    written_tokens: int = 0


@dataclass(frozen=True)
class Size:
    """A model's shape: N, P and trained parameters; output widths of its linear layers; layers; hidden; vocabulary."""

    parameters: int
    multiplied: int
    trained: int
    output_widths: int
    layers: int
    hidden: int
    vocabulary: int


@dataclass(frozen=True)
class Estimate:
    """Memory in bytes, by part, and time in seconds."""

    size: Size
    weights: float
    training: float
    activations: float
    logits: float
    seconds: float

    @property
    def memory(self) -> float:
        """Peak memory in bytes, the program itself included."""
        return PROGRAM_BYTES + self.weights + self.training + self.activations + self.logits


def model_size(spec: Neural, config: PretrainedConfig, labels: int) -> Size:
    """The shape of a model, built on the meta device: no weights are read or allocated.

    labels: of all tasks together.
    """
    with torch.device("meta"):
        if spec.prompted:
            model = AutoModelForCausalLM.from_config(config)
        else:
            config.num_labels = labels
            model = AutoModelForSequenceClassification.from_config(config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    head = model.get_output_embeddings() if spec.prompted else None
    linear = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    left_out = set(not_adaptable(model)) if spec.lora.targets == "all-linear" else set()
    adapted = {name: module for name, module in linear.items() if name not in left_out}
    text = config.get_text_config()
    return Size(
        parameters=parameters,
        multiplied=sum(module.weight.numel() for module in linear.values()),
        trained=parameters if spec.trains_all else 0 if spec.prompting else _adapter_parameters(spec.lora, adapted),
        output_widths=sum(_widths(module)[1] for module in linear.values()),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        vocabulary=text.vocab_size if spec.prompted else labels,
    )


def estimate(spec: Neural, size: Size, work: Work, precision: Precision, rate: float) -> Estimate:
    """Memory and time of a model's training and scoring; `rate` in operations per second (see `gemm_rate`)."""
    train, width = spec.train, BYTES[precision]
    longest = max(work.train_lengths, default=0)
    tokens = max(min(train.batch_tokens, sum(work.train_lengths)), longest)  # a longer record stands alone
    kept = width if spec.prompted else BYTES["fp32"]  # encoders stay in fp32
    weights = weight_bytes(size.parameters, size.multiplied, kept, four_bit=spec.four_bit)
    per_token = 2 * width * size.output_widths
    if train.gradient_checkpointing:
        per_token = per_token / size.layers + width * size.hidden * size.layers
    mean_length = sum(work.train_lengths) / max(1, len(work.train_lengths))
    rows = math.ceil(tokens / max(1.0, mean_length))
    operations_per_token = 2 * size.multiplied
    trained_tokens = train.epochs * sum(work.train_lengths)
    if train.max_steps is not None:
        trained_tokens = min(trained_tokens, train.max_steps * train.batch_size * mean_length)
    operations = operations_per_token * (trained_tokens * (3 if spec.trains_all else 2) + work.scored_tokens)
    writing = work.written_tokens * (operations_per_token + 2 * size.hidden * size.vocabulary)
    return Estimate(
        size=size,
        weights=weights,
        training=size.trained * TRAINED_BYTES,
        activations=per_token * tokens,
        logits=rows * work.answer_tokens * size.vocabulary * LOGIT_BYTES,
        seconds=(operations / STEP_EFFICIENCY[precision] + writing / WRITING_EFFICIENCY[precision]) / rate,
    )


def gemm_rate(tokens: int, hidden: int, precision: Precision, device: torch.device, seconds: float = 0.3) -> float:
    """Operations per second of (tokens, hidden) x (hidden, 4 hidden) on this machine, as measured over about `seconds`.

    On a processor its own time counts, and all threads are taken to be at hand, so that other programs do not matter.
    """
    on_processor = device.type == "cpu"
    clock = time.process_time if on_processor else time.perf_counter
    left = torch.randn(tokens, hidden, device=device).to(DTYPES[precision])
    right = torch.randn(hidden, 4 * hidden, device=device).to(DTYPES[precision])
    torch.mm(left, right)  # the first product also sets up threads and kernels
    done, start = 0, clock()
    while (elapsed := clock() - start) < seconds:
        torch.mm(left, right)
        _wait(device)
        done += 1
    threads = torch.get_num_threads() if on_processor else 1
    return done * 2 * tokens * hidden * 4 * hidden / elapsed * threads


def _adapter_parameters(lora: Lora, linear: dict[str, nn.Linear | Conv1D]) -> int:
    """r (in + out) for each adapted layer; DoRA adds a magnitude for each output."""
    adapted = [
        _widths(module)
        for name, module in linear.items()
        if lora.targets == "all-linear" or any(name == t or name.endswith(f".{t}") for t in lora.targets)
    ]
    return sum(lora.rank * (inputs + outputs) + (outputs if lora.dora else 0) for inputs, outputs in adapted)


def _widths(module: nn.Linear | Conv1D) -> tuple[int, int]:
    """(inputs, outputs) of a layer; Conv1D keeps its weight transposed."""
    first, second = module.weight.shape
    return (first, second) if isinstance(module, Conv1D) else (second, first)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
