"""The commands."""

import io
import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, TypeVar

import typer
from typer import Argument, Option, Typer
from urllib3.exceptions import InsecureRequestWarning

from stagecoach_plugin import evaluations, gathering, screen, storyboard
from stagecoach_plugin.approving import APPROVE, REJECT, Said, parse_scores
from stagecoach_plugin.consoles import complaints, output
from stagecoach_plugin.deciding import Desk
from stagecoach_plugin.kinds import EVALUATION, deployment_name, evaluation_name, parse
from stagecoach_plugin.kubeconfig import connect
from stagecoach_plugin.making import Maker
from stagecoach_plugin.options import (
    Context,
    Deployment,
    Evaluation,
    Kubeconfig,
    Namespace,
    Reason,
    Release,
    Scores,
    Wait,
    Yes,
)
from stagecoach_plugin.problems import Problem
from stagecoach_plugin.releasing import OVERRIDE, PROMOTE, REVOKE, Ruling
from stagecoach_plugin.ruling import Bench
from stagecoach_plugin.stories import Commands, tell
from stagecoach_plugin.texts import now, plain

Made = TypeVar("Made", bound=Maker)

app = Typer(
    name="kubectl stagecoach",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="What goes on in Stagecoach, and why; and how people decide on what its gates judge, and what is served.",
)


