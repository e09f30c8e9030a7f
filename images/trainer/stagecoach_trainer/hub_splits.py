"""Which files are a split of a hub's data set: as the library `datasets` finds them, by its card or by their names.

Nothing of the repository is run. The library looks at empty files of the same names in a folder of this pod.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from stagecoach.contract.jobs import DataSource
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer import copies, places
from stagecoach_trainer.hub import HubRepository

CARD = "README.md"
MAX_CARD = 1 << 20
MAX_FILES = 10_000
MAX_PATH = 512
# Of a pattern, which is matched by trying all that its wildcards may stand for.
MAX_DEEP, MAX_STARS = 2, 6
# What a config says that does not change how its files are read.
HARMLESS = {"data_files", "data_dir", "default", "description", "version"}
ONE_FILE = "Name one file instead, hf://datasets/<organization>/<name>/<path>."


def files(repository: HubRepository, source: DataSource, field: str) -> list[str]:
    """Return the paths of a split's files, in order. Raises BadInput."""
    if f"{source.uri.rpartition('/')[2]}.py" in repository.files:
        _refuse("SourceRefused", "its rows are made by code, and code of a hub is never run.", ONE_FILE, source, field)
    if len(repository.files) > MAX_FILES:
        message = f"it has {len(repository.files)} files, and at most {MAX_FILES} are looked through for a split."
        _refuse("SourceRefused", message, ONE_FILE, source, field)
    if outside := [name for name in repository.files if not _is_inside(name)]:
        message = f"the hub names a file {outside[0]!r}, which would lie outside of the repository."
        _refuse("SourceRefused", message, "See that the hub is the one that is meant.", source, field)
    with _followed(source, field):
        config = _config(_configs(repository, source, field), source, field)
        found = _among(repository.files, config, source, field)
    if strange := [name for name in found if name not in repository.files]:
        _broken(f"it names {strange[0]}, which is not in the repository.", source, field)
    return found


def _among(names: list[str], config: dict[str, Any], source: DataSource, field: str) -> list[str]:
    scratch = places.scratch()
    with copies.told(scratch), tempfile.TemporaryDirectory(dir=scratch) as folder:
        for name in names:
            empty = Path(folder, name)
            empty.parent.mkdir(parents=True, exist_ok=True)
            empty.touch()
        return _found(folder, config, source, field)


def _found(folder: str, config: dict[str, Any], source: DataSource, field: str) -> list[str]:
    from datasets.data_files import DataFilesList
    from datasets.packaged_modules import _ALL_ALLOWED_EXTENSIONS

    base = str(Path(folder, config.get("data_dir") or "."))
    patterns = _patterns(base, config, source, field)
    split = source.hub.split if source.hub else ""
    if split not in patterns:
        message = f"there is no split {split!r}; there are {', '.join(patterns) or 'no files of data'}."
        remedy = "Set hub.split to one of them." if patterns else "Correct the URI, or put files of rows there."
        _refuse("SplitMissing", message, remedy, source, f"{field}.hub.split", split)
    try:
        found = DataFilesList.from_patterns(patterns[split], base_path=base, allowed_extensions=_ALL_ALLOWED_EXTENSIONS)
    except FileNotFoundError:
        found = DataFilesList([], [])
    if config.get("data_files") is None:
        found = _of_one_format(found)
    if not found:
        message = f"there is no file of data where split {split!r} is looked for: {', '.join(patterns[split])}."
        _refuse("SplitMissing", message, ONE_FILE, source, f"{field}.hub.split", split)
    return list(dict.fromkeys(os.path.relpath(path, folder) for path in found))


def _of_one_format(found: Any) -> Any:
    """Return those of the format that most have: where no card names files, the library passes over the others."""
    from datasets.load import infer_module_for_data_files_list
    from datasets.packaged_modules import _MODULE_TO_EXTENSIONS

    # It would open archives, which are empty here.
    module, _ = infer_module_for_data_files_list([item for item in found if not item.endswith(".zip")])
    return found.filter(extensions=_MODULE_TO_EXTENSIONS[module]) if module else found


