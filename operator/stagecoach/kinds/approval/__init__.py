"""Approval: one decision of one person."""
