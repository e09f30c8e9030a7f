"""The command line."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.cluster import references, selection, usage
from tests.cluster.errors import ClusterError
from tests.cluster.paths import State

_DESCRIPTION = """\
A Kubernetes cluster on whatever machine this is.

  current  the cluster that KUBECONFIG names; `load` pushes to the registry that REGISTRY names
  kind     where docker runs and kind is on PATH (untested: no machine with docker has run it yet)
  local    otherwise: a single node, built from Go modules and Debian packages; needs root

The kind of cluster is found out, or set by the environment variable CLUSTER.
"""
_EPILOG = """\
environment:
  STAGECOACH_STATE   the one directory for everything (default ~/.cache/stagecoach)
  CLUSTER            current, kind or local
  REGISTRY           where `load` pushes when CLUSTER=current
  WHEELS             a directory of Python wheels that pip finds while images are built
  DEBIAN_MIRROR      where the base image's packages come from
  KUBEBUILDER_ASSETS a directory with etcd and kube-apiserver for `up --control-plane`; what it lacks is built

a first session:
  python -m tests.cluster up
  export KUBECONFIG=$(python -m tests.cluster kubeconfig) PATH=~/.cache/stagecoach/bin:$PATH
  python -m tests.cluster build example images/example --context .
  kubectl create deployment example --image=$(python -m tests.cluster load example)
  python -m tests.cluster down
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace, State], None] = arguments.command
    try:
        command(arguments, State.from_environment())
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m tests.cluster", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = _add(commands, "up", _up, "bring the cluster up; harmless when it is")
    _control_plane_option(up, "only etcd, API server and controller manager: no root, no nodes, beside any cluster")
    down = _add(commands, "down", _down, "remove the cluster; what was built stays")
    _control_plane_option(down, "only the control plane that `up --control-plane` started")
    down.add_argument("--purge", action="store_true", help="remove also what was built and downloaded")
    kubeconfig = _add(commands, "kubeconfig", _kubeconfig, "print the path of the kubeconfig")
    _control_plane_option(kubeconfig, "that of the control plane")
    _add(commands, "status", _status, "say what runs, and where")
    build = _add(commands, "build", _build, "build an image")
    build.add_argument("name", help="for example stagecoach/operator")
    build.add_argument("dockerfile", type=Path, help="a Dockerfile, or the directory that holds one")
    build.add_argument("--context", type=Path, default=Path(), help="the directory that COPY reads (default: this one)")
    build.add_argument("--build-arg", action="append", default=[], metavar="KEY=VALUE")
    load = _add(commands, "load", _load, "make images available to pods; print each one's reference by digest")
    load.add_argument("name", nargs="+", help="an image that was built here, or one to pull")
    reference = _add(commands, "image-ref", _image_reference, "print the reference of an image that was loaded")
    reference.add_argument("name")
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Callable[[argparse.Namespace, State], None],
    text: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command)
    return parser


def _control_plane_option(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--control-plane", action="store_true", help=text)


def _up(arguments: argparse.Namespace, state: State) -> None:
    started = time.monotonic()
    if arguments.control_plane:
        control_plane = usage.separate_control_plane(state)
        control_plane.up()
        name, kubeconfig = "control plane", control_plane.kubeconfig
    else:
        backend = selection.select(state)
        backend.up()
        name, kubeconfig = f"{backend.name} cluster", backend.kubeconfig()
    print(f"the {name} is ready after {time.monotonic() - started:.1f} s", file=sys.stderr)
    print(f"export KUBECONFIG={kubeconfig}")


def _down(arguments: argparse.Namespace, state: State) -> None:
    if arguments.control_plane:
        usage.separate_control_plane(state).remove()
    else:
        usage.cluster_down(purge=arguments.purge)
    left = "" if arguments.purge else f"; what was built and downloaded stays in {state.root}: --purge removes it"
    print(f"nothing runs any more{left}", file=sys.stderr)


def _kubeconfig(arguments: argparse.Namespace, state: State) -> None:
    path = (
        usage.separate_control_plane(state).kubeconfig
        if arguments.control_plane
        else selection.select(state).kubeconfig()
    )
    if not path.exists():
        raise ClusterError(f"There is no kubeconfig at {path} yet. Run: python -m tests.cluster up")
    print(path)


def _status(_arguments: argparse.Namespace, state: State) -> None:
    backend = selection.select(state)
    control_plane = usage.separate_control_plane(state)
    facts = {
        "backend": backend.name,
        "state": str(state.root),
        "kubeconfig": str(backend.kubeconfig()),
        **backend.status(),
    }
    facts |= {f"image {name}": reference for name, reference in references.read(state).items()}
    facts["separate control plane"] = control_plane.server if control_plane.is_healthy() else "down"
    for name, value in facts.items():
        print(f"{name:<28} {value}")


def _build(arguments: argparse.Namespace, _state: State) -> None:
    for pair in arguments.build_arg:
        if "=" not in pair:
            raise ClusterError(f"--build-arg {pair} is not of the form KEY=VALUE")
    values = dict(pair.split("=", 1) for pair in arguments.build_arg)
    usage.build_image(arguments.name, arguments.dockerfile, context=arguments.context, arguments=values)


def _load(arguments: argparse.Namespace, _state: State) -> None:
    for name in arguments.name:
        print(usage.load_image(name))


def _image_reference(arguments: argparse.Namespace, _state: State) -> None:
    print(usage.image_reference(arguments.name))
