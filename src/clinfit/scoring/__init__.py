"""What a causal model says: probabilities of labels, texts, and how they are read."""
