"""What is behind the classical models: features, estimators, weights."""
