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


def test_how_vectors_are_made_is_read_from_a_bucket_too(
    project: Project, server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.unit.trainer.test_embeddings import embedding_job, matching
    from tests.unit.trainer.test_imports_embeddings import place, whole

    matched = matching(project, "BertModel")
    whole(matched)
    given, there = import_job(matched, like=embedding_job(matched)), f"{server.scheme}://{bucket}"
    give_keys(matched, server, monkeypatch, storage=f"{there}/storage")
    made = server.connect(bucket, "/made")
    for file in place(matched).rglob("*"):
        if file.is_file():
            made.write(str(file.relative_to(place(matched))), file.read_bytes(), "")
    upload(server.connect(bucket, "/tiny"), matched.root / "pvc" / "models" / "tiny")
    shutil.rmtree(place(matched))
    problem = problem_of(from_bucket(given, there, given.inputs.method.source))
    report = work(from_bucket(given, there, digest_told(problem)))
    manifest = server.connect(bucket, "/storage").verified(report.digest)
    assert manifest is not None
    assert {"modules.json", "1_Pooling/config.json"} <= {entry.path for entry in manifest.files}
    pooling = made.read("1_Pooling/config.json")
    made.write("1_Pooling/config.json", pooling.replace(b"true", b"null").replace(b"false", b"true"), "")
    problem = problem_of(from_bucket(given, there, given.inputs.method.source))
    assert problem.reason == "DigestMismatch", "the pooling is part of what is imported"
    problem = problem_of(from_bucket(given, there, digest_told(problem)))
    assert (problem.reason, problem.field, problem.value) == ("ImportUnfit", "method.uri", f"{there}/made")
