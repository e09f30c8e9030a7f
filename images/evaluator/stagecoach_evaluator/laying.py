"""Models where the engine finds them, by their digests: it reads what was hashed, and nothing else."""

import os
from collections.abc import Iterable
from pathlib import Path

from stagecoach.contract import mounts, serving
from stagecoach.contract.digests import hex_of
from stagecoach_trainer import bases, places
from stagecoach_trainer.bases import Base

ADAPTERS = Path(serving.ADAPTERS).name
Files = list[tuple[str, str]]


def models() -> Path:
    """Return the folder in which the engine finds models."""
    root = os.environ.get(places.ROOT_VARIABLE)
    return Path(f"{root.rstrip('/')}{mounts.MODELS}") if root else Path(mounts.MODELS)


def adapters() -> Path:
    """Return the folder in which it finds adapters: each below the digits of its digest."""
    return models() / ADAPTERS


def base(found: Base) -> str:
    """Lay a base and its tokenizer; return its name. There is a folder for adapters then, too."""
    name = hex_of(found.model)
    lay(name, files(found.folder, tokenizer=True))
    adapters().mkdir(exist_ok=True)
    return name


def whole(digest: str, folder: str, its_base: Base) -> str:
    """Lay a whole model, which lies in the storage without its tokenizer: that is the base's. Return its name."""
    tokenizer: Files = [(its_base.folder, name) for name in _names(its_base.folder) & bases.TOKENIZER_FILES]
    lay(hex_of(digest), [*files(folder), *tokenizer])
    return hex_of(digest)


def lay(folder: str, what: Iterable[tuple[str, str]]) -> None:
    """Let files be found below a folder of models."""
    place = models() / folder
    place.mkdir(parents=True, exist_ok=True)
    for source, name in what:
        link = place / name
        link.unlink(missing_ok=True)
        link.symlink_to(Path(source) / name)


def files(folder: str, *, tokenizer: bool = False) -> Files:
    """Return what of a folder is in its digest, where a folder may hold more."""
    known = bases.TOKENIZER_FILES if tokenizer else set()
    return [(folder, name) for name in sorted(_names(folder)) if is_of_a_model(name) or name in known]


def is_of_a_model(name: str) -> bool:
    """Whether an engine reads this file of a model or an adapter."""
    return bases.is_model_file(name) or name == bases.ADAPTER


def write(name: str, text: str) -> None:
    """Write a file right in the folder of models, whole or not at all, unless it says just that."""
    file = models() / name
    if file.exists() and file.read_text() == text:
        return
    part = file.with_name(f"{name}.part")
    part.write_text(text)
    part.replace(file)


def _names(folder: str) -> set[str]:
    return {each.name for each in Path(folder).iterdir()}
