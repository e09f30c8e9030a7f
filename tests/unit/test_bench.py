"""How a benchmark ends whose ratio is missed."""

import argparse
from typing import Any

import pytest

from tests import deploy
from tests.bench import __main__ as bench
from tests.bench import evaluation, training

OPTIONS = argparse.Namespace(turns=3, threads=2)


@pytest.mark.parametrize(("speed", "status"), [(99.0, 0), (90.0, 1)])
def test_a_ratio_that_is_missed_is_the_last_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], speed: float, status: int
) -> None:
    rates = {"stagecoach": [speed] * 3, "script": [100.0] * 3, "slower": [50.0] * 3}
    monkeypatch.setattr(training, "measure", lambda *_: rates)
    assert training.main(OPTIONS) == status
    lines = capsys.readouterr().out.splitlines()
    missed = ["Missed: 0.900 of the speed of script, where 0.98 is to be reached."]
    assert lines[4:] == (missed if status else [])


def test_a_ratio_that_may_be_missed_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = {"stagecoach": [90.0, 99.0, 110.0], "script": [100.0] * 3, "slower": [50.0] * 3}
    monkeypatch.setattr(training, "measure", lambda *_: rates)
    assert training.main(OPTIONS) == 0
    told = "Reached by the mean, and not by the whole interval: beside script it begins at 0.900."
    assert capsys.readouterr().out.splitlines()[4:] == [told]


@pytest.mark.parametrize(("speed", "status"), [(10.0, 0), (9.0, 1)])
def test_asking_that_is_slower_than_lm_eval_is_the_last_line(
    capsys: pytest.CaptureFixture[str], speed: float, status: int
) -> None:
    assert evaluation.tell({"texts": [(speed, 10.0)] * 3, "labels": [(30.0, 10.0)] * 3}) == status
    lines = capsys.readouterr().out.splitlines()
    assert lines[3] == "| labels | 30.0 | 10.0 | 3.000 (3.000 to 3.000) |"
    assert lines[4:] == (
        ["Missed: 0.900 of the speed of lm-eval with texts, where 1 is to be reached."] if status else []
    )


def test_answers_that_differ_are_not_compared() -> None:
    found = evaluation.Match("texts", lambda: ["one", "two"], lambda: ["one", "three"])
    with pytest.raises(RuntimeError, match="1 of 2 answers differ"):
        evaluation.measure([found], 1)


def test_arms_that_do_not_train_the_same_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def counts(tokens: dict[str, int]) -> None:
        monkeypatch.setattr(training, "turn", lambda arm, *_: (tokens.get(arm, 1000), 2.0))

    monkeypatch.setattr(training, "make_project", lambda root: (root / "storage").mkdir())
    counts({})
    assert training.measure(2, 1)["script"] == [500.0, 500.0]
    counts({"script": 999})
    with pytest.raises(RuntimeError, match="stagecoach 1000, script 999"):
        training.measure(2, 1)


def test_the_pod_s_words_are_printed_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failed(*_: Any, **__: Any) -> str:
        raise RuntimeError("Job training did not complete: | a table |\nMissed: by far.")

    class Tools:
        def kubectl(self, *_: str, **__: str) -> str:
            return ""

    for name in ("images", "image", "make_namespace"):
        monkeypatch.setattr(deploy, name, lambda *_: "image")
    monkeypatch.setattr(deploy, "up", Tools)
    monkeypatch.setattr(deploy, "await_job", failed)
    assert bench.main("training", []) == 1
    assert capsys.readouterr().out.endswith("| a table |\nMissed: by far.\n")
