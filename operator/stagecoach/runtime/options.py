"""The command line: what the person who installs the operator chooses."""

import argparse
import os
import re
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stagecoach.build.pods import Network
from stagecoach.kinds.controller import Settings
from stagecoach.runtime.version import VERSION

PINNED = re.compile(r".+@sha256:[0-9a-f]{64}$")
# The vendor of the engine publishes a version once.
RELEASED = re.compile(r".+:v\d+\.\d+\.\d+$")
PULL_POLICIES = ("IfNotPresent", "Always", "Never")
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_DESCRIPTION = """\
Runs the controllers of Stagecoach: watches TransformerProjects, FineTuneRuns and the other kinds of stagecoach.dev,
and makes the Jobs that do their work, and the Deployments that serve.

In a pod it uses the pod's service account; elsewhere the kubeconfig that KUBECONFIG names. The kinds must be installed
(`kubectl apply -f crds/`): until they are, the operator waits and says so. Several replicas may run: one leads, the
others are ready to take over.
"""
_EPILOG = """\
Every option may be given as an environment variable instead: --trainer-image as STAGECOACH_TRAINER_IMAGE, and so on.
/healthz, /readyz and /metrics are served on the metrics port. Logs are JSON, one object a line, on stdout.

example:
  stagecoach-operator --trainer-image registry.example.com/trainer@sha256:<64 hex> \\
    --evaluator-image registry.example.com/evaluator@sha256:<64 hex> --namespace team-a
"""


@dataclass(frozen=True)
class Options:
    """The validated command line."""

    settings: Settings
    namespaces: tuple[str, ...]
    lease_namespace: str
    lease_name: str
    lease_duration: float
    key_secret: str
    identity: str
    metrics_address: str | None
    metrics_port: int
    workers: int
    log_level: str


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """Return the options, or end the process with an explanation."""
    parser = _parser()
    given = parser.parse_args([*_from_environment(arguments, environment), *arguments])
    images = {"--trainer-image": given.trainer_image, "--evaluator-image": given.evaluator_image}
    optional = {
        "--engine-image": given.engine_image,
        "--engine-cpu-image": given.engine_cpu_image,
        "--gateway-image": given.gateway_image,
    }
    images |= {flag: image for flag, image in optional.items() if image}
    for flag, image in images.items():
        released = flag == "--engine-image" and RELEASED.match(image)
        if not (given.allow_unpinned_images or PINNED.match(image) or released):
            parser.error(
                f"{flag} {image} is not pinned: a tag can change under runs that must be repeatable. Give it as"
                " NAME@sha256:DIGEST, or pass --allow-unpinned-images to try things out."
            )
    namespace = _own_namespace()
    return Options(
        settings=Settings(
            trainer_image=given.trainer_image,
            evaluator_image=given.evaluator_image,
            engine_image=given.engine_image,
            engine_cpu_image=given.engine_cpu_image,
            gateway_image=given.gateway_image,
            trainer_pull_policy=given.trainer_pull_policy,
            evaluator_pull_policy=given.evaluator_pull_policy,
            engine_pull_policy=given.engine_pull_policy,
            engine_cpu_pull_policy=given.engine_cpu_pull_policy,
            gateway_pull_policy=given.gateway_pull_policy,
            namespace=namespace,
            network=_network(given),
        ),
        namespaces=tuple(dict.fromkeys(given.namespace)),
        lease_namespace=given.lease_namespace or namespace,
        lease_name=given.lease_name,
        lease_duration=given.lease_duration,
        key_secret=given.key_secret or f"{given.lease_name}-key",
        # The random part keeps a restarted container from taking itself for its predecessor.
        identity=f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}",
        metrics_address=given.metrics_address or None,
        metrics_port=given.metrics_port,
        workers=given.workers,
        log_level=given.log_level,
    )


def _network(given: argparse.Namespace) -> Network:
    name, _, key = given.ca_bundle.partition("/")
    return Network(given.http_proxy, given.https_proxy, given.no_proxy, ca_config_map=name, ca_key=key)


def _bundle(text: str) -> str:
    if text and not re.fullmatch(r"[^/]+/[^/]+", text):
        raise argparse.ArgumentTypeError(f"{text} is not CONFIGMAP/KEY")
    return text


def _at_least(least: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        if (value := float(text)) < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least:g}")
        return value

    return number


