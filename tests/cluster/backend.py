"""What every kind of cluster can do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Backend(Protocol):
    """A cluster that can be brought up, given images, and taken down."""

    name: str

    def up(self) -> None:
        """Make it run and ready; harmless when it is."""

    def down(self) -> None:
        """Remove it."""

    def kubeconfig(self) -> Path:
        """The path of an administrator's kubeconfig."""

    def build(self, name: str, dockerfile: Path, context: Path, arguments: Mapping[str, str]) -> None:
        """Build an image."""

    def load(self, name: str) -> str:
        """Make an image available to pods; return the reference by which they name it."""

    def image_reference(self, name: str) -> str:
        """The reference of an image that was loaded before."""

    def status(self) -> dict[str, str]:
        """Facts for people, by name."""
