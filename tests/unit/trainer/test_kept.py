"""Which head of a base is kept, by its configuration alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from stagecoach_trainer.kept import keeps_head

TWO = {"0": "a", "1": "b"}


@pytest.mark.parametrize(
    ("labels", "config", "expected"),
    [
        (("a", "b"), {"id2label": TWO}, True),
        (("a", "b"), {"id2label": {"1": "b", "0": "a"}}, True),
        (("b", "a"), {"id2label": TWO}, False),
        (("a", "b", "c"), {"id2label": TWO}, False),
        (tuple("abcdefghijkl"), {"id2label": {str(n): each for n, each in enumerate("abcdefghijkl")}}, True),
        (("LABEL_0", "LABEL_1"), {}, True),
        (("a", "b"), {}, False),
        (("a", "b"), {"id2label": TWO, "architectures": ["BertForTokenClassification"]}, False),
        (("a", "b"), {"id2label": TWO, "architectures": ["BertForMaskedLM"]}, False),
        (("a", "b"), {"id2label": TWO, "architectures": None}, False),
    ],
)
def test_a_head_is_kept(tmp_path: Path, labels: tuple[str, ...], config: dict[str, Any], expected: bool) -> None:
    written = {"architectures": ["BertForSequenceClassification"]} | config
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert keeps_head(str(tmp_path), labels) is expected
