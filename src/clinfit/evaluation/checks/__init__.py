"""Findings about the numbers."""
