"""What the pages say is what the code does."""

import ast
import base64
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from stagecoach.api.crds import KINDS, Kind, definition
from stagecoach.api.problem import Task
from stagecoach.api.resolved import FindingCode
from stagecoach.contract.access import ENVIRONMENT_VARIABLE, Access
from stagecoach.contract.mounts import SCRATCH, secret_folder
from stagecoach.kinds.modeldeployment import gated
from stagecoach.kinds.modeldeployment.gated import CHANGED
from stagecoach.kinds.modeldeployment.switching import NOT_READY
from stagecoach.policies import verdicts
from stagecoach.policies.admission import NOTHING_BEFORE, OBSTACLES
from stagecoach.policies.attempts import HOPELESS_FAILURES, OUTAGES, TABLE, AttemptOutcome
from stagecoach.policies.reviews import Standing
from stagecoach_gateway.clients import ClientKey
from tests.cluster.paths import State
from tests.integration.chart.conftest import Installer
from tests.integration.chart.test_rights import OPERATOR
from tests.integration.chart.tools import CHART, DOCUMENTS, REPOSITORY, Cluster, Object, template, walk
from tests.integration.chart.yaml_blocks import blocks, example

SOURCES = REPOSITORY / "operator" / "stagecoach"
TRAINER = REPOSITORY / "images" / "trainer" / "stagecoach_trainer"
EVALUATOR = REPOSITORY / "images" / "evaluator" / "stagecoach_evaluator"
# Functions and types that take a reason, as a CamelCase word among their arguments.
TAKES_A_REASON = {
    *("Blocked", "Complaint", "Event", "Fact", "GateWord", "Problem", "Unjudged", "UnjudgedRun", "Waiting"),
    *("blocked", "failed", "incomplete", "in_progress", "pending", "ready", "resolving", "stalled", "told", "waiting"),
    *("_given_up", "_waits"),
    *("Abort", "Decision", "NotAdmitted"),
}
# Policies of one kind alone; attempts.py is of all that have Jobs.
OWN_POLICIES = {"finetunerun": ("servable.py", "sharing.py", "twins.py"), "evalgate": ("criteria.py",)}
# What is said to one kind alone, from beside its folder.
SAID_TO = {"modeldeployment": ("releases.py",)}
CONDITION_TYPES = {
    *("Ready", "Resolved", "InputsResolved", "Complete", "Reconciling", "Stalled"),
    *("Gated", "Loaded", "SLAMet", "CandidateAdmitted", "Autoscaled"),
}
# What the API server says when it does not accept an object.
REFUSALS = {"Forbidden", "Invalid", "BadRequest", "NameTaken"}


@pytest.fixture(scope="module")
def installed(cluster: Cluster, module_installer: Installer) -> Cluster:
    module_installer.install("sc", "stagecoach")
    cluster.namespace("support")
    return cluster


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_the_api_server_takes_the_example(installed: Cluster, kind: Kind) -> None:
    document = yaml.safe_dump(example(kind.model.__name__.lower()))
    # The operator alone writes Evaluations, and everybody decides in their own name.
    accounts = {"evaluations": OPERATOR, "approvals": "qa@example.com"}
    account = installed.impersonating(accounts.get(kind.plural, ""))
    groups = ("--as-group=ml-leads", "--as-group=system:masters") if kind.plural == "approvals" else ()
    account.kubectl("create", *groups, "--dry-run=server", "--validate=strict", "-f", "-", document=document)


@pytest.mark.parametrize("part", [".", "base-model", "compare"])
def test_the_api_server_takes_what_people_copy(installed: Cluster, part: str) -> None:
    strictly = ("--server-side", "--dry-run=server", "--validate=strict")
    folder = REPOSITORY / "examples" / "support-desk" / part
    assert "(server dry run)" in installed.kubectl("apply", *strictly, "-n", "support", "-k", str(folder))


def test_the_api_server_takes_the_gate_with_reviewers(installed: Cluster) -> None:
    file = REPOSITORY / "examples" / "support-desk" / "reviewed-gate.yaml"
    dry = ("--server-side", "--dry-run=server", "--validate=strict", "-n", "support")
    assert "(server dry run)" in installed.kubectl("apply", *dry, "-f", str(file))


