"""A small server that speaks as much of a hub's protocol as a download needs.

As a program: `python3 -m tests.unit.trainer.hub_server <folder of a model> <port> <folder of .csv files>`, which takes the
token in HUB_TOKEN only, and has the files as the splits of data set desk/rows, each by its name.
"""

import hashlib
import json
import os
import sys
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from .weights import safetensors_of

OLD, NEW = "a" * 40, "b" * 40


@dataclass
class Repository:
    """The files of a repository by commit, and what its branches and tags stand for."""

    commits: dict[str, dict[str, bytes]]
    refs: dict[str, str] = field(default_factory=lambda: {"main": NEW, "v1": OLD, "refs/pr/1": OLD})

    def commit(self, revision: str) -> str | None:
        """Return the commit that a revision stands for, or None."""
        return revision if revision in self.commits else self.refs.get(revision)


class Hub(ThreadingHTTPServer):
    """Model desk/tiny with two commits, and what data sets a test adds; `gated` and `secret` are so by their names."""

    def __init__(self, folder: Path, address: tuple[str, int] = ("127.0.0.1", 0), token: str | None = None) -> None:
        super().__init__(address, Handler)
        files = {file.name: file.read_bytes() for file in folder.iterdir()} | {"README.md": b"# Tiny"}
        self.model = Repository({OLD: files, NEW: files | {"model.safetensors": safetensors_of(b"newer weights")}})
        self.repositories = {"models/desk/tiny": self.model}
        self.token = token
        self.down = 0
        self.tells_sizes = True
        self.asked: list[tuple[str, str, str | None]] = []

    def add(self, name: str, files: dict[str, bytes], old: dict[str, bytes] | None = None) -> Repository:
        """Add a data set."""
        made = Repository({NEW: files, OLD: files if old is None else old})
        self.repositories[f"datasets/{name}"] = made
        return made


class Handler(BaseHTTPRequestHandler):
    """GET /api/<kind>/<repository>/revision/<revision>, HEAD and GET [/datasets]/<repository>/resolve/<commit>/<file>."""

    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        # A slash of a revision is written as %2F: one that is not begins the next part.
        parts = [unquote(part) for part in self.path.partition("?")[0].strip("/").split("/")]
        token = self.headers.get("Authorization")
        self.server.asked.append((self.command, "/".join(["", *parts]), token))
        match parts:
            case _ if self.server.down:
                self.answer(self.server.down, b"")
            case _ if self.server.token is not None and token != f"Bearer {self.server.token}":
                self.answer(401, b"", {"X-Error-Message": "Invalid credentials"})
            case ["api", _, "desk", "secret", *_]:
                self.answer(401, b"", {"X-Error-Message": "Invalid credentials"})
            case ["api", _, "desk", "gated", *_]:
                self.answer(403, b"", {"X-Error-Code": "GatedRepo"})
            case ["api", kind, owner, name, "revision", revision]:
                self.tell(f"{kind}/{owner}/{name}", revision)
            case ["datasets", owner, name, "resolve", commit, *path]:
                self.give(f"datasets/{owner}/{name}", commit, "/".join(path))
            case [owner, name, "resolve", commit, *path]:
                self.give(f"models/{owner}/{name}", commit, "/".join(path))
            case _:
                self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    def tell(self, place: str, revision: str) -> None:
        """Answer with a repository's commit and files."""
        repository = self.server.repositories.get(place)
        if repository is None:
            self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif commit := repository.commit(revision):
            files = repository.commits[commit]
            told_too = "blobs=true" in self.path and self.server.tells_sizes
            names = [{"rfilename": name} | ({"size": len(files[name])} if told_too else {}) for name in files]
            told = {"id": place.partition("/")[2], "sha": commit, "siblings": names}
            self.answer(200, json.dumps(told).encode())
        else:
            self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})

    def give(self, place: str, commit: str, name: str) -> None:
        """Answer with a file."""
        repository = self.server.repositories.get(place)
        content = repository.commits.get(commit, {}).get(name) if repository else None
        if content is None:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound" if repository else "RepoNotFound"})
        else:
            tag = hashlib.sha256(content).hexdigest()
            self.answer(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": commit})

    def answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def main(folder: str, port: str, rows: str) -> None:
    """Serve a model and a data set, each at both commits."""
    hub = Hub(Path(folder), ("0.0.0.0", int(port)), os.environ["HUB_TOKEN"])  # noqa: S104 - in a pod
    hub.model.commits[NEW] = hub.model.commits[OLD]
    hub.add("desk/rows", {file.name: file.read_bytes() for file in Path(rows).glob("*.csv")})
    hub.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
