"""How much memory weights take, from counts alone. No torch."""

#: NF4 and its scales: bytes per number of a linear layer.
NF4_BYTES = 0.5625


def weight_bytes(parameters: int, multiplied: int, width: float, *, four_bit: bool = False) -> float:
    """Bytes of a model's weights.

    parameters: all of its numbers. multiplied: those in linear layers, the head left out, which are what is kept in
    4 bits. width: bytes of each other number.
    """
    if not four_bit:
        return parameters * width
    return multiplied * NF4_BYTES + (parameters - multiplied) * width
