"""A record as text and as ids."""
