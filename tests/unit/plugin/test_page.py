"""What the plugin's page says is what it does."""

import re
import tomllib
from pathlib import Path

from stagecoach_plugin import evaluations
from stagecoach_plugin.app import app
from tests.unit.plugin import samples

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "plugin.md").read_text()


def test_every_command_is_on_the_page() -> None:
    names = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(re.findall(r"^\| `kubectl stagecoach (\w+)", PAGE, re.MULTILINE)) == names


def test_every_field_for_programs_is_on_the_page() -> None:
    table = PAGE.partition("## report")[2].partition("## Output")[0]
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.+?) \|", table, re.MULTILINE))))
    assert told == set(evaluations.document(samples.awaiting()))


def test_it_has_the_version_of_the_operator() -> None:
    own, whole = (
        tomllib.loads((ROOT / path).read_text())["project"] for path in ("plugin/pyproject.toml", "pyproject.toml")
    )
    assert own["version"] == whole["version"]


def test_the_lock_has_all_that_it_needs() -> None:
    lock = (ROOT / "locks" / "plugin.txt").read_text()
    needed = tomllib.loads((ROOT / "plugin" / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [re.split(r"[<>=]", each)[0] for each in needed]
    assert all(re.search(rf"^{name}==", lock, re.MULTILINE) for name in names)
    developers = (ROOT / "locks" / "dev.txt").read_text()
    pins = re.findall(r"^([\w.-]+==[^ ;]+)", lock, re.MULTILINE)
    assert [pin for pin in pins if f"\n{pin}" not in f"\n{developers}"] == [], "what the tests use"
