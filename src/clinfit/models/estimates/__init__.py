"""What a model will take and needs, before any weight is loaded."""
