"""All I/O of the operator: watches, the work queue, the executor of plans, leadership, facts, the process itself."""
