"""What gates have to come to, and every number of their reports computed a second time, from what the storage has."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from stagecoach.contract import layout, mounts
from stagecoach.contract.evaluations import EvaluationInputs
from tests import deploy, following
from tests.banking77 import desk
from tests.unit.evaluator import independent

Object = dict[str, Any]

# By gate and run; of those whose labels were drawn at random, and of rows that were trained on, none may pass.
WANTED = {
    ("no-worse", desk.EQUAL): "Passed",
    ("good", desk.LEARNED): "Passed",
    ("leaky", desk.LEARNED): "Failed",
    ("good", desk.NONSENSE): "Failed",
}
# What the example's Job mounts, and what takes its place here.
PLACES = {"support-desk-data": desk.NAME, "subPath: support-desk": f"subPath: {desk.NAME}"}
READS = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}


def wrong(tools: deploy.Tools, known: desk.Data, gate: str, run: str) -> Iterator[str]:
    """Wait for a verdict, and say what is wrong with it."""
    found = following.verdict(tools.kube(desk.NAME), gate, run)
    if isinstance(found, str):
        yield found
        return
    status, wanted = found["status"], WANTED[gate, run]
    if status["verdict"] != wanted:
        yield f"the verdict is {status['verdict']}, not {wanted}: {status['message']}"
    if "report" not in status:
        return
    key, folder = found["spec"]["key"], layout.evaluation_folder(found["spec"]["key"])
    record, report = (json.loads(_read(tools, f"{folder}/{name}")) for name in ("record.json", "report.json"))
    if (record["verdict"], report["verdict"], report["key"]) != (status["verdict"], status["verdict"], key):
        yield f"status, record and report are not of one verdict: {record['verdict']}, {report['verdict']}"
    yield from _numbers(tools, known, record, report)
    leaks = known.leaks if gate == "leaky" else []
    if record["suites"][0]["leaked"] != leaks or status["leaked"] != len(leaks):
        yield f"the rows that leaked are said to be {record['suites'][0]['leaked']}, and are {leaks}"


def _numbers(tools: deploy.Tools, known: desk.Data, record: Object, report: Object) -> Iterator[str]:
    """Compare status, record and report with what scikit-learn makes of the answers and the data set."""
    if record["results"] != report["results"]:
        yield "record and report have other results"
    inputs = EvaluationInputs.model_validate(report["inputs"])
    suites = {}
    for suite, told, scored in zip(inputs.suites, report["suites"], record["suites"], strict=True):
        candidate = _answers(tools, inputs.release, suite.rows, scored["answers"])
        baseline = _answers(tools, inputs.baseline, suite.rows, scored["baselineAnswers"]) if inputs.baseline else None
        rows = known.files[told["dataset"]]
        # A row that repeats another is not counted.
        first = [number for number, row in enumerate(rows) if row not in rows[:number]]
        expected = [rows[number]["category"] for number in first]
        said, base = ([each[number] for number in first] if each else None for each in (candidate, baseline))
        suites[suite.name] = independent.Suite(expected, said or [], base, sorted(desk.INTENTS))
    yield from independent.differences(report, suites)


def _answers(tools: deploy.Tools, release: str, rows: str, digest: str) -> list[Object]:
    content = _read(tools, layout.outputs_file(release, rows))
    if f"sha256:{hashlib.sha256(content.encode()).hexdigest()}" != digest:
        raise RuntimeError(f"the answers of {release} are not those that the record names")
    return [json.loads(line) for line in content.splitlines()]


def _read(tools: deploy.Tools, path: str) -> str:
    command = {"command": ["cat", f"{mounts.STORAGE}/{path}"], "resources": READS}
    return deploy.run_trainer(tools, desk.NAME, desk.EQUAL, "read", command, adapted=PLACES)
