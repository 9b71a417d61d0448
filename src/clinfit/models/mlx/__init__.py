"""Family `mlx`: what MLX computes of a causal language model. All else is that of family `causal`."""
