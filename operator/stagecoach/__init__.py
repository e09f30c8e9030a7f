"""Stagecoach: the seven-stage transformer workflow as Kubernetes objects."""
