"""Make what the engine serves, by the trainer: a base, adapters of it, and a classifier. Prints their names as JSON.

It runs in the image of the trainer's tests, which has their tiny models: `prepare FOLDER`.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from stagecoach.contract.digests import hex_of
from stagecoach.contract.inputs import Family, FullMethod, LoraMethod
from stagecoach.contract.layout import artifact_folder
from stagecoach_trainer import places
from tests.unit.contract.documents import METHOD
from tests.unit.trainer import test_encoders
from tests.unit.trainer.conftest import Project, make_project, save_model, save_tokenizer, train


def main(target: Path) -> None:
    """Train and copy."""
    root = Path(tempfile.mkdtemp())
    decoder = within(root / "decoder")
    base = decoder.root / "pvc" / "models" / "tiny"
    save_tokenizer(base)
    save_model(base)
    job = decoder.train_job(method={"rank": 8, "alpha": 16}, settings={"epochs": 4})
    names = {"base": hex_of(str(job.base.model)), "adapter": publish(decoder, train(job).digest, target / "adapters")}
    dora = LoraMethod.model_validate(METHOD.model_dump() | {"type": "DoRA"})
    job = decoder.train_job(method=dora, settings={"epochs": 1})
    names["dora"] = publish(decoder, train(job).digest, target / "adapters")
    shutil.copytree(base, target / names["base"])

    encoder = within(root / "encoder")
    base = encoder.root / "pvc" / "models" / "tiny"
    test_encoders.save_base(base, "BertForMaskedLM")
    job = encoder.train_job(architecture=Family.ENCODER, method=FullMethod(), settings={"epochs": 2})
    names["classifier"] = publish(encoder, train(job).digest, target)
    shutil.copytree(base, target / names["classifier"] / "tokenizer")
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    print(json.dumps(names))


def within(root: Path) -> Project:
    """Make a project, and let it be what the trainer finds mounted."""
    os.environ[places.ROOT_VARIABLE] = str(root)
    return make_project(root)


def publish(project: Project, digest: str, folder: Path) -> str:
    """Copy an artifact out of the storage; return its name."""
    name = hex_of(digest)
    shutil.copytree(project.root / "storage" / artifact_folder(digest), folder / name)
    return name


if __name__ == "__main__":
    main(Path(sys.argv[1]))
