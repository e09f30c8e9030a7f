"""Tokenizers that are laid for a gateway: whole, just their files, and as the gateway reads them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import loading
from stagecoach.contract.digests import Manifest, hex_of
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.reports import BadInput, ExitCode
from stagecoach.contract.store import Store
from stagecoach_evaluator import tokenizers
from stagecoach_gateway import tokenizers_of_bases
from stagecoach_trainer import places
from tests.remedies import speaks

MODEL = {"type": "WordLevel", "vocab": {"good": 0, "day": 1}, "unk_token": "day"}
FILES = {
    "tokenizer.json": json.dumps({"version": "1.0", "added_tokens": [], "model": MODEL}),
    "tokenizer_config.json": "{}",
    "chat_template.jinja": "{{ messages }}",
}
OTHERS = {"config.json": "{}", "model.safetensors": "weights", "README.md": "words"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the pod's mounts, with a base in a claim."""
    monkeypatch.setenv(places.ROOT_VARIABLE, str(tmp_path))
    base = tmp_path / "pvc" / "models" / "base"
    base.mkdir(parents=True)
    for name, content in (FILES | OTHERS).items():
        (base / name).write_text(content)
    return tmp_path


@pytest.fixture
def source(root: Path) -> ModelSource:
    """The base, with its tokenizer's digest."""
    there = Store.local(str(root / "pvc" / "models" / "base"))
    digest = Manifest.of(there.entry(name, name) for name in FILES).digest
    return ModelSource(name="base", uri="pvc://models/base", tokenizer=digest)


def laid(root: Path, source: ModelSource) -> Path:
    return root / "tokenizers" / hex_of(source.tokenizer or "")


def run(root: Path, sources: Any) -> tuple[int, str]:
    """Run the program; return its exit code and its last words."""
    log = root / "termination"
    environment = os.environ | {places.TERMINATION_LOG_VARIABLE: str(log)}
    if sources is not None:
        environment[loading.TOKENIZERS_VARIABLE] = json.dumps(sources)
    command = [sys.executable, "-m", "stagecoach_evaluator.tokenizers"]
    code = subprocess.run(command, env=environment, check=False).returncode
    return code, log.read_text() if log.exists() else ""


def test_just_the_files_of_the_tokenizer_are_laid(root: Path, source: ModelSource) -> None:
    (root / "scratch").mkdir()
    assert run(root, [source.document()]) == (0, "")
    assert {each.name: each.read_text() for each in laid(root, source).iterdir()} == FILES
    assert [each.name for each in (root / "tokenizers").iterdir()] == [hex_of(source.tokenizer or "")]


def test_a_gateway_takes_what_is_laid(root: Path, source: ModelSource) -> None:
    tokenizers.lay(source)
    assert tokenizers_of_bases.load(root / "tokenizers", source.tokenizer or "")("good")["input_ids"] == [0]


def test_weights_are_not_read(root: Path, source: ModelSource) -> None:
    (root / "pvc" / "models" / "base" / "model.safetensors").unlink()
    tokenizers.lay(source)
    assert laid(root, source).is_dir()


def test_what_lies_there_whole_is_left_and_what_does_not_is_laid_anew(root: Path, source: ModelSource) -> None:
    tokenizers.lay(source)
    place = laid(root, source)
    before = (place / "tokenizer.json").stat().st_ino
    (root / "pvc").rename(root / "away")
    tokenizers.lay(source)
    assert (place / "tokenizer.json").stat().st_ino == before
    (root / "away").rename(root / "pvc")
    for spoil in ((place / "tokenizer.json").unlink, lambda: (place / "other").write_text("x")):
        spoil()
        (place.with_suffix(".part")).mkdir()
        (place.with_suffix(".part") / "half").write_text("x")
        tokenizers.lay(source)
        assert {each.name for each in place.iterdir()} == FILES.keys()


def _gone(base: Path) -> None:
    base.rename(base.with_name("other"))


def _changed(base: Path) -> None:
    (base / "chat_template.jinja").write_text("{{ others }}")


def _without(base: Path) -> None:
    (base / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "reason"), [(_gone, "BaseMissing"), (_changed, "InputChanged"), (_without, "BaseUnusable")]
)
def test_what_is_not_as_it_was_admitted_is_not_laid(root: Path, source: ModelSource, spoil: Any, reason: str) -> None:
    spoil(root / "pvc" / "models" / "base")
    with pytest.raises(BadInput) as caught:
        tokenizers.lay(source)
    assert caught.value.problem.reason == reason
    assert caught.value.problem.remedy
    assert not laid(root, source).exists()


@pytest.mark.parametrize("sources", [None, {}, [{"name": "base"}], [{"name": "base", "uri": "pvc://models/base"}]])
def test_a_document_that_is_none_is_said_in_the_last_words(root: Path, source: ModelSource, sources: Any) -> None:
    assert source.tokenizer
    (root / "scratch").mkdir()
    code, words = run(root, sources)
    assert code == ExitCode.BAD_INPUT
    assert words.startswith("UnknownDocument: ")
    assert speaks("UnknownDocument", words)
