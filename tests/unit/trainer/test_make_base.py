import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "examples" / "support-desk" / "base-model" / "make_base.py"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the examples are not beside these tests")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_base", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def convert(_: Path, target: Path) -> None:
        (target / "config.json").write_text("{}")
        (target / "model.safetensors").touch(mode=0o600)

    monkeypatch.setattr(module, "convert", convert)
    monkeypatch.setattr(module, "_packaged", lambda: Path("weights.gguf"))
    monkeypatch.setattr(module, "_notice", lambda target: (target / "NOTICE").write_text("Apache-2.0"))
    return module


def test_a_checkpoint_is_written_readable_for_all(script: ModuleType, tmp_path: Path) -> None:
    target = tmp_path / "models" / "base"
    script.main(target)
    assert sorted(file.name for file in target.iterdir()) == ["NOTICE", "config.json", "model.safetensors"]
    assert {file.stat().st_mode & 0o777 for file in target.iterdir()} == {0o644}
    assert target.stat().st_mode & 0o777 == 0o755
    assert list(target.parent.iterdir()) == [target]


def test_a_complete_checkpoint_is_kept(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "base"
    script.main(target)
    monkeypatch.setattr(script, "convert", None)
    script.main(target)


def test_a_failure_leaves_nothing(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(_: Path, target: Path) -> None:
        (target / "config.json").write_text("{}")
        raise RuntimeError("no memory")

    monkeypatch.setattr(script, "convert", convert)
    with pytest.raises(RuntimeError):
        script.main(tmp_path / "base")
    assert list(tmp_path.iterdir()) == []
