"""To approve or reject: shows what is decided on, asks, makes the Approval, and says what came of it."""

from functools import partial

import typer
from rich.text import Text

from stagecoach_plugin import approving, evaluations, screen
from stagecoach_plugin.approving import APPROVE, Person, Said
from stagecoach_plugin.evaluations import Reviewer
from stagecoach_plugin.following import follow
from stagecoach_plugin.kinds import EVALUATION
from stagecoach_plugin.making import Maker
from stagecoach_plugin.problems import Object, Problem
from stagecoach_plugin.texts import both, plain, several, short


class Desk(Maker):
    """Where somebody decides about an Evaluation."""

    def decide(self, name: str, said: Said, seconds: float) -> None:
        """Decide, and say what came of it. Raises Problem if it was not made, or does not count."""
        evaluation = self._open(name)
        person = Person(*self.connection.who_am_i())
        role = approving.as_reviewer(evaluation, person)
        before = approving.earlier(evaluation, person)
        if before and said.decision == APPROVE:
            told = f"You have approved already: {before['name']} counts, since {before['at']}. Nothing to do."
            self.console.print(plain(told))
            return
        if said.decision == APPROVE:
            approving.unknown_scores(evaluation, said.scores)
        self._may_ask(evaluation, said)
        screen.show(self.console, *screen.whole(evaluation, self.console.width))
        said = self._scored(evaluation, said)
        self.confirm(_told(evaluation, person, role, said))
        # Hours may have passed since it was shown.
        found = self._open(name)
        approving.unchanged(evaluation, found, self.commands.stagecoach(f"report {name}"))
        made = self.make(
            partial(approving.approval, found, person, role, said), lambda there: approving.stands(there, found)
        )
        came = follow(self.connection, made["metadata"]["name"], name, seconds)
        self.tell(came)
        if came.evaluation is not None:
            self.console.print(_outcome(came.evaluation))

    def _open(self, name: str) -> Object:
        """Return an Evaluation that awaits a review. Raises Problem."""
        evaluation = self.connection.get(EVALUATION, name)
        approving.open_for_review(evaluation, self.commands.stagecoach(f"why evaluation/{name}"))
        return evaluation

    def _may_ask(self, evaluation: Object, said: Said) -> None:
        missing = approving.missing_scores(evaluation, said.scores) if said.decision == APPROVE else []
        report = self.commands.stagecoach(f"report {evaluation['metadata']['name']}")
        self.may_ask(f"look at it with `{report}`, and ")
        if missing and not self.asks:
            told = " ".join(f"--score {name}=<1 to 5>" for name in missing)
            raise Problem(f"The gate asks for scores of {both(missing)}: add {told}.")

    def _scored(self, evaluation: Object, said: Said) -> Said:
        """Return what is said with the scores that are still missing: asked for after the rows were shown."""
        if said.decision != APPROVE:
            return said
        asked = {name: _score(name) for name in approving.missing_scores(evaluation, said.scores)}
        return Said(said.decision, said.scores | asked, said.reason)


def _told(evaluation: Object, person: Person, role: Reviewer, said: Said) -> str:
    """Return all that the Approval will say: it cannot be changed."""
    member = f", as {role}" if role.group else ""
    release = short(evaluation["spec"]["release"]["digest"])
    told = f"{said.decision} release {release} of {evaluations.whose(evaluation)} as {person.user}{member}"
    if said.scores:
        told += f", with {both([f'{name} {score}' for name, score in said.scores.items()])}"
    return told + (f', because "{said.reason}"' if said.reason else "")


def _outcome(evaluation: Object) -> Text:
    name = evaluation["metadata"]["name"]
    decided = evaluations.verdict(evaluation)
    if decided:
        message = evaluation["status"].get("message") or ""
        return Text.assemble(f"Evaluation {name}: ", screen.styled(decided), f". {plain(message)}")
    counted = len(evaluations.approvals(evaluation))
    needed = evaluations.asked_review(evaluation).get("approvals", 1)
    return Text(
        f"Evaluation {name}: {counted} of {several(needed, 'approval')}; the verdict follows when all are there."
    )


def _score(name: str) -> int:
    while True:
        given: int = typer.prompt(f"Score of {plain(name)}, from 1 (worst) to 5 (best)", type=int)
        if 1 <= given <= 5:
            return given
