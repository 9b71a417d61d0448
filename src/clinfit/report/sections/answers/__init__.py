"""What was answered, right and wrong."""
