"""What the API server itself holds of a ModelDeployment as a whole, whoever writes it: name, fallback and status."""

from stagecoach.api.common import cel

SERVING, CANDIDATE, ROUTES = "self.status.serving", "self.status.candidate", "self.status.routes"
REVOKED = "self.status.revoked"


def _before(place: str) -> str:
    return place.replace("self.", "oldSelf.", 1)


def _by_somebody(place: str) -> str:
    """Whether a part of a status says by which verdicts, or by whose Override, it was admitted."""
    return f"(has({place}.override) || (has({place}.gates) && {place}.gates.size() > 0))"


def _there(place: str) -> str:
    """Whether a part of a status is there."""
    return f"(has({place.rpartition('.')[0]}) && has({place}))"


def _same(one: str, other: str) -> str:
    """Whether a release is the same, and the same answers for it."""
    # The name of what was admitted stands for all of it; that a run answers for it, or a base itself, is said besides.
    fields = ("release", "admitted", "engine", "engineImage")
    same = " && ".join(f"{one}.{field} == {other}.{field}" for field in fields)
    return f"({_there(other)} && {same} && has({one}.run) == has({other}.run))"


def _tested(place: str) -> str:
    """Whether a load test has found what is asked of a release, where it is asked: by whatever spec.sla was then."""
    same = f"test.release == {place}.release && test.engine == {place}.engine"
    return f"(!has(self.spec.sla) || (has(self.status.sla) && self.status.sla.exists(test, test.met && {same})))"


def _moves(place: str) -> str:
    """Whether what is served goes to another engine, from one that does not answer."""
    silent = "told.type == 'Loaded' && told.status == 'False' && told.reason != 'ScaledToZero'"
    lost = f"oldSelf.status.conditions.exists(told, {silent})"
    same = f"{_there(_before(place))} && {place}.release == {_before(place)}.release"
    return f"({same} && has(oldSelf.status.conditions) && {lost})"


# All of them are at the root: below, what is taken away or new as a whole would be no change to a rule. They hold
# whoever writes a status, a faulty version of the operator as well.
RULES = (
    cel(
        "!self.metadata.name.matches('^[0-9]')",
        "metadata.name must begin with a letter: the Service that clients ask has this name. Choose another name.",
    ),
    cel(
        "!has(self.spec.contract.fallback) || !has(self.spec.contract.fallback.deployment) ||"
        " self.spec.contract.fallback.deployment != self.metadata.name",
        "spec.contract.fallback.deployment must be another ModelDeployment than this one: name another, or give static",
    ),
    cel(
        "!has(self.spec.model.follow) || self.spec.model.follow.deployment != self.metadata.name",
        "spec.model.follow.deployment must be another ModelDeployment than this one: name another, or give latest",
    ),
    cel(
        f"!{_there(CANDIDATE)} ||"
        f" ({_there(_before(SERVING))} && {CANDIDATE}.release == {_before(SERVING)}.release) ||"
        f" ({_there(_before(CANDIDATE))} && {CANDIDATE}.release == {_before(CANDIDATE)}.release &&"
        f" {CANDIDATE}.gates == {_before(CANDIDATE)}.gates) ||"
        f" has({CANDIDATE}.override) ||"
        f" self.spec.gates.all(g, {CANDIDATE}.gates.exists(passed, passed.gate == g.name))",
        "status.candidate: a release becomes one by an Evaluation that passed of each of spec.gates, or by an Override",
    ),
    *(
        cel(
            f"!{_there(place)} || {_by_somebody(place)}",
            f"{place.removeprefix('self.')}.gates: a release is admitted by verdicts, or by an Override",
        )
        for place in (SERVING, CANDIDATE)
    ),
    *(
        cel(
            f"!{_there(place)} || (has({place}.run) != has({place}.base) && has({place}.run) == has({place}.runCreated)"
            f" && (has({place}.run) || !has({place}.artifact)))",
            f"{place.removeprefix('self.')}: a release is of a run, with runCreated, or a base, without artifact",
        )
        for place in (SERVING, CANDIDATE)
    ),
    cel(
        f"!{_there(CANDIDATE)} || !has({CANDIDATE}.weight) || (has({CANDIDATE}.weightUntil) && {_there(SERVING)} &&"
        f" {_same(CANDIDATE, _before(CANDIDATE))})",
        "status.candidate.weight: requests are given to what was the candidate before, beside what is served, and for a"
        " time",
    ),
    cel(
        f"!{_there(SERVING)} || {_same(SERVING, _before(SERVING))} || {_same(SERVING, _before(CANDIDATE))}",
        "status.serving: nothing is served that was not the candidate before",
    ),
    cel(
        f"!{_there(CANDIDATE)} || !has({CANDIDATE}.weight) ||"
        f" ({_there(_before(CANDIDATE))} && has({_before(CANDIDATE)}.weight)) || {_tested(CANDIDATE)}",
        "status.candidate.weight: with spec.sla the first requests come after a load test that has met it",
    ),
    cel(
        f"!{_there(SERVING)} || {_same(SERVING, _before(SERVING))} || {_tested(SERVING)} || {_moves(SERVING)} ||"
        f" ({_there(_before(REVOKED))} && !{_there(_before(SERVING))} && !has({SERVING}.override) &&"
        " has(oldSelf.status.history) &&"
        f" oldSelf.status.history.exists(entry, entry.release == {SERVING}.release))",
        "status.serving: with spec.sla nothing is served that no load test has found to meet it, but what moves from an"
        " engine that does not answer, and what was served before and comes back after a Revoke",
    ),
    cel(
        f"!{_there(_before(SERVING))} || {_there(SERVING)} ||"
        f" ({_there(REVOKED)} && {REVOKED}.release == {_before(SERVING)}.release)",
        "status.serving: what is served leaves only when something else takes over, or by a Revoke; to serve nothing,"
        " delete the ModelDeployment",
    ),
    cel(
        f"!{_there(SERVING)} || !has(self.status.retiring) ||"
        f" !self.status.retiring.exists(engine, engine.name == {SERVING}.engine)",
        "status.retiring: the engine of what is served does not go",
    ),
    cel(
        f"!{_there(_before(ROUTES))} || ({_there(ROUTES)} && ({ROUTES}.revision > {_before(ROUTES)}.revision ||"
        f" ({ROUTES}.revision == {_before(ROUTES)}.revision && {ROUTES}.digest == {_before(ROUTES)}.digest)))",
        "status.routes: the revision grows with every change, and never goes back",
    ),
)
