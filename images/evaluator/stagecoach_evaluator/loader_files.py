"""What a serving engine reads, brought to where it finds it: verified first, and there whole or not at all."""

import shutil
import threading
from contextlib import suppress
from pathlib import Path

from stagecoach.contract import layout, serving
from stagecoach.contract.digests import Manifest, hex_of
from stagecoach.contract.inputs import Family
from stagecoach.contract.loading import Serve
from stagecoach.contract.readings import Reads
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import Store, require_storage
from stagecoach_evaluator import laying, server, taking
from stagecoach_trainer import bases, copies, places
from stagecoach_trainer.bases import Base

# Says, in the folder of models, what was brought and told: an engine may be reading it, so it is not brought again.
BROUGHT = "brought"
CHANGED = "Bring back the base's files: a release is served with those that it was admitted with."
RESTORE = "Bring back its folder and its manifest below artifacts/; or admit another run."
TRAIN_OTHERWISE = "Let the run make a LoRA or rsLoRA of one rank, with no modules that are trained whole."


def bring_base(serve: Serve) -> None:
    """Bring the base, or the whole model in its place, and tell the engine. Raises BadInput and StorageFailed."""
    done = laying.models() / BROUGHT
    if done.exists() and done.read_text() == serve.line():
        return
    family, embeds = Family.ENCODER if serve.reads else Family.DECODER, serve.reads is Reads.VECTORS
    base = bases.read(serve.base, mismatch="InputChanged", remedy=CHANGED, family=family, embeds=embeds)
    name = laying.base(base)
    if serve.model is not None:
        storage = places.storage()
        folder = copies.artifact(storage, _intact(storage, serve.model))
        name = laying.whole(serve.model, folder, base)
    server.tell(_words(serve, base, name))
    laying.write(BROUGHT, serve.line())


def _words(serve: Serve, base: Base, name: str) -> list[str]:
    """Return what the server is told, beside what is the same for all."""
    limit = min(serve.max_length, base.context)
    words = taking.words(name, limit, serve.precision)
    words += ["--max-num-seqs", str(serve.at_once)]
    if serve.reads:
        words += taking.of_an_encoder(serve.reads, base, limit)
    if serve.model is None and serve.max_adapters:
        rank = serving.rank(serve.max_rank) or max(serving.RANKS)
        words += ["--enable-lora", "--max-lora-rank", str(rank), "--max-loras", str(serve.max_adapters)]
        # As many again are kept beside: what makes room for another is read from files when it is next asked, and all
        # requests wait for that.
        words += ["--max-cpu-loras", str(2 * serve.max_adapters)]
    return words


def bring_adapter(digest: str, max_rank: int) -> None:
    """Bring an adapter. Raises BadInput for one that is not there, not whole, or not served; and StorageFailed.

    It is copied: it is read whenever the engine takes it into memory, and by then the storage may be away.
    """
    place = laying.adapters() / hex_of(digest)
    if place.exists():
        return
    storage = places.storage()
    # Each thread's own: one that is wanted no more may still copy what another is to bring once more.
    part = place.with_suffix(f".{threading.get_ident()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _copy(storage, digest, part)
        _check_rank(part / bases.ADAPTER, max_rank)
        _publish(part, place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _publish(part: Path, place: Path) -> None:
    try:
        part.rename(place)
    except OSError:
        if not place.exists():  # else another thread was faster
            raise


def _copy(storage: Store, digest: str, target: Path) -> None:
    """Copy the files that the engine reads, and hash all."""
    manifest, folder = _there(storage, digest), layout.artifact_folder(digest)
    entries = []
    try:
        for entry in manifest.files:
            source = f"{folder}/{entry.path}"
            if laying.is_of_a_model(entry.path) and "/" not in entry.path:
                entries.append(copies.fetched(storage, source, entry.path, target / entry.path))
            else:
                entries.append(storage.entry(source, entry.path))
    except FileNotFoundError as error:
        raise _corrupt(digest) from error
    if Manifest.of(entries).digest != digest or not (target / bases.ADAPTER).exists():
        raise _corrupt(digest)


def _check_rank(config: Path, most: int) -> None:
    rank = taking.rank(config, TRAIN_OTHERWISE)
    if rank > most:
        message = f"the adapter's rank is {rank}, and the engine is prepared for {most} at most."
        remedy = f"Set it to {rank} or more."
        raise BadInput(
            Problem.of("RankTooLarge", message, field="spec.engine.maxLoraRank", value=str(most), remedy=remedy)
        )


def _intact(storage: Store, digest: str) -> Manifest:
    _there(storage, digest)
    manifest = storage.verified(digest)
    if manifest is None:
        raise _corrupt(digest)
    return manifest


def _there(storage: Store, digest: str) -> Manifest:
    """Return an artifact's manifest. Raises BadInput where there is none."""
    require_storage(storage)
    manifest = storage.manifest(digest)
    if manifest is None:
        gone = any(map(storage.exists, (layout.leaving_file(digest), layout.removed_file(digest))))
        message = "the project's retention has removed this artifact." if gone else "the storage has no such artifact."
        raise BadInput(Problem.of("ArtifactMissing", message, value=digest, remedy=RESTORE))
    return manifest


def _corrupt(digest: str) -> BadInput:
    message = "the artifact's files are not those that its digest stands for."
    return BadInput(Problem.of("ArtifactCorrupt", message, value=digest, remedy=RESTORE))


def remove_adapter(name: str) -> None:
    """Remove what lies there under this name; once more is a no-op."""
    place = laying.adapters() / name
    gone = place.with_suffix(".gone")
    with suppress(FileNotFoundError):
        place.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def clean() -> None:
    """Remove what a loader that was ended left half done."""
    for place in (*laying.adapters().glob("*.part"), *laying.adapters().glob("*.gone")):
        shutil.rmtree(place)


def laid_adapters() -> set[str]:
    """Return the names of the adapters that lie there whole."""
    try:
        return {each.name for each in laying.adapters().iterdir() if not each.suffix}
    except FileNotFoundError:
        return set()
