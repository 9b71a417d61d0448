"""Definitions and formulas of metrics, and the engine of each kind of task."""
