"""Data sets of a hub: a file, or the files of a split, of a repository at one commit."""

from stagecoach.contract import uris
from stagecoach.contract.jobs import DataSource
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer import copies, hub_splits, places
from stagecoach_trainer.failures import at
from stagecoach_trainer.hub import HubRepository


def read(source: DataSource, field: str) -> tuple[list[tuple[str, bytes]], str]:
    """Return files by name, in order, and their commit.

    Raises BadInput, and StorageFailed when the hub may do better.
    """
    owner, name, *path = uris.parse(source.uri).path.split("/", 2)
    try:
        with at(f"{field}.uri"):
            folder = copies.folder(f"hf://datasets/{owner}/{name}@{source.revision}")
            found = HubRepository(f"{owner}/{name}", "dataset", source.revision, places.keys(source.uri), folder)
            if not path:
                chosen = hub_splits.files(found, source, field)
                return [(item, found.read(item)) for item in chosen], found.commit
            if path[0] not in found.files:
                raise _missing(source, path[0], found.files)
            return [(path[0].rpartition("/")[2], found.read(path[0]))], found.commit
    except BadInput as error:
        if error.problem.reason != "RevisionMissing":
            raise
        raise BadInput(error.problem.model_copy(update={"field": f"{field}.hub.revision"})) from error


def _missing(source: DataSource, path: str, files: list[str]) -> BadInput:
    there = [name for name in files if name.endswith((".csv", ".jsonl", ".parquet"))]
    beside = f"it has {', '.join(there[:10])}" if there else "it has no .csv, .jsonl or .parquet file"
    message = f"there is no file {path} in this data set; {beside}."
    remedy = "Correct the URI, or set hub.revision to a revision that has the file."
    return BadInput(Problem.of("SourceMissing", message, value=source.uri, remedy=remedy))
