"""What concerns models that write alone: rules, long records, metrics with weights of their own."""
