"""A deployment that wants a base of its project itself: it is judged, served without an adapter, and replaced."""

from collections.abc import Callable
from typing import Any

import pytest

from stagecoach.contract.releases import Release
from tests import builders
from tests.remedies import speaks
from tests.unit.kinds.deployment_cases import CANARY, FOLLOW, leader
from tests.unit.kinds.deployments import LABELS, Stage, project
from tests.unit.kinds.test_deployment_people import fails

BASE = {"candidate": "small"}
COMPARED: builders.Object = {"name": "no-worse", "suite": "held-out", "metric": "accuracy", "against": "Incumbent"}
COMPARED |= {"allowedDrop": {"absolute": 0.03}, "whenAbsent": "Skip"}
ALONE = builders.gate()["spec"]["criteria"]


def serves_base(stage: Stage) -> bool:
    return stage.told_status.get("serving", {}).get("base") == "small" and stage.phase == "Available"


def serving_base(*objects: builders.Object, **spec: Any) -> Stage:
    stage = Stage(*objects, **({"model": BASE} | spec))
    judged(stage)
    stage.until(lambda: serves_base(stage))
    return stage


def judged(stage: Stage, verdict: str = "Passed") -> None:
    """Let the gate judge all that it is asked about, one after the other."""
    for _ in range(3):
        stage.judge(verdict)


def admitted(stage: Stage) -> tuple[str, str]:
    said = stage.said("CandidateAdmitted")
    assert said["status"] == "True" or speaks(said["reason"], said["message"]), said
    return said["reason"], said["message"]


def with_another_prompt() -> builders.Object:
    changed = project()
    changed["spec"]["prompts"].append({"name": "route", "version": 2, "template": "Queue of: {text}"})
    changed["spec"]["inference"]["prompt"]["version"] = 2
    return changed


def with_other_files() -> builders.Object:
    changed = project()
    changed["status"]["candidates"][0]["model"] = builders.digest("d")
    return changed


def without_the_candidate() -> builders.Object:
    changed = project()
    changed["spec"]["candidates"][0]["name"] = changed["status"]["candidates"][0]["name"] = "other"
    return changed


def test_without_a_verdict_of_it_nothing_is_made() -> None:
    """NoUngatedTraffic: though a run of that base has passed."""
    stage = Stage(model=BASE)
    stage.change("EvalGate", "good", maxConcurrent=2)
    stage.look()
    [made] = [each for each in stage.evaluations if "run" not in each["spec"]]
    [run] = [each for each in stage.evaluations if "run" in each["spec"]]
    stage.decide(run["metadata"]["name"])
    for _ in range(3):
        stage.go_on()
    assert admitted(stage)[0] == "Judging"
    assert "Base small has not passed gate good" in admitted(stage)[1]
    assert not stage.of_kind("Deployment")
    stage.decide(made["metadata"]["name"], "Failed")
    stage.go_on()
    assert admitted(stage)[0] == "GateFailed"
    assert not stage.of_kind("Deployment")


def test_it_is_served_by_an_engine_of_the_base_without_an_adapter() -> None:
    stage = serving_base()
    serving = stage.told_status["serving"]
    assert {"run", "runCreated", "artifact"}.isdisjoint(serving)
    [judged] = [each["spec"] for each in stage.evaluations if "run" not in each["spec"]]
    assert serving["release"] == judged["release"]["digest"]
    [loader] = stage.loaders.values()
    assert (loader.serve.model, loader.serve.max_adapters, loader.serve.max_rank) == (None, 0, 0)
    assert loader.serve.base.model == builders.digest("5")
    assert loader.wanted == ()
    [routes] = stage.routes()
    assert routes.stable
    assert routes.stable.described.release == Release(
        asked=judged["release"]["asked"], artifact=None, engine=routes.stable.described.release.engine
    )
    assert routes.stable.described.release.digest == serving["release"]
    assert (routes.stable.labels, routes.stable.model) == (tuple(LABELS), "5" * 64)
    assert stage.said()["message"].startswith(f"Base small (release {serving['short']}) answers at ")
    assert stage.said("Gated")["status"] == "True"
    assert admitted(stage) == ("Admitted", f"Base small has passed good ({serving['gates'][0]['evaluation']}).")
    [entry] = stage.told_status["history"]
    assert (entry["base"], "run" in entry, entry["release"]) == ("small", False, serving["release"])
    assert [message for reason, message in stage.events if reason == "Serving"] == [
        f"Base small (release {serving['short']}) has all requests, on engine {serving['engine']}."
    ]


