"""Tests that run in an image find there what they import of the other tests."""

import ast
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("image", ["trainer", "evaluator"])
def test_what_tests_import_is_copied_with_them(image: str) -> None:
    present = {path for source in copied(image) for path in modules(ROOT / source)}
    imports = {(path, imported) for path in present for imported in imported_by(path)}

    assert imports  # or nothing is looked at
    assert sorted((str(path), str(imported)) for path, imported in imports if imported not in present) == []


def copied(image: str) -> Iterator[str]:
    """Yield the sources among the tests that the image's Dockerfile copies."""
    text = (ROOT / "tests/unit" / image / "Dockerfile").read_bytes()
    for item in DockerfileParser(fileobj=io.BytesIO(text)).structure:
        if item["instruction"] == "COPY":
            yield from (word for word in item["value"].split()[:-1] if word.startswith("tests/"))


def modules(source: Path) -> list[Path]:
    return sorted(source.rglob("*.py")) if source.is_dir() else [source] if source.suffix == ".py" else []


def imported_by(path: Path) -> Iterator[Path]:
    """Yield the files of our tests that a module imports when it is loaded, as modules or for names in them."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (found for name in node.names for found in files_of(name.name))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            submodules = [found for name in node.names for found in files_of(f"{node.module}.{name.name}")]
            yield from submodules or files_of(node.module)


def files_of(module: str) -> list[Path]:
    place = ROOT.joinpath(*module.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py") if module.split(".")[0] == "tests" else ()
    return [file for file in files if file.is_file()]
