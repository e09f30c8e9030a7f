"""`make demo`: from nothing to a fine-tuned model that a gate has passed and clients ask, on a real cluster."""

import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from stagecoach.contract import layout, mounts
from tests import deploy, following
from tests.clients import NAME as CLIENTS
from tests.clients import Clients
from tests.cluster.paths import State

NAMESPACE = "support-desk"
PROJECT = GATE = DEPLOYMENT = "support-desk"
RUN, POISONED, BETTER = "support-desk-lora", "support-desk-poisoned", "support-desk-better"
# What clients ask, one after the other, so often.
MESSAGES = (
    "My tent should have been here on Monday, where is it?",
    "I was charged twice for the same pair of boots.",
    "The zip of the jacket broke on the first day.",
    "How do I change my delivery address?",
)
EVERY = 1.0
RECORD_LINES = 20
# Of a pod that only reads files, beside one that trains or evaluates.
READS = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}

console = Console(highlight=False)


@contextmanager
def step(words: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    console.print(f"[bold]==>[/bold] {words}")
    started = time.monotonic()
    yield
    console.print(f"    done in {time.monotonic() - started:.0f} s")


def main() -> int:
    """Run the demonstration; return the exit code."""
    started = time.monotonic()
    with step("A cluster (the first time, it is built: some minutes)"):
        tools = deploy.up()
    with step("The images of operator, trainer, evaluator, engine, gateway, Prometheus and base model"):
        images = deploy.all_images()
        base_model = deploy.image("base-model")
    with step("The operator, by its chart"):
        deploy.install(tools, images)
    with step("A small base model, written into a claim"):
        deploy.make_namespace(tools, NAMESPACE)
        deploy.make_base_model(tools, NAMESPACE, base_model)
    with step("kubectl apply -k examples/support-desk"):
        deploy.apply_example(tools, ".", NAMESPACE)
    trouble = follow(tools, RUN)
    if not trouble:
        record(tools)
        trouble = judged(tools, RUN, "Passed") or served(tools, RUN)
    clients = Clients(tools, NAMESPACE, DEPLOYMENT, images.trainer)
    if not trouble:
        ask(clients)
        with step("kubectl apply -k examples/poisoned-run: the same messages, with their labels shuffled"):
            deploy.apply_example(tools, "../poisoned-run", NAMESPACE)
        trouble = follow(tools, POISONED) or judged(tools, POISONED, "Failed")
    if not trouble:
        refused(tools)
        with step("kubectl apply -k examples/better-run: as the first one, and half as long again"):
            deploy.apply_example(tools, "../better-run", NAMESPACE)
        trouble = follow(tools, BETTER) or judged(tools, BETTER, "Passed") or served(tools, BETTER, clients)
    console.print(f"\n[bold]kubectl get stagecoach -n {NAMESPACE}[/bold]")
    show(tools.kubectl("get", "stagecoach", "-n", NAMESPACE))
    if trouble:
        show(trouble)
        return 1
    console.print(f"\nThe demo took {(time.monotonic() - started) / 60:.1f} minutes. To look around:")
    show(f"  export KUBECONFIG={tools.cluster.kubeconfig} PATH={tools.cluster.kubectl.parent}:$PATH")
    console.print(f"  kubectl describe mdep {DEPLOYMENT} -n {NAMESPACE}")
    console.print(f"  kubectl port-forward -n {NAMESPACE} service/{DEPLOYMENT} 8080:80")
    show(f"  {curl('http://127.0.0.1:8080')}")
    console.print(f"  kubectl logs deployment/{deploy.RELEASE} -n {deploy.OPERATOR_NAMESPACE}")
    console.print("To remove the cluster: make cluster-down")
    return 0


def follow(tools: deploy.Tools, run: str) -> str:
    """Show the run's progress until it ends; return nothing once it has succeeded, or what is wrong if it will not."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"), TimeElapsedColumn())
    last = ""
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"    {run}", total=100, words="")

        def tell(status: deploy.Object) -> None:
            nonlocal last
            words = describe(status)
            if words != last and not console.is_terminal:
                console.print(f"    {words}")
            last = words
            bar.update(task, completed=status.get("progress", {}).get("percent", 0), words=words)

        return following.follow(tools.kube(NAMESPACE), PROJECT, run, tell)


def judged(tools: deploy.Tools, run: str, expected: str) -> str:
    """Show what the gate says of a run, and where its report is; return what is wrong unless it is what is expected."""
    with step(f"The gate asks the model of {run} every row of its suites (minutes, on a CPU)"):
        found = following.verdict(tools.kube(NAMESPACE), GATE, run)
    if isinstance(found, str):
        return found
    status = found["status"]
    show(f"{status['verdict']}: {status['message']}")
    console.print(results(status))
    if "report" in status:
        key = found["spec"]["key"]
        page = f"{mounts.STORAGE}/{layout.evaluation_folder(key)}/report.html"
        text = deploy.run_trainer(tools, NAMESPACE, RUN, "show-report", {"command": ["cat", page], "resources": READS})
        local = State.from_environment().run(f"{run}-report.html")
        local.write_text(text)
        console.print("The report for people; open it in a browser:")
        show(f"  {local}")
    return "" if status["verdict"] == expected else f"{run}: the verdict is {status['verdict']}, not {expected}"


def served(tools: deploy.Tools, run: str, clients: Clients | None = None) -> str:
    """Show how a run comes to be served, and who answers meanwhile; return what is wrong if it will not be."""
    console.print(f"[bold]==>[/bold] The deployment takes {run} over, for it has passed")
    last = ""
    with Live(console=console, transient=False) if console.is_terminal else nullcontext() as live:

        def tell(status: deploy.Object) -> None:
            nonlocal last
            answers = clients.answers() if clients else []
            if live:
                live.update(serving(status, answers))
            elif (words := situation(status)) != last:
                console.print(f"    {words}")
                last = words

        trouble = following.served(tools.kube(NAMESPACE), DEPLOYMENT, run, tell)
    if clients and not trouble:
        answers = clients.answers()
        console.print(serving(tools.kube(NAMESPACE).get("ModelDeployment", DEPLOYMENT)["status"], answers))
        failed = sum(each["status"] != 200 for each in answers)
        console.print(f"Of {len(answers)} requests {failed} failed.")
        if failed:
            trouble = f"{failed} requests failed while {run} took over, and none should have. See what clients were"
            trouble += f" answered: kubectl logs -n {NAMESPACE} {CLIENTS}; and the log of the gateways:"
            trouble += f" kubectl logs -n {NAMESPACE} deployment/{DEPLOYMENT}-gateway"
    return trouble


def serving(status: deploy.Object, answers: Sequence[deploy.Object]) -> Table:
    """Return who gets how many of 100 requests, and what came back from whom."""
    table = Table(Column("run", no_wrap=True), "of 100", "requests", "median", "last answer", caption=situation(status))
    candidate = status.get("candidate", {})
    weight = candidate.get("weight", 0)
    weights = {candidate.get("release"): weight, status.get("serving", {}).get("release"): 100 - weight}
    runs = {each["release"]: each["run"] for each in (*status.get("history", []), candidate) if each}
    for release, run in runs.items():
        own = [each for each in answers if each.get("release") == release]
        median = f"{statistics.median(each['ended'] - each['began'] for each in own) * 1000:.0f} ms" if own else ""
        last = str(own[-1]["label"]) if own else ""
        table.add_row(run, str(weights.get(release, 0)), str(len(own)), median, last)
    return table


def situation(status: deploy.Object) -> str:
    """Return a line about a deployment: phase, what is served, and what is about to be."""
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    waits = conditions.get("Reconciling") or conditions.get("Ready")
    return f"{status.get('phase', 'Pending')}: {waits['message']}" if waits else "Pending"


def ask(clients: Clients) -> None:
    """Have clients ask from now on, and show what they are answered."""
    with step("Clients in the cluster ask it from now on; the first answers:"):
        clients.start(MESSAGES, EVERY)
        for text in MESSAGES:
            answer = clients.ask(text)
            show(f"    {text} → {answer.get('label') or answer.get('error')}")
    show(f"    {curl(f'http://{DEPLOYMENT}.{NAMESPACE}.svc')}")


def curl(place: str) -> str:
    """Return how to ask by hand."""
    body = json.dumps({"text": MESSAGES[0]})
    return f"curl {place}/v1/predict -H 'Content-Type: application/json' -d '{body}'"


def refused(tools: deploy.Tools) -> None:
    """Show what a deployment says of a run that was not passed."""
    status = tools.kube(NAMESPACE).get("ModelDeployment", DEPLOYMENT)["status"]
    admitted = next(each for each in status["conditions"] if each["type"] == "CandidateAdmitted")
    console.print("[bold]The deployment[/bold] serves what it served, and says why nothing newer:")
    show(f"    {admitted['message']}")


def results(status: deploy.Object) -> Table:
    """Return the table of what came of each criterion."""
    table = Table("criterion", "outcome", "value", "reference", "interval", "threshold")
    for each in status.get("results", []):
        interval = f"{each['low']:.3f} to {each['high']:.3f}" if "low" in each and "high" in each else ""
        numbers = (f"{each[name]:.3f}" if name in each else "" for name in ("value", "reference"))
        bound = f"{each['threshold']:.3f}" if "threshold" in each else ""
        outcome = f"{each['outcome']}{' (advisory)' if each.get('advisory') else ''}"
        table.add_row(each["criterion"], outcome, *numbers, interval, bound)
    return table


def describe(status: deploy.Object) -> str:
    """Return a line about a run: phase, progress, and while it waits, for what."""
    phase = status.get("phase", "Pending")
    if "progress" in status and phase == "Running":
        progress = status["progress"]
        loss = f", loss {progress['loss']:.3f}" if "loss" in progress else ""
        left = f", {progress['remainingSeconds']} s to go" if "remainingSeconds" in progress else ""
        return f"{phase}: step {progress['step']} of {progress['steps']}{loss}{left}"
    ready = next((item for item in status.get("conditions", []) if item["type"] == "Ready"), None)
    return f"{phase}: {ready['message']}" if ready else str(phase)


def show(text: str) -> None:
    """Show a text as it is: tables, paths and what is to be copied keep their lines."""
    console.print(text, soft_wrap=True, markup=False)


def record(tools: deploy.Tools) -> None:
    """Show how the record begins, and the model card."""
    uri = tools.kube(NAMESPACE).get("FineTuneRun", RUN)["status"]["record"]["uri"]
    folder, _, name = uri.replace("pvc://stagecoach/support-desk", mounts.STORAGE).rpartition("/")
    console.print("[bold]The record[/bold], its first lines, and the model card beside it:")
    show(uri)
    card = f"{folder}/{layout.beside(name, 'README.md')}"
    script = f"head -n {RECORD_LINES} {folder}/{name} && echo … && echo && cat {card}"
    show(
        deploy.run_trainer(tools, NAMESPACE, RUN, "show-record", {"command": ["sh", "-c", script], "resources": READS})
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, json.JSONDecodeError) as error:
        console.print(f"[red]{error}[/red]")
        sys.exit(1)
