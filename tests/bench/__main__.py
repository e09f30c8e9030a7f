"""Run a benchmark where its libraries are: in a pod, in the image of the trainer's or the evaluator's tests."""

import json
import sys

from rich.console import Console

from tests import deploy

NAMESPACE = "bench"
# By benchmark.
IMAGES = {"training": "trainer-tests", "evaluation": "evaluator-tests"}
RESOURCES = {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "6Gi"}}


def main(name: str, arguments: list[str]) -> int:
    """Run a benchmark and print what it prints."""
    tools = deploy.up()
    deploy.images()
    container = {
        "image": deploy.image(IMAGES[name]),
        "command": ["python3", "-m", f"tests.bench.{name}", *arguments],
        "resources": RESOURCES,
    }
    deploy.make_namespace(tools, NAMESPACE)
    tools.kubectl("delete", "job", name, "-n", NAMESPACE, "--ignore-not-found")
    tools.kubectl("create", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(deploy.restricted_job(name, container, [])))
    console = Console(highlight=False)
    console.print(f"measuring; to follow it: kubectl logs -n {NAMESPACE} job/{name} -f")
    try:
        console.print(deploy.await_job(tools, NAMESPACE, name, seconds=3600), markup=False)
    except RuntimeError as error:  # its text is the log, whose last line says what was missed
        console.print(str(error).rstrip(), markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
