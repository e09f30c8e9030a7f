"""The Prometheus of the chart: what is installed, and that Prometheus itself finds, scrapes and records with it."""

import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from stagecoach.build.labels import COMPONENT, ENGINE, ENGINE_NAME, GATEWAY, MANAGED_BY, OWNER_NAME
from stagecoach.contract.serving import PORT
from stagecoach.runtime.targets import LABELS, PORTS
from stagecoach_gateway.counting import Counts, gauge
from stagecoach_gateway.settings import Settings
from tests import prometheus
from tests.cluster import ports
from tests.cluster.controlplane import ControlPlane
from tests.integration.chart.conftest import Installer
from tests.integration.chart.process import start_operator
from tests.integration.chart.tools import CHART, Cluster, Object, Refused, notes, promtool, template
from tests.integration.support.eventually import eventually
from tests.integration.support.operator import running
from tests.kube import Kube

NAME = "sc-stagecoach-prometheus"
RELEASE = "sha256:" + "a" * 64


def named(rendered: list[Object], kind: str, name: str = NAME) -> Object:
    (found,) = (each for each in rendered if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def config(rendered: list[Object]) -> Any:
    return yaml.safe_load(named(rendered, "ConfigMap")["data"]["prometheus.yml"])


# As an upgrade that reuses the values of an earlier chart has them.
EARLIER: Object = {"enabled": None}


@pytest.mark.parametrize(
    "given", [{"enabled": False}, EARLIER | {"image": {"repository": "", "digest": ""}}, EARLIER | {"image": None}]
)
def test_who_wants_none_has_none(cluster: Cluster, tmp_path: Path, given: Object) -> None:
    rendered = template(tmp_path / "values.yaml", prometheus=given)
    assert not [each for each in rendered if "prometheus" in each["metadata"]["name"]]
    assert "set prometheus.enabled, or monitors.enabled" in notes(cluster, tmp_path / "values.yaml", prometheus=given)


@pytest.mark.parametrize("given", [{}, EARLIER])
def test_how_to_look_at_it_is_said(cluster: Cluster, tmp_path: Path, given: Object) -> None:
    assert f"port-forward service/{NAME} 9090" in notes(cluster, tmp_path / "values.yaml", prometheus=given)


def test_monitors_need_the_prometheus_operator(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"no matches for kind .*PodMonitor"):
        notes(cluster, tmp_path / "values.yaml", monitors={"enabled": True})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"image": {"digest": ""}}, "prometheus.image.digest is required"),
        ({"image": {"repository": ""}}, "prometheus.image.repository is required"),
        ({"image": None}, "prometheus.image.repository is required"),
        ({"image": {"digest": "", "tag": "v3"}}, "prometheus.image.tag can be moved"),
        ({"retention": {"time": "45"}}, "at '/prometheus/retention/time'"),
        ({"retention": {"size": "8GiB"}}, "at '/prometheus/retention/size'"),
        ({"storage": {"size": "10"}}, "at '/prometheus/storage/size'"),
        ({"alertmanagers": ["http://alertmanager:9093"]}, "at '/prometheus/alertmanagers/0'"),
        ({"enabled": "no"}, "at '/prometheus/enabled'"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, given: Object, expected: str) -> None:
    with pytest.raises(Refused, match=expected.replace("[", r"\[")):
        template(tmp_path / "values.yaml", prometheus=given)


