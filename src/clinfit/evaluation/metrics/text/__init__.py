"""Metrics of written texts, of strings alone; the lexicon."""
