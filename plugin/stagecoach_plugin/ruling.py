"""To promote, override or revoke: shows what is served, asks, makes the Approval, and says what came of it."""

from dataclasses import replace
from functools import partial

from stagecoach_plugin import deployments, releasing
from stagecoach_plugin.approving import Person
from stagecoach_plugin.following import follow
from stagecoach_plugin.kinds import APPROVAL, DEPLOYMENT, EVALUATION
from stagecoach_plugin.making import Maker
from stagecoach_plugin.problems import Object
from stagecoach_plugin.releasing import OVERRIDE, PROMOTE, REVOKE, Ruling
from stagecoach_plugin.texts import now, plain


class Bench(Maker):
    """Where somebody decides on a release of a ModelDeployment."""

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
        if ruling.decision == OVERRIDE:
            wanted = releasing.approval(ruling, deployment, person, role, began, 1)
            there = releasing.repeated(wanted, self.connection.every(APPROVAL), began)
            if there is not None:
                told = f"You have said so already, until {there['spec']['expires']}: more --hours let it last longer."
                self.console.print(plain(told))
                self.tell(follow(self.connection, there["metadata"]["name"], None, seconds))
                return
        self._show(deployment)
        self.confirm(releasing.told(ruling, deployment, person, role, began))
        # Hours may have passed since it was shown.
        found = self.connection.get(DEPLOYMENT, name)
        releasing.unchanged(deployment, found, self.commands.stagecoach(f"why mdep/{name}"))
        made = self.make(partial(releasing.approval, ruling, found, person, role, began), releasing.stands)
        self.tell(follow(self.connection, made["metadata"]["name"], None, seconds))

    def _waits(self, deployment: Object, ruling: Ruling) -> None:
        if ruling.decision == PROMOTE:
            command = self.commands.stagecoach(f"why mdep/{deployment['metadata']['name']}")
            releasing.something_waits(deployment, ruling.release, command)

    def _show(self, deployment: Object) -> None:
        """Show what is served, to somebody who is asked."""
        if not self.asks:
            return
        self.may_ask()
        for place, release in deployments.releases(deployment):
            self.console.print(f"{place}: {plain(deployments.told(release))}")
