"""The kinds that can be asked about, by all the names that kubectl takes for them."""

from dataclasses import dataclass

from stagecoach_plugin.problems import Problem

GROUP = "stagecoach.dev"
VERSION = "v1alpha1"


@dataclass(frozen=True)
class Kind:
    """A kind of Stagecoach."""

    name: str
    plural: str
    short: str

    @property
    def resource(self) -> str:
        """What rights name."""
        return f"{self.plural}.{GROUP}"

    @property
    def words(self) -> set[str]:
        """All that it is called, in small letters."""
        singular = self.name.lower()
        return {singular, self.plural, self.short, f"{singular}.{GROUP}", f"{self.plural}.{GROUP}"}

    def path(self, namespace: str, name: str = "") -> str:
        """Return the path of an object, or of all of a namespace."""
        rest = f"/{name}" if name else ""
        return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{self.plural}{rest}"


EVALUATION = Kind("Evaluation", "evaluations", "eval")
GATE = Kind("EvalGate", "evalgates", "egate")
APPROVAL = Kind("Approval", "approvals", "appr")
DEPLOYMENT = Kind("ModelDeployment", "modeldeployments", "mdep")
RUN = Kind("FineTuneRun", "finetuneruns", "ftr")
PROJECT = Kind("TransformerProject", "transformerprojects", "txp")
# What a name without a kind is looked for in, in this order.
KINDS = (GATE, EVALUATION, APPROVAL, DEPLOYMENT, RUN, PROJECT)


def parse(text: str) -> tuple[Kind | None, str]:
    """Return kind and name of `KIND/NAME`; no kind of a plain name. Raises Problem."""
    word, slash, name = text.rpartition("/")
    if not name or (slash and not word):
        raise Problem(f"{text!r} names no object: write KIND/NAME, such as evaluation/support-desk-ecfa139ab8f1.")
    if not slash:
        return None, name
    found = next((kind for kind in KINDS if word.lower() in kind.words), None)
    if found is None:
        known = ", ".join(f"{kind.name.lower()} ({kind.short})" for kind in KINDS)
        raise Problem(f"There is no kind {word!r} here. Use one of: {known}.")
    return found, name


def deployment_name(text: str) -> str:
    """Return the name of a ModelDeployment, given as NAME or mdep/NAME. Raises Problem."""
    kind, name = parse(text)
    if kind not in (None, DEPLOYMENT):
        raise Problem(f"{text!r} is no ModelDeployment: give the name of one, as `kubectl get mdep` lists them.")
    return name


def evaluation_name(text: str) -> str:
    """Return the name of an Evaluation, given as NAME or evaluation/NAME. Raises Problem."""
    kind, name = parse(text)
    if kind not in (None, EVALUATION):
        raise Problem(f"{text!r} is no Evaluation: give the name of one, as `kubectl get eval` lists them.")
    return name
