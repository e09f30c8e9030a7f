"""`make check-cuda-image`: the trainer's image with a torch for GPUs, built, and looked into."""
