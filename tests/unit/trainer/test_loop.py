"""What the training takes from TRL beyond its promises. Needs the trainer's libraries: runs inside its image."""

from typing import Any

import pytest

from .conftest import Project

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
