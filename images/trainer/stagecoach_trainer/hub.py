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


class HubRepository(Store):
    """The files of a repository at one commit; its kind is as the hub calls it, model or dataset.

    It is asked for with what a Secret of the name `secret` holds.
    """

    def __init__(
        self, name: str, kind: str, revision: str | None, keys: Mapping[str, str], folder: Path, secret: str = ""
    ) -> None:
        super().__init__(fsspec.filesystem("file"), str(folder))
        self._repository, self._repo_type, self._secret = name, kind, secret
        self._uri = f"hf://{name}" if kind == "model" else f"hf://datasets/{name}"
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
        with self._told(revision), _online():
            found = HfApi(**self._hub).repo_info(
                self._repository, revision=revision, repo_type=kind, timeout=60, files_metadata=kind == "dataset"
            )
        if not re.fullmatch(r"[0-9a-f]{40}", found.sha or ""):
            message = f"the hub names no commit for revision {revision!r}."
            raise StorageFailed(Problem.of("ServerFailed", message, value=self._uri, remedy=self._up()))
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

        with copies.told(Path(self.path())), self._told(self.commit), _online():
            hf_hub_download(
                self._repository,
                name,
                repo_type=self._repo_type,
                revision=self.commit,
                local_dir=self.path(),
                tqdm_class=Telling,
                **self._hub,
            )

    # The hub's errors in words

    @contextmanager
    def _told(self, revision: str) -> Iterator[None]:
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
            raise self._problem(cause, revision) from error

    def _problem(self, error: BaseException, revision: str) -> BadInput | StorageFailed:
        from huggingface_hub import errors

        answer = getattr(error, "response", None)
        status = answer.status_code if answer is not None else 0

        if isinstance(error, errors.GatedRepoError) or status == 403:
            message = f"access is denied: {error}"
            problem = Problem.of("AccessDenied", message, value=self._uri, remedy=self._whose_right())
        elif isinstance(error, errors.RevisionNotFoundError):
            message, remedy = f"{self._uri} has no revision {revision!r}.", "Name a commit, a branch or a tag of it."
            problem = Problem.of("RevisionMissing", message, value=revision, remedy=remedy)
        elif isinstance(error, errors.RepositoryNotFoundError) or status in (401, 404):
            reason = "BaseMissing" if self._repo_type == "model" else "SourceMissing"
            message, remedy = self._missing(status)
            problem = Problem.of(reason, message, value=self._uri, remedy=f"Correct the URI. {remedy}")
        elif status in (400, 405, 410, 451):
            message, remedy = f"the hub refuses: {error}", "Correct the URI."
            problem = Problem.of("SourceRefused", message, value=self._uri, remedy=remedy)
        elif status:
            message = f"the hub fails: {error}"
            return StorageFailed(Problem.of("ServerFailed", message, value=self._uri, remedy=self._up()))
        else:
            message = f"the hub does not answer: {error}"
            return StorageFailed(Problem.of("EndpointUnreachable", message, value=self._uri, remedy=self._up()))
        return BadInput(problem)

    def _missing(self, status: int) -> tuple[str, str]:
        """Say what is not there, and what to do: a hub does not tell strangers which repositories there are."""
        token = f"the token in Secret {self._secret}"
        if not self._hub["token"]:
            return "there is no such repository, or it is not for everyone.", self._whose_right()
        if status == 401:
            message = f"{token} was not accepted, or there is no such repository."
            return message, f"Put a token into Secret {self._secret} that this hub knows."
        message = f"there is no such repository, or {token} may not read it."
        return message, f"Put a token into Secret {self._secret} that may read it."

    def _whose_right(self) -> str:
        """Say how what is not for everyone can be had, by what there is already."""
        gated = "if it is gated, accept its terms"
        if self._hub["token"]:
            return f"Let the account of the token in Secret {self._secret} read it; {gated} with that account first."
        if self._secret:
            return f"Put a token into Secret {self._secret} that may read it; {gated} first."
        return f"Let spec.credentials name a Secret with a token that may read it; {gated} first."

    def _up(self) -> str:
        named = f"Secret {self._secret}" if self._secret else "a Secret that spec.credentials names"
        return f"See that the hub is up, and that pods may reach it; HF_ENDPOINT in {named} means another hub."


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
