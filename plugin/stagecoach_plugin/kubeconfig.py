"""The kubeconfig, read as kubectl reads it."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from kubernetes import config
from kubernetes.client import Configuration
from kubernetes.config.kube_config import ConfigNode, KubeConfigMerger

from stagecoach_plugin.connection import Connection
from stagecoach_plugin.problems import Object, Problem

LOOK = "`kubectl config get-contexts` lists them"


def connect(kubeconfig: str | None, context: str | None, namespace: str | None) -> Connection:
    """Return the connection that kubectl would make. Raises Problem."""
    place = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    with _told_as_problem() as logged:
        merged = _read(place)
        chosen = _context(merged, context)
        details = chosen.get("context") or {}
        user = _user(merged, details.get("user"))
        settings = Configuration()
        config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=place, context=chosen["name"], client_configuration=settings, persist_config=False
        )
    if logged and not settings.api_key and not settings.cert_file:
        raise Problem(f"Your credentials could not be had: {logged[0]}. Log in again, and try `kubectl auth whoami`.")
    return Connection(
        settings, namespace or details.get("namespace") or "default", impersonation(user.get("user") or {})
    )


def _read(place: str) -> Object:
    merged = KubeConfigMerger(place).config  # type: ignore[no-untyped-call]
    if merged is None:
        raise Problem(
            f"There is no kubeconfig at {place}: log in to your cluster, set KUBECONFIG, or name a file with"
            " --kubeconfig."
        )
    return cast(Object, _values(merged))


def _values(node: Any) -> Any:
    """Return what a file says, without the library's notes of which file said it."""
    value = node.value if isinstance(node, ConfigNode) else node
    if isinstance(value, dict):
        return {key: _values(item) for key, item in value.items()}
    return [_values(item) for item in value] if isinstance(value, list) else value


def _context(merged: Object, wanted: str | None) -> Object:
    name = wanted or merged.get("current-context")
    if not name:
        raise Problem(f"The kubeconfig has no current context: choose one with --context; {LOOK}.")
    found = _named(merged.get("contexts"), name)
    if not found:
        raise Problem(f"The kubeconfig has no context {name!r}: choose another with --context; {LOOK}.")
    return found


def _user(merged: Object, name: str | None) -> Object:
    """Return who is meant. Without this the library would ask as nobody, and every answer would be no."""
    found = _named(merged.get("users"), name)
    if name and not found:
        raise Problem(f"The kubeconfig has no user {name!r}, whom its context names: correct it, or log in again.")
    return found


def _named(items: Any, name: str | None) -> Object:
    return next((item for item in items or () if item.get("name") == name), {})


def impersonation(user: Object) -> tuple[tuple[str, str], ...]:
    """Return the headers of a user who acts as another, of which the client's library knows nothing."""
    if not user.get("as"):
        return ()
    headers = [("Impersonate-User", str(user["as"]))]
    headers += [("Impersonate-Group", str(group)) for group in user.get("as-groups") or ()]
    if user.get("as-uid"):
        headers.append(("Impersonate-Uid", str(user["as-uid"])))
    extra = user.get("as-user-extra") or {}
    headers += [(f"Impersonate-Extra-{key}", str(value)) for key, values in extra.items() for value in values]
    return tuple(headers)


@contextmanager
def _told_as_problem() -> Iterator[list[str]]:
    """Say in words what is wrong with a kubeconfig, and keep what the library logs of credentials."""
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield logged
    except Problem:
        raise
    except Exception as error:
        # Of a file that people and other programs write: the library raises many things.
        told = " ".join(str(error).split()).rstrip(".")
        raise Problem(
            f"The kubeconfig cannot be used: {told}. Correct it, or name another with --kubeconfig."
        ) from error
    finally:
        root.removeHandler(handler)