def test_the_job_that_compares_is_that_of_the_example() -> None:
    job, for_buckets = blocks("compare")
    assert job == yaml.safe_load((REPOSITORY / "examples" / "support-desk" / "compare" / "job.yaml").read_text())
    [container] = for_buckets["containers"]
    told = Access.model_validate_json(container["env"][1]["value"])
    assert container["env"][1]["name"] == ENVIRONMENT_VARIABLE
    mounted = {item["mountPath"] for item in container["volumeMounts"]}
    assert mounted == {SCRATCH, *(secret_folder(item.secret) for item in told.credentials)}
    assert {item["name"] for item in container["volumeMounts"]} == {item["name"] for item in for_buckets["volumes"]}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_the_example_is_complete(kind: Kind) -> None:
    page = (DOCUMENTS / "api" / f"{kind.model.__name__.lower()}.md").read_text()
    block = page.split("```yaml\n")[1].split("```")[0]
    schema = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields = {path.rpartition(".")[2] for path, _ in walk(schema["properties"]["spec"])}
    assert {field for field in fields if not re.search(rf"\b{field}\b", block)} == set()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_every_field_of_the_status_is_told(kind: Kind) -> None:
    page = (DOCUMENTS / "api" / f"{kind.model.__name__.lower()}.md").read_text()
    status = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    usual = {"observedGeneration", "startTime", "completionTime"}
    assert {field for field in status["properties"] if f"`{field}" not in page} - usual == set()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_every_reason_is_explained(kind: Kind) -> None:
    name = kind.model.__name__.lower()
    page = (DOCUMENTS / "api" / f"{name}.md").read_text()
    own = set(_reasons(SOURCES / "kinds" / name))
    own |= {reason for policy in OWN_POLICIES.get(name, ()) for reason in _reasons(SOURCES / "policies" / policy)}
    own |= {reason for module in SAID_TO.get(name, ()) for reason in _reasons(SOURCES / "kinds" / module)}
    shared = {*_reasons(SOURCES / "kinds" / "invalid.py"), *_reasons(SOURCES / "runtime")}
    outcomes = {str(outcome) for outcome in TABLE} - {str(AttemptOutcome.SUCCEEDED)}
    refusals = REFUSALS
    if name == "evalgate":
        outcomes = set()  # it has no Jobs
        own |= {"ProjectMissing", "ProjectNotReady"}
    elif name == "modeldeployment":
        outcomes = set()  # nor has it: what its pods complain of is told by words of its own
        own |= {"ProjectMissing", "ProjectNotReady"}
    elif name == "approval":
        outcomes = set()  # nor has it anything to create
        refusals = {"Forbidden"}
        own |= set(Standing)
    else:
        shared |= set(_reasons(SOURCES / "policies" / "attempts.py"))
        assert "Unschedulable" in shared
    if name == "evaluation":
        own |= {*verdicts.REASONS.values(), *verdicts.REMEDIES}
    if name == "modeldeployment":
        own |= {reason for reason, _ in OBSTACLES.values()}
        own |= {NOT_READY, CHANGED, NOTHING_BEFORE, *gated.REASONS.values()}
        loader = [*EVALUATOR.glob("loader*.py"), *(EVALUATOR / f"{name}.py" for name in ("taking", "programs"))]
        own |= {reason for path in loader for reason in _problems_of(path)}
        for policy in ("admission.py", "fitting.py", "rollout.py", "scaling.py"):
            own |= set(_reasons(SOURCES / "policies" / policy)) - {"NotBegun"}  # a gate's word, on its own page
    if name == "transformerproject":
        own |= {code.value for code in FindingCode}
        outcomes -= {str(AttemptOutcome.HOPELESS), str(AttemptOutcome.PREEMPTED), str(AttemptOutcome.SUSPENDED)}
        shared -= {"Starting"}  # a project says Resolving
    elif name == "finetunerun":
        own |= HOPELESS_FAILURES
    assert {reason for reason in own | shared | outcomes | refusals if f"`{reason}`" not in page} == set()
    assert "InternalError" in shared


