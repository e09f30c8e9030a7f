"""To promote, override or revoke: shows what is served, asks, makes the Approval, and says what came of it."""

import sys
from dataclasses import dataclass, replace
from datetime import datetime

import typer
from rich.console import Console
from rich.text import Text

from stagecoach_plugin import deployments, evaluations, releasing, screen
from stagecoach_plugin.approving import Person
from stagecoach_plugin.connection import Connection
from stagecoach_plugin.evaluations import Reviewer
from stagecoach_plugin.following import Found, follow
from stagecoach_plugin.kinds import APPROVAL, DEPLOYMENT, EVALUATION
from stagecoach_plugin.problems import Conflict, Object, Problem
from stagecoach_plugin.releasing import PROMOTE, REVOKE, Ruling
from stagecoach_plugin.stories import Commands
from stagecoach_plugin.texts import now, plain

MOST = 20  # times that one person says the same again about one release


@dataclass(frozen=True)
class Bench:
    """Where somebody decides on a release of a ModelDeployment."""

    connection: Connection
    commands: Commands
    console: Console
    asks: bool

    def decide(self, name: str, ruling: Ruling, seconds: float) -> None:
        """Decide, and say what came of it. Raises Problem if it was not made, or does not count."""
        deployment, began = self.connection.get(DEPLOYMENT, name), now()
        person = Person(*self.connection.who_am_i())
        role = releasing.as_approver(deployment, person)
        judged = list(self.connection.every(EVALUATION))
        ruling = replace(ruling, release=releasing.release_of(ruling.release, deployment, judged))
        if ruling.decision == REVOKE:
            releasing.known(ruling.release, deployment, judged)
        self._waits(deployment, ruling)
        self._confirm(deployment, releasing.told(ruling, deployment, person, role, began))
        # Hours may have passed since it was shown.
        found = self.connection.get(DEPLOYMENT, name)
        releasing.unchanged(deployment, found, self.commands.stagecoach(f"why mdep/{name}"))
        made = self._make(found, person, role, ruling, began)
        self._tell(follow(self.connection, made["metadata"]["name"], None, seconds))

    def _waits(self, deployment: Object, ruling: Ruling) -> None:
        if ruling.decision == PROMOTE:
            command = self.commands.stagecoach(f"why mdep/{deployment['metadata']['name']}")
            releasing.something_waits(deployment, ruling.release, command)

    def _confirm(self, deployment: Object, told: str) -> None:
        if not self.asks:
            self.console.print(f"{plain(told)}.")
            return
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise Problem("This is no terminal, so nobody can be asked: add --yes to decide without being asked.")
        for place, release in deployments.releases(deployment):
            self.console.print(f"{place}: {plain(deployments.told(release))}")
        if not typer.confirm(plain(f"{told}?")):
            raise Problem("Nothing was decided: you said no.")

    def _make(self, deployment: Object, person: Person, role: Reviewer, ruling: Ruling, began: datetime) -> Object:
        for number in range(1, MOST + 1):
            wanted = releasing.approval(ruling, deployment, person, role, began, number)
            try:
                return self.connection.create(APPROVAL, wanted)
            except Conflict:
                there = self.connection.get(APPROVAL, wanted["metadata"]["name"])
            # The same command again, maybe after a broken connection: what was made then is followed.
            if there["spec"] == wanted["spec"] and releasing.stands(there):
                return there
        raise Problem(
            f"You have said this {MOST} times about this release, and none of it counts any more: see why with `"
            f"{self.commands.stagecoach('why approval/' + wanted['metadata']['name'])}`."
        )

    def _tell(self, found: Found) -> None:
        name, ready = found.approval["metadata"]["name"], evaluations.condition(found.approval)
        if not found.reason or found.weighed:
            raise Problem(
                f"Approval {name} is made, and has not come to anything yet: see what comes of it with `"
                f"{self.commands.stagecoach('why approval/' + name)}`."
            )
        if not found.counts:
            raise Problem(f"Approval {name} does not count: {found.reason}. {ready['message']}")
        told = Text.assemble(f"Approval {plain(name)}: ", screen.styled(found.reason), f". {plain(ready['message'])}")
        self.console.print(told)
