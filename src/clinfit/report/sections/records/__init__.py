"""Who and what was studied."""
