"""Lexicons that studies may name."""
