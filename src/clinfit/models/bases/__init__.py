"""Pretrained bases: where they are, which of them work, how they are loaded."""
