"""Remedies against forgetting, a file each."""
