"""What an engine is made of, as it was decided when a release was admitted: in a ConfigMap that never changes.

Spec and project may say something else by now, or be gone, and a later operator may decide otherwise: what serves can
be made again as it was.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from stagecoach.api.modeldeployment import Api, EngineResources, ModelDeployment
from stagecoach.api.pods import PodSettings
from stagecoach.api.transformerproject import TransformerProject
from stagecoach.build import serving
from stagecoach.build.gateway import ADMITTED_FILE
from stagecoach.build.labels import OWNER_UID
from stagecoach.build.pods import credentials
from stagecoach.contract.access import Credential
from stagecoach.contract.admitted import Admitted
from stagecoach.contract.digests import Digest, digest_of_document
from stagecoach.contract.loading import Serve
from stagecoach.contract.model import ContractModel
from stagecoach.contract.readings import reads

Object = dict[str, Any]

# Of api OpenAI, where clients write what they like.
OPEN_LENGTH = 4096
# More tokens than any base ends an answer by.
ENDS = 16
# The incumbent's, a candidate's, and that of a candidate of before, whose last requests are being answered.
ADAPTERS = 3


@dataclass(frozen=True)
class Images:
    """What runs in an engine's pods, frozen when a release is admitted: an upgrade changes nothing that serves."""

    engine: str
    loader: str


class Recipe(ContractModel):
    """All that an engine is made of, but for how many pods it has."""

    schema_version: Literal[1] = 1
    asked: Digest = Field(
        description="What spec and project asked for: another engine is made when they ask otherwise."
    )
    serve: Serve
    engine_image: str
    loader_image: str
    resources: EngineResources
    pods: PodSettings = Field(description="Of the project.")
    credentials: tuple[Credential, ...] = Field(description="Of the project: those for what the engine reads.")


def recipe(deployment: ModelDeployment, admitted: Admitted, images: Images, project: TransformerProject) -> Recipe:
    """Return what an engine for a release is made of now."""
    read = (admitted.storage, admitted.base.uri)
    return Recipe(
        asked=_asked(deployment, admitted, project),
        serve=serve(deployment, admitted),
        engine_image=images.engine,
        loader_image=images.loader,
        resources=deployment.spec.engine.resources,
        pods=project.spec.pods.model_copy(update={"queue": None}),  # of Jobs
        credentials=_used(project, read),
    )


def engine_name(deployment: ModelDeployment, made_of: Recipe) -> str:
    """Return the name of an engine: by all that it is made of, so that another one is beside it."""
    return _name(deployment.metadata.name, deployment.metadata.uid, made_of.line())


def recipe_config_map(deployment: ModelDeployment, made_of: Recipe) -> Object:
    """Return the ConfigMap that says what an engine is made of, by the engine's name; to be created."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": serving.metadata(deployment, engine_name(deployment, made_of)),
        "immutable": True,
        "data": {ADMITTED_FILE: made_of.line()},
    }


def read_recipe(config_map: Object) -> Recipe:
    """Return what an engine is made of. Raises ValueError when that is not what the ConfigMap's name stands for."""
    metadata = config_map["metadata"]
    name, text = metadata["name"], config_map.get("data", {}).get(ADMITTED_FILE, "")
    # By the text itself: a later version may write the same in another way.
    if name != _name(name.rpartition("-e-")[0], metadata["labels"][OWNER_UID], text):
        raise ValueError(f"ConfigMap {name} does not say what the engine of this name is made of")
    return Recipe.model_validate_json(text)


def serve(deployment: ModelDeployment, admitted: Admitted) -> Serve:
    """Return what an engine of this deployment serves for a release; releases with equal ones share an engine."""
    spec = deployment.spec.engine
    release = admitted.described.release
    adapters = admitted.artifact == "Adapter"
    return Serve(
        # Who says what about its licence is no reason for another engine.
        base=admitted.base.model_copy(update={"license": None}),
        model=release.artifact if admitted.artifact == "Model" else None,
        storage=admitted.storage,
        precision=release.engine.precision,
        reads=reads(admitted.described.asked),
        max_length=spec.max_length or _length(deployment, admitted),
        max_adapters=ADAPTERS if adapters else 0,
        max_rank=spec.max_lora_rank if adapters else 0,
        at_once=spec.max_concurrent,
    )


def _length(deployment: ModelDeployment, admitted: Admitted) -> int:
    """Return how many tokens a prompt and its answer may have together: the loader takes no more than the base has.

    Nobody can count a label's tokens here: it has at most as many as bytes, and a few that end it. An encoder writes
    none.
    """
    if deployment.spec.api is Api.OPENAI:
        return OPEN_LENGTH
    asked = admitted.described.asked
    rule = asked.tokenization
    if reads(asked):
        return rule.max_length
    written = max((len(label.encode()) + ENDS for label in admitted.labels or ()), default=0)
    return rule.max_length + (rule.max_target_length or written)


def _asked(deployment: ModelDeployment, admitted: Admitted, project: TransformerProject) -> Digest:
    """Return what people asked for, without what is left to the operator: that, a later version decides otherwise."""
    spec, pods = deployment.spec, project.spec.pods
    unused = {"start_deadline"} | (set() if admitted.artifact == "Adapter" else {"max_lora_rank"})
    read = (admitted.storage, admitted.base.uri)
    return digest_of_document(
        {
            "engine": spec.engine.beside_defaults(without=unused),
            "api": spec.api.value if spec.engine.max_length is None else None,
            "pods": pods.beside_defaults(without=("queue",)),
            "credentials": [each.document() for each in _used(project, read)],
        }
    )


def _used(project: TransformerProject, uris: tuple[str, ...]) -> tuple[Credential, ...]:
    return tuple(each for each in credentials(project.spec) if any(map(each.opens, uris)))


def _name(owner: str, uid: str, text: str) -> str:
    return f"{owner}-e-{hashlib.sha256(f'{uid} {text}'.encode()).hexdigest()[:8]}"