def _patterns(base: str, config: dict[str, Any], source: DataSource, field: str) -> dict[str, list[str]]:
    from datasets.data_files import EmptyDatasetError, get_data_patterns, sanitize_patterns

    given = config.get("data_files")
    try:
        found = sanitize_patterns(given) if given is not None else get_data_patterns(base)
    except EmptyDatasetError:
        found = {}
    patterns = {str(split): [str(pattern) for pattern in listed] for split, listed in found.items()}
    for pattern in (pattern for listed in patterns.values() for pattern in listed):
        if not _is_plain(pattern):
            _broken(f"{pattern[:80]!r} is no path in the repository.", source, field)
        if given is not None and (pattern.count("**") > MAX_DEEP or pattern.count("*") > MAX_STARS):
            message = f"{pattern[:80]!r} has more wildcards than {MAX_DEEP} '**', or {MAX_STARS} '*' in all."
            _broken(message, source, field)
    return patterns


def _is_plain(path: Any) -> bool:
    if not isinstance(path, str) or len(path) > MAX_PATH or path.startswith("~"):
        return False
    return _is_inside(path) and ":" not in path and "\\" not in path


def _is_inside(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/") and "\0" not in path


def _configs(repository: HubRepository, source: DataSource, field: str) -> dict[str, dict[str, Any]]:
    """Return the configs of a data set's card by name; none when it has no card, or one that lists none."""
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCard

    if CARD not in repository.files:
        return {}
    content = b""
    if (size := repository.sizes[CARD]) <= MAX_CARD:
        with repository.open(CARD) as stream:
            content = stream.read(MAX_CARD + 1)  # no hub has to tell sizes
    if max(size, len(content)) > MAX_CARD:
        _broken(f"it has more than {MAX_CARD >> 20} MiB.", source, field)
    card = DatasetCard(content.decode(), ignore_metadata_errors=False)
    return {str(name): told for name, told in MetadataConfigs.from_dataset_card_data(card.data).items()}


def _config(configs: dict[str, dict[str, Any]], source: DataSource, field: str) -> dict[str, Any]:
    """Return the config that is asked for: by name, or the default one, or the only one."""
    asked = source.hub.config if source.hub else None
    defaults = [name for name, told in configs.items() if len(configs) == 1 or name == "default" or told.get("default")]
    name = asked or (defaults[0] if len(defaults) == 1 else None) or ("default" if not configs else None)
    if not configs and name == "default":
        return {}
    if name not in configs:
        message = f"there is no config {name!r}" if name else "it has several configs"
        message = f"{message}; there are {', '.join(configs) or 'none'}."
        remedy = "Set hub.config to one of them." if configs else "Leave hub.config out."
        _refuse("ConfigMissing", message, remedy, source, f"{field}.hub.config", name or "")
    config = configs[name]
    if others := sorted(map(str, set(config) - HARMLESS)):
        _broken(f"config {name!r} sets {', '.join(others)}, which would be passed over here.", source, field)
    folder = config.get("data_dir") or ""
    if not _is_plain(folder) or "*" in folder:
        _broken(f"{str(folder)[:80]!r} is no folder in the repository.", source, field)
    return config


@contextmanager
def _followed(source: DataSource, field: str) -> Iterator[None]:
    """Tell as the card's fault whatever it makes the libraries raise: it would do so again."""
    import yaml

    try:
        yield
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError, yaml.YAMLError) as error:
        _broken(f"{type(error).__name__}: {error}", source, field)


def _broken(message: str, source: DataSource, field: str) -> NoReturn:
    _refuse("CardUnusable", f"its card ({CARD}) cannot be followed: {message}", ONE_FILE, source, field)


def _refuse(reason: str, message: str, remedy: str, source: DataSource, field: str, value: str = "") -> NoReturn:
    field = field if ".hub." in field else f"{field}.uri"
    raise BadInput(Problem.of(reason, message, field=field, value=value or source.uri, remedy=remedy)) from None
