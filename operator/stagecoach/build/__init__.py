"""Builders of child objects: whole objects from decided values, no I/O."""
