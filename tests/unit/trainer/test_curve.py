"""The picture of the losses. Needs the trainer's libraries: runs inside its image."""

from typing import Any
from xml.etree import ElementTree

import pytest

from stagecoach.contract.layout import run_folder
from stagecoach.contract.records import EvalPoint, LossPoint, TrainingRecord
from stagecoach.contract.reports import ArtifactReport
from tests.unit.contract.test_records import record

from .conftest import Project, record_of

pytest.importorskip("matplotlib", reason="needs the trainer's libraries: runs inside the trainer image")
pytestmark = pytest.mark.filterwarnings("ignore")

LOSSES = tuple(LossPoint(step=step, loss=2 / step, learning_rate=1e-3 / step) for step in range(1, 11))
EVALUATIONS = (EvalPoint(step=5, epoch=1, loss=0.7), EvalPoint(step=10, epoch=2, loss=0.4))


def training(**changes: Any) -> TrainingRecord:
    return record().training.model_copy(update={"losses": LOSSES, "evaluations": EVALUATIONS} | changes)


def texts(svg: bytes) -> set[str]:
    """Return what can be read in a picture."""
    return {element.text or "" for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}  # noqa: S314


def test_the_same_numbers_are_the_same_picture_and_others_are_not() -> None:
    from stagecoach_trainer import curve

    first = curve.svg(training())
    assert curve.svg(training()) == first
    assert curve.svg(training(losses=LOSSES[:-1])) != first
    assert curve.svg(training(evaluations=EVALUATIONS[:1])) != first
    assert b"<dc:date>" not in first
    assert len(first) < 100_000


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, {"training", "validation"}),
        ({"evaluations": ()}, {"training"}),
        ({"best_step": 5}, {"training", "validation", "published"}),
        ({"losses": LOSSES[:1], "evaluations": ()}, {"training"}),
    ],
)
def test_it_says_what_it_shows(changes: dict[str, Any], told: set[str]) -> None:
    from stagecoach_trainer import curve

    found = texts(curve.svg(training(**changes)))
    assert {"training", "validation", "published"} & found == told
    assert {"step", "loss", "learning rate"} <= found


def test_the_card_shows_the_picture_beside_it(trained: tuple[Project, ArtifactReport]) -> None:
    from stagecoach_trainer import curve

    project = trained[0]
    folder = run_folder(record_of(project).inputs_digest)
    card = project.storage.read(f"{folder}/README.md").decode()
    assert "(loss.svg)" in card
    assert project.storage.read(f"{folder}/loss.svg") == curve.svg(record_of(project).training)
