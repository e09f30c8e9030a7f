"""`python -m tests.bench.utilization record.json`: what share of the peak of its GPUs a training has reached (MFU).

It is told from the record of any run. Of each token a weight takes 2 operations forward, 2 for the gradient of what went
into it and, where it is trained, 2 for its own: 6 N for a model that is trained whole (Chowdhery et al. 2022, PaLM,
appendix B), 4 N for what lies frozen beside an adapter. Attention over the context, and what is computed a second time,
are left out, so that it is rather less than the GPU did.
"""

import argparse
from pathlib import Path

from stagecoach.contract.records import Record

# Operations per second in bfloat16, by what a GPU's name contains: NVIDIA's data sheets, without sparsity.
PEAKS = {"H200": 989e12, "H100 80GB HBM3": 989e12, "A100": 312e12, "L40S": 362e12}


def told(record: Record) -> str:
    """Return the share, or why there is none, in a line."""
    training, gpu = record.training, record.hardware.gpu
    if gpu is None:
        return "MFU: not measured: no GPU."
    if training.precision != "bfloat16":
        return f"MFU: not measured: it trained in {training.precision}, and the peaks known here are of bfloat16."
    peak = next((peak for name, peak in PEAKS.items() if name in gpu), None)
    if peak is None:
        return f"MFU: not measured: the peak of {gpu} is not known here; add it to PEAKS."
    trained, total = training.trainable_parameters, training.total_parameters
    operations = training.tokens * (4 * total + 2 * trained)
    possible = peak * training.gpu_hours * 3600
    whole = 6 * total * training.tokens
    return (
        f"MFU: {operations / possible:.1%} of {gpu}, with {total} weights of which {trained} were trained;"
        f" {whole / possible:.1%} if all counted as trained."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path, help="of a run, as it lies in its project's storage")
    print(told(Record.model_validate_json(parser.parse_args().record.read_text())))
