"""When Prometheus alerts, by Prometheus' own tests of rules; and what it records."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import yaml

from stagecoach.contract.gateway_errors import ERRORS
from stagecoach.runtime import metrics as of_the_operator
from stagecoach_gateway.counting import Counts
from tests import remedies
from tests.integration.chart.tools import CHART, DOCUMENTS, Object, promtool

RULES = CHART / "files/prometheus/rules.yml"
DASHBOARDS = CHART / "files/dashboards"
GATEWAY = 'job="stagecoach-serving", component="gateway", namespace="n", deployment="d", pod'
ENGINE = 'job="stagecoach-serving", component="engine", namespace="n", deployment="d", pod'
OPERATOR = 'job="stagecoach-operator", namespace="s", pod'
DIGEST = f"sha256:{'a' * 64}"
RELEASE = f'release="{DIGEST}"'
OVERRIDDEN = f'object_namespace="n", deployment="d", {RELEASE}'
# As it is when all is well, for 20 minutes by 15 seconds.
WELL = {
    f'up{{{GATEWAY}="g1"}}': "1x80",
    f'up{{{GATEWAY}="g2"}}': "1x80",
    f'up{{{ENGINE}="e1"}}': "1x80",
    f'stagecoach_gateway_ready{{{GATEWAY}="g1"}}': "1x80",
    f'stagecoach_gateway_ready{{{GATEWAY}="g2"}}': "0x80",
    f'stagecoach_gateway_routes_confirmed{{{GATEWAY}="g1"}}': "1x80",
    f'stagecoach_gateway_routes_revision{{{GATEWAY}="g1"}}': "7x80",
    f'stagecoach_gateway_routes_revision{{{GATEWAY}="g2"}}': "7x80",
    f'stagecoach_gateway_weight{{{GATEWAY}="g1", {RELEASE}}}': "100x80",
    f'stagecoach_gateway_requests_total{{{GATEWAY}="g1", {RELEASE}}}': "0+100x80",
    f'stagecoach_gateway_errors_total{{{GATEWAY}="g1", {RELEASE}, code="engine_timeout"}}': "0+4x80",
    f'stagecoach_gateway_errors_total{{{GATEWAY}="g1", {RELEASE}, code="invalid_request"}}': "0+90x80",
    f'stagecoach_gateway_errors_total{{{GATEWAY}="g1", release="none", code="missing_key"}}': "0+50x80",
    f'stagecoach_leader{{{OPERATOR}="o1"}}': "1x80",
    f'stagecoach_leader{{{OPERATOR}="o2"}}': "0x80",
    f'stagecoach_synced{{{OPERATOR}="o1"}}': "1x80",
    f'stagecoach_reconcile_errors_total{{{OPERATOR}="o1", kind="FineTuneRun", cause="Conflict"}}': "0+1x80",
}
# What changes, and what is then said; None: there is no such series.
CASES: dict[str, tuple[dict[str, str | None], set[str]]] = {
    "all is well": ({}, set()),
    "gateways are not ready": (
        {f'stagecoach_gateway_ready{{{GATEWAY}="g1"}}': "0x80"},
        {"StagecoachNoGatewayReady"},
    ),
    "gateways cannot be reached": (
        {
            **{key: "0x80" for key in WELL if key.startswith(f"up{{{GATEWAY}")},
            **{key: None for key in WELL if key.startswith("stagecoach_gateway")},
        },
        {"StagecoachNoGatewayReady"},
    ),
    "an engine does not answer": ({f'up{{{ENGINE}="e1"}}': "0x80"}, {"StagecoachNoEngineUp"}),
    "no engine is there": ({f'up{{{ENGINE}="e1"}}': None}, {"StagecoachNoEngineUp"}),
    "nothing was admitted yet": (
        {
            f'up{{{ENGINE}="e1"}}': None,
            **{key: None for key in WELL if RELEASE in key},
        },
        set(),
    ),
    "and clients ask": (
        {
            f'up{{{ENGINE}="e1"}}': None,
            **{key: None for key in WELL if RELEASE in key},
            f'stagecoach_gateway_errors_total{{{GATEWAY}="g1", release="none", code="nothing_served"}}': "0+9x80",
        },
        {"StagecoachNothingServed", "StagecoachDeploymentFails"},
    ),
    "the release fails": (
        {f'stagecoach_gateway_errors_total{{{GATEWAY}="g1", {RELEASE}, code="engine_timeout"}}': "0+9x80"},
        {"StagecoachDeploymentFails"},
    ),
    "gates are overridden": (
        {f'stagecoach_overridden{{{OPERATOR}="o1", {OVERRIDDEN}, place="candidate"}}': "1x80"},
        {"StagecoachGatesOverridden"},
    ),
    "a claim is full": (
        {f'stagecoach_gateway_kept_dropped{{{GATEWAY}="g1"}}': "0+3x80"},
        {"StagecoachSamplesLost"},
    ),
    "some documents are too long": ({f'stagecoach_gateway_kept_dropped{{{GATEWAY}="g1"}}': "0x40 3x40"}, set()),
    "a gateway was not told": (
        {f'stagecoach_gateway_routes_confirmed{{{GATEWAY}="g1"}}': "0x80"},
        {"StagecoachRoutesUnconfirmed"},
    ),
    "a gateway has older routes": (
        {f'stagecoach_gateway_routes_revision{{{GATEWAY}="g2"}}': "6x80"},
        {"StagecoachRoutesDiffer"},
    ),
    "for a moment": ({f'stagecoach_gateway_routes_revision{{{GATEWAY}="g2"}}': "6x70 7x10"}, set()),
    "nobody leads": ({f'stagecoach_leader{{{OPERATOR}="o1"}}': "0x80"}, {"StagecoachOperatorNotLeading"}),
    "no operator is there": (
        {key: None for key in WELL if OPERATOR in key},
        {"StagecoachOperatorNotLeading"},
    ),
    "a watch is silent": ({f'stagecoach_synced{{{OPERATOR}="o1"}}': "0x80"}, {"StagecoachOperatorNotSynced"}),
    "a bug": (
        {f'stagecoach_reconcile_errors_total{{{OPERATOR}="o1", kind="EvalGate", cause="InternalError"}}': "1+1x80"},
        {"StagecoachReconcileBug"},
    ),
}


def rules() -> Iterator[Object]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from group["rules"]


def alerts() -> list[Object]:
    return [each for each in rules() if "alert" in each]


def test_prometheus_alerts_when_it_should(tmp_path: Path) -> None:
    cases = [
        {
            "name": name,
            "interval": "15s",
            "input_series": [
                {"series": series, "values": values} for series, values in (WELL | changes).items() if values
            ],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": "19m",
                    "exp_samples": [{"labels": f'{{alertname="{each}"}}', "value": 1} for each in sorted(expected)],
                }
            ],
        }
        for name, (changes, expected) in CASES.items()
    ]
    _tested(tmp_path, cases)
    assert {name for _, expected in CASES.values() for name in expected} == {each["alert"] for each in alerts()}


def test_what_is_recorded(tmp_path: Path) -> None:
    buckets = {
        f'stagecoach_gateway_latency_seconds_bucket{{{GATEWAY}="g1", {RELEASE}, le="{bound}"}}': f"0+{step}x80"
        for bound, step in (("0.1", 50), ("0.2", 98), ("0.3", 100), ("+Inf", 100))
    }
    of = f'{{deployment="d", namespace="n", {RELEASE}}}'
    recorded = {
        "release:stagecoach_gateway_failures:ratio5m": (of, 0.04),
        "deployment:stagecoach_gateway_failures:ratio5m": ('{deployment="d", namespace="n"}', 4 / 150),
        "release:stagecoach_gateway_latency_seconds:p50_5m": (of, 0.1),
        "release:stagecoach_gateway_latency_seconds:p99_5m": (of, 0.25),
    }
    tests = [
        {
            "expr": f"round({name}, 0.0001)",
            "eval_time": "19m",
            "exp_samples": [{"labels": labels, "value": round(value, 4)}],
        }
        for name, (labels, value) in recorded.items()
    ]
    series = [{"series": name, "values": values} for name, values in (WELL | buckets).items()]
    _tested(tmp_path, [{"interval": "15s", "input_series": series, "promql_expr_test": tests}])


def test_an_alert_of_gates_says_where_the_release_is_that_has_not_passed(tmp_path: Path) -> None:
    [alert] = [each for each in alerts() if each["alert"] == "StagecoachGatesOverridden"]

    def expected(place: str) -> Object:
        labels = {"object_namespace": "n", "deployment": "d", "release": DIGEST, "place": place}
        said = dict(alert["annotations"])
        for name, value in labels.items():
            said = {key: text.replace(f"{{{{ $labels.{name} }}}}", value) for key, text in said.items()}
        return {"exp_labels": labels | alert["labels"], "exp_annotations": said}

    places = ("serving", "candidate")
    series = [
        {"series": f'stagecoach_overridden{{{OPERATOR}="o1", {OVERRIDDEN}, place="{place}"}}', "values": "1x80"}
        for place in places
    ]
    asked = {"eval_time": "1m", "alertname": alert["alert"], "exp_alerts": [expected(place) for place in places]}
    _tested(tmp_path, [{"interval": "15s", "input_series": series, "alert_rule_test": [asked]}])


def _tested(folder: Path, tests: list[Any]) -> None:
    file = folder / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": tests}))
    done = subprocess.run([promtool(), "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_every_alert_says_what_to_do(alert: Object) -> None:
    said = alert["annotations"]
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert remedies.speaks(alert["alert"], said["description"])
    page, _, anchor = said["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (DOCUMENTS / Path(page).name).read_text(), re.MULTILINE)
    assert anchor == alert["alert"].lower()
    assert alert["alert"] in headings


def test_what_is_ours_to_answer_for() -> None:
    (chosen,) = re.findall(r'code=~"([a-z_|]+)"', RULES.read_text())
    assert set(chosen.split("|")) == {code for code, kind in ERRORS.items() if kind.status >= 500}


def test_prometheus_reads_what_dashboards_ask(tmp_path: Path) -> None:
    asked = [text.replace("$price", "1") for text in queries() if not text.startswith("label_values")]
    rules = [{"record": f"n{number}", "expr": text} for number, text in enumerate(asked)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    done = subprocess.run([promtool(), "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(asked) > 20


def queries() -> Iterator[str]:
    for file in DASHBOARDS.glob("*.json"):
        page = json.loads(file.read_text())
        yield from (target["expr"] for panel in page["panels"] for target in panel.get("targets", ()))
        yield from (each["query"] for each in page["templating"]["list"] if each["type"] == "query")


def test_every_series_that_is_used_is_there() -> None:
    texts = [*(each["expr"] for each in rules()), *queries()]
    used = {name for text in texts for name in re.findall(r"[a-z_0-9:]*(?:stagecoach_|vllm:)[a-z_0-9:]+", text)}
    recorded = {each["record"] for each in rules() if "record" in each}
    engines = {name for name in used if name.startswith("vllm:")}
    assert used - engines - recorded - gateway_series() - operator_series() == set()
    assert engines
    assert {name for name in engines if not re.fullmatch(kept(), f"engine;{name}")} == set()


def kept() -> str:
    """Return by what the chart chooses what it keeps."""
    text = (CHART / "templates/_prometheus.tpl").read_text()
    found: list[str] = re.findall(r"regex: (gateway;\.\+.+)$", text, re.MULTILINE)
    return found[0]


def gateway_series() -> set[str]:
    page = (DOCUMENTS / "observability.md").read_text()
    plain = set(re.findall(r"^\| `(stagecoach_gateway_\w+)` \|", page, re.MULTILINE))
    return {name + end for name in plain for end in ("", "_bucket", "_count", "_sum")}


def operator_series() -> set[str]:
    registry = prometheus_client.REGISTRY
    assert of_the_operator.LEADER
    return {sample for metric in registry.collect() for sample in (metric.name, f"{metric.name}_total")}


def test_the_page_has_every_metric_of_a_release() -> None:
    exported = {f"{each.name}_total" if each.type == "counter" else each.name for each in Counts("d").metrics()}
    assert exported - gateway_series() == set()
