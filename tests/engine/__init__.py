"""`make check-engine-cpu`: vLLM on a CPU in a restricted pod, beside what asks it, and its answers beside transformers'."""