CANNOT: list[tuple[str, Callable[[], builders.Object], dict[str, Any], str, str]] = [
    ("a candidate that is not there", project, {"model": {"candidate": "large"}}, "CandidateUnknown", "no candidate 'large'"),
    ("one that has gone", without_the_candidate, {}, "CandidateUnknown", "spec.model.candidate: project 'desk' has no candidate 'small'"),
    ("the name of a run", project, {"model": {"candidate": "first"}}, "CandidateUnknown", "no candidate 'first'"),
    ("a run of the name of a candidate", project, {"model": {"run": "small"}}, "RunUnknown", "no FineTuneRun 'small'"),
    ("a project by Transformers", lambda: project(engine="Transformers"), {}, "EngineNotServed", "serve with vLLM alone"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "spec", "reason", "words"), [case[1:] for case in CANNOT], ids=[case[0] for case in CANNOT]
)
def test_what_cannot_be_served_is_not(
    change: Callable[[], builders.Object], spec: dict[str, Any], reason: str, words: str
) -> None:
    stage = Stage(**({"model": BASE} | spec))
    stage.put(change())
    judged(stage)
    stage.go_on()
    assert admitted(stage)[0] == reason
    assert words in admitted(stage)[1]
    assert not stage.of_kind("Deployment")


@pytest.mark.parametrize("architecture", ["OddForCausalLM", "GPTBigCodeModel"])
def test_a_base_that_vllm_is_not_known_to_serve_is_not(architecture: str) -> None:
    changed = project()
    changed["status"]["candidates"][0]["architecture"] = architecture
    stage = Stage(model=BASE)
    stage.put(changed)
    judged(stage)
    stage.go_on()
    assert admitted(stage)[0] == "ArchitectureNotServed"
    assert architecture in admitted(stage)[1]
    assert {each["spec"].get("run") for each in stage.evaluations} <= {"first"}
    [told] = [each for each in stage.status["unjudged"] if "base" in each]
    assert (told["base"], told["reason"]) == ("small", "ArchitectureNotServed")


def test_labels_that_are_not_all_known_keep_it_from_being_judged() -> None:
    changed = project()
    changed["status"]["labels"] |= {"count": 500, "digest": builders.digest("4")}
    stage = Stage(model=BASE)
    stage.put(changed)
    judged(stage)
    stage.go_on()
    assert admitted(stage)[0] == "TooManyLabels"
    assert [each["reason"] for each in stage.status["unjudged"] if "base" in each] == ["TooManyLabels"]


@pytest.mark.parametrize("change", [with_another_prompt, with_other_files])
def test_what_is_served_goes_on_when_the_project_changes_until_what_it_is_now_has_passed(
    change: Callable[[], builders.Object],
) -> None:
    """IncumbentStays, NoUngatedTraffic."""
    stage = serving_base()
    before = stage.told_status["serving"]["release"]
    stage.put(change())
    for _ in range(4):
        stage.go_on()
    assert stage.told_status["serving"]["release"] == before
    assert "candidate" not in stage.told_status
    gated = stage.said("Gated")
    assert (gated["status"], gated["reason"]) == ("False", "GateChanged")
    assert "base small with its prompt is another release than the one that is served" in gated["message"]
    assert admitted(stage)[0] == "Judging"
    judged(stage)
    stage.until(lambda: stage.told_status["serving"]["release"] != before and serves_base(stage))
    assert [each["base"] for each in stage.told_status["history"]] == ["small", "small"]