_OPTIONS: dict[str, dict[str, Any]] = {
    "--trainer-image": {
        "metavar": "IMAGE",
        "required": True,
        "help": "image that resolves, audits and trains, as NAME@sha256:DIGEST (required)",
    },
    "--trainer-pull-policy": {
        "choices": PULL_POLICIES,
        "default": "IfNotPresent",
        "help": "imagePullPolicy of its jobs (default: %(default)s)",
    },
    "--evaluator-image": {
        "metavar": "IMAGE",
        "required": True,
        "help": "image that judges what was trained, as NAME@sha256:DIGEST (required)",
    },
    "--evaluator-pull-policy": {
        "choices": PULL_POLICIES,
        "default": "IfNotPresent",
        "help": "imagePullPolicy of its jobs (default: %(default)s)",
    },
    "--engine-image": {
        "metavar": "IMAGE",
        "default": "",
        "help": "image of vLLM, by which models may be judged and are served on GPUs, as NAME@sha256:DIGEST or by a"
        " version's tag, NAME:v0.32.0 (default: none)",
    },
    "--engine-pull-policy": {
        "choices": PULL_POLICIES,
        "default": "IfNotPresent",
        "help": "imagePullPolicy of its containers (default: %(default)s)",
    },
    "--engine-cpu-image": {
        "metavar": "IMAGE",
        "default": "",
        "help": "the same for pods without GPUs, as NAME@sha256:DIGEST (default: none)",
    },
    "--engine-cpu-pull-policy": {
        "choices": PULL_POLICIES,
        "default": "IfNotPresent",
        "help": "imagePullPolicy of its containers (default: %(default)s)",
    },
    "--gateway-image": {
        "metavar": "IMAGE",
        "default": "",
        "help": "image that clients of ModelDeployments reach, as NAME@sha256:DIGEST (default: none)",
    },
    "--gateway-pull-policy": {
        "choices": PULL_POLICIES,
        "default": "IfNotPresent",
        "help": "imagePullPolicy of its containers (default: %(default)s)",
    },
    "--allow-unpinned-images": {
        "action": "store_true",
        "help": "accept an image tag; what runs is then not on record",
    },
    "--http-proxy": {"metavar": "URL", "default": "", "help": "HTTP_PROXY of jobs and loaders (default: none)"},
    "--https-proxy": {"metavar": "URL", "default": "", "help": "HTTPS_PROXY of jobs and loaders (default: none)"},
    "--no-proxy": {"metavar": "HOSTS", "default": "", "help": "NO_PROXY of both, with a proxy (default: none)"},
    "--ca-bundle": {
        "metavar": "CONFIGMAP/KEY",
        "type": _bundle,
        "default": "",
        "help": "certificate authorities that both trust as well, from a ConfigMap of their own namespace",
    },
    "--namespace": {
        "metavar": "NAME",
        "action": "append",
        "default": [],
        "help": "serve this namespace only; may be repeated, or a variable with commas (default: all namespaces)",
    },
    "--lease-namespace": {
        "metavar": "NAME",
        "default": "",
        "help": "where the leader's Lease is (default: the pod's own namespace)",
    },
    "--lease-name": {
        "metavar": "NAME",
        "default": "stagecoach-operator",
        "help": "name of the Lease (default: %(default)s); operators for different namespaces need different ones",
    },
    "--lease-duration": {
        "metavar": "SECONDS",
        "type": _at_least(3),
        "default": 15.0,
        "help": "a dead leader is replaced after this time (default: %(default)g)",
    },
    "--key-secret": {
        "metavar": "NAME",
        "default": "",
        "help": "Secret beside the Lease with the key from which those of all ModelDeployments are derived; it is made"
        " when there is none (default: the Lease's name and -key)",
    },
    "--metrics-address": {"metavar": "ADDRESS", "default": "", "help": "listen on this address only (default: all)"},
    "--metrics-port": {
        "metavar": "PORT",
        "type": int,
        "default": 8080,
        "help": "port of /healthz, /readyz and /metrics (default: %(default)s)",
    },
    "--workers": {
        "metavar": "N",
        "type": lambda text: int(_at_least(1)(text)),
        "default": 16,
        "help": "objects that are reconciled at once (default: %(default)s)",
    },
    "--log-level": {
        "type": str.upper,
        "choices": ("DEBUG", "INFO", "WARNING", "ERROR"),
        "default": "INFO",
        "help": "(default: %(default)s)",
    },
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "stagecoach-operator",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    for flag, details in _OPTIONS.items():
        parser.add_argument(flag, **details)
    return parser


def _from_environment(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return the variables as flags, so that both are checked alike; a flag given replaces its variable."""
    given = {each.partition("=")[0] for each in arguments}
    flags: list[str] = []
    for flag, details in _OPTIONS.items():
        value = environment.get("STAGECOACH_" + flag.removeprefix("--").replace("-", "_").upper(), "")
        if not value or flag in given:
            continue
        match details.get("action"):
            case "store_true":
                flags += [flag] if value.lower() in ("1", "true", "yes") else []
            case "append":
                flags += [f"{flag}={each.strip()}" for each in value.split(",") if each.strip()]
            case _:
                flags.append(f"{flag}={value}")
    return flags


def _own_namespace() -> str:
    return _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.exists() else "default"
