"""The models and what they cost."""
