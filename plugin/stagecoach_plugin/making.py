"""An Approval as it is made: confirmed, created once whatever is repeated, and what came of it in words."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.text import Text

from stagecoach_plugin import evaluations, screen
from stagecoach_plugin.connection import Connection
from stagecoach_plugin.following import Found
from stagecoach_plugin.kinds import APPROVAL
from stagecoach_plugin.problems import Conflict, Object, Problem
from stagecoach_plugin.stories import Commands
from stagecoach_plugin.texts import plain

MOST = 20  # times that one person says the same again about one thing


@dataclass(frozen=True)
class Maker:
    """What somebody who decides has before him."""

    connection: Connection
    commands: Commands
    console: Console
    asks: bool

    def may_ask(self, first: str = "") -> None:
        """Raise Problem where somebody is to be asked, and nobody can be. `first`: what to do before."""
        if self.asks and not (sys.stdin.isatty() and sys.stdout.isatty()):
            advice = f"{first}add --yes to decide without being asked."
            raise Problem(f"This is no terminal, so nobody can be asked: {advice}")

    def confirm(self, told: str) -> None:
        """Ask whether this is to be said, which cannot be changed then. Raises Problem if not."""
        if not self.asks:
            self.console.print(f"{plain(told)}.")
        elif not typer.confirm(plain(f"{told}?")):
            raise Problem("Nothing was decided: you said no.")

    def make(self, wanted: Callable[[int], Object], stands: Callable[[Object], bool]) -> Object:
        """Create an Approval, or return the one that says this already. Raises Problem when it was said too often.

        `wanted`: how it is said the first time, the second and so on; `stands`: whether one may still come to count.
        """
        for number in range(1, MOST + 1):
            approval = wanted(number)
            try:
                return self.connection.create(APPROVAL, approval)
            except Conflict:
                there = self.connection.get(APPROVAL, approval["metadata"]["name"])
            # The same command again, maybe after a broken connection: what was made then is followed. What was said
            # before and does not count, or counts no more, is said anew.
            if there["spec"] == approval["spec"] and stands(there):
                return there
        command = self.commands.stagecoach(f"why approval/{approval['metadata']['name']}")
        raise Problem(f"You have said this {MOST} times, and none of it counts: see why with `{command}`.")

    def tell(self, found: Found) -> None:
        """Say what came of an Approval. Raises Problem when nothing did yet, or it does not count."""
        name, ready = found.approval["metadata"]["name"], evaluations.condition(found.approval)
        if not found.reason or found.weighed:
            raise Problem(
                f"Approval {name} is made, and the operator has not decided yet whether it counts: see what comes of it"
                f" with `{self.commands.stagecoach(f'why approval/{name}')}`."
            )
        if not found.counts:
            raise Problem(f"Approval {name} does not count: {found.reason}. {ready['message']}")
        told = Text.assemble(f"Approval {plain(name)}: ", screen.styled(found.reason), f". {plain(ready['message'])}")
        self.console.print(told)
