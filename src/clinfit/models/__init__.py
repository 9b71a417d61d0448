"""The contract of every family of models, and the families."""
