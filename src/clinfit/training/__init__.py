"""How a neural model is trained: the loop, losses, adapters, checkpoints, precision."""
