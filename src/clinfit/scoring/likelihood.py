"""How unlikely a language model finds texts: the two figures that papers give, from the same three counts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Likelihood:
    """Of n texts, the reference answers of records or passages of general text.

    nats: (n,) negative log-likelihood of the whole text; of an answer its end of turn included, as in training.
    tokens: (n,) those that it is summed over, ends of turn among them. bytes: (n,) of the texts in UTF-8.
    """

    nats: NDArray[np.float64]
    tokens: NDArray[np.int64]
    bytes: NDArray[np.int64]

    @property
    def perplexity(self) -> float:
        """exp(sum of nats / sum of tokens): weighted by token, so that long texts count more than short ones;
        comparable between models with one tokenizer only."""
        return float(np.exp(self.nats.sum() / self.tokens.sum()))

    @property
    def bits_per_byte(self) -> float:
        """sum of nats / (sum of bytes x log 2): comparable between tokenizers; an end of turn costs bits and has no
        bytes."""
        return float(self.nats.sum() / np.log(2) / self.bytes.sum())
