"""Public sets, a file each."""
