"""TransformerProject: the decisions that all other objects share, resolved to digests."""
