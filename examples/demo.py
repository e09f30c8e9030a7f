"""`make demo`: from nothing to a fine-tuned model with its record and a gate's verdict, on a real cluster."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from stagecoach.contract import layout, mounts
from tests import deploy, following
from tests.cluster.paths import State

NAMESPACE = "support-desk"
PROJECT, GATE = "support-desk", "support-desk"
RUN, POISONED = "support-desk-lora", "support-desk-poisoned"
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
    with step("The images of operator, trainer, evaluator and base model"):
        images = deploy.images()
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
        trouble = judged(tools, RUN, "Passed")
    if not trouble:
        with step("kubectl apply -k examples/poisoned-run: the same messages, with their labels shuffled"):
            deploy.apply_example(tools, "../poisoned-run", NAMESPACE)
        trouble = follow(tools, POISONED) or judged(tools, POISONED, "Failed")
    console.print(f"\n[bold]kubectl get stagecoach -n {NAMESPACE}[/bold]")
    show(tools.kubectl("get", "stagecoach", "-n", NAMESPACE))
    if trouble:
        show(trouble)
        return 1
    console.print(f"\nThe demo took {(time.monotonic() - started) / 60:.1f} minutes. To look around:")
    show(f"  export KUBECONFIG={tools.cluster.kubeconfig} PATH={tools.cluster.kubectl.parent}:$PATH")
    console.print(f"  kubectl describe ftr {RUN} -n {NAMESPACE}")
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


def results(status: deploy.Object) -> Table:
    """Return the table of what came of each criterion."""
    table = Table("criterion", "outcome", "value", "baseline", "interval", "threshold")
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
    inputs = tools.kube(NAMESPACE).get("FineTuneRun", RUN)["status"]["inputs"]["digest"]
    folder = f"{mounts.STORAGE}/{layout.run_folder(inputs)}"
    console.print("[bold]The record[/bold], its first lines, and the model card beside it:")
    show(folder.replace(mounts.STORAGE, "pvc://stagecoach/support-desk"))
    script = f"head -n {RECORD_LINES} {folder}/record.json && echo … && echo && cat {folder}/README.md"
    show(
        deploy.run_trainer(tools, NAMESPACE, RUN, "show-record", {"command": ["sh", "-c", script], "resources": READS})
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, json.JSONDecodeError) as error:
        console.print(f"[red]{error}[/red]")
        sys.exit(1)
