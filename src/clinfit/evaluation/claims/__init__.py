"""What may be claimed: comparisons, verdict, advice."""
