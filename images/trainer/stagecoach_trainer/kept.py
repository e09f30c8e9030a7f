"""Whether a base has a head that is kept, by its configuration. No torch."""

import json
from pathlib import Path
from typing import Any

from stagecoach_trainer import bases

# How the class of a model ends whose head chooses a label for a text, and for each token.
OF_TEXTS, OF_TOKENS = "ForSequenceClassification", "ForTokenClassification"


def keeps_head(folder: str, labels: tuple[str, ...], suffix: str = OF_TEXTS) -> bool:
    """Whether the base in a folder has a head for exactly these labels, in this order; its class ends like this."""
    config = json.loads((Path(folder) / bases.CONFIG).read_text())
    return _named(config) == labels and str((config.get("architectures") or [""])[0]).endswith(suffix)


def _named(config: dict[str, Any]) -> tuple[str, ...]:
    """Return the labels as transformers reads them: two, where there are no others."""
    named = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    return tuple(named[index] for index in sorted(named, key=int))
