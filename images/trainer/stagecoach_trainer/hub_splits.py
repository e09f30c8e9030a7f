"""Which files are a split of a hub's data set: as the library `datasets` finds them, by its card or by their names.

Nothing of the repository is run. The library looks at empty files of the same names in a folder of this pod.
"""

import os
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from stagecoach.contract.jobs import DataSource
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer import copies, places
from stagecoach_trainer.hub import HubRepository

CARD = "README.md"
MAX_FILES = 10_000
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
    config = _config(_configs(repository, source, field), source, field)
    scratch = places.scratch()
    with copies.told(scratch), tempfile.TemporaryDirectory(dir=scratch) as folder:
        for name in repository.files:
            empty = Path(folder, name)
            empty.parent.mkdir(parents=True, exist_ok=True)
            empty.touch()
        found = _found(folder, config, source, field)
    if strange := [name for name in found if name not in repository.files]:
        _broken(f"it names {strange[0]}, which is not in the repository.", source, field)
    return found


def _found(folder: str, config: dict[str, Any], source: DataSource, field: str) -> list[str]:
    from datasets.data_files import DataFilesList

    base = str(Path(folder, config.get("data_dir") or "."))
    patterns = _patterns(base, config, source, field)
    split = source.hub.split if source.hub else ""
    if split not in patterns:
        message = f"there is no split {split!r}; there are {', '.join(patterns) or 'no files of data'}."
        _refuse("SplitMissing", message, "Set hub.split to one of them.", source, f"{field}.hub.split", split)
    try:
        found = DataFilesList.from_patterns(patterns[split], base_path=base)
    except FileNotFoundError:
        found = []
    if not found:
        message = f"no file of the repository is what its card names for split {split!r}: {', '.join(patterns[split])}."
        _refuse("SplitMissing", message, ONE_FILE, source, f"{field}.hub.split", split)
    return list(dict.fromkeys(os.path.relpath(path, folder) for path in found))


def _patterns(base: str, config: dict[str, Any], source: DataSource, field: str) -> dict[str, list[str]]:
    from datasets.data_files import EmptyDatasetError, get_data_patterns, sanitize_patterns

    try:
        given = config.get("data_files")
        found = sanitize_patterns(given) if given is not None else get_data_patterns(base)
    except EmptyDatasetError:
        found = {}
    except ValueError as error:
        _broken(str(error), source, field)
    patterns = {str(split): [str(pattern) for pattern in listed] for split, listed in found.items()}
    if odd := [item for listed in patterns.values() for item in listed if not _is_plain(item)]:
        _broken(f"{odd[0]!r} is no path in the repository.", source, field)
    return patterns


def _is_plain(path: str) -> bool:
    return not path.startswith(("/", "~")) and ":" not in path and ".." not in path.split("/") and "\\" not in path


def _configs(repository: HubRepository, source: DataSource, field: str) -> dict[str, dict[str, Any]]:
    """Return the configs of a data set's card by name; none when it has no card, or one that lists none."""
    import yaml
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCard

    if CARD not in repository.files:
        return {}
    try:
        card = DatasetCard(repository.read(CARD).decode(), ignore_metadata_errors=False)
        return dict(MetadataConfigs.from_dataset_card_data(card.data))
    except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        _broken(str(error), source, field)


def _config(configs: dict[str, dict[str, Any]], source: DataSource, field: str) -> dict[str, Any]:
    """Return the config that is asked for: by name, or the default one, or the only one."""
    asked = source.hub.config if source.hub else None
    defaults = [name for name, told in configs.items() if len(configs) == 1 or name == "default" or told.get("default")]
    name = asked or (defaults[0] if len(defaults) == 1 else None) or ("default" if not configs else None)
    if not configs and name == "default":
        return {}
    if name not in configs:
        message = f"there is no config {name!r}" if name else "it has several configs"
        message = f"{message}; there are {', '.join(configs) or 'none, and hub.config may be left out'}."
        _refuse("ConfigMissing", message, "Set hub.config to one of them.", source, f"{field}.hub.config", name or "")
    config = configs[name]
    if others := sorted(set(config) - HARMLESS):
        _broken(f"config {name!r} sets {', '.join(others)}, which would be passed over here.", source, field)
    if not _is_plain(str(config.get("data_dir") or "")):
        _broken(f"{config['data_dir']!r} is no folder in the repository.", source, field)
    return config


def _broken(message: str, source: DataSource, field: str) -> NoReturn:
    _refuse("CardUnusable", f"its card ({CARD}) cannot be followed: {message}", ONE_FILE, source, field)


def _refuse(reason: str, message: str, remedy: str, source: DataSource, field: str, value: str = "") -> NoReturn:
    field = field if ".hub." in field else f"{field}.uri"
    raise BadInput(Problem.of(reason, message, field=field, value=value or source.uri, remedy=remedy)) from None
