"""What was made elsewhere, imported from an object store of each kind, and into one."""

import shutil
from pathlib import Path

import pytest

from stagecoach.contract.jobs import ImportJob, ImportSource
from stagecoach_trainer import lookup
from tests.unit.trainer.conftest import Project
from tests.unit.trainer.elsewhere import digest_told, import_job, problem_of, whole_decoder, work

from .servers import Server, give_keys, upload

pytest.importorskip("s3fs", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")


def from_bucket(job: ImportJob, there: str, digest: str) -> ImportJob:
    """Return an import of `made` in a bucket, for the base beside it."""
    inputs = job.inputs.model_copy(update={"method": job.inputs.method.model_copy(update={"source": digest})})
    base = job.base.model_copy(update={"uri": f"{there}/tiny"})
    return job.model_copy(update={"inputs": inputs, "base": base, "source": ImportSource(uri=f"{there}/made")})


def test_a_model_is_imported_from_and_to_a_bucket(
    real: Project, tmp_path: Path, server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, made = real.root / "pvc" / "models" / "tiny", tmp_path / "made"
    whole_decoder(made, base)
    given, there = import_job(real), f"{server.scheme}://{bucket}"
    give_keys(real, server, monkeypatch, storage=f"{there}/storage")
    upload(server.connect(bucket, "/made"), made)
    upload(server.connect(bucket, "/tiny"), base)
    shutil.rmtree(base)
    shutil.rmtree(made)

    problem = problem_of(from_bucket(given, there, given.inputs.method.source))
    assert (problem.reason, problem.field, problem.value) == ("DigestMismatch", "method.digest", f"{there}/made")
    job = from_bucket(given, there, digest_told(problem))
    problem = problem_of(job.model_copy(update={"source": ImportSource(uri=f"{there}/absent")}))
    assert (problem.reason, problem.field, problem.value) == ("ImportMissing", "method.uri", f"{there}/absent")
    report = work(job)
    storage = server.connect(bucket, "/storage")
    manifest = storage.verified(report.digest)
    assert manifest is not None
    assert (report.type, report.digest) == ("Model", manifest.digest)
    assert lookup.read_record(storage, job.inputs.digest) is not None
    assert storage.folders("staging") == []