def test_a_candidate_that_the_project_says_otherwise_by_now_does_not_take_over() -> None:
    stage = serving_base(rollout=CANARY)
    before = stage.told_status["serving"]["release"]
    stage.put(with_another_prompt())
    judged(stage)
    stage.until(lambda: "step" in stage.told_status.get("candidate", {}))
    stage.put(with_other_files())
    stage.go_on()
    assert "by what the project says now base small is another release" in dict(stage.events)["Dropped"]
    assert stage.told_status["serving"]["release"] == before
    assert "candidate" not in stage.told_status


def test_a_candidate_that_leaves_the_project_goes_on_where_it_serves() -> None:
    """IncumbentStays."""
    stage = serving_base()
    stage.put(without_the_candidate())
    for _ in range(4):
        stage.go_on()
    assert stage.told_status["serving"]["base"] == "small"
    gated = stage.said("Gated")
    assert (gated["status"], gated["reason"]) == ("Unknown", "CandidateMissing")
    assert speaks(gated["reason"], gated["message"])
    assert stage.said()["reason"] == "Serving"
    assert not stage.get("EvalGate", "good")["status"].get("unjudged")


def test_any_run_that_passed_is_newer_and_a_run_never_makes_room_for_a_base() -> None:
    stage = serving_base()
    engine = stage.told_status["serving"]["engine"]
    stage.change("ModelDeployment", "answers", model={"latest": {}})
    judged(stage)
    stage.until(lambda: stage.serves("first"))
    assert stage.told_status["serving"]["engine"] != engine, "one takes adapters, of rank 64"
    assert {loader.serve.max_rank for loader in stage.loaders.values()} == {0, 64}
    for _ in range(5):
        stage.go_on()
    assert stage.serves("first")
    stage.change("ModelDeployment", "answers", model=BASE)
    judged(stage)
    stage.until(lambda: serves_base(stage))
    named = [each.get("run") or each["base"] for each in stage.told_status["history"]]
    assert named == ["small", "first", "small"]


def test_it_is_named_by_its_release_once_it_was_judged() -> None:
    stage = serving_base()
    release = stage.told_status["serving"]["release"]
    stage.change("ModelDeployment", "answers", model={"latest": {}})
    judged(stage)
    stage.until(lambda: stage.serves("first"))
    stage.change("ModelDeployment", "answers", model={"release": release})
    judged(stage)
    stage.until(lambda: serves_base(stage))
    assert stage.told_status["serving"]["release"] == release


def test_it_is_followed() -> None:
    stage = Stage(model=FOLLOW)
    judging = leader(model=BASE)
    stage.put(judging)
    for _ in range(2):
        judged(stage)
    [spec] = [each["spec"] for each in stage.evaluations if "run" not in each["spec"]]
    told = {"base": "small", "since": "2026-01-01T00:00:00Z"}
    told |= {"release": spec["release"]["digest"], "short": spec["release"]["short"]}
    stage.put(judging | {"status": {"serving": told}})
    stage.until(lambda: serves_base(stage))
    stage.put(judging | {"status": {"serving": told | {"release": builders.digest("a")}}})
    stage.go_on()
    assert admitted(stage)[0] == "ReleaseUnknown"
    assert "serves release aaaaaaaaaaaa of base small, which as the project is now makes release" in admitted(stage)[1]


def test_a_gate_that_compares_with_what_is_served_judges_a_run_beside_it_and_it_beside_a_run() -> None:
    stage = Stage(model=BASE)
    stage.change("EvalGate", "good", criteria=[*ALONE, COMPARED])
    judged(stage)
    stage.until(lambda: serves_base(stage))
    base = stage.told_status["serving"]["release"]
    stage.change("ModelDeployment", "answers", model={"latest": {}})
    judged(stage)
    stage.until(lambda: stage.serves("first"))
    [beside] = [each["spec"] for each in stage.evaluations if each["spec"].get("incumbent") and "run" in each["spec"]]
    assert beside["incumbent"]["release"]["digest"] == base
    assert {"run", "runInputs"}.isdisjoint(beside["incumbent"])
    assert beside["incumbent"]["base"]["candidate"] == "small"
    run = stage.told_status["serving"]["release"]
    stage.change("ModelDeployment", "answers", model=BASE)
    judged(stage)
    stage.until(lambda: serves_base(stage))
    [other] = [
        each["spec"] for each in stage.evaluations if each["spec"].get("incumbent") and "run" not in each["spec"]
    ]
    assert (other["release"]["digest"], other["incumbent"]["release"]["digest"]) == (base, run)


