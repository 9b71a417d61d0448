"""Token-budget batches."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from clinfit.prompts.batches import pad_right, token_batches


@given(st.lists(st.integers(1, 600), max_size=60), st.integers(1, 3000))
def test_every_row_once_and_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = token_batches(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


def test_padding_of_abstract_like_lengths_is_a_few_per_cent() -> None:
    generator = torch.Generator().manual_seed(0)
    real = cells = 0
    for _ in range(30):
        lengths = (392 + 80 * torch.randn(16, generator=generator)).clamp(120, 512).int().tolist()
        for batch in token_batches(lengths, 2048):
            real += sum(lengths[i] for i in batch)
            cells += len(batch) * max(lengths[i] for i in batch)
    assert 1 - real / cells < 0.06


def test_padding_stands_on_the_right() -> None:
    assert pad_right([[1, 2, 3], [4]], 9).tolist() == [[1, 2, 3], [4, 9, 9]]
