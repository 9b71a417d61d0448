"""Adapters put together afterwards, without training, by PEFT's implementations.

With d_i = s_i B_i A_i, what adapter i adds to a layer's weights, and w_i its weight:

    linear   sum of w_i d_i, exactly: the factors side by side, at the sum of the ranks (task arithmetic, Ilharco et
             al., 2023)
    ties     of each d_i the largest share (density) is kept; each weight takes the sign that has more mass, and the
             mean of the values that agree with it (Yadav et al., 2023)
    dare     of each d_i a random share (1 - density) is set to 0, the rest is divided by density; then the sum (Yu
             et al., 2024)

ties and dare give a full matrix; its largest singular values, as many as the largest rank, become the new factors. On
the factors themselves, which is what PEFT's `linear`, `ties` and `dare_linear` do, cross terms such as B_1 A_2 would be
added that neither adapter has.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel

from clinfit.study.stages import Merge
from clinfit.training.adapters import FIRST, load_adapter_as, put_in_order

MERGED = "merged"
TYPES = {"linear": "cat", "ties": "ties_svd", "dare": "dare_linear_svd"}


def write_merged(adapted: PeftModel, others: Sequence[Path], merge: Merge, seed: int, folder: Path) -> Path:
    """Write what the adapter of a model and those in the folders `others` give together; returns its folder.

    DARE draws with the seed.
    """
    names = [FIRST, *(f"adapter{number}" for number in range(2, len(others) + 2))]
    for name, other in zip(names[1:], others, strict=True):
        load_adapter_as(adapted, other, name)
    torch.manual_seed(seed)
    return write_together(adapted, names, merge.shares, folder, method=merge.method, density=merge.density)


def write_together(
    adapted: PeftModel,
    names: Sequence[str],
    weights: Sequence[float],
    folder: Path,
    *,
    method: str = "linear",
    density: float | None = None,
) -> Path:
    """Write the weighted sum of adapters of a model as one; returns its folder."""
    for name in names:  # PEFT compares sets with lists by their types
        known: Any = adapted.peft_config[name]
        known.target_modules = set(known.target_modules)
    config: Any = adapted.peft_config[FIRST]
    # The new adapter takes over this setting, but its scaling is in its factors already.
    config.use_rslora = False
    adapted.base_model.add_weighted_adapter(  # type: ignore[operator]
        list(names),
        list(weights),
        MERGED,
        combination_type=TYPES[method],
        density=density if method != "linear" else None,
        svd_full_matrices=False,
    )
    put_in_order(cast(LoraConfig, adapted.peft_config[MERGED]))
    adapted.save_pretrained(str(folder), selected_adapters=[MERGED], save_embedding_layers=False)
    return folder / MERGED
