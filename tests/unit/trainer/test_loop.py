"""What the training tells, and what it takes from TRL beyond its promises. Needs the trainer's libraries: runs inside its image."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from stagecoach.contract.reports import ProgressLine

from .conftest import Project
from .test_checkpoints import attempt, job_of

pytestmark = pytest.mark.filterwarnings("ignore")


def test_only_positions_with_a_label_are_scored(real: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update of TRL that takes the switch away, or gives it another meaning, is noticed here."""
    import torch
    import trl.trainer.utils
    from torch.utils.flop_counter import FlopCounterMode

    from stagecoach_trainer import loop
    from stagecoach_trainer.continuation import Meter
    from stagecoach_trainer.families import IGNORED
    from stagecoach_trainer.train import prepare

    prepared = prepare(real.train_job())
    monkeypatch.setattr(trl.trainer.utils, "_use_triton", trl.trainer.utils._use_triton)  # to be put back
    loop._settle(1, 0)
    trainer = loop._trainer(prepared, "float32", Meter())
    batch = next(iter(trainer.get_train_dataloader()))

    def scored() -> tuple[float, int]:
        """Return the loss, and the floating-point operations of one batch."""
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            loss: Any = trainer.compute_loss(trainer.model, dict(batch))
        return float(loss), counter.get_total_flops()

    loss, fewer = scored()
    monkeypatch.setattr(trl.trainer.utils, "_use_triton", lambda _device: False)
    same, all_of_them = scored()
    assert loss == pytest.approx(same)
    vocabulary, width = trainer.model.get_output_embeddings().weight.shape
    without = int((batch["labels"][:, 1:] == IGNORED).sum())
    assert without > batch["labels"].numel() / 2
    assert all_of_them - fewer == 2 * without * vocabulary * width


def told(output: str) -> list[tuple[int, int | None]]:
    """Return the steps of the progress lines, and the checkpoint that each tells of."""
    lines = filter(None, map(ProgressLine.parse, output.splitlines()))
    return [(line.step, line.checkpoint) for line in lines]


def test_a_checkpoint_is_told_as_soon_as_it_is_published(
    real: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stagecoach_trainer import loop

    monkeypatch.setattr(loop, "NEWS_SECONDS", 0.0)
    monkeypatch.setattr(loop, "PROGRESS_SECONDS", math.inf)
    attempt(real, job_of(real, every=5))
    assert told(capsys.readouterr().out) == [(0, None), (5, 5), (10, 10), (12, 10)]


def test_at_most_one_line_a_second_is_told_of_checkpoints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="needs the trainer's libraries: runs inside the trainer image")
    from stagecoach_trainer import loop
    from stagecoach_trainer.continuation import Meter
    from stagecoach_trainer.group import ALONE

    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock.now))
    meter = Meter()
    teller = loop._Teller(meter, ALONE)
    for step in range(40):  # a checkpoint every quarter of a second, but for the last ten
        meter.checkpoint = min(step, 30) or None
        teller.on_step_begin(None, SimpleNamespace(global_step=step, max_steps=50), None)
        clock.now += 0.25
    assert told(capsys.readouterr().out) == [(0, None), *((step, step) for step in range(4, 29, 4)), (32, 30)]
