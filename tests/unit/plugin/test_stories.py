"""Why an object is as it is: state in words, what to do, and what it hangs on."""

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from stagecoach_plugin import screen, storyboard
from stagecoach_plugin.approving import Person
from stagecoach_plugin.kinds import APPROVAL, DEPLOYMENT, EVALUATION, GATE, PROJECT, RUN, Kind
from stagecoach_plugin.stories import Around, Commands, Mood, Story, mood, says, state, tell
from tests.unit.plugin import samples

HERE = Commands("support")


def around(*objects: samples.Object, notes: tuple[str, ...] = ()) -> Around:
    return Around({(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}, notes)


def story(kind: Kind, obj: samples.Object, *objects: samples.Object, commands: Commands = HERE) -> Story:
    return tell(kind, obj, around(*objects), commands, samples.NOW)


def chain(told: Story) -> list[tuple[str, Mood, str]]:
    return [(link.subject, link.mood, link.state) for link in told.chain]


@pytest.mark.parametrize(
    ("obj", "word", "how"),
    [
        (samples.project(), "Ready (Resolved)", Mood.GOOD),
        (samples.run(phase="Blocked", reason="ProjectNotReady", mood="waits"), "Blocked (ProjectNotReady)", Mood.WAITS),
        (samples.run(phase="Failed", reason="OutOfMemory", mood="stalled"), "Failed (OutOfMemory)", Mood.BAD),
        (samples.awaiting(), "AwaitingReview", Mood.WAITS),
        (samples.decided("Passed", "Passed", ""), "Passed", Mood.GOOD),
        (samples.decided("Failed", "RowsLeaked", ""), "Failed (RowsLeaked)", Mood.BAD),
        (samples.evaluation(), "New", Mood.WAITS),
        (samples.approval("NotAReviewer", "No.", "stalled"), "NotAReviewer", Mood.BAD),
    ],
)
def test_how_an_object_stands(obj: samples.Object, word: str, how: Mood) -> None:
    assert (state(obj), mood(obj)) == (word, how)


def test_a_run_that_is_suspended_is_neither_well_nor_stuck() -> None:
    run = samples.run(phase="Suspended", reason="Suspended", mood="stalled")
    run["status"]["conditions"] = run["status"]["conditions"][:1]
    assert mood(run) is Mood.OTHER


def test_the_operators_words_and_whether_they_are_about_the_object_of_now() -> None:
    gate = samples.gate()
    assert says(gate) == "The newest candidates that can be judged have a verdict."
    gate["metadata"]["generation"] = 2
    assert says(gate).endswith("(Said before its last change, which the operator has not looked at yet.)")
    assert says(samples.evaluation()).startswith("The operator has not looked at it yet.")


def test_an_evaluation_that_awaits_a_review() -> None:
    told = story(
        EVALUATION, samples.awaiting(samples.NAME, samples.FIRST), samples.run(), samples.gate(), samples.project()
    )
    assert (told.subject, told.state, told.since) == (f"Evaluation {samples.NAME}", "AwaitingReview", "3m")
    assert (
        dict(told.facts)["review"]
        == "1 of 2 approvals: qa@example.com; may decide: qa@example.com or a member of ml-leads"
    )
    assert told.todo == (
        f"kubectl stagecoach approve {samples.NAME} -n support",
        f'kubectl stagecoach reject {samples.NAME} --reason "…" -n support',
    )
    assert [subject for subject, _, _ in chain(told)] == [
        "FineTuneRun support-desk-lora",
        "EvalGate support-desk",
        "TransformerProject support-desk",
    ]


def test_an_evaluation_that_failed_names_the_criteria() -> None:
    results = [
        {
            "criterion": "good",
            "outcome": "Failed",
            "value": 0.7,
            "threshold": 0.8,
            "scored": 9,
            "message": "Below the bound.",
        }
    ]
    told = story(EVALUATION, samples.decided("Failed", "CriterionFailed", "Not good enough.", results=results))
    assert (
        dict(told.facts)["criterion good"]
        == "Failed. f1_macro on held-out: at least 0.8, measured 0.7. Below the bound."
    )
    assert told.todo == (f"kubectl stagecoach report {samples.NAME} -n support",)


def test_an_evaluation_that_waits_names_its_pods() -> None:
    evaluation = samples.evaluation(
        phase="Pending",
        conditions=samples.conditions("Unschedulable", "No node.", "waits"),
        attempt={"number": 1, "job": "support-desk-ecfa139ab8f1-1"},
    )
    assert story(EVALUATION, evaluation).todo == (
        "kubectl describe pods -l job-name=support-desk-ecfa139ab8f1-1 -n support",
    )


def test_an_evaluations_approvals_with_why_they_do_not_count() -> None:
    other = samples.approval("Counted", "It counts.", subject={"kind": "Evaluation", "name": "other"})
    other["metadata"]["name"] = "other"
    told = story(EVALUATION, samples.awaiting(), samples.approval("NotAReviewer", "Not you.", "stalled"), other)
    assert chain(told) == [("Approval qa-ecfa139ab8f1-1", Mood.BAD, "NotAReviewer")]
    assert told.chain[0].says == "Not you."


def test_a_gate_with_its_evaluations_and_runs_that_it_cannot_judge() -> None:
    gate = samples.gate(
        verdicts={"passed": 1, "failed": 2, "inconclusive": 0, "error": 0},
        unjudged=[{"run": "old", "reason": "AskedUnknown", "message": "Create another run."}],
        waiting=[{"run": f"r{number}"} for number in range(7)],
    )
    foreign = samples.evaluation("foreign", {"gate": "other"})
    told = story(GATE, gate, samples.awaiting(), foreign, samples.project())
    assert told.facts == (
        ("project", "support-desk"),
        ("verdicts", "1 passed, 2 failed"),
        ("runs that wait", "r0, r1, r2, r3, r4 and 2 more"),
    )
    assert told.todo == (f"kubectl stagecoach approve {samples.NAME} -n support",)
    assert chain(told) == [
        (f"Evaluation {samples.NAME}", Mood.WAITS, "AwaitingReview"),
        ("FineTuneRun old", Mood.BAD, "cannot be judged (AskedUnknown)"),
        ("TransformerProject support-desk", Mood.GOOD, "Ready (Resolved)"),
    ]


def test_a_gates_newest_evaluations_come_first_and_the_rest_is_counted() -> None:
    many = [samples.evaluation(f"e{number}") for number in range(8)]
    for number, each in enumerate(many):
        each["metadata"]["creationTimestamp"] = f"2026-03-01T10:00:0{number}Z"
    told = story(GATE, samples.gate(), *many)
    assert [subject for subject, _, _ in chain(told)] == [
        *(f"Evaluation e{number}" for number in (7, 6, 5, 4, 3)),
        "and 3 more",
    ]


def test_a_gate_that_somebody_has_to_correct() -> None:
    told = story(GATE, samples.gate("UnknownMetric", "Choose one of accuracy.", "stalled", phase="Incomplete"))
    assert told.todo == ("kubectl edit evalgate support-desk -n support",)


def test_a_run_that_waits_for_its_project() -> None:
    run = samples.run(phase="Blocked", reason="ProjectNotReady", message="The project is not Ready.", mood="waits")
    told = story(RUN, run, samples.project("LabelErrors", "Accept the findings.", "stalled", phase="Incomplete"))
    assert chain(told) == [("TransformerProject support-desk", Mood.BAD, "Incomplete (LabelErrors)")]


def test_a_run_that_goes_on() -> None:
    status: dict[str, Any] = {
        "progress": {"step": 5, "steps": 10, "percent": 50},
        "attempts": [{"number": 2, "job": "support-desk-lora-2"}],
    }
    told = story(RUN, samples.run(phase="Running", reason="Running", mood="waits", **status))
    assert ("progress", "step 5 of 10 (50 %)") in told.facts
    assert ("last attempt", "2, goes on.") in told.facts
    assert told.todo == ("kubectl describe pods -l job-name=support-desk-lora-2 -n support",)


def test_a_run_with_what_gates_made_of_it_also_by_its_artifact() -> None:
    twin = samples.evaluation("twin", {"run": "another"})
    foreign = samples.evaluation(
        "foreign", {"run": "another", "release": {"digest": samples.RELEASE, "artifact": samples.digest("9")}}
    )
    told = story(RUN, samples.run(), samples.awaiting(), twin, foreign)
    assert {subject for subject, _, _ in chain(told)} == {f"Evaluation {samples.NAME}", "Evaluation twin"}


GATES = [
    ("an experiment", samples.run(purpose="Experiment"), [], ("Gates", "none judges it")),
    ("no gate", samples.run(), [], ("Gates", "there is none")),
    ("unjudged", samples.run(), [samples.gate(unjudged=[{"run": "support-desk-lora", "reason": "AskedUnknown", "message": "Create another."}])], ("EvalGate support-desk", "cannot judge it (AskedUnknown)")),
    ("waiting", samples.run(), [samples.gate(waiting=[{"run": "support-desk-lora"}])], ("EvalGate support-desk", "judges it after others")),
    ("blocked", samples.run(), [samples.gate("ProjectNotReady", "Wait.", "waits", phase="Blocked")], ("EvalGate support-desk", "Blocked (ProjectNotReady)")),
]  # fmt: skip


@pytest.mark.parametrize(("run", "gates", "expected"), [case[1:] for case in GATES], ids=[case[0] for case in GATES])
def test_a_run_that_no_evaluation_is_about(
    run: samples.Object, gates: list[samples.Object], expected: tuple[str, str]
) -> None:
    told = story(RUN, run, *gates)
    assert [(link.subject, link.state) for link in told.chain] == [expected]
    assert told.chain[0].says


def test_a_run_that_has_not_ended_is_of_no_gate_yet() -> None:
    assert chain(story(RUN, samples.run(phase="Running", reason="Running", mood="waits"), samples.gate())) == []


def test_a_project_with_findings_and_runs_that_have_not_succeeded() -> None:
    findings = [{"code": "LabelErrors", "message": "3 rows."}, {"code": "Overflow", "message": "9 rows."}]
    project = samples.project("FindingsOpen", "Accept them.", "stalled", phase="Incomplete", findings=findings)
    project["spec"]["accepted"] = [{"finding": "Overflow", "reason": "rare", "by": "me"}]
    failed = samples.run("failed", "Failed", "OutOfMemory", "Raise memory.", "stalled")
    told = story(PROJECT, project, samples.run(), failed, samples.gate())
    assert ("finding LabelErrors", "3 rows.") in told.facts
    assert "finding Overflow" not in dict(told.facts)
    assert ("runs", "1 of 2 have succeeded") in told.facts
    assert [subject for subject, _, _ in chain(told)] == ["FineTuneRun failed", "EvalGate support-desk"]


def test_an_approval_and_what_it_is_about() -> None:
    obj = samples.approval(
        "NotAReviewer",
        "Ask qa@example.com.",
        "stalled",
        group="editors",
        scores=[{"name": "fluency", "score": 5}],
        reason="fine",
    )
    told = story(APPROVAL, obj, samples.awaiting())
    assert told.facts == (
        ("decision", "Approve by qa@example.com, as a member of editors"),
        ("about", f"Evaluation {samples.NAME}, release f5aadf0949ff"),
        ("scores", "fluency 5"),
        ("reason", "fine"),
    )
    assert chain(told) == [(f"Evaluation {samples.NAME}", Mood.WAITS, "AwaitingReview")]


CANDIDATE = {"run": "support-desk-rank", "release": samples.digest("b"), "short": "b" * 12, "weight": 5, "gates": []}
REJECTED = {"run": "support-desk-3", "release": samples.digest("c"), "reason": "EngineNotReady"}


def test_a_deployment_tells_what_serves_and_what_is_about_to() -> None:
    obj = samples.deployment(
        phase="Progressing",
        candidate=CANDIDATE | {"gates": [{"gate": "support-desk", "evaluation": "support-desk-1"}]},
        rejected=[REJECTED | {"message": "Out of memory. Raise spec.engine.resources.memory."}],
    )
    waits = "Run support-desk-rank is about to take over. Its step lasts 5m. Nothing to do."
    obj["status"]["conditions"].append(samples.condition("Reconciling", "True", "TakingOver", waits))
    verdict = samples.decided("Passed", "Passed", "")
    told = story(DEPLOYMENT, obj, samples.run(), verdict, samples.gate(), samples.project())
    assert told.facts == (
        ("project", "support-desk"),
        (
            "candidate",
            "run support-desk-rank, release bbbbbbbbbbbb, 5 of 100 requests, passed support-desk (support-desk-1)",
        ),
        ("serving", f"run support-desk-lora, release f5aadf0949ff, passed support-desk ({samples.NAME})"),
        ("the candidate waits", waits),
        ("rejected support-desk-3", "EngineNotReady. Out of memory. Raise spec.engine.resources.memory."),
        ("endpoint", "http://support-desk.support.svc"),
    )
    assert [subject for subject, _, _ in chain(told)] == [
        "FineTuneRun support-desk-lora",
        f"Evaluation {samples.NAME}",
        "EvalGate support-desk",
        "TransformerProject support-desk",
    ]
    assert len(told.todo) == 1, "nothing is to be edited"


def test_a_deployment_tells_what_load_tests_have_measured() -> None:
    serving = samples.deployment()["status"]["serving"] | {"engine": "support-desk-e-1"}
    numbers = {"p50": "210ms", "p99": "1300ms", "firstToken": "150ms", "errorRate": 0.002, "requestsPerSecond": 19.96}
    measured = {"release": serving["release"], "run": serving["run"], "engine": serving["engine"], "at": samples.AT}
    others = {"release": samples.digest("d"), "run": "gone", "met": False}
    obj = samples.deployment(serving=serving, sla=[measured | numbers | {"met": True}, measured | numbers | others])
    words = "Tested by another spec.sla. Nothing to do."
    obj["status"]["conditions"].append(samples.condition("SLAMet", "Unknown", "SLAChanged", words))
    facts = dict(story(DEPLOYMENT, obj, samples.project()).facts)
    assert facts["load test of support-desk-lora"] == (
        f"met spec.sla as it was on {samples.AT}: p50 210ms, p99 1300ms, firstToken 150ms, errorRate 0.20%, at 19.96"
        " requests per second"
    )
    assert facts["SLAMet"] == f"SLAChanged. {words}"
    assert "load test of gone" not in facts


def test_a_deployment_that_is_stuck_says_which_condition_it_is() -> None:
    obj = samples.deployment("GatesMissing", "There is no EvalGate of this name. Create it.", "stalled", "Pending")
    del obj["status"]["serving"]
    obj["status"]["conditions"].append(
        samples.condition("CandidateAdmitted", "False", "GatesMissing", "There is no EvalGate of this name. Create it.")
    )
    told = story(DEPLOYMENT, obj)
    assert (told.mood, told.says) == (Mood.BAD, "There is no EvalGate of this name. Create it.")
    assert [label for label, _ in told.facts] == ["project", "endpoint"], "it is not said twice"
    assert told.todo[0] == "kubectl edit modeldeployment support-desk -n support"


def newer(name: str, *evaluations: samples.Object, **run: Any) -> list[samples.Object]:
    """Return a run that is newer than what is served, and what gates made of it."""
    made = samples.run(name, **run)
    made["metadata"]["creationTimestamp"] = samples.AT
    for each in evaluations:
        each["metadata"]["name"], each["spec"]["run"] = f"of-{name}", name
    return [made, *evaluations]


def test_a_deployment_tells_of_newer_runs_what_keeps_them_from_being_served() -> None:
    obj = samples.deployment(rejected=[REJECTED | {"message": "Out of memory. Raise it."}])
    message = (
        f"Run support-desk-lora has passed support-desk ({samples.NAME}). Run worse has not passed. See its Evaluation."
    )
    obj["status"]["conditions"].append(samples.condition("CandidateAdmitted", "True", "Admitted", message))
    older = samples.run("older")
    older["metadata"]["creationTimestamp"] = "2026-02-01T10:00:00Z"
    told = story(
        DEPLOYMENT,
        obj,
        older,
        *newer("worse", samples.decided("Failed", "CriterionFailed", "It is worse. Create another run.")),
        *newer("reviewed", samples.awaiting()),
        *newer("unjudged"),
        *newer("trial", purpose="Experiment"),
        *newer("training", phase="Running", reason="Training", message="It trains.", mood="waits"),
        *newer("support-desk-3"),
    )
    assert ("what is not served", "Run worse has not passed. See its Evaluation.") in told.facts
    links = {link.subject: link for link in told.chain}
    assert {subject.removeprefix("Newer FineTuneRun "): link.state for subject, link in links.items()} == {
        "worse": "gate support-desk: Failed (CriterionFailed)",
        "reviewed": "gate support-desk: AwaitingReview",
        "unjudged": "no Evaluation of gate support-desk is about it",
        "training": "Running (Training)",
        "support-desk-3": "rejected (EngineNotReady)",
    }
    assert links["Newer FineTuneRun worse"].says == "Evaluation of-worse: It is worse. Create another run."
    assert told.todo[:2] == (
        "kubectl stagecoach approve of-reviewed -n support",
        "kubectl stagecoach why ftr/worse -n support",
    )


def test_a_run_that_has_passed_may_be_passed_over() -> None:
    obj = samples.deployment(passedOver={"runCreated": samples.AT, "spec": samples.digest("d")})
    over, newest = (newer(name, samples.decided("Passed", "Passed", "It is good.")) for name in ("over", "newest"))
    newest[0]["metadata"]["creationTimestamp"] = "2026-03-01T11:57:01Z"
    assert chain(story(DEPLOYMENT, obj, *over, *newest)) == [
        ("Newer FineTuneRun newest", Mood.OTHER, "passed"),
        ("Newer FineTuneRun over", Mood.OTHER, "passed over, unless the spec has changed since"),
    ]


def test_a_deployment_of_a_run_that_is_named_tells_nothing_of_others() -> None:
    obj = samples.deployment()
    obj["spec"]["model"] = {"run": "support-desk-lora"}
    assert story(DEPLOYMENT, obj, *newer("other")).chain == ()


def test_a_deployment_means_runs_by_their_labels() -> None:
    obj = samples.deployment()
    obj["spec"]["model"] = {"latest": {"selector": {"matchLabels": {"track": "prod"}}}}
    meant, other = newer("meant", phase="Failed", reason="OutOfMemory", mood="stalled")[0], newer("other")[0]
    meant["metadata"]["labels"] = {"track": "prod"}
    assert chain(story(DEPLOYMENT, obj, meant, other)) == [
        ("Newer FineTuneRun meant", Mood.BAD, "Failed (OutOfMemory)")
    ]


def test_commands_are_for_the_context_that_was_asked() -> None:
    told = story(EVALUATION, samples.awaiting(), commands=Commands("support", "prod"))
    assert told.todo[0] == f"kubectl stagecoach approve {samples.NAME} -n support --context prod"


EVERYTHING: list[tuple[Kind, samples.Object]] = [
    (EVALUATION, samples.awaiting(samples.NAME, samples.FIRST)),
    (EVALUATION, samples.decided("Failed", "RowsLeaked", "Rows leaked. Remove them.")),
    (EVALUATION, samples.evaluation()),
    (GATE, samples.gate(unjudged=[{"run": "old", "reason": "AskedUnknown", "message": "Create another run."}])),
    (RUN, samples.run()),
    (PROJECT, samples.project()),
    (APPROVAL, samples.approval("Counted", "It counts.", reason="\x1b[2Jgone")),
    (DEPLOYMENT, samples.deployment(candidate=CANDIDATE, rejected=[REJECTED | {"message": "Raise memory."}])),
]


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize(("kind", "obj"), EVERYTHING)
def test_it_fits_on_one_screen(kind: Kind, obj: samples.Object, width: int) -> None:
    console = Console(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    told = tell(
        kind,
        obj,
        around(samples.project(), notes=("FineTuneRuns are not shown: you lack a right.",)),
        HERE,
        samples.NOW,
    )
    screen.show(console, storyboard.board(told))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    lines = text.splitlines()
    assert lines[0].startswith(told.subject[:30])
    # A command is to be copied: it is left whole.
    assert [line for line in lines if cell_len(line) > width and "kubectl" not in line] == []
    assert "\x1b" not in text
    assert "you lack a right" in " ".join(text.split())
    assert len(lines) <= {40: 48, 80: 30, 120: 26}[width]


@pytest.mark.parametrize(("kind", "obj"), EVERYTHING)
def test_no_field_can_make_a_terminal_obey_or_begin_a_line(kind: Kind, obj: samples.Object) -> None:
    console = Console(file=io.StringIO(), width=80, markup=False, emoji=False, highlight=False)
    others = (samples.approval("NotAReviewer", "Not you.", "stalled"), samples.gate(), samples.project())
    here = around(*map(samples.poisoned, others), notes=(samples.poisoned("You lack a right."),))
    screen.show(console, storyboard.board(tell(kind, samples.poisoned(obj), here, HERE, samples.NOW)))
    assert samples.harmless(console.file.getvalue())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("person", "says", "next_step"),
    [
        (Person("lead@example.com", ("ml-leads",)), "lead@example.com: you may decide", "approve"),
        (Person("qa@example.com"), "qa@example.com: you have approved", "report"),
        (Person("editor@example.com"), "editor@example.com: you are no reviewer", "report"),
        (None, None, "approve"),
    ],
)
def test_whether_whoever_asks_may_decide(person: Person | None, says: str | None, next_step: str) -> None:
    here = Around(person=person)
    told = tell(EVALUATION, samples.awaiting(samples.NAME, samples.FIRST), here, HERE, samples.NOW)
    assert dict(told.facts).get("you") == says
    assert told.todo[0].startswith(f"kubectl stagecoach {next_step} ")


def test_a_gate_asks_only_who_may_decide() -> None:
    objects = around(samples.awaiting(), samples.awaiting("other")).objects
    gate = samples.gate(phase="AwaitingReview")
    lead = tell(GATE, gate, Around(objects, person=Person("lead@example.com", ("ml-leads",))), HERE, samples.NOW)
    editor = tell(GATE, gate, Around(objects, person=Person("editor@example.com")), HERE, samples.NOW)
    assert (len(lead.todo), editor.todo) == (2, ())
