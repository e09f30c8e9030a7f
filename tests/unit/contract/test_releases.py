"""Releases keep their identities: verdicts and answers are found by them."""

from stagecoach.contract.releases import Engine, EngineType, Precision, Release

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
