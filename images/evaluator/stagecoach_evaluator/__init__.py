"""The evaluator: asks releases for answers, measures these, and comes to a verdict."""
