"""Real decoders that say nothing, or never end, from the document to what comes of it. Needs the evaluator's libraries."""

import shutil
from pathlib import Path

import pytest

from stagecoach.contract import layout
from stagecoach.contract.answers import Answer
from stagecoach.contract.reports import BadInput
from stagecoach.contract.verdicts import Verdict
from stagecoach_evaluator import silence
from tests.remedies import speaks
from tests.unit.trainer.conftest import WRITING_LENGTHS, Project, train, writing_pairs

from .answers import written
from .conftest import ACCURATE, HELD_OUT, Judging, write

torch = pytest.importorskip("torch", reason="needs the evaluator's libraries: runs inside the evaluator image")
pytestmark = pytest.mark.filterwarnings("ignore")

EXACT = ACCURATE.model_copy(update={"metric": "exact_match", "min": 0.01})
# Of the tokenizer of tests/unit/trainer/conftest.py: what ends a turn, and a letter.
END, LETTER = 2, 80


def always_says(project: Project, tiny_base: Path, token: int) -> Judging:
    """Return a run, on a base whose likeliest token is this one whatever it reads, that learned next to nothing."""
    from transformers import AutoModelForCausalLM

    place = project.root / "pvc" / "models" / "tiny"
    shutil.copytree(tiny_base, place, dirs_exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(place)
    with torch.no_grad():
        model.model.embed_tokens.weight.fill_(1)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        model.lm_head.weight[token] = 1
    model.save_pretrained(place)
    made = writing_pairs(project, "Generation")
    write(made, "test", [(text, "it is blocked") for text, _ in HELD_OUT], ("input", "target"))
    run = made.train_job(settings={"epochs": 1, "learning_rate": 1e-12})
    train(run)
    return Judging(made, run, criteria=(EXACT,))


def test_a_model_that_says_nothing_is_not_judged(project: Project, tiny_base: Path) -> None:
    one = always_says(project, tiny_base, END)
    with pytest.raises(BadInput) as caught:
        one.judge()
    problem = caught.value.problem
    assert (problem.reason, problem.field) == ("NothingAnswered", "suites[held-out]")
    assert f"{len(HELD_OUT)} of {len(HELD_OUT)} answers" in problem.message
    assert speaks(problem.reason, problem.sentence)
    job = one.job()
    release, rows = job.inputs.release, job.inputs.suites[0].rows
    assert not project.storage.exists(layout.outputs_manifest(release, rows)), "asked anew once it is mended"


def test_a_model_that_never_ends_writes_as_much_as_it_may_and_fails(project: Project, tiny_base: Path) -> None:
    one = always_says(project, tiny_base, LETTER)
    assert one.judge().verdict is Verdict.FAILED
    job = one.job()
    texts = {answer["text"] for answer in one.answers(job.inputs.release, job.inputs.suites[0])}
    assert {len(text) for text in texts} == {WRITING_LENGTHS.max_target_length}


@pytest.mark.parametrize(
    ("texts", "empty", "judged"),
    [
        (["", "no"], 1, True),
        (["", " \n", "no"], 2, False),
        (["no"], 0, True),
        ([""], 1, False),
        ([], 0, True),
    ],
)
def test_more_than_half_has_to_be_said(texts: list[str], empty: int, judged: bool) -> None:
    answers = [*written(texts), Answer(row=len(texts), error="too long")]
    assert silence.empty(answers) == empty
    if judged:
        silence.check("held-out", answers)
        return
    with pytest.raises(BadInput, match=f"{empty} of {len(texts)} answers"):
        silence.check("held-out", answers)


def test_what_a_task_makes_of_an_empty_text_is_its_own_affair() -> None:
    answers = [Answer(row=0, text="", values={"exact_match": 0.0})]
    assert silence.empty(answers) == 0
    silence.check("arc", answers)
