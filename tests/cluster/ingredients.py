"""What an image is made of: one of which nothing has changed need not be built again."""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dockerfile_parse import DockerfileParser
from dockerfile_parse.parser import image_from


def digest_of(
    dockerfile: Path,
    context: Path,
    arguments: Mapping[str, str],
    image_id: Callable[[str], str | None],
    wheels: Path | None = None,
) -> str:
    """Return a digest over a Dockerfile, what it copies, the images that it begins with, and the wheels it is lent.

    What it downloads is not in it: a Dockerfile that pins what it downloads gives the same image.
    """
    text = dockerfile.read_bytes()
    parsed = DockerfileParser(fileobj=io.BytesIO(text), build_args=dict(arguments))
    digest = hashlib.sha256(text)
    digest.update(repr(sorted(arguments.items())).encode())
    stages = {image_from(item["value"])[1] for item in parsed.structure if item["instruction"] == "FROM"}
    for parent in parsed.parent_images:
        if parent not in stages:
            digest.update(f"{parent} {image_id(parent)}\n".encode())
    for source in sorted(_copied(parsed)):
        for path in _files(context, source):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(context)} {path.stat().st_mode:o} {content}\n".encode())
    for path in sorted(wheels.iterdir()) if wheels else ():
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
    return digest.hexdigest()


def _copied(parsed: DockerfileParser) -> Iterator[str]:
    """Yield what is copied from the context."""
    for item in parsed.structure:
        words = item["value"].split()
        if item["instruction"] in ("COPY", "ADD") and not any(word.startswith("--from=") for word in words):
            yield from (word for word in words[:-1] if not word.startswith("--"))


def _files(context: Path, source: str) -> list[Path]:
    """Return the files of a source; of one that is not there the builder tells."""
    found = [path for place in context.glob(source) for path in (place, *place.rglob("*"))]
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)
