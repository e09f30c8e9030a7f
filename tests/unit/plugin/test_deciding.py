"""From what somebody is shown to what is made of it, without a cluster: the connection is a list of answers."""

import copy
import io
from collections.abc import Callable

import pytest
from rich.console import Console

from stagecoach_plugin.approving import APPROVE, REJECT, Said
from stagecoach_plugin.connection import Connection
from stagecoach_plugin.deciding import Desk
from stagecoach_plugin.kinds import EVALUATION, Kind
from stagecoach_plugin.problems import Missing, Object, Problem
from stagecoach_plugin.stories import Commands
from tests.unit.plugin import samples

SCORED = Said(APPROVE, {"fluency": 5, "accuracy": 4})


class Cluster(Connection):
    """Has an Evaluation, which somebody may change, and gives every Approval the same standing."""

    def __init__(self, standing: tuple[str, str, str] = ("Counted", "It counts.", "ready")) -> None:
        self.evaluation: Object | None = samples.awaiting()
        self.standing = standing
        self.made: list[Object] = []

    def get(self, kind: Kind, name: str) -> Object:
        if kind != EVALUATION:
            reason, message, mood = self.standing
            return self.made[0] | {"status": {"conditions": samples.conditions(reason, message, mood)}}
        if self.evaluation is None:
            raise Missing(f"There is no object {name}.")
        return copy.deepcopy(self.evaluation)

    def create(self, kind: Kind, obj: Object) -> Object:
        assert kind != EVALUATION
        self.made.append(obj)
        return obj

    def who_am_i(self) -> tuple[str, tuple[str, ...]]:
        return "qa@example.com", ()


def desk(cluster: Cluster, *, asks: bool) -> Desk:
    console = Console(file=io.StringIO(), width=100, markup=False, emoji=False, highlight=False)
    return Desk(cluster, Commands("support"), console, asks)


def printed(where: Desk) -> str:
    text: str = where.console.file.getvalue()  # type: ignore[attr-defined]
    return " ".join(text.split())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], list[str]]:
    """A terminal where somebody says yes, after something has happened; returns the questions."""

    def prepare(happens: Callable[[], object]) -> list[str]:
        questions: list[str] = []

        def confirm(question: str) -> bool:
            questions.append(question)
            happens()
            return True

        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        monkeypatch.setattr("typer.confirm", confirm)
        return questions

    return prepare


Asked = Callable[[Callable[[], object]], list[str]]


def made_anew(cluster: Cluster) -> None:
    assert cluster.evaluation
    cluster.evaluation["metadata"]["uid"] = "another"


def asked_anew(cluster: Cluster) -> None:
    assert cluster.evaluation
    cluster.evaluation["status"]["review"]["asked"] = "2026-03-01T11:00:00Z"


def other_reviewers(cluster: Cluster) -> None:
    assert cluster.evaluation
    cluster.evaluation["spec"]["review"]["approvals"] = 1


def other_rows(cluster: Cluster) -> None:
    assert cluster.evaluation
    cluster.evaluation["status"]["review"]["rows"] = [samples.ROWS[0] | {"candidate": "We refund everything."}]


def decided(cluster: Cluster) -> None:
    cluster.evaluation = samples.decided("Failed", "Rejected", "Rude.")


def judged_anew(cluster: Cluster) -> None:
    cluster.evaluation = samples.evaluation(spec={"review": samples.REVIEW}, phase="Running")


def deleted(cluster: Cluster) -> None:
    cluster.evaluation = None


CHANGES = [
    (made_anew, "is another than the one that you were shown"),
    (asked_anew, "is another than the one that you were shown"),
    (other_reviewers, "is another than the one that you were shown"),
    (other_rows, "Look at it again with `kubectl stagecoach report support-desk-ecfa139ab8f1 -n support`"),
    (decided, "is decided already: Failed"),
    (judged_anew, "does not await a review yet: it is Running"),
    (deleted, "There is no object support-desk-ecfa139ab8f1"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
@pytest.mark.parametrize("said", [SCORED, Said(REJECT, {}, "rude")], ids=["approve", "reject"])
def test_what_has_changed_since_it_was_shown_is_not_decided_on(
    asked: Asked, said: Said, change: Callable[[Cluster], None], words: str
) -> None:
    cluster = Cluster()
    asked(lambda: change(cluster))
    with pytest.raises(Problem) as raised:
        desk(cluster, asks=True).decide(samples.NAME, said, 0)
    assert words in str(raised.value)
    assert cluster.made == []


def test_nor_where_nobody_is_asked() -> None:
    class Changing(Cluster):
        def who_am_i(self) -> tuple[str, tuple[str, ...]]:
            made_anew(self)  # after it was read
            return super().who_am_i()

    cluster = Changing()
    with pytest.raises(Problem, match="is another than the one that you were shown"):
        desk(cluster, asks=False).decide(samples.NAME, SCORED, 0)
    assert cluster.made == []


def test_that_somebody_else_approves_in_between_changes_nothing(asked: Asked) -> None:
    cluster = Cluster()

    def approved() -> None:
        cluster.evaluation = samples.awaiting(samples.NAME, samples.FIRST | {"reviewer": "lead@example.com"})

    asked(approved)
    desk(cluster, asks=True).decide(samples.NAME, SCORED, 0)
    assert len(cluster.made) == 1


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (SCORED, "as qa@example.com, with fluency 5 and accuracy 4"),
        (
            Said(APPROVE, SCORED.scores, "all fine"),
            'as qa@example.com, with fluency 5 and accuracy 4, because "all fine"',
        ),
        (Said(REJECT, {}, "Row 3 is\x1b[2J rude."), 'as qa@example.com, because "Row 3 is[U+001B][2J rude."'),
    ],
)
def test_the_question_has_all_that_cannot_be_changed_after_it(asked: Asked, said: Said, words: str) -> None:
    whole = f"{said.decision} release f5aadf0949ff of run support-desk-lora {words}"
    questions = asked(lambda: None)
    desk(Cluster(), asks=True).decide(samples.NAME, said, 0)
    assert questions == [f"{whole}?"]
    silent = desk(Cluster(), asks=False)
    silent.decide(samples.NAME, said, 0)
    assert f"{whole}." in printed(silent)


def test_what_does_not_count_is_a_problem() -> None:
    where = desk(Cluster(("Expired", "It has expired. Create another.", "stalled")), asks=False)
    with pytest.raises(Problem) as raised:
        where.decide(samples.NAME, SCORED, 0)
    assert str(raised.value).startswith("Approval qa-ecfa139ab8f1-")
    assert str(raised.value).endswith(" does not count: Expired. It has expired. Create another.")
    assert "Expired" not in printed(where)
