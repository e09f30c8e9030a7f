"""Tokenizers of bases as the contract's Encoder wants them, by `tokenizers` and `jinja2` alone.

transformers does the same, and takes seconds and hundreds of megabytes for it; tests hold that both agree.
"""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.utils
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from stagecoach.contract.digests import Manifest, file_entry, hex_of, short


class BadTokenizer(Exception):
    """A tokenizer is not there, or is not what its digest says."""


class BaseTokenizer:
    """What the Encoder uses of a tokenizer, and nothing more."""

    def __init__(self, folder: Path) -> None:
        self.inner = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.inner.no_padding()
        self.inner.no_truncation()
        settings = _json(folder / "tokenizer_config.json")
        self.chat_template: Any = _template(folder, settings)
        self._special = _special(settings)
        eos = self._special.get("eos_token")
        self.eos_token_id: int | None = self.inner.token_to_id(eos) if eos is not None else None
        ids = [self.inner.token_to_id(name) for name in (*self._special.values(), *_extra(settings))]
        self.all_special_ids: list[int] = [found for found in dict.fromkeys(ids) if found is not None]

    def __call__(self, text: str, **options: Any) -> Mapping[str, Any]:
        """Return the tokens of a text, and where each of them is."""
        found = self.inner.encode(text, add_special_tokens=options.get("add_special_tokens", True))
        return {"input_ids": found.ids, "offset_mapping": found.offsets}

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> str:
        """Return a conversation as one text."""
        options.pop("tokenize", None)
        return self._compiled.render(messages=conversation, tools=None, documents=None, **self._special, **options)

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        """Return the text of tokens."""
        text: str = self.inner.decode(token_ids, skip_special_tokens=skip_special_tokens)
        return text

    @cached_property
    def _compiled(self) -> jinja2.Template:
        extensions = [jinja2.ext.loopcontrols, _Generation]
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        environment.globals["namespace"] = _namespace
        return environment.from_string(self.chat_template)


class _Generation(jinja2.ext.Extension):
    """`{% generation %}`: marks for a training what the assistant says, and changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - as the base class has it

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        """Return what stands between the marks."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def load(folder: Path, digest: str) -> BaseTokenizer:
    """Return the tokenizer of a digest, whose files are just those of its folder. Raises BadTokenizer."""
    place = folder / hex_of(digest)
    try:
        names = sorted(path.name for path in place.iterdir() if path.is_file())
        entries = []
        for name in names:
            with (place / name).open("rb") as stream:
                entries.append(file_entry(name, stream))
        found = Manifest.of(entries).digest
        if found != digest:
            raise BadTokenizer(f"{place} holds {short(found)}: put there the files of the tokenizer, and no others.")
        return BaseTokenizer(place)
    except OSError as error:
        raise BadTokenizer(f"{place} cannot be read ({error.strerror}): mount the tokenizer there.") from error
    except BadTokenizer:
        raise
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise BadTokenizer(f"{place} is no tokenizer: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    found = file.read_text() if file.is_file() else settings.get("chat_template")
    if found is not None and not isinstance(found, str):
        raise BadTokenizer(f"{folder} has several chat templates, and which one to use is not said.")
    return found


def _special(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return special tokens by name, as chat templates know them."""
    found = {}
    for name, value in settings.items():
        text = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(text, str):
            found[name] = text
    return found


def _extra(settings: Mapping[str, Any]) -> list[str]:
    values = [*settings.get("additional_special_tokens", []), *settings.get("extra_special_tokens", [])]
    return [value["content"] if isinstance(value, dict) else str(value) for value in values]


def _to_json(value: Any, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, **options)


class _Namespace(jinja2.utils.Namespace):
    """As in transformers: a template comes with a base, and nothing of Python's own is within its reach."""

    def __setitem__(self, name: str, value: Any) -> None:
        _check(name)
        super().__setitem__(name, value)


def _namespace(*parts: Any, **values: Any) -> _Namespace:
    for name in dict(*parts, **values):
        _check(name)
    return _Namespace(*parts, **values)


def _check(name: str) -> None:
    if name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a template may not set {name}")


def _raise(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)
