"""Tests that run in an image find there what they import of ours."""

import ast
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "trainer": ["operator/stagecoach/contract", "images/trainer"],
    "evaluator": ["operator/stagecoach/contract", "images/trainer", "images/evaluator"],
}
# Where what a module's name begins with lies.
PLACES = {"tests": "", "stagecoach": "operator"} | {
    f"stagecoach_{name}": f"images/{name}" for name in ("trainer", "evaluator", "gateway")
}


@pytest.mark.parametrize("image", PROGRAMS)
def test_what_tests_import_is_there(image: str) -> None:
    tests = {path for source in copied(image) for path in modules(ROOT / source)}
    present = tests | {path for program in PROGRAMS[image] for path in modules(ROOT / program)}
    imports = {(path, imported) for path in tests for imported in imported_by(path)}

    assert imports  # or nothing is looked at
    assert sorted((str(path), str(imported)) for path, imported in imports if imported not in present) == []


def copied(image: str) -> Iterator[str]:
    """Yield what of the repository the Dockerfile of the image with tests copies."""
    text = (ROOT / "tests/unit" / image / "Dockerfile").read_bytes()
    for item in DockerfileParser(fileobj=io.BytesIO(text)).structure:
        if item["instruction"] == "COPY" and "--from=" not in item["value"]:
            yield from item["value"].split()[:-1]


def modules(source: Path) -> list[Path]:
    return sorted(source.rglob("*.py")) if source.is_dir() else [source] if source.suffix == ".py" else []


def imported_by(path: Path) -> Iterator[Path]:
    """Yield the files of ours that a module imports when it is loaded, as modules or for names in them."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (found for name in node.names for found in files_of(name.name))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            submodules = [found for name in node.names for found in files_of(f"{node.module}.{name.name}")]
            yield from submodules or files_of(node.module)


def files_of(module: str) -> list[Path]:
    names = module.split(".")
    if names[0] not in PLACES:
        return []
    place = ROOT.joinpath(PLACES[names[0]], *names)
    return [file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()]
