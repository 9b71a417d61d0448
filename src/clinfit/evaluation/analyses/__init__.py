"""What is analysed beside the metrics: each a section of the results."""
