"""Options that several commands have, named as kubectl names them."""

from typing import Annotated

from typer import Argument, Option

CLUSTER = "Which cluster"
Namespace = Annotated[
    str | None,
    Option("--namespace", "-n", help="The namespace. Default: that of the context.", rich_help_panel=CLUSTER),
]
Context = Annotated[
    str | None,
    Option("--context", help="The context of the kubeconfig. Default: the current one.", rich_help_panel=CLUSTER),
]
Kubeconfig = Annotated[
    str | None,
    Option("--kubeconfig", help="The kubeconfig. Default: KUBECONFIG, or ~/.kube/config.", rich_help_panel=CLUSTER),
]
Evaluation = Annotated[str, Argument(metavar="EVALUATION", help="Its name, as `kubectl get eval` lists it.")]
Deployment = Annotated[str, Argument(metavar="DEPLOYMENT", help="Its name, as `kubectl get mdep` lists it.")]
Release = Annotated[
    str, Option("--release", metavar="DIGEST", help="The release: all hex digits of it, or the first 12 or more.")
]
Reason = Annotated[str, Option("--reason", help="Why, for the record.")]
Scores = Annotated[
    list[str] | None,
    Option("--score", metavar="RUBRIC=N", help="A score from 1 to 5, one for each rubric of the gate; repeat it."),
]
Yes = Annotated[bool, Option("--yes", "-y", help="Do not ask: everything has to be given by options.")]
Wait = Annotated[int, Option("--wait", min=0, max=600, metavar="SECONDS", help="How long to look at what comes of it.")]
