"""Model blocks by name: what `use: NAME` in a model of a study stands for, and what is known of each.

A block is plain data. What it fills in (`filled`) is what the study leaves out; what the study writes wins, and the
resolved study holds the values themselves, so that a later change of a block changes no study that was run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from clinfit.errors import ClinfitError, nearest

#: What becomes of a model's reasoning. none: it has none. off: its template leaves it out when asked to. stripped: its
#: template begins one before every answer, and clinfit takes that beginning away.
Thinking = Literal["none", "off", "stripped"]

_SPLIT = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Block:
    """A model that a study can name.

    base: hub id. architecture, shape: `model_type` and sizes of its configuration, from which the two counts follow.
    parameters: numbers in its weights. multiplied: those in matrix products, the language-model head left out.
    targets: the linear layers that an adapter can stand around, by the last part of their names. context: most tokens.
    template: what to know of its chat template. troubles: what is known to go wrong. revision: commit of the hub; None
    where it was never looked up.
    """

    title: str
    base: str
    architecture: str
    shape: Mapping[str, Any]
    parameters: int
    multiplied: int
    context: int
    targets: tuple[str, ...]
    licence: str
    template: str
    thinking: Thinking = "none"
    troubles: tuple[str, ...] = ()
    revision: str | None = None

    @property
    def keys(self) -> dict[str, Any]:
        """What it fills in of a model of a study."""
        known = {} if self.revision is None else {"revision": self.revision}
        return {"family": "causal", "base": self.base, **known, "lora": {"targets": list(self.targets)}}


def _llama(layers: int, hidden: int, inner: int, heads: int, tied: bool) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": tied,
    }


_LLAMA_TEMPLATE = (
    "prints a knowledge date and today's date before every system text; the date is held at one day, so that a prompt "
    "of tomorrow is the one that was trained on"
)
_LEANS = (
    "in a published comparison on 577 patients (59 of them in test) it answered mostly with one label: {}. With so few "
    "records that is within chance; look at the shares of predicted labels and at the threshold in the report"
)
_GATED = "access must be granted on the hub"

BLOCKS: dict[str, Block] = {
    "smollm2-135m": Block(
        title="SmolLM2 135M Instruct",
        base="HuggingFaceTB/SmolLM2-135M-Instruct",
        architecture="llama",
        shape=_llama(30, 576, 1536, 9, tied=True) | {"num_key_value_heads": 3, "vocab_size": 49152},
        parameters=134_515_008,
        multiplied=106_168_320,
        context=8192,
        targets=_SPLIT,
        licence="Apache-2.0",
        template="ChatML; puts in a system text of its own where the task brings none",
        troubles=(
            "too small to follow most instructions before it is fine-tuned: expect zero-shot answers near chance",
            "clinfit/smollm2 is the same model, dequantised from 4 bits, which installs as a package",
        ),
    ),
    "tinyllama-1.1b": Block(
        title="TinyLlama 1.1B Chat",
        base="TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        architecture="llama",
        shape=_llama(22, 2048, 5632, 32, tied=False) | {"num_key_value_heads": 4, "vocab_size": 32000},
        parameters=1_100_048_384,
        multiplied=968_884_224,
        context=2048,
        targets=_SPLIT,
        licence="Apache-2.0",
        template="its turn markers (<|user|>, <|assistant|>) are plain text and no tokens of their own; only the end "
        "of a turn is one",
        troubles=(
            "2,048 tokens: long abstracts and notes are shortened; see what `clinfit check` says of them",
            "since its turn markers are plain text, a document that holds them could begin a turn; clinfit takes only "
            "markers apart that are tokens",
        ),
    ),
    "llama-3.2-1b": Block(
        title="Llama 3.2 1B Instruct",
        base="meta-llama/Llama-3.2-1B-Instruct",
        architecture="llama",
        shape=_llama(16, 2048, 8192, 32, tied=True) | {"head_dim": 64},
        parameters=1_235_814_400,
        multiplied=973_078_528,
        context=131_072,
        targets=_SPLIT,
        licence=f"Llama 3.2 Community License; {_GATED}",
        template=_LLAMA_TEMPLATE,
    ),
    "llama-3.2-3b": Block(
        title="Llama 3.2 3B Instruct",
        base="meta-llama/Llama-3.2-3B-Instruct",
        architecture="llama",
        shape=_llama(28, 3072, 8192, 24, tied=True) | {"head_dim": 128},
        parameters=3_212_749_824,
        multiplied=2_818_572_288,
        context=131_072,
        targets=_SPLIT,
        licence=f"Llama 3.2 Community License; {_GATED}",
        template=_LLAMA_TEMPLATE,
        troubles=(_LEANS.format("after longer training, specificity 17 % at sensitivity 83 %"),),
    ),
    "llama-3.1-8b": Block(
        title="Llama 3.1 8B Instruct",
        base="meta-llama/Llama-3.1-8B-Instruct",
        architecture="llama",
        shape=_llama(32, 4096, 14336, 32, tied=False),
        parameters=8_030_261_248,
        multiplied=6_979_321_856,
        context=131_072,
        targets=_SPLIT,
        licence=f"Llama 3.1 Community License; {_GATED}",
        template=_LLAMA_TEMPLATE,
        troubles=(_LEANS.format("sensitivity 28 % at specificity 78 %"),),
    ),
    "mistral-7b": Block(
        title="Mistral 7B Instruct v0.3",
        base="mistralai/Mistral-7B-Instruct-v0.3",
        architecture="mistral",
        shape=_llama(32, 4096, 14336, 32, tied=False) | {"vocab_size": 32768},
        parameters=7_248_023_552,
        multiplied=6_979_321_856,
        context=32_768,
        targets=_SPLIT,
        licence=f"Apache-2.0; {_GATED}",
        template="no turn of its own for the system text, which is put before the user's message; a space stands "
        "before every answer, and is part of it",
        troubles=(_LEANS.format("sensitivity 44 % at specificity 65 %"),),
    ),
    "phi-3-mini": Block(
        title="Phi-3 mini 4k Instruct",
        base="microsoft/Phi-3-mini-4k-instruct",
        architecture="phi3",
        shape=_llama(32, 3072, 8192, 32, tied=False)
        | {"num_key_value_heads": 32, "vocab_size": 32064, "pad_token_id": 32000},
        parameters=3_821_079_552,
        multiplied=3_623_878_656,
        context=4096,
        targets=("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
        licence="MIT",
        template="a turn ends with <|end|>, which is not the end-of-sequence token; training and writing use <|end|>",
        troubles=(
            "queries, keys and values are one layer, as are gate and up: q_proj or gate_proj as targets match nothing",
            "each layer looks back 2,047 tokens",
        ),
    ),
    "qwen-2.5-7b": Block(
        title="Qwen 2.5 7B Instruct",
        base="Qwen/Qwen2.5-7B-Instruct",
        architecture="qwen2",
        shape=_llama(28, 3584, 18944, 28, tied=False) | {"num_key_value_heads": 4, "vocab_size": 152064},
        parameters=7_615_616_512,
        multiplied=6_525_288_448,
        context=32_768,
        targets=_SPLIT,
        licence="Apache-2.0",
        template="ChatML; puts in a system text of its own where the task brings none, so give the task one",
        troubles=(_LEANS.format("sensitivity 28 % at specificity 70 %"),),
    ),
    "qwen-3-4b": Block(
        title="Qwen 3 4B",
        base="Qwen/Qwen3-4B",
        architecture="qwen3",
        shape=_llama(36, 2560, 9728, 32, tied=True) | {"head_dim": 128, "vocab_size": 151936},
        parameters=4_022_468_096,
        multiplied=3_633_315_840,
        context=40_960,
        targets=_SPLIT,
        licence="Apache-2.0",
        template="ChatML; without thinking it puts an empty <think></think> before every answer, in training too",
        thinking="off",
        troubles=(
            "a reasoning model: elsewhere it was given up since it wrote <think> instead of a label. Here thinking is "
            "switched off, labels are scored and not searched in texts, and free answers are read behind </think>",
        ),
    ),
    "gemma-3-4b": Block(
        title="Gemma 3 4B Instruct",
        base="google/gemma-3-4b-it",
        architecture="gemma3",
        shape={
            "text_config": {
                "num_hidden_layers": 34,
                "hidden_size": 2560,
                "intermediate_size": 10240,
                "num_attention_heads": 8,
                "num_key_value_heads": 4,
                "head_dim": 256,
                "vocab_size": 262208,
            },
            "vision_config": {
                "num_hidden_layers": 27,
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "num_attention_heads": 16,
                "image_size": 896,
                "patch_size": 14,
                "vision_use_head": False,
            },
        },
        parameters=4_300_079_472,
        multiplied=3_619_713_024,
        context=131_072,
        targets=_SPLIT,
        licence=f"Gemma Terms of Use; {_GATED}",
        template="no turn of its own for the system text, which is put before the user's message",
        troubles=(
            "its image encoder is loaded with it and never used; adapters that match its layers stay as they are",
            "elsewhere a copy quantised in training found 19 % of the positive records: nearly all answers were the "
            "negative label, which is what a shifted threshold looks like; the report chooses one on validation",
            "overflows in fp16; use bf16 or fp32",
        ),
    ),
    "deepseek-r1-distill-qwen-1.5b": Block(
        title="DeepSeek-R1-Distill Qwen 1.5B",
        base="deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
        architecture="qwen2",
        shape=_llama(28, 1536, 8960, 12, tied=False) | {"num_key_value_heads": 2, "vocab_size": 151936},
        parameters=1_777_088_000,
        multiplied=1_310_195_712,
        context=131_072,
        targets=_SPLIT,
        licence="MIT; made from Qwen2.5-Math-1.5B (Apache-2.0)",
        template="begins a reasoning (<think>) before every answer, whatever it is asked for; that beginning is taken "
        "away, as the template itself does with earlier turns",
        thinking="stripped",
        troubles=(
            "a reasoning model without a way to switch it off: elsewhere it wrote its reasoning instead of a label. "
            "Answers without any are not what it was made for, so expect it to be weak before fine-tuning",
        ),
    ),
    "deepseek-r1-distill-llama-8b": Block(
        title="DeepSeek-R1-Distill Llama 8B",
        base="deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
        architecture="llama",
        shape=_llama(32, 4096, 14336, 32, tied=False),
        parameters=8_030_261_248,
        multiplied=6_979_321_856,
        context=131_072,
        targets=_SPLIT,
        licence="MIT; made from Llama 3.1 8B (Llama 3.1 Community License)",
        template="as deepseek-r1-distill-qwen-1.5b",
        thinking="stripped",
        troubles=("as deepseek-r1-distill-qwen-1.5b",),
    ),
}


def block_of(name: str) -> Block:
    """The block with that name; raises ClinfitError with the nearest name where there is none."""
    if name not in BLOCKS:
        close = nearest(name, BLOCKS)
        raise ClinfitError(
            f"there is no model block {name!r}",
            expected=f"one of {', '.join(BLOCKS)}",
            fix=f"did you mean {close}?" if close else "clinfit models list",
        )
    return BLOCKS[name]


def filled(model: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A model of a study without `use`, with what the block fills in. What the model itself holds wins, in `lora` key
    by key; its name is the block's where it has none."""
    block, own = {"name": name, **block_of(name).keys}, {key: value for key, value in model.items() if key != "use"}
    if own.get("family", "causal") != "causal" or "base" in own:
        del block["lora"]  # the layers are those of the block's base as a causal model
    elif isinstance(lora := own.get("lora"), Mapping):
        own["lora"] = block["lora"] | dict(lora)
    if "base" in own:
        block.pop("revision", None)
    return block | own
