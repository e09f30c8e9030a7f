"""Evaluation: one verdict of one gate about one release."""
