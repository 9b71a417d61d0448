"""Bootstrap, intervals, tests, corrections for many of them."""
