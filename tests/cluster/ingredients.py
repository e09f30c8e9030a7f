"""What an image is made of: one of which nothing has changed need not be built again."""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dockerfile_parse import DockerfileParser
from dockerfile_parse.parser import image_from

_IGNORES = (".containerignore", ".dockerignore")


def digest_of(
    dockerfile: Path,
    context: Path,
    arguments: Mapping[str, str],
    image_id: Callable[[str], str | None],
    wheels: Path | None = None,
) -> str | None:
    """Return a digest over a Dockerfile, what it copies, the images that it takes, and the wheels it is lent.

    None for one in which not all of that can be seen: only a build can tell. What it downloads is not in the digest: a
    Dockerfile that pins what it downloads gives the same image.
    """
    text = dockerfile.read_bytes()
    parsed = DockerfileParser(fileobj=io.BytesIO(text), build_args=dict(arguments))
    try:
        images, sources = list(_images(parsed)), list(_sources(parsed))
        files = [path for source in (*_IGNORES, *sources) for path in _files(context, source)]
    except _Unseen:
        return None
    digest = hashlib.sha256(text)
    digest.update(repr((sorted(arguments.items()), [(image, image_id(image)) for image in images])).encode())
    for path in sorted(set(files)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(context)} {path.stat().st_mode:o} {content}\n".encode())
    digest.update(digest_of_wheels(wheels).encode())
    return digest.hexdigest()


def digest_of_wheels(wheels: Path | None) -> str:
    """Return a digest over the names and sizes in a folder of wheels; nothing without one."""
    if wheels is None:
        return ""
    found = "".join(f"{path.name} {path.stat().st_size}\n" for path in sorted(wheels.iterdir()))
    return hashlib.sha256(found.encode()).hexdigest()


class _Unseen(Exception):
    """An ingredient that only the builder can find."""


def _images(parsed: DockerfileParser) -> Iterator[str]:
    """Yield the images that stages begin with or copy from, apart from each other."""
    stages = {image_from(item["value"])[1] for item in parsed.structure if item["instruction"] == "FROM"}
    copied_from = (word.partition("=")[2] for words in _copies(parsed) for word in words if word.startswith("--from="))
    yield from (image for image in (*parsed.parent_images, *copied_from) if image not in stages)


def _sources(parsed: DockerfileParser) -> Iterator[str]:
    """Yield what is copied from the context."""
    for words in _copies(parsed):
        if not any(word.startswith("--from=") for word in words):
            yield from (word for word in words[:-1] if not word.startswith("--"))


def _copies(parsed: DockerfileParser) -> Iterator[list[str]]:
    """Yield the words of each instruction that copies. Raises _Unseen for what is more than words."""
    for item in parsed.structure:
        value = item["value"]
        copies = item["instruction"] in ("COPY", "ADD")
        if (copies and any(mark in value for mark in '[$"<')) or (item["instruction"] == "RUN" and "--mount" in value):
            raise _Unseen
        if copies:
            yield value.split()


def _files(context: Path, source: str) -> Iterator[Path]:
    """Yield the files of a source. Raises _Unseen when it is all of the context, or nothing in it."""
    if source.startswith("/") or source.rstrip("/") == ".":
        raise _Unseen
    found = list(context.glob(source))
    if not found and source not in _IGNORES:
        raise _Unseen
    for path in (path for place in found for path in (place, *place.rglob("*"))):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path
