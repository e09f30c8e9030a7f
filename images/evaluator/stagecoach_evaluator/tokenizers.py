"""Lays the tokenizers of bases where a gateway reads them: `python3 -m stagecoach_evaluator.tokenizers`.

No weights are read. What lies there already, whole, is left as it is.
"""

import shutil
from pathlib import Path

from pydantic import TypeAdapter

from stagecoach.contract import loading, mounts
from stagecoach.contract.digests import Manifest, hex_of, short
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import Store
from stagecoach_evaluator import programs
from stagecoach_trainer import bases, copies, places
from stagecoach_trainer.failures import at
from stagecoach_trainer.train import say

SOURCES = TypeAdapter(tuple[ModelSource, ...])
CHANGED = "Bring back the tokenizer's files: a release is served with those that it was admitted with."


def lay_all() -> None:
    """Lay what the environment names. Raises BadInput and StorageFailed."""
    for source in programs.document(loading.TOKENIZERS_VARIABLE, SOURCES.validate_json):
        lay(source)


def lay(source: ModelSource) -> None:
    """Lay the tokenizer of a base. Raises BadInput when it is not what its digest says, and StorageFailed."""
    field = f"{bases.field_of(source)}.uri"
    if source.tokenizer is None:
        raise BadInput(
            Problem.of(
                "UnknownDocument",
                f"nothing says which tokenizer of {source.uri} is meant.",
                remedy=programs.ONE_VERSION,
            )
        )
    place = Path(places.rebased(mounts.TOKENIZERS)) / hex_of(source.tokenizer)
    if _digest(place) == source.tokenizer:
        say(f"tokenizer {short(source.tokenizer)} lies there already")
        return
    part = place.with_suffix(".part")
    for folder in (place, part):
        shutil.rmtree(folder, ignore_errors=True)
    with at(field, revision=f"{bases.field_of(source)}.revision"):
        store, _ = bases.store_of(source)
        bases.read_config(store, source)  # which says so where there is no model
        names = store.names()
        bases.check_tokenizer(store, names, source)
        wanted = [name for name in names if name in bases.TOKENIZER_FILES]
        found = Manifest.of(copies.fetched(store, name, name, part / name) for name in wanted).digest
    if found != source.tokenizer:
        message = f"the tokenizer's files have digest {short(found)}, and {short(source.tokenizer)} was expected."
        raise BadInput(Problem.of("InputChanged", message, field=field, value=source.uri, remedy=CHANGED))
    part.rename(place)
    say(f"tokenizer {short(source.tokenizer)} is laid")


def _digest(folder: Path) -> str | None:
    """Return the digest of what lies in a folder; None when there is none."""
    if not folder.is_dir():
        return None
    there = Store.local(str(folder))
    return Manifest.of(there.entry(name, name) for name in there.names()).digest


if __name__ == "__main__":
    programs.main(lay_all)
