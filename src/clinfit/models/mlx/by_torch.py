"""Saved models of family `mlx` on machines without MLX, such as a Linux server that serves what a Mac has trained."""

from typing import ClassVar

from clinfit.models.causal import CausalModel
from clinfit.study.models import Mlx, Neural


class MlxByTorch(CausalModel):
    """The same base with the same adapter, answered by PyTorch: the same but for rounding, which a pack's self-test
    measures."""

    spec_type: ClassVar[type[Neural]] = Mlx
