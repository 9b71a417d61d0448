"""What family `mlx` can stand on: that MLX is installed, and that the base is of a kind that was tried. MLX itself is
not needed to know."""

from transformers import PretrainedConfig

from clinfit.errors import ClinfitError
from clinfit.machine import mlx_installed
from clinfit.models.bases.long_rope import short_length
from clinfit.scoring.rows import windows_of
from clinfit.study.models import Neural

#: By `model_type`: architectures whose losses, answers and adapters are the same in both families (tests/models/mlx).
ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3", "olmo2", "smollm3")


def check_supported(spec: Neural, config: PretrainedConfig) -> None:
    """Raise ClinfitError when this machine or this base cannot do what the model asks."""
    if not mlx_installed():
        raise ClinfitError(
            f"model {spec.name} is of family mlx, and MLX is not installed",
            fix="pip install 'clinfit[mlx]', or family: causal, which trains the same adapter by PyTorch",
        )
    if config.model_type not in ARCHITECTURES:
        raise ClinfitError(
            f"base {spec.base!r} of model {spec.name} is of the architecture {config.model_type}, which was not tried "
            "with family mlx",
            expected=f"one of {', '.join(ARCHITECTURES)}",
            fix="another base, or family: causal",
        )
    if getattr(config, "quantization_config", None) or getattr(config, "quantization", None):
        raise ClinfitError(
            f"the weights of base {spec.base!r} are quantized, which family mlx does not train on",
            expected="a base with weights in fp32, bf16 or fp16",
        )
    if short_length(config) is not None:
        raise ClinfitError(
            f"base {spec.base!r} changes the frequencies of its positions with length (LongRoPE)",
            expected="a base with one set of frequencies",
            fix="family: causal, which keeps to one of the sets",
        )
    if windows := [window for window in windows_of(config) if window < spec.train.max_length]:
        raise ClinfitError(
            f"base {spec.base!r} looks back {min(windows)} tokens only, and train.max_length of model {spec.name} is "
            f"{spec.train.max_length}",
            fix=f"max_length: {min(windows)}, or family: causal",
        )
