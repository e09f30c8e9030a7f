"""Build both images; a cluster is not needed, nor a GPU."""

import os
from pathlib import Path

from tests.cluster import build_image, disk
from tests.cluster.paths import State
from tests.deploy import DOCKERFILES, ROOT

# The libraries of CUDA are unpacked, and copied to the image's last stage.
disk.need(State.from_environment().cache, 25, "The trainer's image for GPUs")
# With a folder of wheels it would be a torch for the CPU.
os.environ.pop("WHEELS", None)
version = os.environ.get("TORCH_VERSION")
arguments = {"TORCH_VERSION": version} if version else {}
build_image("stagecoach/trainer-cuda", DOCKERFILES["trainer"], context=ROOT, arguments=arguments)
build_image("stagecoach/trainer-cuda-check", Path(__file__).parent, context=ROOT)
print("the trainer's image for GPUs: stagecoach/trainer-cuda")
