"""`make check-banking77`: on real data a run has to learn, and gates have to see what it, and others, are worth.

Training and vLLM, which judges, are real, and on the cluster. A run has to be better than its base by 20 points of
accuracy on held-out rows; one that learned labels drawn at random fails; so does one whose suite has rows that it was
trained on, by name; and one that is as good as its base is no worse. Every number of all four reports has to be that
which scikit-learn computes of the stored answers.
"""

import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tests import deploy, following
from tests.banking77 import desk, verdicts

console = Console(highlight=False, soft_wrap=True, markup=False)


def main(folder: Path) -> int:
    """Run the check; return the exit code."""
    tools = deploy.up()
    images = replace(deploy.images(), engine=deploy.image("engine-cpu"))
    base_model = deploy.image("base-model")
    deploy.install(tools, images)
    # What an earlier image trained and answered here is not what is checked.
    tools.kubectl("delete", "namespace", desk.NAME, "--ignore-not-found", "--wait", "--timeout=5m")
    deploy.make_namespace(tools, desk.NAME)
    deploy.make_base_model(tools, desk.NAME, base_model)
    known = desk.data(folder)
    sizes = ", ".join(f"{len(rows)} {name}" for name, rows in known.files.items())
    console.print(f"rows of {len(desk.INTENTS)} intents: {sizes}")
    for each in desk.objects(known):
        tools.kube(desk.NAME).apply(each)
    console.print(f"training and judging; to follow it: kubectl get ftr,eval -n {desk.NAME} -w")
    well = True
    for name, run in desk.runs().items():
        tools.kube(desk.NAME).apply(run)
        if trouble := following.follow(tools.kube(desk.NAME), desk.NAME, name):
            console.print(trouble)
            return 1
        for gate in (gate for gate, whose in verdicts.WANTED if whose == name):
            wrong = list(verdicts.wrong(tools, known, gate, name))
            well = well and not wrong
            console.print(
                f"run {name} by gate {gate}: {verdicts.WANTED[gate, name]}{'' if wrong else ', as it should'}"
            )
            for words in wrong:
                console.print(f"  {words}")
    return 0 if well else 1


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1], "train.csv").exists():
        sys.exit(
            "give the folder that holds BANKING77's train.csv and test.csv: make check-banking77 BANKING77=<folder>"
        )
    sys.exit(main(Path(sys.argv[1])))