@app.command()
def approve(
    evaluation: Evaluation,
    score: Scores = None,
    reason: Reason = "",
    yes: Yes = False,
    wait: Wait = 20,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Approve what a gate has judged: shows it with the rows to read, asks, and says what came of it.

    An Approval is created, in your name, and cannot be changed.
    You have to be one of the gate's reviewers, or in a group that is.

    \b
    Examples:
    kubectl stagecoach approve support-desk-ecfa139ab8f1 -n support
        shows all that you approve, and asks.
    kubectl stagecoach approve support-desk-ecfa139ab8f1 --score fluency=5
        gives a score that the gate asks for.
    kubectl stagecoach approve support-desk-ecfa139ab8f1 --score fluency=5 --yes
        does not ask, for scripts.
    """
    with problems():
        said = Said(APPROVE, parse_scores(score or ()), reason)
        name = evaluation_name(evaluation)
        _maker(Desk, namespace, context, kubeconfig, asks=not yes).decide(name, said, wait)


@app.command()
def reject(
    evaluation: Evaluation,
    reason: Annotated[str, Option(help="Why: it stands in the verdict. Required.")],
    yes: Yes = False,
    wait: Wait = 20,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Reject what a gate has judged: the verdict is Failed at once, and names you and your reason.

    \b
    Examples:
    kubectl stagecoach reject support-desk-ecfa139ab8f1 -n support --reason "Row 7: promises a refund"
    """
    with problems():
        if not reason.strip():
            raise Problem("A rejection needs a reason, for those who train the next: give it with --reason.")
        said = Said(REJECT, {}, reason)
        name = evaluation_name(evaluation)
        _maker(Desk, namespace, context, kubeconfig, asks=not yes).decide(name, said, wait)


@app.command()
def promote(
    deployment: Deployment,
    release: Release,
    reason: Reason = "",
    yes: Yes = False,
    wait: Wait = 20,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Let a candidate go on from a step that waits for a person, or have a rejected release tried again.

    An Approval is created, in your name, and cannot be changed.
    You have to be one of the deployment's approvers, or in a group that is.

    \b
    Examples:
    kubectl stagecoach promote mdep/support-desk --release f5aadf0949ff -n support
    """
    with problems():
        ruling = Ruling(PROMOTE, release, reason)
        name = deployment_name(deployment)
        _maker(Bench, namespace, context, kubeconfig, asks=not yes).decide(name, ruling, wait)


@app.command()
def override(
    deployment: Deployment,
    release: Release,
    reason: Annotated[str, Option(help="Why: it stands beside what is served. Required.")],
    hours: Annotated[int, Option(min=1, max=24, help="For so long it may be admitted; what is served then stays.")] = 1,
    yes: Yes = False,
    wait: Wait = 20,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Let a release be admitted whatever the gates say, in an emergency: it is told wherever it is served, and alerted.

    \b
    Examples:
    kubectl stagecoach override mdep/support-desk --release f5aadf0949ff -n support --reason "Incident 4711"
    """
    with problems():
        ruling = Ruling(OVERRIDE, release, _given(reason), hours)
        name = deployment_name(deployment)
        _maker(Bench, namespace, context, kubeconfig, asks=not yes).decide(name, ruling, wait)


@app.command()
def revoke(
    deployment: Deployment,
    release: Release,
    reason: Annotated[str, Option(help="Why: it is told where it was served. Required.")],
    yes: Yes = False,
    wait: Wait = 20,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Take a release out at once, served or about to be: what was served before it comes back, if its gates pass it.

    It stays out while the Approval is there.

    \b
    Examples:
    kubectl stagecoach revoke mdep/support-desk --release f5aadf0949ff -n support --reason "Leaks addresses"
    """
    with problems():
        ruling = Ruling(REVOKE, release, _given(reason))
        name = deployment_name(deployment)
        _maker(Bench, namespace, context, kubeconfig, asks=not yes).decide(name, ruling, wait)


@app.command()
def why(
    what: Annotated[
        str,
        Argument(
            metavar="KIND/NAME",
            help="An object: evaluation/NAME, evalgate/NAME, approval/NAME, modeldeployment/NAME, finetunerun/NAME,"
            " transformerproject/NAME, or their short names. A NAME alone is looked for among all of them.",
        ),
    ],
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Say why an object is as it is: what it waits for, why it failed, what to do, and what it hangs on.

    What you may not read is named, with the right that you lack.

    \b
    Examples:
    kubectl stagecoach why support-desk -n support
        whatever has this name.
    kubectl stagecoach why egate/support-desk
        a gate, its latest Evaluations, and runs that it cannot judge.
    kubectl stagecoach why ftr/support-desk-lora
        a run, its project, and what gates made of it.
    """
    with problems():
        kind, name = parse(what)
        connection = connect(kubeconfig, context, namespace)
        commands = Commands(connection.namespace, context)
        console = output()
        for found, obj in gathering.find(connection, kind, name):
            story = tell(found, obj, gathering.around(connection, found, obj), commands, now())
            screen.show(console, storyboard.board(story))


@app.command()
def report(
    evaluation: Evaluation,
    as_json: Annotated[bool, Option("--json", help="For programs.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Print what came of an Evaluation: verdict, results, leakage, exposures, rows, and where the full page lies.

    \b
    Examples:
    kubectl stagecoach report support-desk-ecfa139ab8f1 -n support
    kubectl stagecoach report support-desk-ecfa139ab8f1 --json | jq .verdict
    """
    with problems():
        connection = connect(kubeconfig, context, namespace)
        found = connection.get(EVALUATION, evaluation_name(evaluation))
        if as_json:
            sys.stdout.write(json.dumps(evaluations.document(found), indent=2) + "\n")
            return
        console = output()
        screen.show(console, *screen.whole(found, console.width))


def _maker(sort: type[Made], namespace: str | None, context: str | None, kubeconfig: str | None, *, asks: bool) -> Made:
    connection = connect(kubeconfig, context, namespace)
    return sort(connection, Commands(connection.namespace, context), output(), asks)


def _given(reason: str) -> str:
    if not reason.strip():
        raise Problem("This needs a reason, for those who ask what is served, and why: give it with --reason.")
    return reason


@contextmanager
def problems() -> Iterator[None]:
    """Say what cannot be done, without a traceback."""
    try:
        yield
    except Problem as problem:
        complaints().print(f"Error: {plain(problem)}", soft_wrap=True)
        raise typer.Exit(1) from None


def main() -> None:
    """Run the command that was typed."""
    # A terminal that cannot show a sign shows another.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # Who turned the check of certificates off in the kubeconfig knows; kubectl does not warn either.
    warnings.filterwarnings("ignore", category=InsecureRequestWarning)
    app(prog_name="kubectl stagecoach")
