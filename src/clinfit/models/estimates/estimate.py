"""How much memory and time a neural model will take, before any weight is loaded.

All formulas of `clinfit check` stand here. N is the number of parameters, P those in matrix products (every linear
layer but the language-model head, which only sees answers), b bytes per number in the working precision (fp32: 4).

memory      the largest of three moments, each beside the program itself (Python, PyTorch, Transformers):
            loading      the weights, and their file, which is read through memory where it holds another number format
            training     weights, training, activations and logits of the largest micro-batch
            writing      the weights, on a processor in fp32; keys and values of the prompts that go on together
            weights      N b; encoders 4 N      (4-bit: 0.5625 bytes per number in linear layers: NF4 and its scales)
            training     16 bytes per trained parameter: fp32 value, gradient and AdamW's two moments
            activations  2.6 b x (sum of the linear layers' output widths) per token of a micro-batch: each output is
                         kept as it is, and once more rotated, normalised or activated; 0.6 is what norms, attention and
                         freed pieces take beside it, as measured (benchmarks/memory.py). Encoders: 8.4 bytes a number
                         in fp32, 6.2 in 16 bits, where norms and activations stay in fp32. With gradient checkpointing
                         one layer's share, and each layer's input
            attention    where a processor drops attention out, it keeps 12 bytes per head of each layer for every pair
                         of tokens of a text: scores, what is dropped, what is left. Elsewhere none are kept
            logits       12 bytes x vocabulary per answer position: fp32 logits, their log-softmax, the gradient
            keys, values 2 x layers x heads x head size numbers a token of at most 64 prompts, 2 GiB at most
time        2 P operations per token forward, 2 P more backward for the activations' gradients, and 2 P more for the
            weights' gradients where all weights are trained (Kaplan et al., 2020, with the share that LoRA saves),
            divided by the rate of a matrix product of this model's size on this machine, measured here, and by the
            share of that rate which whole steps reach. Attention's own products are left out: they are below a tenth
            for texts shorter than four times the hidden size. A token that is written takes 2 (P + hidden x vocabulary)
            operations, at a smaller share: few rows stand behind each product.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PretrainedConfig
from transformers.pytorch_utils import Conv1D

from clinfit.models.estimates.memory import weight_bytes
from clinfit.scoring.generate import MOST_BYTES, MOST_ROWS
from clinfit.study.models import Lora, Neural
from clinfit.training.adaptable import not_adaptable
from clinfit.training.precision import DTYPES, Precision

BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2, "fp16": 2}
TRAINED_BYTES = 16
#: How often the output of a linear layer is kept while a model is trained.
KEPT_OUTPUTS = 2.6
#: Bytes for each such output of an encoder, all told (tensors saved for the backward pass of BERT).
ENCODER_OUTPUT_BYTES: dict[Precision, float] = {"fp32": 8.4, "bf16": 6.2, "fp16": 6.2}
DROPPED_ATTENTION_BYTES = 12
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
    """What a model will read and write: tokens of each training record, of all that training reads in all its epochs,
    and of all that is read without learning from it; answer tokens a record; tokens of all texts written.
    written_rows: tokens of prompt and text of each that may go on together, at most, the longest first."""

    train_lengths: list[int]
    trained_tokens: int
    scored_tokens: int
    answer_tokens: int
    written_tokens: int = 0
    written_rows: Sequence[int] = ()


@dataclass(frozen=True)
class Size:
    """A model's shape: N, P and trained parameters; output widths of its linear layers; layers; hidden; vocabulary.

    stored: bytes of a number in its file. kept: numbers in keys and values of a token, of all layers. dropped: heads of
    all layers whose attention is dropped out while the model learns.
    """

    parameters: int
    multiplied: int
    trained: int
    output_widths: int
    layers: int
    hidden: int
    vocabulary: int
    stored: int
    kept: int
    dropped: int


@dataclass(frozen=True)
class Estimate:
    """Memory in bytes, by part, and time in seconds. loading: beside the weights, while they are read. writing: while
    texts are written, weights included; 0 where none are."""

    size: Size
    weights: float
    training: float
    activations: float
    logits: float
    loading: float
    writing: float
    seconds: float

    @property
    def memory(self) -> float:
        """Peak memory in bytes, the program itself included."""
        return self.memory_of(1)

    def memory_of(self, processes: int) -> float:
        """The same of a model that so many processes train together in one memory: each loads and trains a copy, and
        one alone writes."""
        taught = self.weights + self.training + self.activations + self.logits
        trained = processes * (PROGRAM_BYTES + max(self.weights + self.loading, taught))
        return max(trained, PROGRAM_BYTES + self.writing)


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
        stored=torch.empty(0, dtype=_stored(config)).element_size(),
        kept=2 * text.num_hidden_layers * _head_numbers(text),
        dropped=text.num_hidden_layers * getattr(text, "num_attention_heads", 0) if _drops_attention(text) else 0,
    )


def _drops_attention(text: PretrainedConfig) -> bool:
    return any(getattr(text, name, 0.0) for name in ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop"))


def _stored(config: PretrainedConfig) -> torch.dtype:
    """The number format of a base's file, as its configuration says."""
    said = config.dtype
    return said if isinstance(said, torch.dtype) else getattr(torch, said or "float32")


