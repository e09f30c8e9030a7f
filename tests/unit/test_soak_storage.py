"""What a soak finds in the storage of real evaluations."""

import hashlib
from pathlib import Path

from stagecoach.contract import layout
from tests.soak.evidence import Recorded
from tests.soak.storage import PROJECT, records
from tests.unit.test_soak_judged import KEY, evaluation, recorded


def written(storage: Path) -> Path:
    """Write a record with one file of its report, and return their folder."""
    folder = storage / PROJECT / layout.evaluation_folder(KEY)
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("{}")
    file = {"path": "report.json", "size": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}
    (folder / "record.json").write_text(recorded(report=[file]).record.line())
    return folder


def test_a_record_is_read_with_its_digest(tmp_path: Path) -> None:
    content = (written(tmp_path) / "record.json").read_bytes()
    found = records(tmp_path, [evaluation(), evaluation()])[KEY]
    assert isinstance(found, Recorded)
    assert (found.digest, found.record.verdict) == (f"sha256:{hashlib.sha256(content).hexdigest()}", "Passed")


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    assert records(tmp_path, [evaluation()]) == {}
    folder = written(tmp_path)
    (folder / "report.json").write_text("[]")
    assert records(tmp_path, [evaluation()]) == {KEY: "report.json is not what the record says"}
    (folder / "report.json").unlink()
    assert "FileNotFoundError" in str(records(tmp_path, [evaluation()])[KEY])
    (folder / "record.json").write_text("{")
    assert "ValidationError" in str(records(tmp_path, [evaluation()])[KEY])
