"""Decisions that are the same for every kind: pure functions, one small file a rule."""
