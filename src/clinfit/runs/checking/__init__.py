"""`clinfit check`: what a run would do, before it does it."""
