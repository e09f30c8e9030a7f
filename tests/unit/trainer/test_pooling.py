"""How a base says that its tokens become a vector, and what that does to its digest."""

import json
from pathlib import Path
from typing import Any

import pytest

from stagecoach.contract.inputs import Family
from stagecoach.contract.jobs import ModelSource
from stagecoach.contract.reports import BadInput
from stagecoach_trainer import bases, pooling

from .conftest import Project

SOURCE = ModelSource(name="tiny", uri="pvc://models/tiny")
BEGIN = "sentence_transformers.models."


def base_of(*, embeds: bool = True) -> bases.Base:
    return bases.read(SOURCE, mismatch="", remedy="", family=Family.ENCODER, embeds=embeds)


def lay_out(project: Project, config: Any, kinds: tuple[str, ...] = ("Transformer", "Pooling"), **changes: Any) -> Path:
    """Write the base as sentence-transformers would."""
    folder = project.root / "pvc" / "models" / "tiny"
    document = {"architectures": ["BertModel"], "model_type": "bert", "max_position_embeddings": 128}
    (folder / "config.json").write_text(json.dumps(document))
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"} | changes
    modules = [{"idx": n, "type": BEGIN + kind, "path": paths.get(kind, kind)} for n, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    return folder


OLD_MEAN = {"word_embedding_dimension": 8, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
OLD_CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": False}


@pytest.mark.parametrize(
    ("config", "kinds", "mode"),
    [
        (OLD_MEAN, ("Transformer", "Pooling"), "mean"),
        (OLD_CLS, ("Transformer", "Pooling", "Normalize"), "cls"),
        ({"pooling_mode": "cls", "embedding_dimension": 8}, ("Transformer", "Pooling"), "cls"),
        ({"pooling_mode": "mean", "include_prompt": True}, ("Transformer", "Pooling"), "mean"),
        (pooling.document("cls", 8), ("Transformer", "Pooling"), "cls"),
        (pooling.document("mean", 8), ("Transformer", "Pooling"), "mean"),
    ],
)
def test_a_pooling_that_is_known(project: Project, config: Any, kinds: tuple[str, ...], mode: str) -> None:
    lay_out(project, config, kinds)
    assert base_of().pooling == mode
    assert base_of(embeds=False).pooling is None


@pytest.mark.parametrize(
    ("config", "kinds", "changes", "words"),
    [
        (OLD_MEAN, ("Transformer", "Pooling", "Dense"), {}, "Transformer, Pooling, Dense"),
        (OLD_MEAN, ("Transformer",), {}, "lists Transformer"),
        (OLD_MEAN, ("Transformer", "Pooling"), {"Transformer": "0_Transformer"}, "lists Transformer"),
        (OLD_MEAN, ("Transformer", "Pooling"), {"Pooling": "../x"}, "'../x'"),
        (OLD_MEAN, ("Transformer", "Pooling"), {"Pooling": "2_Pooling"}, "2_Pooling/config.json, which is not there"),
        (OLD_CLS | OLD_MEAN | {"pooling_mode_cls_token": True}, ("Transformer", "Pooling"), {}, "neither the mean"),
        ({"pooling_mode_max_tokens": True}, ("Transformer", "Pooling"), {}, "neither the mean"),
        ({"pooling_mode": "lasttoken"}, ("Transformer", "Pooling"), {}, "neither the mean"),
        (OLD_MEAN | {"include_prompt": False}, ("Transformer", "Pooling"), {}, "neither the mean"),
        ({}, ("Transformer", "Pooling"), {}, "neither the mean"),
        ([], ("Transformer", "Pooling"), {}, "is no object"),
    ],
)
def test_a_pooling_that_is_not_known(
    project: Project, config: Any, kinds: tuple[str, ...], changes: dict[str, str], words: str
) -> None:
    lay_out(project, config, kinds, **changes)
    with pytest.raises(BadInput) as caught:
        base_of()
    assert caught.value.problem.reason == "BaseUnusable"
    assert words in caught.value.problem.message
    assert "remove modules.json" in (caught.value.problem.remedy or "")


def test_the_pooling_is_part_of_a_base_where_it_decides_something_and_nowhere_else(project: Project) -> None:
    folder = lay_out(project, OLD_MEAN)
    mean, plain = base_of(), base_of(embeds=False)
    lay_out(project, OLD_CLS)
    assert base_of().model != mean.model
    assert base_of(embeds=False).model == plain.model
    (folder / "modules.json").unlink()
    unsaid = base_of()
    assert (unsaid.pooling, unsaid.model) == ("mean", plain.model)
