"""What is looked at inside of the image: no GPU is needed for it, and no driver."""

import ctypes

import torch
from bitsandbytes.cextension import get_cuda_bnb_library_path
from bitsandbytes.cuda_specs import CUDASpecs, get_cuda_version_string, get_cuda_version_tuple

assert torch.version.cuda, f"torch {torch.__version__} is not built for CUDA"
found = CUDASpecs((9, 0), get_cuda_version_string(), get_cuda_version_tuple())
library = get_cuda_bnb_library_path(found)
assert library.exists(), f"no {library.name}, which bitsandbytes needs beside CUDA {torch.version.cuda}"
# With it come those of CUDA that it needs, or this raises.
ctypes.CDLL(str(library))
print(
    f"torch {torch.__version__} for CUDA {torch.version.cuda}, {', '.join(torch.cuda.get_arch_list())}; {library.name}"
)
