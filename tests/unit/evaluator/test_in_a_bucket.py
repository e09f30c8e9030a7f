"""An evaluation whose storage and data are in an object store of each kind. Needs the evaluator's libraries."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stagecoach.contract import access, layout
from stagecoach.contract.jobs import DataSource
from stagecoach.contract.reports import Outcome
from stagecoach.contract.verdicts import Verdict
from stagecoach_evaluator import records
from stagecoach_trainer import credentials, places
from stagecoach_trainer.objects import ObjectStore
from tests.remedies import speaks
from tests.unit.trainer.objects.conftest import bucket, server  # noqa: F401
from tests.unit.trainer.objects.servers import Server, give_keys, upload

from .conftest import ACCURATE, Judging, evaluate
from .test_in_a_pod import awaits_loading, ended, started

torch = pytest.importorskip("torch", reason="needs the evaluator's libraries: runs inside the evaluator image")
pytestmark = pytest.mark.filterwarnings("ignore")


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()


@pytest.fixture
def stored(
    judging: Judging,
    server: Server,  # noqa: F811
    bucket: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Judging]:
    """The same, whose storage is in a bucket."""
    there = server.connect(bucket, "/storage")
    for name, content in everything(judging.project.root / "storage"):
        there.write(name, content, "test")
    there.clean("test")
    give_keys(judging.project, server, monkeypatch, storage=f"{server.scheme}://{bucket}/storage")
    yield judging
    shutil.rmtree(judging.project.root / "credentials")


def test_a_run_is_judged_from_and_to_a_bucket(
    judging: Judging,
    server: Server,  # noqa: F811
    bucket: str,  # noqa: F811
    asked: list[str],
    request: pytest.FixtureRequest,
) -> None:
    project, place = judging.project, f"{server.scheme}://{bucket}"
    job = judging.job()
    expected = judging.judge()
    for folder in (layout.OUTPUTS, layout.EVALUATIONS, layout.RELEASES):
        project.storage.remove(folder)
    request.getfixturevalue("stored")
    upload(server.connect(bucket, "/data"), project.root / "pvc" / "data")

    def lying(sources: tuple[DataSource, ...]) -> tuple[DataSource, ...]:
        return tuple(item.model_copy(update={"uri": f"{place}/data/{item.name}.csv"}) for item in sources)

    job = job.model_copy(update={"datasets": lying(job.datasets), "trained_on": lying(job.trained_on)})
    report = evaluate(job)
    storage = places.storage()
    assert isinstance(storage, ObjectStore)
    assert (report.verdict, report.results, report.exposures) == (Verdict.PASSED, expected.results, 1)
    assert list(records.read(storage, job.inputs.digest))
    assert storage.folders(layout.STAGING) == []
    assert evaluate(job).adopted
    other = replace(judging, criteria=(ACCURATE.model_copy(update={"min": 0.5}),)).job().inputs
    assert evaluate(job.model_copy(update={"inputs": other})).exposures == 1
    assert asked == ["the release", "the release"]


@pytest.mark.parametrize("server", ["s3"], indirect=True)
def test_a_storage_that_goes_away_is_told_and_what_is_tried_again_passes(
    stored: Judging,
    server: Server,  # noqa: F811
) -> None:
    """After all was read, and before answers are written."""
    job = stored.job()
    told = {name: os.environ[name] for name in (access.ENVIRONMENT_VARIABLE, credentials.LOOPBACK_VARIABLE)}
    process = started(stored, job.line(), **told)
    awaits_loading(stored, process)
    server.kill()
    try:
        code, report, _, log = ended(stored, process)
    finally:
        server.start()
    assert (code, report.outcome) == (69, Outcome.SERVICE_FAILED), log
    assert report.problem is not None
    assert (report.problem.reason, report.problem.field) == ("EndpointUnreachable", "storage.uri")
    assert speaks(report.problem.reason, report.problem.sentence)
    assert evaluate(job).verdict is Verdict.PASSED
