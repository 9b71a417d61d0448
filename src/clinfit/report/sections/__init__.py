"""Views of the results: what each part of the report shows."""
