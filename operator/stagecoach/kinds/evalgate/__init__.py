"""EvalGate: what a project's candidates have to pass."""
