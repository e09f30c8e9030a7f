"""Base models and data sets from a hub: one commit of a repository, its files copied into scratch when read."""

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import fsspec

from stagecoach.contract import progress
from stagecoach.contract.reports import BadInput, Problem
from stagecoach.contract.store import StorageFailed, Store
from stagecoach_trainer import copies

# What a download fails with when it is the disk's fault.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)
DEFAULT_REVISION = "main"
_TOKEN = "Let spec.credentials name a Secret with a token that may read it; if it is gated, accept its terms first."  # noqa: S105
_UP = "See that the hub is up, and that pods may reach it; HF_ENDPOINT in the Secret names another hub."


class HubRepository(Store):
    """The files of a repository at one commit; its kind is as the hub calls it, model or dataset."""

    def __init__(self, name: str, kind: str, revision: str | None, keys: Mapping[str, str], folder: Path) -> None:
        super().__init__(fsspec.filesystem("file"), str(folder))
        self._repository, self._repo_type = name, kind
        self._hub: dict[str, Any] = {
            "endpoint": keys.get("HF_ENDPOINT", "").rstrip("/") or None,
            "token": keys.get("token") or False,
        }
        self.commit, self.sizes = self._look(revision or DEFAULT_REVISION)
        self.files = sorted(self.sizes)

    def _look(self, revision: str) -> tuple[str, dict[str, int]]:
        """Return the commit, and its files with their sizes, which are 0 where the hub does not tell them."""
        from huggingface_hub import HfApi

        kind = self._repo_type
        with _told(self._repository, revision, kind), _online():
            found = HfApi(**self._hub).repo_info(
                self._repository, revision=revision, repo_type=kind, timeout=60, files_metadata=kind == "dataset"
            )
        if not re.fullmatch(r"[0-9a-f]{40}", found.sha or ""):
            message = f"the hub names no commit for revision {revision!r}."
            raise StorageFailed(Problem.of("ServerFailed", message, value=self._repository, remedy=_UP))
        return str(found.sha), {item.rfilename: item.size or 0 for item in found.siblings or ()}

    def names(self, folder: str = "") -> list[str]:
        """Return the sorted names of the files right in a folder."""
        return [name for path in self.files for above, _, name in [path.rpartition("/")] if above == folder]

    @contextmanager
    def open(self, relative: str) -> Iterator[IO[bytes]]:
        """Copy a file into scratch, and open it for reading."""
        if relative in self.files:
            self._fetch(relative)
        with super().open(relative) as stream:
            yield stream

    def _fetch(self, name: str) -> None:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import tqdm

        class Telling(tqdm):  # type: ignore[misc]
            """The library's bar, which is not shown, and by which it tells of each piece that has come."""

            def update(self, n: float | None = 1) -> bool | None:
                progress.made()
                return bool(super().update(n))

        kind = self._repo_type
        with copies.told(Path(self.path())), _told(self._repository, self.commit, kind), _online():
            hf_hub_download(
                self._repository,
                name,
                repo_type=kind,
                revision=self.commit,
                local_dir=self.path(),
                tqdm_class=Telling,
                **self._hub,
            )


@contextmanager
def _online() -> Iterator[None]:
    """Let the library use the network, which it otherwise must not."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _told(repository: str, revision: str, kind: str) -> Iterator[None]:
    """Turn the library's errors into words."""
    from httpx2 import HTTPError
    from huggingface_hub import errors

    try:
        yield
    except (HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _DISK:
            raise  # of the folder that is written to
        # A download hides why it could not ask behind an error of its own cache.
        cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ else error
        raise _problem(cause, repository, revision, kind) from error


def _problem(error: BaseException, repository: str, revision: str, kind: str) -> BadInput | StorageFailed:
    from huggingface_hub import errors

    answer = getattr(error, "response", None)
    status = answer.status_code if answer is not None else 0

    if isinstance(error, errors.GatedRepoError) or status == 403:
        problem = Problem.of("AccessDenied", f"access is denied: {error}", value=repository, remedy=_TOKEN)
    elif isinstance(error, errors.RevisionNotFoundError):
        message, remedy = f"{repository} has no revision {revision!r}.", "Name a commit, a branch or a tag of it."
        problem = Problem.of("RevisionMissing", message, value=revision, remedy=remedy)
    elif isinstance(error, errors.RepositoryNotFoundError) or status in (401, 404):
        # A hub does not tell strangers which repositories there are.
        message, remedy = "there is no such repository, or it is not for everyone.", f"Correct the URI. {_TOKEN}"
        reason = "BaseMissing" if kind == "model" else "SourceMissing"
        problem = Problem.of(reason, message, value=repository, remedy=remedy)
    elif status in (400, 405, 410, 451):
        message, remedy = f"the hub refuses: {error}", "Correct the URI."
        problem = Problem.of("SourceRefused", message, value=repository, remedy=remedy)
    elif status:
        return StorageFailed(Problem.of("ServerFailed", f"the hub fails: {error}", value=repository, remedy=_UP))
    else:
        message = f"the hub does not answer: {error}"
        return StorageFailed(Problem.of("EndpointUnreachable", message, value=repository, remedy=_UP))
    return BadInput(problem)
