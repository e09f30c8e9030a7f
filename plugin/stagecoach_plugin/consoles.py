"""Where is printed to: the terminal as it is; elsewhere without colour, and as wide as COLUMNS says, or 120."""

import os
import sys

from rich.console import Console

PIPED = 120


def output() -> Console:
    """Return the console of what was asked for."""
    # Texts of models and people are no markup, and their numbers and :words: stay as they are.
    wide = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPED
    return Console(markup=False, emoji=False, highlight=False, width=wide)


def complaints() -> Console:
    """Return the console of what went wrong."""
    return Console(markup=False, emoji=False, highlight=False, stderr=True)
