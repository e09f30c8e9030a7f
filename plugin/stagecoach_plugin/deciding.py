"""To approve or reject: shows what is decided on, asks, makes the Approval, and says what came of it."""

import sys
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.text import Text

from stagecoach_plugin import approving, evaluations, screen
from stagecoach_plugin.approving import APPROVE, Person, Said
from stagecoach_plugin.connection import Connection
from stagecoach_plugin.evaluations import Reviewer
from stagecoach_plugin.following import Found, follow
from stagecoach_plugin.kinds import APPROVAL, EVALUATION
from stagecoach_plugin.problems import Conflict, Object, Problem
from stagecoach_plugin.stories import Commands
from stagecoach_plugin.texts import both, plain, several, short

MOST = 20  # times that one person says the same again about one Evaluation


@dataclass(frozen=True)
class Desk:
    """Where somebody decides about an Evaluation."""

    connection: Connection
    commands: Commands
    console: Console
    asks: bool

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
        self._confirm(evaluation, person, role, said)
        # Hours may have passed since it was shown.
        found = self._open(name)
        approving.unchanged(evaluation, found, self.commands.stagecoach(f"report {name}"))
        made = self._make(found, person, role, said)
        self._tell(made, follow(self.connection, made["metadata"]["name"], name, seconds))

    def _open(self, name: str) -> Object:
        """Return an Evaluation that awaits a review. Raises Problem."""
        evaluation = self.connection.get(EVALUATION, name)
        approving.open_for_review(evaluation, self.commands.stagecoach(f"why evaluation/{name}"))
        return evaluation

    def _may_ask(self, evaluation: Object, said: Said) -> None:
        missing = approving.missing_scores(evaluation, said.scores) if said.decision == APPROVE else []
        if self.asks and not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise Problem(
                "This is no terminal, so nobody can be asked: look at it with `"
                f"{self.commands.stagecoach('report ' + evaluation['metadata']['name'])}`, and add --yes to decide"
                " without being asked."
            )
        if missing and not self.asks:
            told = " ".join(f"--score {name}=<1 to 5>" for name in missing)
            raise Problem(f"The gate asks for scores of {both(missing)}: add {told}.")

    def _scored(self, evaluation: Object, said: Said) -> Said:
        """Return what is said with the scores that are still missing: asked for after the rows were shown."""
        if said.decision != APPROVE:
            return said
        asked = {name: _score(name) for name in approving.missing_scores(evaluation, said.scores)}
        return Said(said.decision, said.scores | asked, said.reason)

    def _confirm(self, evaluation: Object, person: Person, role: Reviewer, said: Said) -> None:
        member = f", as {role}" if role.group else ""
        release = short(evaluation["spec"]["release"]["digest"])
        told = f"{said.decision} release {release} of run {evaluation['spec']['run']} as {person.user}{member}"
        # An Approval cannot be changed: all that it will say is read before.
        if said.scores:
            told += f", with {both([f'{name} {score}' for name, score in said.scores.items()])}"
        if said.reason:
            told += f', because "{said.reason}"'
        if not self.asks:
            self.console.print(f"{plain(told)}.")
        elif not typer.confirm(plain(f"{told}?")):
            raise Problem("Nothing was decided: you said no.")

    def _make(self, evaluation: Object, person: Person, role: Reviewer, said: Said) -> Object:
        for number in range(1, MOST + 1):
            wanted = approving.approval(evaluation, person, role, said, number)
            try:
                return self.connection.create(APPROVAL, wanted)
            except Conflict:
                there = self.connection.get(APPROVAL, wanted["metadata"]["name"])
            # The same command again, maybe after a broken connection: what was made then is followed. What was said
            # before and does not count is said anew.
            if there["spec"] == wanted["spec"] and approving.stands(there, evaluation):
                return there
        raise Problem(
            f"You have said this {MOST} times about this Evaluation, and none of it counts: see why with `"
            f"{self.commands.stagecoach('why approval/' + wanted['metadata']['name'])}`."
        )

    def _tell(self, made: Object, found: Found) -> None:
        name = made["metadata"]["name"]
        ready = evaluations.condition(found.approval)
        if not found.reason or found.weighed:
            raise Problem(
                f"Approval {name} is made, and the operator has not decided yet whether it counts: see what comes of it"
                f" with `{self.commands.stagecoach('why approval/' + name)}`."
            )
        if not found.counts:
            raise Problem(f"Approval {name} does not count: {found.reason}. {ready['message']}")
        told = Text.assemble(f"Approval {plain(name)}: ", screen.styled(found.reason), f". {plain(ready['message'])}")
        self.console.print(told)
        if found.evaluation is not None:
            self.console.print(_outcome(found.evaluation))


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
