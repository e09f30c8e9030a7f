"""What share of a GPU's peak a training has reached, as its record tells it."""

from typing import Any

import pytest

from tests.bench.utilization import told
from tests.unit.contract.test_records import record

# On one GPU for 100 seconds, at 10,000 tokens per second: 7 billion weights and 1 % of them beside these.
TRAINED = {"tokens": 1_000_000, "gpu_hours": 100 / 3600, "precision": "bfloat16"}
TRAINED |= {"trainable_parameters": 70_000_000, "total_parameters": 7_070_000_000}


@pytest.mark.parametrize(
    ("gpu", "changes", "line"),
    [
        (None, {}, "MFU: not measured: no GPU."),
        ("NVIDIA H200", {}, "MFU: 28.7% of NVIDIA H200, with 7070000000 weights of which 70000000 were trained; 42.9%"),
        ("NVIDIA H200", {"trainable_parameters": 7_070_000_000}, "MFU: 42.9% of NVIDIA H200"),
        ("NVIDIA H200", {"gpu_hours": 200 / 3600}, "MFU: 14.4% of NVIDIA H200"),
        ("NVIDIA A100-SXM4-80GB", {"tokens": 500_000}, "MFU: 45.5% of NVIDIA A100"),
        ("NVIDIA H200", {"precision": "float32"}, "MFU: not measured: it trained in float32"),
        ("Tesla T4", {}, "MFU: not measured: the peak of Tesla T4 is not known here"),
    ],
)
def test_the_share_of_the_peak(gpu: str | None, changes: dict[str, Any], line: str) -> None:
    known = record()
    training = known.training.model_copy(update=TRAINED | changes)
    hardware = known.hardware.model_copy(update={"gpu": gpu})
    assert told(known.model_copy(update={"training": training, "hardware": hardware})).startswith(line)