def _head_numbers(text: PretrainedConfig) -> int:
    """Numbers in the keys of a token in a layer; as wide as the hidden states where heads are not told apart."""
    heads = getattr(text, "num_attention_heads", None)
    if not heads:
        return text.hidden_size
    size = getattr(text, "head_dim", None) or text.hidden_size // heads
    return (getattr(text, "num_key_value_heads", None) or heads) * size


def estimate(
    spec: Neural, size: Size, work: Work, precision: Precision, rate: float, device: torch.device | None = None
) -> Estimate:
    """Memory and time of a model's training and scoring; `rate` in operations per second (see `gemm_rate`). device:
    default: the processor."""
    on_processor = device is None or device.type == "cpu"
    train, width = spec.train, BYTES[precision]
    longest = max(work.train_lengths, default=0)
    step = sum(sorted(work.train_lengths)[-train.batch_size :])  # a micro-batch holds records of one step
    tokens = max(min(train.batch_tokens, step), longest)  # a longer record stands alone
    kept = width if spec.prompted else BYTES["fp32"]  # encoders stay in fp32
    weights = weight_bytes(size.parameters, size.multiplied, kept, four_bit=spec.four_bit)
    number = width if spec.prompted else BYTES["fp32"]  # norms and activations of an encoder are fp32, too
    output = KEPT_OUTPUTS * number if spec.prompted else ENCODER_OUTPUT_BYTES[precision]
    per_token = output * size.output_widths
    if on_processor:
        per_token += DROPPED_ATTENTION_BYTES * size.dropped * longest
    if train.gradient_checkpointing:
        per_token = per_token / size.layers + number * size.hidden * size.layers
    mean_length = sum(work.train_lengths) / max(1, len(work.train_lengths))
    rows = math.ceil(tokens / max(1.0, mean_length))
    operations_per_token = 2 * size.multiplied
    operations = operations_per_token * (work.trained_tokens * (3 if spec.trains_all else 2) + work.scored_tokens)
    writing = work.written_tokens * (operations_per_token + 2 * size.hidden * size.vocabulary)
    return Estimate(
        size=size,
        weights=weights,
        training=size.trained * TRAINED_BYTES if work.train_lengths else 0.0,
        activations=per_token * tokens,
        logits=rows * work.answer_tokens * size.vocabulary * LOGIT_BYTES,
        loading=size.parameters * size.stored if size.stored != kept or spec.four_bit else 0.0,
        writing=_writing(spec, size, work, 4 if on_processor else width),
        seconds=(operations / STEP_EFFICIENCY[precision] + writing / WRITING_EFFICIENCY[precision]) / rate,
    )


def _writing(spec: Neural, size: Size, work: Work, width: int) -> float:
    """Bytes while texts are written: weights, keys and values, a number of `width` bytes each."""
    if not work.written_rows:
        return 0.0
    together = work.written_rows[:MOST_ROWS]
    kept = len(together) * max(together) * size.kept * width
    return weight_bytes(size.parameters, size.multiplied, width, four_bit=spec.four_bit) + min(kept, MOST_BYTES)


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
