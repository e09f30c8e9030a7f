"""The kinds that people write, as models: the source of the CRDs and the boundary at which objects are validated."""
