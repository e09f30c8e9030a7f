"""Files of weights for bases that nobody loads, and checkpoints of which a part is gone."""

import json
from pathlib import Path


def safetensors_of(content: bytes) -> bytes:
    """Return a file whose one tensor is these bytes."""
    tensor = {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}
    header = json.dumps({"content": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + content


def thin_out(folder: Path, *gone: str, halved: str = "") -> None:
    """Take all weights out of a checkpoint whose names begin like these, and half the rows of another one."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    before = load_file(file)
    assert all(any(name.startswith(start) for name in before) for start in gone), "or the test shows nothing"
    left = {name: tensor for name, tensor in before.items() if not name.startswith(gone)}
    if halved:
        left[halved] = left[halved][: len(left[halved]) // 2].contiguous()
    save_file(left, file, {"format": "pt"})
