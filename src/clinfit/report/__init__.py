"""Results as a page, a summary, a card, figures and tables."""
