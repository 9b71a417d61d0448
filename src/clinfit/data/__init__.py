"""Files to records with targets and splits, and what is wrong with them."""
