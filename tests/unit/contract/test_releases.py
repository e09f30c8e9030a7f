"""Releases keep their identities: verdicts and answers are found by them."""

import pytest
from pydantic import ValidationError

from stagecoach.contract.admitted import Admitted
from stagecoach.contract.inputs import BaseInput, LabelsInput
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.releases import Asked, DescribedRelease, Engine, EngineType, Precision, Release
from tests.unit.contract.documents import LENGTHS, PROMPT

ASKED, ARTIFACT = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def release(**engine: object) -> str:
    return Release(asked=ASKED, artifact=ARTIFACT, engine=Engine.model_validate(engine)).digest


def test_releases_of_before_there_were_engines_are_what_they_were() -> None:
    assert release() == "sha256:cc3b2e1470a65f4d632a7dabc37417bedb2fff5cf4b5be41ec893a53db66996f"
    assert (
        release(precision=Precision.FLOAT32)
        == "sha256:6f3f0506977663cf180754eb449c76c1966dec80409d57d86d93771e02a952a6"
    )


def test_another_engine_is_another_release() -> None:
    assert release(type=EngineType.VLLM) not in (release(), release(precision=Precision.FLOAT32))
    assert release(type=EngineType.VLLM) != release(type=EngineType.VLLM, precision=Precision.FLOAT32)


def described(artifact: str | None) -> DescribedRelease:
    base = BaseInput(model=ASKED, tokenizer=ARTIFACT)
    how = Asked(
        task="Classification", labels=LabelsInput(values=("a",)), base=base, prompt=PROMPT, tokenization=LENGTHS
    )
    return DescribedRelease(release=Release(asked=how.digest, artifact=artifact, engine=Engine()), asked=how)


def test_a_base_itself_is_read_as_it_was_written_and_is_what_it_was() -> None:
    told = described(None)
    assert DescribedRelease.model_validate_json(told.line()) == told
    assert told.release.digest != described(ARTIFACT).release.digest
    alone = Release(asked=ASKED, artifact=None, engine=Engine())
    assert alone.digest == "sha256:7baf3e4a739e5e78cd077bc43d7985c282bbe1bd2b45c6d4101ba606232a1354"


BASE = ModelSource(name="small", uri="pvc://models/small")


@pytest.mark.parametrize(
    ("artifact", "kind", "run", "taken"),
    [
        (ARTIFACT, "Adapter", "first", True),
        (ARTIFACT, "Model", "first", True),
        (None, None, None, True),
        (None, None, "first", False),
        (None, "Adapter", None, False),
        (ARTIFACT, "Adapter", None, False),
        (ARTIFACT, None, "first", False),
    ],
)
def test_what_is_admitted_is_of_a_run_or_a_base_itself(
    artifact: str | None, kind: str | None, run: str | None, taken: bool
) -> None:
    told = {"described": described(artifact), "base": BASE, "artifact": kind, "run": run, "storage": "pvc://store/desk"}
    if taken:
        admitted = Admitted.model_validate(told)
        assert Admitted.model_validate_json(admitted.line()) == admitted
    else:
        with pytest.raises(ValidationError, match="all of these, or none"):
            Admitted.model_validate(told)
