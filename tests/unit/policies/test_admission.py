"""Which release a deployment serves."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagecoach.api.deployment_status import Overridden, PassedGate, Rejected, Served
from stagecoach.api.modeldeployment import ModelDeploymentSpec
from stagecoach.policies.admission import (
    OBSTACLES,
    OPEN,
    Followed,
    GateState,
    GateWord,
    NotAdmitted,
    People,
    Run,
    Wanted,
    decide,
    objection,
    stand_in,
)
from tests import builders
from tests.remedies import speaks

A, B, C = (builders.digest(letter) for letter in "abc")
KEY = builders.digest("e")
REMEDY = "It is odd. Correct it."


def spec(gates: Sequence[str] = ("good",), **model: Any) -> ModelDeploymentSpec:
    named = [{"name": gate} for gate in gates]
    return ModelDeploymentSpec.model_validate({"project": "desk", "gates": named, "model": model or {"latest": {}}})


def word(state: str = "Passed", gate: str = "good", release: str = A, **changes: str) -> GateWord:
    told: dict[str, Any] = {
        "reason": state,
        "message": REMEDY,
        "evaluation": f"{gate}-012",
        "key": KEY,
        "release": release,
    } | changes
    return GateWord(gate, GateState(state), **told)


def run(
    name: str, made: str | NotAdmitted | None, state: str = "Passed", minute: int | None = None, **changes: Any
) -> Run:
    """Return a run that was created in the minute that its name says, and what its gate says of it."""
    created = f"2026-01-01T00:{ord(name[0]) - ord('a') if minute is None else minute:02}:00Z"
    words = (word(state, release=made),) if isinstance(made, str) else ()
    return Run(**({"name": name, "created": created, "uid": f"uid-{name}", "made": made, "words": words} | changes))


def served(run: Run, release: str) -> Served:
    return Served(
        release=release,
        short=release[7:19],
        run=run.name,
        run_created=run.created,
        admitted="answers-a",
        engine="answers-e",
        engine_image=builders.ENGINE_IMAGE,
        loader_image=builders.EVALUATOR_IMAGE,
        gates=[PassedGate(gate="good", evaluation="good-012", key=KEY)],
        since=builders.CREATED,
    )


def rejected(release: str) -> Rejected:
    told = {"reason": "EngineNotReady", "message": "its engine did not start. See its log"}
    return Rejected(release=release, run="b", engine="a-e-1", spec=KEY, at=builders.CREATED, **told)


PASSED_A, PASSED_B, PASSED_C = run("a", A), run("b", B), run("c", C)
SERVING_A, SERVING_B = served(PASSED_A, A), served(PASSED_B, B)


def test_the_newest_run_that_passed_is_wanted_with_its_verdicts() -> None:
    found = decide(spec(), None, (), [PASSED_A, PASSED_C, PASSED_B])
    assert found == Wanted("c", PASSED_C.created, C, (PassedGate(gate="good", evaluation="good-012", key=KEY),))


@pytest.mark.parametrize(
    ("serving", "runs", "wanted", "reason", "words"),
    [
        # Newest first: what is newer and did not pass is told.
        (None, [PASSED_A, run("b", B, "Judging")], "a", "Judging", "Run a is taken meanwhile."),
        (SERVING_A, [PASSED_A, run("b", B, "Judging")], "a", "Judging", "Run b has not passed gate good (Judging)"),
        (SERVING_A, [PASSED_A, run("b", B, "Judging")], "a", "Judging", "Run a goes on serving."),
        (SERVING_A, [PASSED_A, run("b", B, "Failed"), run("c", C, "Waiting")], "a", "Judging", "Run c"),
        (SERVING_A, [PASSED_A, PASSED_B, run("c", C, "Failed")], "b", "GateFailed", "Run b is taken meanwhile."),
        (SERVING_A, [PASSED_A, PASSED_B, run("c", NotAdmitted("TooManyLabels", REMEDY))], "b", "TooManyLabels", "Run c cannot be served: It is odd."),
        (SERVING_A, [PASSED_A, PASSED_B], "b", None, ""),
        # A run that has not ended, or never will be judged, is no candidate.
        (SERVING_A, [PASSED_A, run("b", None, phase="Running"), run("c", C, experiment=True)], "a", None, ""),
        # What is judged late replaces nothing newer.
        (SERVING_B, [PASSED_A, PASSED_B], "b", None, ""),
        (SERVING_B, [PASSED_A, run("b", B, "Judging")], None, "Judging", "Run b goes on serving."),
        (SERVING_B, [PASSED_A, run("b", B, "Failed")], None, "GateFailed", "Run b has not passed gate good"),
        (SERVING_B, [PASSED_A], None, "NothingNewer", "Run b goes on serving."),
        (SERVING_B, [], None, "NoCandidates", "Run b goes on serving."),
        # In one second, the uid tells.
        (SERVING_A, [PASSED_A, run("z", B, minute=0)], "z", None, ""),
        (SERVING_A, [PASSED_A, run("z", B, minute=0, uid="uid-0")], "a", None, ""),
        (SERVING_A, [run("z", B, minute=0)], None, "NothingNewer", ""),
        # The run was made again under its name.
        (SERVING_A, [run("a", B, minute=1)], "a", None, ""),
        # The same run makes another release since the project says something else.
        (SERVING_A, [run("a", B)], "a", None, ""),
        (None, [run("a", A, "Judging")], None, "Judging", "Nothing is served until then."),
        (None, [run("a", None, phase="Running"), run("b", None, phase="Failed")], None, "NoCandidates", "yet: run a is Running."),
        (None, [run("a", None, phase="")], None, "NoCandidates", "run a is new"),
        (None, [run("b", None, phase="Failed")], None, "NoCandidates", "has succeeded. Create one."),
        (None, [run("c", C, experiment=True)], None, "NoCandidates", "of purpose Candidate of project 'desk'"),
    ],
)  # fmt: skip
def test_latest(serving: Served | None, runs: list[Run], wanted: str | None, reason: str | None, words: str) -> None:
    found = decide(spec(), serving, (), runs)
    told = found.instead_of if isinstance(found, Wanted) else found
    assert (found.run if isinstance(found, Wanted) else None) == wanted
    assert (told and told.reason) == reason
    assert told is None or (words in told.message and speaks(told.reason, told.message))


def test_the_selector_is_named_where_it_leaves_nothing() -> None:
    selector: dict[str, Any] = {"latest": {"selector": {"matchLabels": {"track": "prod", "a": "b"}}}}
    for serving in (None, SERVING_B):
        found = decide(spec(**selector), serving, (), [run("a", A)] if serving else [])
        assert isinstance(found, NotAdmitted)
        assert "with label a=b,track=prod" in found.message


@pytest.mark.parametrize(
    ("model", "runs", "wanted", "reason", "words"),
    [
        ({"run": "a"}, [PASSED_A, PASSED_B], "a", None, ""),  # back to an older one
        ({"run": "c"}, [PASSED_A, PASSED_B], None, "RunUnknown", "project 'desk' has no FineTuneRun 'c'"),
        ({"run": "c"}, [run("c", C, experiment=True)], None, "RunIsExperiment", "run c is Experiment"),
        ({"run": "c"}, [run("c", None, phase="Running")], None, "RunNotFinished", "Run c is Running"),
        ({"run": "c"}, [run("c", None, phase="")], None, "RunNotFinished", "Run c is new"),
        ({"run": "c"}, [run("c", None, phase="Failed")], None, "RunFailed", "Create another run"),
        ({"run": "c"}, [run("c", C, "AwaitingReview")], None, "AwaitingReview", "See Evaluation good-012: its message"),
        ({"run": "c"}, [run("c", NotAdmitted("NeedsMerging", REMEDY))], None, "NeedsMerging", "cannot be served: It is odd"),
        ({"release": A}, [PASSED_A, PASSED_B], "a", None, ""),
        ({"release": C}, [PASSED_A, PASSED_B], None, "ReleaseUnknown", f"no FineTuneRun of project 'desk' has made release {'c' * 12}"),
        ({"release": A}, [run("c", NotAdmitted("ProjectChanged", REMEDY))], None, "ProjectChanged", "Run c cannot be served"),
        ({"release": A}, [PASSED_A, run("c", NotAdmitted("ProjectChanged", REMEDY))], "a", None, ""),
        ({"release": A}, [run("a", A, experiment=True)], None, "RunIsExperiment", ""),
        # Of several that made it, the newest that passed.
        ({"release": A}, [PASSED_A, run("b", A), run("c", A, "Unjudged")], "b", None, ""),
        ({"release": A}, [run("a", A, "Failed"), run("c", A, "Unjudged")], None, "GateCannotJudge", "Run c"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("serving", [None, SERVING_B])
def test_what_is_named(
    model: dict[str, str], runs: list[Run], wanted: str | None, reason: str | None, words: str, serving: Served | None
) -> None:
    found = decide(spec(**model), serving, (), runs)
    if isinstance(found, Wanted):
        assert (found.run, found.instead_of) == (wanted, None)
        return
    assert (None, reason) == (wanted, found.reason)
    assert words in found.message
    assert speaks(found.reason, found.message)
    assert found.message.endswith("Run b goes on serving." if serving else "Nothing is served until then.")


FOLLOW: dict[str, Any] = {"follow": {"deployment": "staging", "soak": "24h"}}
FOLLOWED_A = Followed("staging", "a", PASSED_A.created, A)
SOAKING = NotAdmitted("Soaking", "staging serves it since today. Nothing to do.")


@pytest.mark.parametrize(
    ("followed", "runs", "wanted", "reason", "words"),
    [
        (FOLLOWED_A, [PASSED_A, PASSED_B], "a", None, ""),  # back to an older one
        (FOLLOWED_A, [run("a", A, "Failed"), PASSED_B], None, "GateFailed", "Run a has not passed gate good"),
        (FOLLOWED_A, [PASSED_B], None, "RunUnknown", "ModelDeployment 'staging' serves release aaaaaaaaaaaa of run a, which is gone"),
        (FOLLOWED_A, [run("a", A, minute=5)], None, "RunUnknown", "which is gone"),  # created anew under its name
        (FOLLOWED_A, [run("a", C)], None, "ReleaseUnknown", "as the project is now makes release cccccccccccc"),
        (FOLLOWED_A, [run("a", NotAdmitted("NeedsMerging", REMEDY))], None, "NeedsMerging", "Run a cannot be served"),
        (SOAKING, [PASSED_A, PASSED_B], None, "Soaking", "staging serves it since today. Nothing to do. Run b goes on serving."),
    ],
)  # fmt: skip
def test_what_another_deployment_serves(
    followed: Followed | NotAdmitted, runs: list[Run], wanted: str | None, reason: str | None, words: str
) -> None:
    """NoUngatedTraffic: following says what is wanted, and not that it may be served."""
    found = decide(spec(**FOLLOW), SERVING_B, (), runs, followed=followed)
    told = found if isinstance(found, NotAdmitted) else None
    assert (found.run if isinstance(found, Wanted) else None) == wanted
    assert (told and told.reason) == reason
    assert told is None or (words in told.message and speaks(told.reason, told.message))


@pytest.mark.parametrize("model", [{"latest": {}}, {"run": "b"}, {"release": B}])
def test_what_was_rejected_is_not_tried_again(model: dict[str, Any]) -> None:
    found = decide(spec(**model), SERVING_A, [rejected(B)], [PASSED_A, PASSED_B])
    told = found.instead_of if isinstance(found, Wanted) else found
    assert told is not None
    assert told.reason == "Rejected"
    assert "was tried, and rejected (EngineNotReady): its engine did not start. See its log. To have" in told.message
    assert (found.run if isinstance(found, Wanted) else None) == ("a" if "latest" in model else None)
    assert isinstance(decide(spec(**model), SERVING_A, [rejected(C)], [PASSED_A, PASSED_B]), Wanted)


@pytest.mark.parametrize(
    ("words", "reason", "told"),
    [
        ([word(), word("Judging", "safe")], "Judging", "gate safe (Judging): It is odd. Correct it. Nothing to do"),
        ([word("Judging"), word("Failed", "safe", reason="CriterionFailed")], "GateFailed", "gate safe (CriterionFailed)"),
        ([word("Judging"), word("Failed", "safe", reason="CriterionFailed")], "GateFailed", "or correct the gate if it asks"),
        ([word("Judging"), word("AwaitingReview", "safe")], "AwaitingReview", "gate safe"),
        ([word("Blocked"), word("Waiting", "safe")], "GateBlocked", "gate good (Blocked): It is odd. Correct it. Nothing is served"),
        ([word("Inconclusive"), word("Error", "safe")], "GateInconclusive", "gate good"),
        ([word("Missing"), word("Error", "safe")], "GateError", "See Evaluation safe-012"),
        ([word()], "Judging", "gate safe (NotBegun): the gate has said nothing of it yet. Nothing to do"),
        ([], "Judging", "gate good (NotBegun)"),
        # Verdicts that are none.
        ([word(), word(gate="safe", release=B)], "Judging", "gate safe (NotBegun): the gate has passed another release"),
        ([word(), word(gate="safe", evaluation="")], "Judging", "gate safe"),
        ([word(), word(gate="safe", key="")], "Judging", "gate safe"),
        ([word(), word(gate="other")], "Judging", "gate safe"),
    ],
)  # fmt: skip
def test_every_gate_has_to_pass_it_and_the_most_final_word_is_told(
    words: list[GateWord], reason: str, told: str
) -> None:
    found = decide(spec(gates=("good", "safe")), None, (), [run("a", A, words=tuple(words))])
    assert isinstance(found, NotAdmitted)
    assert found.reason == reason
    assert told in found.message
    assert speaks(found.reason, found.message)


def test_every_state_but_passed_is_an_obstacle() -> None:
    assert set(OBSTACLES) == set(GateState) - {GateState.PASSED}


RUNS = st.lists(
    st.builds(
        lambda name, minute, made, words, experiment: Run(
            name=name,
            created=f"2026-01-01T00:{minute:02}:00Z",
            uid=f"uid-{name}",
            phase="Running" if made is None else "Succeeded",
            experiment=experiment,
            made=made,
            words=tuple(words),
        ),
        st.sampled_from("abcdefgh"),
        st.integers(0, 3),
        st.sampled_from([A, A, B, B, C, None, NotAdmitted("TaskUnsuited", REMEDY)]),
        st.lists(
            st.builds(
                word,
                st.sampled_from(["Passed"] * 8 + [state.value for state in GateState]),
                st.sampled_from(["good", "safe"]),
                st.sampled_from([A, B, C]),
            ),
            max_size=3,
        ),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=6,
    unique_by=lambda run: run.name,
)
MODELS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{"latest": {}}] * 3 + [{"run": "a"}, {"run": "b"}, {"release": A}, {"release": B}]
)
SERVED = st.one_of(
    st.none(),
    st.builds(lambda name, minute: served(run(name, A, minute=minute), A), st.sampled_from("abz"), st.integers(0, 3)),
)


@given(
    RUNS,
    MODELS,
    SERVED,
    st.sets(st.sampled_from([A, B, C])),
    st.sampled_from([("good",), ("good", "safe")]),
    st.randoms(),
)
def test_nothing_is_wanted_but_what_every_gate_passed(
    runs: list[Run], model: dict[str, Any], serving: Served | None, out: set[str], gates: tuple[str, ...], random: Any
) -> None:
    """NoUngatedTraffic: never without Passed by every gate, never what was rejected; `latest` never goes back."""
    refused = [rejected(release) for release in sorted(out)]
    found = decide(spec(gates, **model), serving, refused, runs)
    shuffled = list(runs)
    random.shuffle(shuffled)
    assert decide(spec(gates, **model), serving, refused, shuffled) == found, "their order counts for nothing"
    if isinstance(found, NotAdmitted):
        assert speaks(found.reason, found.message)
        return
    chosen = next(run for run in runs if run.name == found.run)
    assert chosen.made == found.release not in out
    assert not chosen.experiment
    assert [gate.gate for gate in found.gates] == list(gates)
    for gate in gates:
        said = next(word for word in chosen.words if word.gate == gate)
        assert (said.state, said.release) == (GateState.PASSED, found.release)
    if "latest" in model:
        assert serving is None or chosen.created >= (serving.run_created or "")
        newer = [run for run in runs if run.order > chosen.order and run.made and not run.experiment]
        assert (found.instead_of is not None) == bool(newer)
    else:
        assert model.get("run", found.run) == found.run
        assert model.get("release", found.release) == found.release


@pytest.mark.parametrize("state", list(GateState))
def test_a_candidate_goes_on_while_its_gates_have_said_nothing_else(state: GateState) -> None:
    said = objection(spec(), served(PASSED_A, A), served(PASSED_B, B), run("b", B, state))
    assert (said == "") is (state in OPEN)
    assert said == "" or (said.startswith(f"gate good says {state}") and speaks("Dropped", said))


def test_a_verdict_of_any_gate_speaks_against_a_candidate() -> None:
    words = (word(release=B), word("Failed", "better", B))
    assert "gate better says Failed" in objection(
        spec(["good", "better"]), None, served(PASSED_B, B), run("b", B, words=words)
    )
    assert objection(spec(["good"]), None, served(PASSED_B, B), run("b", B, words=words)) == "", (
        "it is not asked any more"
    )


@pytest.mark.parametrize(
    ("model", "now", "why"),
    [
        ({"latest": {}}, PASSED_B, ""),
        ({"latest": {}}, None, "its run, of 2026-01-01T00:01:00Z, is gone"),
        ({"latest": {"selector": {"matchLabels": {"track": "prod"}}}}, run("b", B, labels={"track": "prod"}), ""),
        ({"latest": {"selector": {"matchLabels": {"track": "prod"}}}}, run("b", B), "asks for track=prod"),
        ({"latest": {}}, run("b", NotAdmitted("Odd", REMEDY)), "It is odd. Correct it."),
        ({"run": "b"}, PASSED_B, ""),
    ],
)
def test_a_candidate_goes_on_while_its_run_is_meant(model: dict[str, Any], now: Run | None, why: str) -> None:
    said = objection(spec(**model), served(PASSED_A, A), served(PASSED_B, B), now)
    assert (why in said) if why else (said == "")


def test_what_is_older_goes_on_only_if_it_is_named() -> None:
    assert "older" in objection(spec(), served(PASSED_C, C), served(PASSED_B, B), PASSED_B)
    assert objection(spec(run="b"), served(PASSED_C, C), served(PASSED_B, B), PASSED_B) == ""


OUT = NotAdmitted("Revoked", "it was revoked. Create another run")
LET_IN = Overridden(approval="now", uid="0", reviewer="qa", reason="Incident.", until=builders.CREATED)
FAILED_C = run("c", C, "Failed")


@pytest.mark.parametrize(
    ("runs", "people", "wanted", "reason"),
    [
        ([PASSED_A, PASSED_C], People(refused={C: OUT}), "a", ""),
        ([PASSED_C], People(refused={C: OUT}), "", "Revoked"),
        ([FAILED_C, PASSED_A], People(overridden={C: LET_IN}), "c", ""),
        ([FAILED_C], People(refused={C: OUT}, overridden={C: LET_IN}), "", "Revoked"),
        ([run("c", C, experiment=True)], People(overridden={C: LET_IN}), "", "NoCandidates"),
        ([run("c", None)], People(overridden={C: LET_IN}), "", "NoCandidates"),
    ],
)
def test_people_keep_releases_out_and_let_them_in(runs: list[Run], people: People, wanted: str, reason: str) -> None:
    found = decide(spec(), None, (), runs, people)
    if isinstance(found, Wanted):
        assert found.run == wanted
        assert (found.override is not None) == (runs[0] is FAILED_C)
    else:
        assert found.reason == reason
        assert speaks(found.reason, found.message)


@pytest.mark.parametrize(
    ("before", "gone", "people", "wanted"),
    [
        ([PASSED_B, PASSED_A], (), People(), "b"),
        ([PASSED_B, PASSED_A], (), People(refused={B: OUT}), "a"),
        ([PASSED_B, PASSED_A], (rejected(B),), People(), "a"),
        ([FAILED_C, PASSED_A], (), People(overridden={C: LET_IN}), "a"),
        ([FAILED_C], (), People(), None),
        ([], (), People(), None),
    ],
)
def test_what_is_served_in_place_of_what_was_revoked(
    before: list[Run], gone: Sequence[Rejected], people: People, wanted: str | None
) -> None:
    found = stand_in(spec(run="nobody"), gone, before, people)
    assert (found.run if found else None) == wanted


BASE = Run(name="small", created="", uid="", made=A, words=(word(release=A),), base=True)
SERVES_BASE = served(PASSED_A, A).model_copy(update={"run": None, "run_created": None, "base": "small"})


@pytest.mark.parametrize(
    ("runs", "wanted", "reason", "words"),
    [
        ([BASE, PASSED_C], "small", None, ""),
        ([replace(BASE, words=())], None, "Judging", "Base small has not passed gate good (NotBegun)"),
        ([replace(BASE, words=(word("Failed"),))], None, "GateFailed", "Base small has not passed gate good"),
        ([replace(BASE, words=(word(release=B),))], None, "Judging", "has passed another release of it"),
        ([replace(BASE, made=NotAdmitted("ArchitectureNotServed", REMEDY))], None, "ArchitectureNotServed", "Base small cannot be served"),
        ([], None, "CandidateUnknown", "spec.model.candidate: project 'desk' has no candidate 'small'."),
        # A run of its name is another.
        ([run("small", A, minute=3)], None, "CandidateUnknown", ""),
    ],
)  # fmt: skip
def test_a_base_itself(runs: list[Run], wanted: str | None, reason: str | None, words: str) -> None:
    """NoUngatedTraffic."""
    found = decide(spec(candidate="small"), None, (), runs)
    assert (found.base if isinstance(found, Wanted) else None) == wanted
    if isinstance(found, NotAdmitted):
        assert found.reason == reason
        assert words in found.message
        assert speaks(found.reason, found.message)
    else:
        assert (found.run, found.run_created, found.release) == ("", "", A)


def test_a_base_itself_is_no_run_and_every_run_is_newer() -> None:
    assert isinstance(decide(spec(run="small"), None, (), [BASE]), NotAdmitted)
    latest = decide(spec(), SERVES_BASE, (), [BASE])
    assert isinstance(latest, NotAdmitted)
    assert (latest.reason, "Base small goes on serving." in latest.message) == ("NoCandidates", True)
    taken = decide(spec(), SERVES_BASE, (), [BASE, PASSED_B])
    assert isinstance(taken, Wanted)
    assert (taken.run, taken.base) == ("b", "")


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (BASE, ""),
        (replace(BASE, words=(word("Judging"),)), ""),
        (replace(BASE, words=(word("Failed"),)), "gate good says Failed"),
        (replace(BASE, made=B, words=(word(release=B),)), "by what the project says now base small is another release, bbbbbbbbbbbb"),
        (replace(BASE, made=NotAdmitted("ProjectChanged", REMEDY)), "it cannot be served any more"),
        (None, "its project has it no more"),
    ],
)  # fmt: skip
def test_what_keeps_a_base_itself_from_taking_over(base: Run | None, words: str) -> None:
    told = objection(spec(candidate="small"), None, SERVES_BASE, base)
    assert told == words if not words else words in told


@pytest.mark.parametrize("released", [A, B])
def test_a_base_itself_is_followed_as_long_as_it_is_that_release(released: str) -> None:
    followed = Followed("staging", "", "", released, base="small")
    found = decide(spec(follow={"deployment": "staging", "soak": "1h"}), None, (), [BASE, PASSED_A], followed=followed)
    assert isinstance(found, Wanted if released == A else NotAdmitted)
    assert (
        found.base == "small" if isinstance(found, Wanted) else "of base small, which as the project" in found.message
    )


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        (decide(spec(candidate="small"), None, (), [replace(BASE, words=(word("Failed"),))]), "GateFailed", "See Evaluation good-012, and give the project another prompt, or name another candidate or a run."),
        (decide(spec(candidate="small"), None, (), [replace(BASE, words=(word("Failed", reason="CriterionFailed"),))]), "GateFailed", "Give the project another prompt, name another candidate or a run, or correct the gate"),
        (decide(spec(candidate="small"), None, (), [replace(BASE, words=(word("Failed", reason="RowsLeaked"),))]), "GateFailed", "Remove the rows that the report names from the prompt, or from the suite."),
        (decide(spec(candidate="small"), None, [rejected(A)], [BASE]), "Rejected", "To have another release, give the project another prompt, or name another candidate or a run; a change"),
        (decide(spec(), None, (), [run("a", A, "Failed")]), "GateFailed", "See Evaluation good-012, and create another run."),
        (decide(spec(), None, [rejected(A)], [PASSED_A]), "Rejected", "To have another release, create another run; a change of this spec"),
    ],
    ids=range(6),
)  # fmt: skip
def test_nobody_is_sent_to_create_a_run_for_a_base_itself(found: Wanted | NotAdmitted, reason: str, words: str) -> None:
    assert isinstance(found, NotAdmitted)
    assert found.reason == reason
    assert words in found.message
    assert ("reate another run" in found.message) == found.message.startswith("Run ")
    assert speaks(found.reason, found.message)


def test_a_followed_base_that_has_left_the_project_is_a_candidate_that_nobody_knows() -> None:
    followed = Followed("staging", "", "", A, base="small")
    found = decide(spec(follow={"deployment": "staging", "soak": "1h"}), None, (), [PASSED_A], followed=followed)
    assert isinstance(found, NotAdmitted)
    assert found.reason == "CandidateUnknown"
    assert "of base small, which the project has no more. Add it to its spec.candidates again" in found.message


def test_what_keeps_a_base_from_being_served_is_not_told_of_a_release_that_is_named() -> None:
    unfit = replace(BASE, made=NotAdmitted("BaseUntrained", REMEDY), words=())
    found = decide(spec(release=C), None, (), [unfit, run("a", A)])
    assert isinstance(found, NotAdmitted)
    assert found.reason == "ReleaseUnknown"


def test_a_run_and_a_base_of_one_name_are_two() -> None:
    assert BASE.origin != Run(name="small", created="", uid="").origin
    assert SERVES_BASE.origin == BASE.origin == Followed("staging", "", "", A, base="small").origin
    assert SERVING_A.origin == PASSED_A.origin == Followed("staging", "a", PASSED_A.created, A).origin
