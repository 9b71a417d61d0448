"""The study file as typed data."""
