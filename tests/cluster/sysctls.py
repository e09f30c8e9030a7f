"""Machine-wide kernel settings that a kubelet changes, kept to be put back."""

import contextlib
import json
from pathlib import Path

_CHANGED_BY_KUBELET = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
_CHANGED_BY_KUBELET_KEYS = ("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes")
_SYS = Path("/proc/sys")


def remember(file: Path) -> None:
    """Write the present values down, unless a run that was cut off has done so before."""
    if not file.exists():
        names = (*_CHANGED_BY_KUBELET, *_CHANGED_BY_KUBELET_KEYS)
        file.write_text(json.dumps({name: (_SYS / name).read_text().strip() for name in names}))


def restore(file: Path) -> None:
    """Put the remembered values back."""
    if not file.exists():
        return
    for name, value in json.loads(file.read_text()).items():
        with contextlib.suppress(OSError):
            if (_SYS / name).read_text().strip() != value:
                (_SYS / name).write_text(value)
