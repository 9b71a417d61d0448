"""From predictions to results: metrics, comparisons, findings, claims. No model is loaded."""
