"""A namespace in which gates judge what runs have made; the tests play the kubelet."""

import json

from tests import builders
from tests.integration.support.desk import TRAINED, Desk
from tests.integration.support.eventually import eventually


class Court(Desk):
    """A namespace with a project, its runs, and gates."""

    def make_project_with_canary(self, rows: int = 10) -> None:
        project, resolved = builders.project(namespace=self.kube.namespace), builders.resolution()
        canary = {"name": "canary", "uri": "pvc://lake/desk/canary.csv", "split": "Canary"}
        project["spec"]["data"]["sets"].append(canary)
        resolved["datasets"].append({"name": "canary", "digest": builders.digest("8"), "examples": rows})
        self.kube.create(project)
        told = json.dumps({"outcome": "Done", "resolution": resolved})
        self.kubelet.succeeded(self.kubelet.pod_of(self.job_of("TransformerProject", "desk")), told)
        self.awaits("TransformerProject", "desk", "Ready")

    def make_candidate(self, name: str = "first", artifact: str = "7", **changes: object) -> None:
        """Let a run succeed; each with a seed of its own, so that none waits for another."""
        hyperparameters = {"learningRate": 1.0e-3, "epochs": 1, "seed": int(artifact, 16)}
        self.kube.create(builders.run(name, self.kube.namespace, hyperparameters=hyperparameters, **changes))
        report = json.loads(TRAINED)
        report["artifact"]["digest"] = builders.digest(artifact)
        number = 1
        # In a storage with records it is looked for at first.
        if "storage" in self.kube.get("TransformerProject", "desk")["status"] and self._looks(name):
            self.kubelet.succeeded(
                self.kubelet.pod_of(self.job_of("FineTuneRun", name)), json.dumps({"outcome": "Done"})
            )
            number = 2
        self.kubelet.succeeded(self.kubelet.pod_of(self.job_of("FineTuneRun", name, number)), json.dumps(report))
        self.awaits("FineTuneRun", name, "Succeeded")

    def _looks(self, name: str) -> bool:
        self.job_of("FineTuneRun", name)
        attempts = self.kube.get("FineTuneRun", name)["status"]["attempts"]
        return bool(attempts[0]["intent"] == "Lookup")

    def evaluation_of(self, run: str) -> str:
        """Return the name of the newest Evaluation of a run."""
        found = eventually(lambda: self.evaluations(run), 60, f"an Evaluation of {run}")
        return str(found[-1]["metadata"]["name"])

    def evaluations(self, run: str) -> list[builders.Object]:
        found = [item for item in self.kube.select("Evaluation") if item["spec"].get("run") == run]
        return sorted(found, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))

    def evaluation_of_base(self, base: str) -> str:
        """Return the name of the newest Evaluation of a base itself."""

        def found() -> list[builders.Object]:
            made = [each for each in self.kube.select("Evaluation") if "run" not in each["spec"]]
            made = [each for each in made if each["spec"]["base"]["candidate"] == base]
            return sorted(made, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))

        return str(eventually(found, 60, f"an Evaluation of base {base}")[-1]["metadata"]["name"])

    def pod_that_judges(self, evaluation: str, number: int = 1) -> str:
        def job() -> str:
            attempt = self.kube.get("Evaluation", evaluation).get("status", {}).get("attempt", {})
            return str(attempt["job"]) if attempt.get("number") == number else ""

        return self.kubelet.pod_of(eventually(job, 60, f"attempt {number} of {evaluation}"))

    def judge(self, run: str, verdict: str = "Passed") -> builders.Object:
        return self.decide_on(self.evaluation_of(run), verdict)

    def judge_base(self, base: str = "small", verdict: str = "Passed") -> builders.Object:
        """Let the pod that judges a base itself come to a verdict."""
        return self.decide_on(self.evaluation_of_base(base), verdict)

    def decide_on(self, name: str, verdict: str) -> builders.Object:
        """Let the pod of an Evaluation come to a verdict."""
        pod = self.pod_that_judges(name)
        self.kubelet.succeeded(pod, json.dumps(builders.evaluation_report(verdict)))
        return self.awaits("Evaluation", name, "Decided")
