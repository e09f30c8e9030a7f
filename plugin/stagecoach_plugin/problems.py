"""What cannot be done, in one sentence with the next step: by this alone a command ends without success."""

import json
from collections.abc import Sequence
from typing import Any

from stagecoach_plugin.texts import either

Object = dict[str, Any]


class Problem(Exception):
    """What cannot be done, and what to do about it."""


class Missing(Problem):
    """There is no such object; others of the kind have names that are alike."""

    def __init__(self, message: str, alike: Sequence[str] = ()) -> None:
        super().__init__(f"{message} Did you mean {either(list(alike))}?" if alike else message)
        self.message = message
        self.alike = tuple(alike)


class NotServed(Problem):
    """The cluster knows no such kind."""


class Unreadable(Problem):
    """The user lacks a right, which is named: `get evaluations.stagecoach.dev`."""

    def __init__(self, message: str, right: str) -> None:
        super().__init__(message)
        self.right = right


class Conflict(Problem):
    """There is an object of this name already."""


class Refused(Problem):
    """The API server refused what was to be created."""


INSTALL = "Install Stagecoach's chart in this cluster, or choose another cluster with --context."
UPGRADE = "Whoever installed Stagecoach upgrades its chart; or choose another cluster with --context."


def of_answer(status: int, body: str, verb: str, resource: str, name: str, namespace: str) -> Problem:
    """Return what an answer of the API server means that is no success. `resource`: evaluations.stagecoach.dev."""
    told = _told(body)
    message = str(told.get("message") or body.strip() or f"status {status}")
    if status == 401:
        return Problem(
            "The API server does not know who you are: your credentials are missing, wrong or have expired. Log in to"
            " the cluster again, and try `kubectl auth whoami`."
        )
    if status == 403 and _by_admission(message):
        return Refused(f"An admission policy refuses it: {message}")
    if status == 403:
        return _forbidden(message, verb, resource, namespace)
    if status == 404:
        return _not_found(told, resource, name, namespace)
    if status == 409 and told.get("reason") == "AlreadyExists":
        return Conflict(f"There is already an object {name} of {resource} in namespace {namespace}.")
    if status in (400, 422):
        return Refused(f"The API server refuses it: {message}")
    return Problem(f"The API server answers with an error ({status}): {message} Try again in a moment.")


def _told(body: str) -> Object:
    """Return the Status that stands in an answer; nothing of a proxy's page, or of a path that nothing serves."""
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) and told.get("kind") == "Status" else {}


def _by_admission(message: str) -> bool:
    return "ValidatingAdmissionPolicy" in message or "admission webhook" in message


def _forbidden(message: str, verb: str, resource: str, namespace: str) -> Problem:
    right = f"{verb} {resource}"
    return Unreadable(
        f"You lack the right to {right} in namespace {namespace}. Ask an administrator of the cluster for it: the"
        f" ClusterRole <release>-reviewer has what reviewers need. (The API server says: {message})",
        right,
    )


def _not_found(told: Object, resource: str, name: str, namespace: str) -> Problem:
    if not told or not (told.get("details") or {}).get("name"):
        # A path that nothing serves: the answer is a plain text, or names no object.
        group = resource.partition(".")[2]
        if group != "stagecoach.dev":
            return NotServed(f"This cluster does not serve {resource}: Kubernetes 1.30 or later is needed.")
        return NotServed(f"This cluster does not know {resource}, or not in this version. {INSTALL}")
    if told["details"].get("kind") == "namespaces":
        return Missing(f"There is no namespace {namespace}: choose one with -n; `kubectl get namespaces` lists them.")
    return Missing(
        f"There is no object {name} of {resource} in namespace {namespace}: `kubectl get {resource.split('.')[0]}"
        f" -n {namespace}` lists those that are there; choose another namespace with -n."
    )
