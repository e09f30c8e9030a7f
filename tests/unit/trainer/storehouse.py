"""A storage with artifacts and records, and Jobs of retention at other times."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract import layout
from stagecoach.contract.digests import hex_of
from stagecoach.contract.jobs import RetainJob, Subject
from stagecoach.contract.reports import RetentionReport
from stagecoach.contract.store import Store
from stagecoach_trainer import survey
from stagecoach_trainer.retain import Pass

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
PROJECT = Subject(kind="TransformerProject", namespace="team", name="desk", uid="project-1")


def written(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def inputs_of(number: int) -> str:
    return f"sha256:{f'{number:x}' * 64}"


@dataclass
class Storehouse:
    """A storage of which the files are as old as the records say, where files can be."""

    store: Store
    artifacts: list[str] = field(default_factory=list)

    def make(self, number: int, days: float = 100, project: str | None = PROJECT.uid, **more: Any) -> str:
        """Publish an artifact and the record of its training some days ago, and return its digest."""
        files = {"adapter_config.json": b"{}\n", "adapter_model.safetensors": bytes([number]) * 1000}
        digest = self.store.publish(files, "test").digest
        record: dict[str, Any] = {
            "schemaVersion": 1,
            "inputsDigest": inputs_of(number),
            "finished": written(NOW - days * DAY),
            "artifact": {"digest": digest, "bytes": 1003},
            "whatALaterVersionSays": True,
        }
        record |= ({"projectUid": project} if project else {}) | more
        self.write(layout.record_file(inputs_of(number)), json.dumps(record))
        self.age(days, layout.artifact_folder(digest))
        self.artifacts.append(digest)
        return digest

    def write(self, place: str, text: str) -> None:
        self.store.write(place, text.encode(), "test")
        self.store.clean("test")

    def age(self, days: float, folder: str = "") -> None:
        """Make the files of a mounted storage that old."""
        if self.store.local_folder is None:
            return
        at = (NOW - timedelta(days=days)).timestamp()
        for item in self.store.listing(folder):
            os.utime(self.store.path(f"{folder}/{item.path}" if folder else item.path), (at, at), follow_symlinks=False)

    def job(self, days: float = 0, **changes: Any) -> RetainJob:
        values: Mapping[str, Any] = {
            "subject": PROJECT,
            "runs": 1,
            "keep_seconds": 30 * 86400,
            "notice_seconds": 3 * 86400,
            "decided": written(NOW + timedelta(days=days)),
            "protected": (),
            "known_runs": (),
        }
        return RetainJob(**{**values, **changes})

    def look(self, days: float = 0, store: Store | None = None, **changes: Any) -> RetentionReport:
        """Carry out a Job that is decided so many days from now."""
        return Pass(store or self.store, self.job(days, **changes), NOW + timedelta(days=days)).run()

    def state(self, digest: str) -> str:
        """Return what of an artifact is there."""
        whole = self.store.verified(digest) is not None
        leaves = self.store.exists(layout.leaving_file(digest))
        if whole:
            return "whole, and announced" if leaves else "whole"
        if self.store.exists(layout.manifest_file(digest)):
            return "broken"
        if leaves:
            return "leaving"
        gone = not self.store.listing(layout.artifact_folder(digest))
        return "gone" if gone and self.store.exists(layout.removed_file(digest)) else "lost"

    def states(self) -> list[str]:
        return [self.state(digest) for digest in self.artifacts]

    def pin(self, digest: str, suffix: str = "") -> None:
        self.write(f"{layout.PINS}/{hex_of(digest)}{suffix}", "served")

    def held(self) -> set[str]:
        return set(survey.held(self.store))


class Crash(Exception):
    """The process is gone."""


class Crashing(Store):
    """A store that is gone at one of its writing steps: before it, or after it."""

    def __init__(self, store: Store, at: int) -> None:
        super().__init__(store._fs, store.path())
        self.at, self.steps = at, 0

    def _step(self) -> None:
        self.steps += 1
        if self.steps >= self.at:
            raise Crash

    def write(self, *arguments: Any) -> None:
        self._step()
        super().write(*arguments)

    def remove(self, relative: str) -> None:
        self._step()
        super().remove(relative)

    def remove_empty(self, folder: str) -> None:
        self._step()
        super().remove_empty(folder)


@pytest.fixture
def here(tmp_path: Path) -> Storehouse:
    """A storage with three artifacts, the first of which is the oldest."""
    made = Storehouse(Store.local(str(tmp_path / "storage")))
    Path(made.store.path()).mkdir()
    for number in (1, 2, 3):
        made.make(number, days=200 - number)
    return made