def test_every_reason_of_the_trainer_is_explained() -> None:
    page = (DOCUMENTS / "api" / "trainer-reasons.md").read_text()
    given = {*_problems(TRAINER), *_problems(SOURCES / "contract")}
    # Of a pod that was told to stop: outcomes of an attempt to the operator.
    assert {reason for reason in given - {"Terminated", "Preempted"} if f"`{reason}`" not in page} == set()
    told = set(re.findall(r"`([A-Z][A-Za-z]+)`", "".join(re.findall(r"^\| (`.+?) \|", page, re.MULTILINE))))
    assert told - given == set()
    assert {"BaseMissing", "StorageFull", "EmptyLabel", "InputChanged", *OUTAGES} <= given


def test_every_reason_of_the_evaluator_is_explained() -> None:
    page = (DOCUMENTS / "api" / "evaluator-reasons.md").read_text()
    told = set(re.findall(r"^\| `([A-Z][A-Za-z]+)` \|", page, re.MULTILINE))
    given = set(_problems(EVALUATOR)) - {task.value for task in Task}
    assert given - told == set()
    assert told - given - set(_problems(TRAINER)) == set()
    assert {"ReleaseMismatch", "RecordMissing"} <= given


@pytest.mark.parametrize("package", [TRAINER, EVALUATOR], ids=lambda package: package.name)
def test_every_module_of_an_image_is_in_its_table(package: Path) -> None:
    page = (package.parent / "README.md").read_text()
    table = dict(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.+) \|$", page.split("| module |")[1], re.MULTILINE))
    told = [name for names in table for name in re.findall(r"`(\w+)`", names)]
    assert sorted(told) == _modules(package)
    if package == TRAINER:
        assert sorted(re.findall(r"`(\w+)`", table["`families`"])) == _modules(TRAINER / "families")


def _modules(package: Path) -> list[str]:
    """Return the names of a package's modules, and of the packages in it."""
    there = [item for item in package.iterdir() if item.suffix == ".py" or (item / "__init__.py").exists()]
    return sorted(item.stem for item in there if item.stem != "__init__")


def _problems(place: Path) -> Iterator[str]:
    """Yield the words that the source gives as the reasons of problems."""
    for path in sorted(place.rglob("*.py")):
        yield from _problems_of(path)


def _problems_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        texts = [each.value for each in _candidates(node) if isinstance(each, ast.Constant)]
        yield from (text for text in texts if isinstance(text, str) and re.fullmatch(r"[A-Z][a-z]+[A-Za-z]+", text))


def _candidates(node: ast.AST) -> list[ast.expr]:
    """Return where a reason may stand: an argument, what is assigned to `reason`, a default, a row of a table."""
    match node:
        case ast.Call() if _called(node) in ("of", "refuse", "_refuse", "BadCell"):
            return [*node.args, *(each.value for each in node.keywords)]
        case ast.Call():
            return [each.value for each in node.keywords if each.arg in ("mismatch", "reason")]
        case ast.Assign(targets=[ast.Name(id="reason")], value=value):
            return [each for each in ast.walk(value) if isinstance(each, ast.Constant)]
        case ast.FunctionDef(args=arguments):
            return arguments.defaults
        case ast.Tuple(elts=[ast.Constant() as reason, _, ast.Constant()]):
            return [reason]
    return []


def _reasons(place: Path) -> Iterator[str]:
    """Yield the words that the source gives as reasons."""
    for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
        for node in ast.walk(ast.parse(path.read_text())):
            words: list[ast.expr] = []
            if isinstance(node, ast.Call) and _called(node) in TAKES_A_REASON:
                words = [*node.args, *(each.value for each in node.keywords)]
            words += _fault(node)
            if words:
                texts = [each.value for each in words if isinstance(each, ast.Constant) and isinstance(each.value, str)]
                yield from (
                    text for text in texts if re.fullmatch(r"[A-Z][A-Za-z]+", text) and text not in CONDITION_TYPES
                )