def test_it_comes_back_by_its_verdict_of_then_when_it_is_named() -> None:
    stage = Stage(model=BASE, rollout={"rollbackWindow": 1})
    stage.change("EvalGate", "good", criteria=[*ALONE, COMPARED])
    judged(stage)
    stage.until(lambda: serves_base(stage))
    stage.change("ModelDeployment", "answers", model={"latest": {}})
    judged(stage)
    stage.until(lambda: stage.serves("first"))
    stage.change("ModelDeployment", "answers", model=BASE)
    stage.until(lambda: serves_base(stage))
    assert "beside what was served then" in admitted(stage)[1]


def test_a_gate_that_compares_with_the_base_cannot_judge_it() -> None:
    worth_it = {"name": "worth-it", "suite": "held-out", "metric": "f1_macro", "against": "Baseline"}
    stage = Stage(model=BASE)
    stage.change("EvalGate", "good", criteria=[*ALONE, worth_it | {"allowedDrop": {"absolute": 0.5}}])
    judged(stage)
    stage.go_on()
    assert admitted(stage)[0] == "GateCannotJudge"
    assert "spec.criteria[worth-it].against of the gate is Baseline" in admitted(stage)[1]
    assert [each["reason"] for each in stage.status["unjudged"] if "base" in each] == ["IsBaseline"]


def test_a_gate_of_another_project_says_nothing_of_it() -> None:
    stage = serving_base()
    other = project()
    other["metadata"] |= {"name": "elsewhere", "uid": "uid-elsewhere"}
    stage.put(other)
    stage.change("EvalGate", "good", project="elsewhere")
    stage.change("ModelDeployment", "answers", model={"latest": {}})
    stage.change("ModelDeployment", "answers", model=BASE)
    stage.go_on()
    assert admitted(stage)[0] == "GateCannotJudge"
    assert "and that of the base is 'desk'" in admitted(stage)[1]


def test_what_was_rejected_is_not_tried_again_and_others_are() -> None:
    stage = serving_base(rollout=CANARY)
    before = stage.told_status["serving"]["release"]
    stage.put(with_another_prompt())
    judged(stage)
    fails(stage)
    [rejected] = stage.told_status["rejected"]
    assert (rejected["base"], "run" in rejected) == ("small", False)
    assert stage.told_status["serving"]["release"] == before
    for _ in range(5):
        stage.go_on()
    assert admitted(stage)[0] == "Rejected"
    assert "Base small was tried, and rejected" in admitted(stage)[1]
    stage.put(with_other_files())
    judged(stage)
    stage.until(lambda: "candidate" in stage.told_status)


def test_somebody_revokes_it_and_what_was_served_before_comes_back() -> None:
    stage = serving_base(approvers=[{"user": "qa@example.com"}])
    base = stage.told_status["serving"]["release"]
    stage.change("ModelDeployment", "answers", model={"latest": {}})
    judged(stage)
    stage.until(lambda: stage.serves("first"))
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    stage.until(lambda: serves_base(stage))
    assert stage.told_status["serving"]["release"] == base
    stage.decided("Revoke", base)
    stage.until(lambda: stage.phase == "Unavailable")
    assert stage.told_status["revoked"]["base"] == "small"
    assert stage.said()["message"].startswith("Base small (release ")
    assert speaks(stage.said()["reason"], stage.said()["message"])


