"""Figures, drawn from the results."""
