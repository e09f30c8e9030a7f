import pytest

from stagecoach.api.crds import KINDS as SERVED
from stagecoach_plugin import kinds
from stagecoach_plugin.kinds import APPROVAL, DEPLOYMENT, EVALUATION, GATE, PROJECT, RUN, Kind, evaluation_name, parse
from stagecoach_plugin.problems import Problem


def test_the_kinds_are_those_of_the_definitions() -> None:
    assert {(kind.name, kind.plural, kind.short) for kind in kinds.KINDS} == {
        (kind.model.__name__, kind.plural, kind.short_name) for kind in SERVED
    }


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("support-desk", None, "support-desk"),
        ("eval/a", EVALUATION, "a"),
        ("Evaluation/a", EVALUATION, "a"),
        ("evaluations/a", EVALUATION, "a"),
        ("evaluation.stagecoach.dev/a", EVALUATION, "a"),
        ("egate/a", GATE, "a"),
        ("ftr/a", RUN, "a"),
        ("txp/a", PROJECT, "a"),
        ("appr/a", APPROVAL, "a"),
        ("mdep/a", DEPLOYMENT, "a"),
    ],
)
def test_objects_are_named_as_kubectl_names_them(text: str, kind: Kind | None, name: str) -> None:
    assert parse(text) == (kind, name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pod/a", "There is no kind 'pod' here. Use one of: evalgate (egate), evaluation (eval)"),
        ("eval/", "names no object"),
        ("/a", "names no object"),
        ("", "names no object"),
    ],
)
def test_what_names_nothing_is_refused(text: str, words: str) -> None:
    with pytest.raises(Problem) as raised:
        parse(text)
    assert words in str(raised.value)


def test_an_evaluation_by_its_name_or_as_kubectl_prints_it() -> None:
    assert evaluation_name("a") == evaluation_name("evaluation.stagecoach.dev/a") == "a"
    with pytest.raises(Problem, match="is no Evaluation"):
        evaluation_name("egate/a")
