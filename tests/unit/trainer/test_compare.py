import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.layout import record_file
from stagecoach.contract.reports import ArtifactReport
from stagecoach_trainer import compare
from stagecoach_trainer.chooser import Chooser
from stagecoach_trainer.compare import Score, overall, table

from .conftest import Project, record_of

pytestmark = pytest.mark.filterwarnings("ignore")

# As tokens with an end: "ab", "abc", "ad", "x".
CHOICES = [(1, 2, 9), (1, 2, 3, 9), (1, 4, 9), (7, 9)]


@pytest.mark.parametrize(
    ("written", "left", "allowed"),
    [
        ([], [0, 1, 2, 3], [1, 7]),
        ([1], [0, 1, 2], [2, 4]),
        ([1, 2], [0, 1], [3, 9]),
        ([1, 2, 9], [0], [0]),
        ([1, 2, 3], [1], [0]),
        ([1, 4], [2], [0]),
        ([7], [3], [0]),
        ([7, 0, 0, 0], [3], [0]),
        ([1, 2, 9, 0], [0], [0]),
    ],
)
def test_choosing_ends_where_one_choice_is_left(written: list[int], left: list[int], allowed: list[int]) -> None:
    chooser = Chooser(None, CHOICES)
    assert chooser._left(written) == left
    assert chooser._allowed(written) == allowed


def test_the_table() -> None:
    scores = {"card_lost": Score(4, 1, 3), "é": Score(1, 0, 1)}
    assert overall(scores) == Score(5, 1, 4)
    assert table(scores, "adapter").splitlines() == [
        "             rows    base  adapter",
        "accuracy        5   0.200    0.800",
        "card_lost       4   0.250    0.750",
        "é               1   0.000    1.000",
    ]


# With a real model, so inside the trainer's image.


def comparing(project: Project, **changes: Any) -> Namespace:
    inputs = changes.pop("inputs", None) or project.train_job().inputs.digest
    values = {"inputs": inputs, "data": None, "base": None, "limit": None, "batch_size": 3, "threads": 1}
    return Namespace(**(values | {"artifact": None, "columns": None, "json": None} | changes))


def test_comparing_base_and_adapter(
    trained: tuple[Project, ArtifactReport], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    project = trained[0]
    assert compare.main(comparing(project, data="pvc://data/train.csv", json=str(tmp_path / "n.json"))) == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[0].split() == ["rows", "base", "adapter"]
    assert "adapter: 16 of 16 prompts" in output.err
    numbers = json.loads((tmp_path / "n.json").read_text())
    assert numbers["accuracy"]["rows"] == 16
    assert numbers["accuracy"]["adapter"] > max(0.8, numbers["accuracy"]["base"])
    assert set(numbers["labels"]) == {"card_lost", "parcel_late"}


def test_comparing_uses_the_validation_sets_by_default(
    trained: tuple[Project, ArtifactReport], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main(comparing(trained[0], limit=3)) == 0
    assert "base: 3 of 3 prompts" in capsys.readouterr().err


def test_comparing_what_one_of_several_runs_made(
    trained: tuple[Project, ArtifactReport], capsys: pytest.CaptureFixture[str]
) -> None:
    """A newer run with the same inputs, whose artifact is gone."""
    project, report = trained
    known = record_of(project)
    artifact = known.artifact.model_copy(update={"digest": "sha256:" + "ab" * 32})
    later = known.model_copy(update={"artifact": artifact, "finished": "2099-01-01T00:00:00Z"})
    place = record_file(known.inputs_digest, "record.0123456789ab.json")
    project.storage.write(place, later.model_dump_json(by_alias=True, exclude_none=True).encode(), "test")
    try:
        for named in (None, report.digest):
            assert compare.main(comparing(project, limit=1, artifact=named)) == 0
        assert compare.main(comparing(project, limit=1, artifact=artifact.digest)) == 64
        assert f"its artifact {artifact.digest} is not there" in capsys.readouterr().err
    finally:
        project.storage.remove(place)
        project.storage.clean("test")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": "sha256:" + "0" * 64}, "no complete run"),
        ({"artifact": "sha256:" + "0" * 64}, "that made the artifact sha256:000"),
        ({"data": "absent.csv"}, "absent.csv"),
        ({"data": "pvc://data/absent.csv"}, "no such file"),
        ({"data": "ftp://x/y.csv"}, "not a URI"),
        ({"data": "hf://datasets/desk.csv"}, "names no data set"),
        ({"columns": '{"text": "text"}'}, "--columns is for the file of --data"),
        ({"data": "pvc://data/train.csv", "columns": "text"}, "--columns text does not name the columns of a Class"),
    ],
)
def test_what_cannot_be_compared(
    trained: tuple[Project, ArtifactReport],
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    words: str,
) -> None:
    assert compare.main(comparing(trained[0], **changes)) == 64
    assert words in capsys.readouterr().err
