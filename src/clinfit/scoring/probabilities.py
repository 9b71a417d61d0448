"""Scores as probabilities."""

import numpy as np
from numpy.typing import NDArray


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, K) probabilities from (n, K) log-likelihoods or logits; rows sum to 1."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def sigmoid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities from logits, each by itself, without overflow."""
    small = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1.0, small) / (1 + small)
