"""Data sets of a hub: a file, or the files of a split, of a repository at one commit."""

from stagecoach.contract import uris
from stagecoach.contract.jobs import DataSource
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.rows import suffix_of
from stagecoach_trainer import copies, hub_splits, places
from stagecoach_trainer.failures import at
from stagecoach_trainer.hub import HubRepository
from stagecoach_trainer.web import MAX_BYTES


def read(source: DataSource, field: str) -> tuple[list[tuple[str, bytes]], str]:
    """Return files by name, in order, and their commit.

    Raises BadInput, and StorageFailed when the hub may do better.
    """
    owner, *rest = uris.parse(source.uri).path.split("/", 2)
    if not rest:
        raise uris.BadUri(f"{source.uri!r} names no data set: write hf://datasets/<organization>/<name>[/<path>]")
    name, *path = rest
    with at(f"{field}.uri", revision=f"{field}.hub.revision"):
        folder = copies.folder(f"hf://datasets/{owner}/{name}@{source.revision}")
        keys, secret = places.keys(source.uri), places.secret(source.uri)
        found = HubRepository(f"{owner}/{name}", "dataset", source.revision, keys, folder, secret)
        if path:
            if path[0] not in found.files:
                raise _missing(source, path[0], found.files)
            [content] = _contents(found, path, source)
            return [(path[0].rpartition("/")[2], content)], found.commit
        chosen = hub_splits.files(found, source, field)
        for item in chosen:
            suffix_of(item)
        return list(zip(chosen, _contents(found, chosen, source), strict=True)), found.commit


def _contents(repository: HubRepository, names: list[str], source: DataSource) -> list[bytes]:
    """Return what is in files. Raises BadInput when together they are more than a pod can hold."""
    contents: list[bytes] = []
    left = MAX_BYTES
    if sum(repository.sizes[name] for name in names) > left:
        raise _too_large(source)
    for name in names:
        with repository.open(name) as stream:
            contents.append(stream.read(left + 1))  # no hub has to tell sizes
        left -= len(contents[-1])
        if left < 0:
            raise _too_large(source)
    return contents


def _too_large(source: DataSource) -> BadInput:
    message = f"what it names has more than {MAX_BYTES >> 20} MiB in all."
    remedy = "Copy it to a claim or a bucket; or name a smaller file, hf://datasets/<organization>/<name>/<path>."
    return BadInput(Problem.of("SourceTooLarge", message, value=source.uri, remedy=remedy))


def _missing(source: DataSource, path: str, files: list[str]) -> BadInput:
    there = [name for name in files if name.endswith((".csv", ".jsonl", ".parquet"))]
    beside = f"it has {', '.join(there[:10])}" if there else "it has no .csv, .jsonl or .parquet file"
    message = f"there is no file {path} in this data set; {beside}."
    remedy = "Correct the URI, or set hub.revision to a revision that has the file."
    return BadInput(Problem.of("SourceMissing", message, value=source.uri, remedy=remedy))