def test_a_base_that_was_never_served_does_not_stand_in_for_what_was_revoked() -> None:
    """NoUngatedTraffic: whoever says `latest` while it is started wants a run."""
    stage = Stage(model={"run": "first"}, approvers=[{"user": "qa@example.com"}])
    judged(stage)
    stage.until(lambda: stage.serves("first"))
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    stage.change("ModelDeployment", "answers", model=BASE)
    stage.until(lambda: "revoked" in stage.told_status)
    judged(stage)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("base") == "small")
    stage.change("ModelDeployment", "answers", model={"latest": {}})
    for _ in range(5):
        stage.go_on()
    assert {"serving", "candidate"}.isdisjoint(stage.told_status)
    assert dropped(stage)[-1].endswith(" does not take over: spec.model.latest means runs, and no base itself.")


def test_somebody_lets_it_in_without_its_gates() -> None:
    stage = Stage(model=BASE, approvers=[{"user": "qa@example.com"}])
    judged(stage, "Failed")
    [spec] = [each["spec"] for each in stage.evaluations if "run" not in each["spec"]]
    stage.decided("Override", spec["release"]["digest"])
    stage.until(
        lambda: stage.told_status.get("serving", {}).get("base") == "small" and stage.said()["status"] == "True"
    )
    assert stage.said("Gated")["reason"] == "Overridden"
    assert stage.said("Gated")["message"].startswith("Base small was admitted without its gates by qa@example.com")


def test_a_base_that_comes_back_for_what_is_revoked_is_judged_by_what_its_gate_asks_now() -> None:
    """Whatever its gate asked when it was served: nobody else asks about it any more."""
    stage = serving_base(approvers=[{"user": "qa@example.com"}])
    base = stage.told_status["serving"]["release"]
    stage.change("ModelDeployment", "answers", model={"latest": {}})
    judged(stage)
    stage.until(lambda: stage.serves("first"))
    stage.change("EvalGate", "good", minScored=0.5)
    judged(stage)
    stage.decided("Revoke", stage.told_status["serving"]["release"])
    stage.until(lambda: "revoked" in stage.told_status)
    judged(stage)
    stage.until(lambda: serves_base(stage))
    assert stage.told_status["serving"]["release"] == base


def asked_for_a_base_beside_a_run_that_failed(stage: Stage) -> None:
    """Let the gate pass the base, and nothing that a run has made."""
    for _ in range(3):
        stage.look()
        for each in stage.evaluations:
            if "verdict" not in each.get("status", {}):
                stage.decide(each["metadata"]["name"], "Failed" if "run" in each["spec"] else "Passed")


def dropped(stage: Stage) -> list[str]:
    return [message for reason, message in stage.events if reason == "Dropped"]


def test_a_base_that_the_spec_names_no_more_does_not_take_over_though_no_run_has_passed() -> None:
    """NoUngatedTraffic: `latest` never means a base."""
    stage = Stage(model=BASE)
    asked_for_a_base_beside_a_run_that_failed(stage)
    stage.until(lambda: stage.told_status.get("candidate", {}).get("base") == "small")
    stage.change("ModelDeployment", "answers", model={"latest": {}})
    for _ in range(5):
        stage.go_on()
    assert {"serving", "candidate"}.isdisjoint(stage.told_status)
    assert admitted(stage)[0] == "GateFailed"
    [told] = dropped(stage)
    assert told.startswith("Base small (release ")
    assert told.endswith(" does not take over: spec.model.latest means runs, and no base itself.")


def test_a_base_in_its_steps_that_the_spec_names_no_more_goes_though_no_run_has_passed() -> None:
    """NoUngatedTraffic: what is served is the base by the prompt of before, and goes on."""
    stage = Stage(model=BASE, rollout=CANARY)
    asked_for_a_base_beside_a_run_that_failed(stage)
    stage.until(lambda: serves_base(stage))
    before = stage.told_status["serving"]["release"]
    stage.put(with_another_prompt())
    asked_for_a_base_beside_a_run_that_failed(stage)
    stage.until(lambda: "weight" in stage.told_status.get("candidate", {}))
    stage.change("ModelDeployment", "answers", model={"latest": {}})
    for _ in range(5):
        stage.go_on(31)
        stage.ask()
    assert stage.told_status["serving"]["release"] == before
    assert "candidate" not in stage.told_status
    [told] = dropped(stage)
    assert told.endswith(" does not take over: spec.model.latest means runs, and no base itself.")
