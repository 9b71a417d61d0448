"""How well, against what, for whom, at which threshold."""
