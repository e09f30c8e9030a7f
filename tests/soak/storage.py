"""What lies in the storage of the real runs."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stagecoach.contract import layout
from stagecoach.contract.digests import FileEntry, Manifest, file_entry
from stagecoach.contract.evaluations import EvaluationRecord
from tests.soak.evidence import Recorded

Object = dict[str, Any]
PROJECT = "desk"


def look_into(storage: Path, runs: list[Object]) -> dict[str, str]:
    """Return what is wrong with record and artifact of each run that succeeded, by inputs digest."""
    return {
        run["status"]["inputs"]["digest"]: _wrong(storage / PROJECT, run)
        for run in runs
        if run.get("status", {}).get("phase") == "Succeeded"
    }


def _wrong(root: Path, run: Object) -> str:
    status = run["status"]
    try:
        record = json.loads((root / layout.record_file(status["inputs"]["digest"])).read_text())
        artifact = status["artifact"]["digest"]
        manifest = Manifest.model_validate_json((root / layout.manifest_file(artifact)).read_text())
        found = []
        for entry in manifest.files:
            with (root / layout.artifact_folder(artifact) / entry.path).open("rb") as stream:
                found.append(file_entry(entry.path, stream))
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    if record["artifact"]["digest"] != artifact:
        return f"the record names the artifact {record['artifact']['digest']}, the status {artifact}"
    digest = Manifest.of(found).digest
    return "" if digest == artifact else f"the artifact's files have the digest {digest}, not {artifact}"


def records(storage: Path, evaluations: Sequence[Object]) -> dict[str, Recorded | str]:
    """Return the record of each key that is judged, or what is wrong with it; a key without one is left out."""
    keys = {each["spec"]["key"] for each in evaluations}
    root = storage / PROJECT
    return {key: _record(root, key) for key in keys if (root / layout.evaluation_record(key)).exists()}


def _record(root: Path, key: str) -> Recorded | str:
    try:
        content = (root / layout.evaluation_record(key)).read_bytes()
        record = EvaluationRecord.model_validate_json(content)
        for file in record.report:
            if _entry(root / layout.evaluation_folder(key) / file.path, file.path) != file:
                return f"{file.path} is not what the record says"
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return Recorded(f"sha256:{hashlib.sha256(content).hexdigest()}", record)


def _entry(path: Path, name: str) -> FileEntry:
    with path.open("rb") as stream:
        return file_entry(name, stream)
