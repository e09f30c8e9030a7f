"""A small base's tokenizer, releases of it, and routes to them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors

from stagecoach.contract.digests import Manifest, file_entry, hex_of
from stagecoach.contract.gateway_routes import Candidate, Routes, Target
from stagecoach.contract.inputs import BaseInput, LabelsInput, Overflow, Prompt, Tokenization
from stagecoach.contract.releases import Asked, DescribedRelease, Engine, Release

DEPLOYMENT = "0b7d7ab4-0000-4000-8000-000000000001"
ROUTES_KEY = b"routes-key-of-tests-0123456789abcdef"
ADMIN_TOKEN = "admin-token-of-tests-0123456789abcdef"  # noqa: S105 - of tests
ENGINE_KEY = "engine-key-of-tests"
DIGEST = "sha256:" + "ab" * 32
LABELS = ("lost card", "lost pin", "top up")
TEMPLATE = (
    "{% for message in messages %}<turn>{{ message['role'] }} {{ message['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant {% endif %}"
)
WORDS = ["the", "a", "my", "card", "pin", "lost", "top", "up", "system", "user", "assistant", "route", "this", "message", "query", "passage", ":", ".", ",", "?", "hello", "world", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "is", "was", "not", "found", "again", "more", "money"]  # fmt: skip


def tokenizer(root: Path, *, chat: bool = True) -> str:
    """Write a tokenizer of words into its folder below the root, and return its digest."""
    special = ["<unk>", "<turn>", "<end>", "<cls>"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(special)
    if not chat:
        made.post_processor = processors.TemplateProcessing(
            single="<cls> $A <end>", special_tokens=[("<cls>", 3), ("<end>", 2)]
        )
    files = {
        "tokenizer.json": made.to_str(),
        "tokenizer_config.json": json.dumps(
            {"eos_token": "<end>", "unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast"}
        ),
    } | ({"chat_template.jinja": TEMPLATE} if chat else {})
    source = root / "new"
    source.mkdir(parents=True)
    entries = []
    for name, text in files.items():
        (source / name).write_text(text)
        with (source / name).open("rb") as stream:
            entries.append(file_entry(name, stream))
    digest = Manifest.of(entries).digest
    source.rename(root / hex_of(digest))
    return digest


def target(
    tokenizer: str, engines: tuple[str, ...], *, model: str = "internal-name", artifact: str = "11", **changes: Any
) -> Target:
    """Return a release of a Classification by a decoder, unless something else is said."""
    values: dict[str, Any] = {
        "task": "Classification",
        "base": BaseInput(model=DIGEST, tokenizer=tokenizer),
        "prompt": Prompt(system="route this message", template="message : {text}"),
        "tokenization": Tokenization(max_length=64, overflow=Overflow.TRUNCATE),
    } | changes  # fmt: skip
    labels = LABELS if values["task"] == "Classification" else None
    asked = Asked(labels=LabelsInput(values=labels) if labels else None, **values)
    release = Release(asked=asked.digest, artifact="sha256:" + artifact * 32, engine=Engine())
    return Target(described=DescribedRelease(release=release, asked=asked), labels=labels, model=model, engines=engines)


def candidate(target: Target, weight: int, seconds: float = 600) -> Candidate:
    """Return a candidate that lasts so long."""
    return Candidate(target=target, weight=weight, until=datetime.now(UTC) + timedelta(seconds=seconds))


def routes(stable: Target | None, **changes: Any) -> Routes:
    """Return routes that let anybody ask in OpenAI's API."""
    values: dict[str, Any] = {
        "deployment": DEPLOYMENT,
        "name": "intents",
        "revision": 1,
        "api": "OpenAI",
        "stable": stable,
        "keys": False,
        "timeout": 5.0,
    }
    return Routes(**(values | changes))
