"""How an encoder's token vectors become one: as its folder says, in the layout of sentence-transformers. No torch."""

import json
import re
from typing import Any, NamedTuple, NoReturn

from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import Store

MODULES = "modules.json"
CONFIG = "config.json"
MEAN, CLS = "mean", "cls"
# In a pooling's configuration: one of these keys is true. Newer ones name the mode itself instead.
KEYS = {MEAN: "pooling_mode_mean_tokens", CLS: "pooling_mode_cls_token"}
WORDS = {MEAN: "mean of the tokens' vectors", CLS: "vector of the first token"}
# Vectors are always made of length 1 here, whether the folder says so or not.
KNOWN = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])


class Pooling(NamedTuple):
    """How token vectors become one, and the files that say so."""

    mode: str
    files: tuple[str, ...]


def read(store: Store, names: list[str], source: ModelSource) -> Pooling:
    """Return the pooling of a folder, the mean where nothing is said. Raises BadInput when it is one not known here."""
    if MODULES not in names:
        return Pooling(MEAN, ())
    modules = _json(store, MODULES, list, source)
    kinds = [str(module.get("type")).rpartition(".")[2] for module in modules if isinstance(module, dict)]
    if kinds not in KNOWN or modules[0].get("path"):
        _refuse(source, f"its {MODULES} lists {', '.join(kinds) or 'nothing'}, and {' and '.join(KNOWN[1])} are known.")
    folder = str(modules[1].get("path"))
    if not re.fullmatch(r"[A-Za-z0-9_-]+", folder):
        _refuse(source, f"its {MODULES} names {folder[:64]!r} as the folder of its pooling.")
    file = f"{folder}/{CONFIG}"
    config = _json(store, file, dict, source)
    found = _modes(config)
    mode = next((mode for mode in (MEAN, CLS) if found == {mode}), None)
    if mode is None or config.get("include_prompt") is False:
        _refuse(source, f"its {file} asks for a pooling that is neither the mean of all tokens nor the first one.")
    return Pooling(mode, (MODULES, file))


def document(mode: str, width: int) -> dict[str, Any]:
    """Return the configuration of a pooling, as sentence-transformers and vLLM read it."""
    return {"word_embedding_dimension": width, "include_prompt": True} | {
        key: name == mode for name, key in KEYS.items()
    }


def _modes(config: dict[str, Any]) -> set[str]:
    if "pooling_mode" in config:
        return {str(config["pooling_mode"])}
    names = {key: name for name, key in KEYS.items()}
    return {names.get(key, key) for key, value in config.items() if key.startswith("pooling_mode_") and value}


def _json(store: Store, name: str, kind: type, source: ModelSource) -> Any:
    try:
        found = json.loads(store.read(name))
    except FileNotFoundError:
        _refuse(source, f"its {MODULES} names {name}, which is not there.")
    except ValueError as error:
        _refuse(source, f"its {name} is not JSON: {error}.")
    if not isinstance(found, kind):
        _refuse(source, f"its {name} is no {'list' if kind is list else 'object'}.")
    return found


def _refuse(source: ModelSource, message: str) -> NoReturn:
    remedy = f"Use a base with a pooling that is known, or remove {MODULES}: then all tokens are averaged."
    field = f"candidates[{source.name}].model.uri"
    raise BadInput(Problem.of("BaseUnusable", message, field=field, value=source.uri, remedy=remedy))
