"""Releases that somebody has let be served whatever their gates say: it is said of them until these pass them."""

from stagecoach.api.deployment_status import Overridden, PassedGate, Served
from stagecoach.contract.times import moment
from stagecoach.kinds.conditions import Fact
from stagecoach.kinds.modeldeployment.deciding import who
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.policies.admission import Wanted

REASON = "Overridden"


def settled(scene: Scene, serving: Served | None) -> Served | None:
    """Return what is served, as passed by its gates if they have passed it since it was admitted without that."""
    if serving is None or serving.override is None:
        return serving
    run = scene.observed.candidates.of(serving)
    if run is None or not run.passed(scene.deployment.spec.gates, serving.release):
        return serving
    gates = [PassedGate(gate=each.gate, evaluation=each.evaluation, key=each.key) for each in run.words]
    return serving.model_copy(update={"override": None, "gates": gates})


def fact(scene: Scene, serving: Served, by: Overridden) -> Fact:
    """Return what is said of a release that is served without having passed."""
    over = scene.now >= moment(by.until)
    until = f"The Override ended at {by.until}, and what is served stays" if over else f"It ends at {by.until}"
    run = scene.observed.candidates.of(serving)
    words = () if run is None else run.words
    said = " ".join(f"Gate {each.gate} says {each.state}." for each in words if not each.passed(serving.release))
    message = f"{serving.title} was admitted without its gates {who(by)} {until}. {said}".strip()
    return Fact("Gated", False, REASON, f"{message} Let its gates pass it, serve another release, or revoke it.")


def admitted(wish: Wanted, by: Overridden) -> Fact:
    """Return that what is wanted is admitted without its gates."""
    message = f"{wish.title} is admitted until {by.until} without its gates, as decided {who(by)}"
    return Fact("CandidateAdmitted", True, REASON, message)
