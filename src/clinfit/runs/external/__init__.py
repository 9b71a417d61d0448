"""Answers and records from elsewhere, to metrics and report."""