def _fault(node: ast.AST) -> list[ast.expr]:
    """Return the reason where one is returned with its message."""
    match node:
        case ast.Return(value=ast.Tuple(elts=[reason, ast.JoinedStr()])):
            return [reason]
    return []


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def test_every_value_is_in_the_table() -> None:
    page = (DOCUMENTS / "install.md").read_text()
    table = page.split("## Values")[1].split("##")[0]
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert {path for path in _paths(defaults) if f"`{path}`" not in table} == set()
    named = {
        word for row in table.splitlines()[4:] for word in re.findall(r"`([^`]+)`", row.partition("|")[2].split("|")[0])
    }
    assert named - set(_paths(defaults)) == set()


def _paths(values: Object, before: str = "") -> Iterator[str]:
    for key, value in values.items():
        path = f"{before}{key}"
        if isinstance(value, dict) and value and not path.endswith(("resources.requests", "resources.limits")):
            yield from _paths(value, f"{path}.")
        else:
            yield path


def test_the_table_of_rights_is_that_of_the_chart(tmp_path: Path) -> None:
    page = (DOCUMENTS / "install.md").read_text().split("## Rights of the operator")[1].split("\nPeople:")[0]
    told: set[tuple[str, str]] = set()
    for row in re.findall(r"^\| (.+?) \| ([a-z, ]+) \| .+ \|$", page, re.MULTILINE):
        told |= {
            (resource, verb)
            for resource in re.findall(r"`([a-z/]+)`", re.sub(r"\(.+?\)", "", row[0]))
            for verb in row[1].split(", ")
        }
    given = {
        (resource, verb)
        for role in template(tmp_path / "values.yaml", rbac={"aggregate": False})
        if role["kind"] in ("ClusterRole", "Role")
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert told - {("resource", "verbs")} == given


def test_keys_of_clients_are_made_as_the_page_says(installed: Cluster) -> None:
    page = (DOCUMENTS / "api" / "modeldeployment.md").read_text()
    [block] = [
        each for each in re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE) if "clients.json" in each
    ]
    commands = block.partition("curl ")[0] + 'printf %s "$KEY" >&2'
    environment = {
        "KUBECONFIG": str(installed.kubeconfig),
        "PATH": f"{State.from_environment().bin}:{os.environ['PATH']}",
    }
    done = subprocess.run(["bash", "-ec", commands], env=environment, capture_output=True, text=True, check=True)
    [client] = json.loads(
        base64.b64decode(installed.get("secret", "support-desk-clients", "-n", "support")["data"]["clients.json"])
    )
    told = ClientKey.model_validate(client)
    assert (told.client, told.sha256) == ("web", hashlib.sha256(done.stderr.encode()).hexdigest())
    assert len(done.stderr) > 40


def test_every_metric_is_in_the_table() -> None:
    page = (DOCUMENTS / "install.md").read_text().split("## Metrics")[1].split("\n## ")[0]
    told = {
        name: re.findall(r"`(\w+)`", labels)
        for name, labels in re.findall(r"^\| `(\w+)` \| (.*?) ?\| .+ \|$", page, re.MULTILINE)
    }
    assert told == dict(_metrics(SOURCES / "runtime" / "metrics.py"))


def _metrics(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the names of metrics, each with its labels."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and _called(node) in ("Counter", "Gauge", "Histogram"):
            name, _, *labels = [ast.literal_eval(each) for each in node.args]
            yield name, labels[0] if labels else []


@pytest.mark.parametrize("page", ["api/finetunerun.md", "evaluation-report.md"])
def test_the_pod_that_looks_into_a_claim_is_as_restricted_as_the_job_that_compares(page: str) -> None:
    pod = yaml.safe_load((DOCUMENTS / page).read_text().split("<<EOF\n")[1].split("\nEOF\n")[0])["spec"]
    theirs = blocks("compare")[0]["spec"]["template"]["spec"]
    assert pod["securityContext"] == theirs["securityContext"]
    [looks], [compares] = pod["containers"], theirs["containers"]
    assert looks["securityContext"] == compares["securityContext"]
    [mount], [volume] = looks["volumeMounts"], pod["volumes"]
    assert (mount["name"], mount["readOnly"]) == (volume["name"], True)


def test_the_values_of_the_page_install_it(tmp_path: Path) -> None:
    first, *others = blocks("install")
    assert template(tmp_path / "first.yaml", **first)
    assert len(others) == 4
    for some in others:
        assert template(tmp_path / "some.yaml", **some)
