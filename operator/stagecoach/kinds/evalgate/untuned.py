"""A base of a project itself, with the project's prompt and without any training: which release that is now."""

from dataclasses import dataclass

from stagecoach.api.candidates import PromptRef
from stagecoach.api.evaluation import JudgedBase
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.contract import layout
from stagecoach.contract.inputs import BaseInput
from stagecoach.contract.releases import Asked, Release
from stagecoach.kinds import contracts
from stagecoach.kinds.evalgate.released import Unjudged, check_engine
from stagecoach.kinds.evaluation import document
from stagecoach.policies.servable import servable_base


@dataclass(frozen=True)
class BaseItself:
    """A candidate of the project that a deployment wants as it is, where others want what a run has made."""

    name: str
    project: str


@dataclass(frozen=True)
class Described:
    """What it is, by what the project says now."""

    base: JudgedBase
    architecture: str
    asked: Asked
    prompt: PromptRef
    release: Release
    storage: str


def described(base: BaseItself, project: TransformerProject) -> Described:
    """Return it, of a project that is Ready. Raises Unjudged for what is not there, or cannot be asked."""
    found = next((each for each in project.status.candidates if each.name == base.name), None)
    if found is None:
        names = ", ".join(each.name for each in project.status.candidates)
        message = f"TransformerProject {project.metadata.name!r} has no candidate {base.name!r}; it has {names}."
        raise Unjudged(
            "CandidateUnknown", f"{message} Choose one of these, or add it to the project's spec.candidates."
        )
    uri = next((each.model.uri for each in project.spec.candidates if each.name == base.name), "")
    if f"/{layout.ARTIFACTS}/" in uri:
        message = f"Candidate {base.name!r} of the project is what a run has made ({uri}), and rows of suites would not"
        message += " be looked for in what it was trained on. Choose that run in spec.model.run of the deployment."
        raise Unjudged("MadeByARun", message)
    inference = project.spec.inference
    try:
        asked = document.asked_itself(
            project, BaseInput(model=found.model, tokenizer=found.tokenizer), inference.prompt
        )
    except document.TooManyLabels as error:
        raise Unjudged("TooManyLabels", f"{error}.") from error
    except document.Changed as changed:
        raise Unjudged("ProjectChanged", unsaid(changed)) from changed
    return Described(
        base=JudgedBase(candidate=found.name, model=found.model, tokenizer=found.tokenizer, revision=found.revision),
        architecture=found.architecture,
        asked=asked,
        prompt=inference.prompt,
        release=Release(
            asked=asked.digest, artifact=None, engine=document.engine(inference.engine, inference.precision)
        ),
        storage=project.spec.storage.uri,
    )


def unsaid(changed: document.Changed) -> str:
    """Return what the project does not say of what it takes to judge and to serve a base itself."""
    return f"The project does not say all that this takes: {changed}. Correct that there."


def check_servable(found: Described, project: TransformerProject) -> None:
    """Raise Unjudged for a base that no deployment can serve itself: nobody else asks about it."""
    check_engine(project)
    verdict = servable_base(project.spec.problem.task, contracts.family(project.spec), found.architecture)
    if verdict.holds is not True:
        raise Unjudged(
            verdict.reason, f"Base {found.base.candidate!r}: {verdict.message} Choose another candidate, or a run."
        )
