"""Settings that must precede the import of a library: no network, no telemetry, and a log that people can read."""

import gc
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from stagecoach_trainer import places

SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    # cuBLAS is deterministic only with a fixed workspace.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}


def prepare(threads: int) -> None:
    """Set up the environment of this process for libraries that are imported later."""
    scratch = places.scratch()
    homes = {"HOME": scratch, "HF_HOME": scratch / "huggingface", "TMPDIR": scratch, "MPLCONFIGDIR": scratch}
    os.environ.update(SETTINGS)
    os.environ.update({name: str(path) for name, path in homes.items()})
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(threads)))
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)


def leave_out_quantization() -> None:
    """Have PEFT, once it is imported, not import bitsandbytes, which compiles things then: a second of every start."""
    sys.modules["bitsandbytes"] = None  # type: ignore[assignment] # the import system's way to say: there is none


@contextmanager
def importing() -> Iterator[None]:
    """Import large libraries without looking for garbage in what they make, which stays: a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