def test_a_tag_of_ones_own_is_not_held_against_the_default(tmp_path: Path) -> None:
    """As the values of an earlier chart have it, which had no digest of its own."""
    own = {"repository": "registry.example.com/prometheus", "tag": "dev"}
    rendered = template(tmp_path / "values.yaml", allowTags=True, prometheus={"image": own})
    (container,) = named(rendered, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/prometheus:dev"


def test_its_pod_is_restricted_and_keeps_what_it_has(tmp_path: Path) -> None:
    rendered = template(tmp_path / "values.yaml")
    pod = named(rendered, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert re.fullmatch("docker.io/prom/prometheus@sha256:[0-9a-f]{64}", container["image"])
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "--storage.tsdb.retention.time=45d" in container["args"]
    assert pod["volumes"][1]["persistentVolumeClaim"] == {"claimName": NAME}
    claim = named(rendered, "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "storageClassName" not in claim["spec"]


def test_a_place_that_goes_with_its_pod(tmp_path: Path) -> None:
    rendered = template(tmp_path / "values.yaml", prometheus={"storage": {"size": ""}})
    assert named(rendered, "Deployment")["spec"]["template"]["spec"]["volumes"][1] == {"name": "data", "emptyDir": {}}
    assert not [each for each in rendered if each["kind"] == "PersistentVolumeClaim"]


@pytest.mark.parametrize("more", [{}, {"watchNamespaces": ["team-a"]}, {"prometheus": {"alertmanagers": ["a:9093"]}}])
def test_prometheus_reads_its_configuration(tmp_path: Path, more: Object) -> None:
    rendered = template(tmp_path / "values.yaml", **more)
    for name, text in named(rendered, "ConfigMap")["data"].items():
        (tmp_path / name).write_text(text.replace("/etc/stagecoach/", f"{tmp_path}/"))
    done = subprocess.run(
        [promtool(), "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 rule files found" in done.stdout
    sent = [each["static_configs"] for each in config(rendered).get("alerting", {}).get("alertmanagers", ())]
    assert sent == [[{"targets": each}] for each in [more.get("prometheus", {}).get("alertmanagers")] if each]


def test_the_operator_tells_what_is_scraped(tmp_path: Path) -> None:
    rendered = template(tmp_path / "values.yaml", metrics={"port": 8081})
    serving, own = config(rendered)["scrape_configs"]
    place = "sc-stagecoach-metrics.stagecoach.svc"
    assert serving["http_sd_configs"][0]["url"] == f"http://{place}:8081/targets"
    assert {(each["names"][0], each["port"]) for each in own["dns_sd_configs"]} == {(place, 8081)}
    service = named(rendered, "Service", "sc-stagecoach-metrics")["spec"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    with pytest.raises(Refused, match=r"metrics.service.enabled=false leaves Prometheus no way"):
        template(tmp_path / "values.yaml", metrics={"service": {"enabled": False}})


def test_ports_are_those_of_gateways_and_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGECOACH_DEPLOYMENT", "d")
    assert {GATEWAY: Settings.of_environment().admin_port, ENGINE: PORT} == PORTS


def test_monitors_find_and_keep_the_same(tmp_path: Path) -> None:
    labels = {"release": "kube-prometheus-stack", "app.kubernetes.io/managed-by": "stagecoach"}
    rendered = template(tmp_path / "values.yaml", monitors={"enabled": True, "labels": labels}, watchNamespaces=["a"])
    serving, own = config(rendered)["scrape_configs"]
    for component, port in ((GATEWAY, "admin"), (ENGINE, "http")):
        monitor = named(rendered, "PodMonitor", f"sc-stagecoach-{component}s")
        assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"
        assert monitor["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["a"]}
        assert monitor["spec"]["selector"]["matchLabels"] == MANAGED_BY | {COMPONENT: component}
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] == port
        assert {each["targetLabel"] for each in endpoint["relabelings"]} == {"job", *LABELS.values()}
        assert plain(endpoint["metricRelabelings"]) == serving["metric_relabel_configs"]
        assert endpoint["relabelings"][0]["replacement"] == serving["job_name"]
    (endpoint,) = named(rendered, "PodMonitor", "sc-stagecoach")["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"][0]["replacement"] == own["job_name"]
    assert plain(endpoint["metricRelabelings"]) == own["metric_relabel_configs"]
    rules = named(rendered, "PrometheusRule", "sc-stagecoach")["spec"]
    assert rules == yaml.safe_load((CHART / "files/prometheus/rules.yml").read_text())


def plain(relabelings: list[Object]) -> list[Object]:
    return [
        {key.replace("sourceLabels", "source_labels"): value for key, value in each.items()} for each in relabelings
    ]


def test_dashboards_for_grafana(tmp_path: Path) -> None:
    assert not [each for each in template(tmp_path / "a.yaml") if "dashboard" in each["metadata"]["name"]]
    rendered = template(tmp_path / "b.yaml", grafana={"dashboards": {"enabled": True}})
    made = named(rendered, "ConfigMap", "sc-stagecoach-dashboard-serving")
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert made["data"]["serving.json"] == (CHART / "files/dashboards/serving.json").read_text()


class Answers:
    """What a gateway, an engine and the operator answer at /metrics, by path of the address."""

    def __init__(self) -> None:
        self.counts = Counts("d")
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[Any]:
        self.counts.of(RELEASE).requests += 100
        self.counts.of(RELEASE).failed("engine_timeout")
        yield from self.counts.metrics()
        yield gauge("ready", "Ready.", 1)

    def gateway(self) -> bytes:
        return generate_latest(self.registry)

    def engine(self) -> bytes:
        return b'vllm:num_requests_running{engine="0",model_name="/models/a"} 2\nvllm:lora_requests_info{a="b"} 1\n'


@contextmanager
def served(text: Callable[[], bytes]) -> Iterator[str]:
    """Answer at some address of the loopback interface, in place of a pod; return it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text() if self.path == "/metrics" else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def pod(kube: Kube, name: str, address: str, labels: dict[str, str], phase: str = "Running") -> None:
    """Create a pod that nobody runs, and say that it runs there."""
    spec = {"containers": [{"name": "main", "image": "none"}], "automountServiceAccountToken": False}
    kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec})
    status = {"phase": phase, "podIP": address, "podIPs": [{"ip": address}]}
    kube.patch("Pod", name, {"status": status}, "status")


@pytest.fixture
def installed(cluster: Cluster, installer: Installer) -> Cluster:
    cluster.namespace("served-by-watched")
    installer.install("sc", "stagecoach", prometheus={"storage": {"size": ""}})
    return cluster


def test_prometheus_finds_scrapes_and_records(
    installed: Cluster, chart_control_plane: ControlPlane, tmp_path: Path
) -> None:
    team = Kube(chart_control_plane.kubeconfig, "served-by-watched")
    answers = Answers()
    ours = MANAGED_BY | {OWNER_NAME: "intents"}
    pod(team, "g", "10.0.0.1", ours | {COMPONENT: GATEWAY})
    pod(team, "e", "10.0.0.2", ours | {COMPONENT: ENGINE, ENGINE_NAME: "intents-e-0"})
    pod(team, "gone", "10.0.0.9", ours | {COMPONENT: GATEWAY}, "Failed")
    pod(team, "other", "10.0.0.9", {COMPONENT: GATEWAY})
    operator = start_operator(installed, tmp_path)
    with (
        running(operator),
        served(answers.gateway) as gateway,
        served(answers.engine) as engine,
        started(
            installed,
            tmp_path,
            f"127.0.0.1:{operator.wait_ready().wait_leading().port}",
            {f"10.0.0.1:{PORTS[GATEWAY]}": gateway, f"10.0.0.2:{PORTS[ENGINE]}": engine},
        ) as ask,
    ):

        def up() -> set[tuple[tuple[str, str], ...]]:
            return {tuple(sorted(each.labels.items())) for each in prometheus.query(ask, "up == 1")}

        place = {"deployment": "intents", "namespace": "served-by-watched", "job": "stagecoach-serving"}
        expected = [
            place | {"component": "gateway", "pod": "g", "instance": gateway},
            place | {"component": "engine", "pod": "e", "instance": engine, "engine_name": "intents-e-0"},
            {"job": "stagecoach-operator", "namespace": "stagecoach", "instance": f"127.0.0.1:{operator.port}"},
        ]
        wanted = {tuple(sorted((each | {"__name__": "up"}).items())) for each in expected}
        eventually(lambda: up() == wanted, 60, "all targets are up, and no others are there", every=0.5)
        assert prometheus.down(ask) == []

        def recorded() -> list[prometheus.Sample]:
            return prometheus.query(ask, "release:stagecoach_gateway_failures:ratio5m")

        (sample,) = eventually(recorded, 60, "rules are evaluated", every=0.5)
        assert (sample.labels["release"], sample.labels["deployment"]) == (RELEASE, "intents")
        assert sample.value == pytest.approx(0.01)
        (busy,) = prometheus.query(ask, "vllm:num_requests_running")
        assert (busy.value, busy.labels["engine"], busy.labels["deployment"]) == (2, "0", "intents")
        assert prometheus.query(ask, '{__name__=~"vllm:lora_requests_info|.+_created"}') == []
        assert prometheus.query(ask, 'ALERTS{alertstate="firing"}') == []
    team.delete("Pod", "g")
    team.delete("Pod", "e")


@contextmanager
def started(cluster: Cluster, folder: Path, operator: str, others: dict[str, str]) -> Iterator[prometheus.Ask]:
    """Start Prometheus with the installed options and configuration, in more of a hurry.

    There is no name server, nor a network of pods: `others` says what answers in whose place.
    """
    (container,) = cluster.get("deployment", NAME, "-n", "stagecoach")["spec"]["template"]["spec"]["containers"]
    for name, text in cluster.get("configmap", NAME, "-n", "stagecoach")["data"].items():
        (folder / name).write_text(text.replace("/etc/stagecoach/", f"{folder}/"))
    found = yaml.safe_load((folder / "prometheus.yml").read_text())
    serving, own = found["scrape_configs"]
    serving["http_sd_configs"] = [{"url": f"http://{operator}/targets", "refresh_interval": "1s"}]
    serving["relabel_configs"] = [
        {"source_labels": ["__address__"], "regex": told, "target_label": "__address__", "replacement": real}
        for told, real in others.items()
    ]
    del own["dns_sd_configs"]
    own["static_configs"] = [{"targets": [operator]}]
    found["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(found))
    (port,) = ports.free(1)
    arguments = [
        each.replace("/etc/stagecoach", str(folder)).replace("/prometheus/data", str(folder / "data"))
        for each in container["args"]
    ]
    log = folder / "prometheus.log"
    with log.open("w") as said:
        process = subprocess.Popen(
            [promtool().with_name("prometheus"), *arguments, f"--web.listen-address=127.0.0.1:{port}"],
            stdout=said,
            stderr=said,
        )
    try:
        yield prometheus.at(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(30)
        print(log.read_text()[-3000:])  # shown with a test that fails
