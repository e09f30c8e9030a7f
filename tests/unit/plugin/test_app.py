"""What is typed, and how help teaches."""

import io
import re

import pytest
from typer.testing import CliRunner

from stagecoach_plugin import consoles
from stagecoach_plugin.app import app

COMMANDS = ("approve", "reject", "promote", "override", "revoke", "why", "report")


def typed(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(
        app, arguments, prog_name="kubectl stagecoach", env={"COLUMNS": "100", "NO_COLOR": "1", "KUBECONFIG": "/none"}
    )
    return result.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", result.output)


def test_help_names_the_commands_without_asking_a_cluster() -> None:
    code, text = typed("--help")
    assert code == 0
    assert all(f" {command} " in text for command in COMMANDS)
    assert "Usage: kubectl stagecoach" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples(command: str) -> None:
    code, text = typed(command, "--help")
    assert code == 0
    assert f"kubectl stagecoach {command} " in text.partition("Examples:")[2]
    assert all(option in text for option in ("--namespace", "-n", "--context", "--kubeconfig"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("approve",), 2, "Missing argument 'EVALUATION'"),
        (("reject", "x"), 2, "Missing option '--reason'"),
        (("revoke", "x", "--release", "a"), 2, "Missing option '--reason'"),
        (("override", "x", "--release", "a", "--reason", " "), 1, "This needs a reason"),
        (("override", "x", "--release", "a", "--reason", "b", "--hours", "25"), 2, "or equal to 24"),
        (("promote", "eval/x", "--release", "a"), 1, "'eval/x' is no ModelDeployment"),
        (("why",), 2, "Missing argument"),
        (("approve", "x", "--wait", "-1"), 2, "--wait"),
        (("approve", "x", "--score", "fluency"), 1, "write --score <rubric>=<1 to 5>"),
        (("reject", "x", "--reason", " "), 1, "A rejection needs a reason"),
        (("why", "pod/x"), 1, "There is no kind 'pod' here"),
        (("report", "x"), 1, "There is no kubeconfig at"),
        (("report", "x", "--kubeconfig", "/nowhere"), 1, "There is no kubeconfig at /nowhere"),
    ],
)
def test_what_is_wrong_is_said_before_a_cluster_is_asked(arguments: tuple[str, ...], code: int, words: str) -> None:
    found, text = typed(*arguments)
    assert found == code
    assert words in " ".join(text.split())
    assert "Traceback" not in text


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.mark.usefixtures("piped")
def test_what_is_piped_is_wide_and_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    console = consoles.output()
    assert (console.width, console.is_terminal) == (120, False)
    monkeypatch.setenv("COLUMNS", "70")
    assert consoles.output().width == 70
