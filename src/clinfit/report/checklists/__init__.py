"""Reporting guidelines, filled in from what is known."""
