"""The one exception that this package raises on purpose."""


class ClusterError(Exception):
    """Something that the reader can act on; its text says what and how."""
