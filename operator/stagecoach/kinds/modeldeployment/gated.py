"""Whether what is served has passed the gates as they are now. It decides nothing: what is served goes on."""

from stagecoach.api.deployment_status import Served
from stagecoach.kinds.conditions import Fact
from stagecoach.kinds.modeldeployment import overriding
from stagecoach.kinds.modeldeployment.scene import Scene
from stagecoach.policies.admission import NOTHING_BEFORE, OF_THEN, GateState, GateWord, NotAdmitted
from stagecoach.policies.instead import instead

CHANGED = "GateChanged"
# A verdict by the gates of now that is not Passed, or one that will not come.
REASONS = {
    GateState.FAILED: "GateFailed",
    GateState.INCONCLUSIVE: "GateInconclusive",
    GateState.ERROR: "GateError",
    GateState.MISSING: "GateMissing",
}


def fact(scene: Scene, serving: Served) -> Fact:
    """Return what is said of it."""
    if serving.override is not None:
        return overriding.fact(scene, serving, serving.override)
    observed = scene.observed
    goes_on = f"{serving.title} goes on serving."
    if observed.blocked is not None:
        return Fact("Gated", None, observed.blocked.reason, f"{observed.blocked.message} {goes_on}")
    run = observed.candidates.of(serving)
    if run is None:
        gone = f"Run {serving.run} of {serving.run_created} is gone"
        if serving.run is None:
            gone = f"The project has no candidate {serving.base!r} any more"
        message = f"{gone}, so that gates cannot say anything new of it. Nothing to do: it goes on."
        return Fact("Gated", None, "RunMissing" if serving.run else "CandidateMissing", message)
    if isinstance(run.made, NotAdmitted):
        return Fact("Gated", False, CHANGED, f"{run.made.message} {goes_on}")
    if run.made != serving.release:
        what = "its run is" if serving.run else f"base {serving.base} with its prompt is"
        message = f"By what the project says now, {what} another release than the one that is served."
        return Fact("Gated", False, CHANGED, f"{message} {goes_on} Nothing to do: the gates judge that one.")
    lacking = [each for each in run.words if not each.passed(serving.release)]
    if not lacking:
        names = ", ".join(f"{each.gate} ({each.evaluation})" for each in run.words)
        names += OF_THEN if any(each.of_then for each in run.words) else ""
        return Fact("Gated", True, "Passed", f"By what these gates ask now it has passed {names}.")
    word = next((each for each in lacking if each.reason != NOTHING_BEFORE), None)
    if word is None:
        return Fact("Gated", False, NOTHING_BEFORE, f"Gate {lacking[0].gate}: {lacking[0].message} {goes_on}")
    return Fact("Gated", False, REASONS.get(word.state, CHANGED), f"{_words(word, serving.run)} {goes_on}")


def needs_somebody(told: Fact) -> bool:
    """Whether a person should look at it."""
    return told.reason in (*REASONS.values(), "ProjectMissing", overriding.REASON)


def _words(word: GateWord, run: str | None) -> str:
    said = word.message.rstrip(". ")
    if word.state in (GateState.JUDGING, GateState.WAITING, GateState.PASSED):
        return (
            f"What gate {word.gate} asks now is another verdict: {said}. Nothing to do: it is judged in the background."
        )
    if word.evaluation:
        return f"Gate {word.gate} says {word.state}: {said}. See Evaluation {word.evaluation}, and {instead(run)}."
    return f"Gate {word.gate} says {word.state}: {said}. See EvalGate {word.gate}."
